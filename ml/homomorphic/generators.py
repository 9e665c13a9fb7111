"""Points whose discrete logarithms nobody knows: bases of vector commitments.

The first of SHA-256(tag, number, 0), SHA-256(tag, number, 1), ... that is the x coordinate of a point; of
its two points, the one with even y. There is nothing to choose, and so nothing to hide.
"""

from __future__ import annotations

import hashlib
from functools import cache

from ml.homomorphic.curve import NotAPoint, Point, Points

_TAG = b"usufruct/generator/1"
_BLINDING = 0
_SINGLE = 1
_FIRST = 2


@cache
def _generator(number: int) -> bytes:
    for counter in range(256):  # half of all x are good: all of these fail with probability 2^-256
        hashed = _TAG + number.to_bytes(4, "big") + counter.to_bytes(1, "big")
        raw = b"\x02" + hashlib.sha256(hashed).digest()
        try:
            Point.from_bytes(raw)
        except NotAPoint:
            continue
        return raw
    raise ArithmeticError("no generator was found")


@cache
def blinding() -> Point:
    """H: what hides a commitment."""
    return Point.from_bytes(_generator(_BLINDING))


@cache
def single() -> Point:
    """K: what a commitment to one scalar is to."""
    return Point.from_bytes(_generator(_SINGLE))


@cache
def vector(size: int) -> Points:
    """G_0, ..., G_(size-1): one for each entry of a vector."""
    return Points.parse(b"".join(_generator(_FIRST + i) for i in range(size)))
