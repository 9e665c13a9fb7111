"""Lists of scalars: the bytes that a proof has them in, and the powers of a challenge that weigh a sum."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ml.homomorphic.curve import ORDER, SCALAR_BYTES


def scalars_to_bytes(scalars: Iterable[int]) -> bytes:
    """32 bytes each, big-endian, reduced modulo the order."""
    return b"".join((each % ORDER).to_bytes(SCALAR_BYTES, "big") for each in scalars)


def scalars_from_bytes(raw: bytes, invalid: Callable[[str], ValueError]) -> tuple[int, ...]:
    """Inverse of `scalars_to_bytes`: every scalar has one form only.

    Raises what `invalid` makes of the problem: one is not reduced, or not whole.
    """
    if len(raw) % SCALAR_BYTES:
        raise invalid("a scalar is not whole")
    starts = range(0, len(raw), SCALAR_BYTES)
    scalars = tuple(int.from_bytes(raw[at : at + SCALAR_BYTES], "big") for at in starts)
    if max(scalars, default=0) >= ORDER:
        raise invalid("a scalar is not reduced")
    return scalars


def powers(base: int, count: int) -> list[int]:
    """1, base, base^2, ... modulo the order: `count` of them."""
    found = []
    power = 1
    for _ in range(count):
        found.append(power)
        power = power * base % ORDER
    return found
