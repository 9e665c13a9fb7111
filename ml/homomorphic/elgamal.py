"""Exponential ElGamal: values add up under encryption (R. Cramer, R. Gennaro, B. Schoenmakers, EUROCRYPT
1997).

A column is (A, B) = (r G, r Y + v G), 66 bytes. Whoever knows y with Y = y G learns v G, and v if it is small
(`logarithm.py`). Semantically secure under the decisional Diffie-Hellman assumption; anybody can change what
is encrypted by a known amount, which is why uploads carry proofs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ml.homomorphic.curve import POINT_BYTES, Point, random_scalar, times_base, total

COLUMN_BYTES: Final = 2 * POINT_BYTES


def draw_randomness(columns: int) -> list[int]:
    """Uniform scalars in [1, n - 1], one for each column; secret, and never used twice."""
    return [random_scalar() for _ in range(columns)]


def encrypt(values: Sequence[int], randomness: Sequence[int], public_key: Point) -> bytes:
    """The columns of whole numbers (negative ones too), 66 bytes each.

    Raises ValueError for lists of different lengths, a scalar out of range, or a public key at infinity.
    """
    pairs = zip(values, randomness, strict=True)
    return b"".join(_column(value, scalar, public_key) for value, scalar in pairs)


def _column(value: int, scalar: int, public_key: Point) -> bytes:
    # v G as (v + r) G - r G: no product with a scalar that says, by its time, whether the value is 0.
    key = times_base(scalar)
    hidden = total((public_key.times_secret(scalar), times_base(value + scalar), -key))
    if hidden.is_infinity:  # r Y = -v G: who draws that has found the key
        raise ValueError("the random scalar cannot be used; draw another")
    return key.to_bytes() + hidden.to_bytes()
