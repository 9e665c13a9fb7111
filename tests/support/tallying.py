"""What tests of the homomorphic lane share: dealt keys, true statements, and bytes bent in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from ml.homomorphic.curve import ORDER, Point, times_base
from ml.homomorphic.elgamal import draw_randomness, encrypt
from ml.homomorphic.relation import Builder
from ml.homomorphic.threshold import Sum
from ml.homomorphic.validity import Statement

CONTEXT = b"patient 7 in data set 3".ljust(32, b"\0")
SECRET = 0x5EC12E7CA11A25EC12E7CA11A25EC12E7CA11A2
PUBLIC = times_base(SECRET)
edge_scalars = st.sampled_from(
    [0, 1, 2, ORDER - 1, ORDER - 2, ORDER // 2, 1 << 128, (1 << 255) - 1]
)
scalars = st.integers(0, ORDER - 1) | edge_scalars
secret_scalars = scalars.filter(bool)


def flip(data: bytes, byte: int, bit: int = 0) -> bytes:
    changed = bytearray(data)
    changed[byte] ^= 1 << bit
    return bytes(changed)


def value_at(coefficients: Sequence[int], index: int) -> int:
    """f(index) of the polynomial with these coefficients, the constant one first."""
    return sum(c * index**j for j, c in enumerate(coefficients)) % ORDER


@dataclass(frozen=True)
class Known:
    """A true statement, and what its prover knows."""

    statement: Statement
    vector: list[int]
    randomness: list[int]


def known(builder: Builder, context: bytes = CONTEXT, public: Point = PUBLIC) -> Known:
    """The columns that a builder states, encrypted afresh."""
    relation = builder.relation()
    randomness = draw_randomness(len(relation.columns))
    columns = encrypt(relation.values(builder.vector), randomness, public)
    return Known(Statement(context, public, relation, columns), builder.vector, randomness)


def encrypted(values: Sequence[int], public: Point = PUBLIC) -> list[Sum]:
    """One sum each, with fresh randomness."""
    return [Sum.from_bytes(encrypt([value], draw_randomness(1), public)) for value in values]


def decrypted(each: Sum, secret: int = SECRET) -> Point:
    """v G, by whoever knows the whole key."""
    return each.value - each.key * secret
