"""secp256k1 as SEC 1 and SEC 2 write it down, in affine coordinates: slow, and nobody's library.

What tests hold `ml.homomorphic.curve` against, and what the vectors of proofs are made with.
"""

from __future__ import annotations

from typing import Final, TypeAlias

FIELD: Final = 2**256 - 2**32 - 977
ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
Plain: TypeAlias = tuple[int, int] | None
"""x and y, or None at infinity."""
BASE: Final[Plain] = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def add(one: Plain, other: Plain) -> Plain:
    if one is None or other is None:
        return other if one is None else one
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % FIELD == 0:
        return None
    rise, run = (3 * x1 * x1, 2 * y1) if one == other else (y2 - y1, x2 - x1)
    slope = rise * pow(run, -1, FIELD)
    x = (slope * slope - x1 - x2) % FIELD
    return x, (slope * (x1 - x) - y1) % FIELD


def times(scalar: int, point: Plain = BASE) -> Plain:
    result: Plain = None
    for bit in bin(scalar % ORDER)[2:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def add_all(*points: Plain) -> Plain:
    result: Plain = None
    for point in points:
        result = add(result, point)
    return result


def compress(point: Plain) -> bytes:
    """33 bytes; all zero at infinity."""
    if point is None:
        return bytes(33)
    return bytes([2 + point[1] % 2]) + point[0].to_bytes(32, "big")


def lift(x: int) -> Plain:
    """The point with this x and even y, or None where there is no point."""
    square = (pow(x, 3, FIELD) + 7) % FIELD
    y = pow(square, (FIELD + 1) // 4, FIELD)
    if x >= FIELD or y * y % FIELD != square:
        return None
    return x, y if y % 2 == 0 else FIELD - y
