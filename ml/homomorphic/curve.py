"""secp256k1: single points, and sums of many points that lie side by side in memory.

All arithmetic is libsecp256k1's, through coincurve. `Point` is for protocols, one element at a time;
`Points` is for columns: it keeps libsecp256k1's own 64 bytes a point, so that a sum of a million of them
parses nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from coincurve import PublicKey
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

ORDER: Final = (
    0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # SEC 2, secp256k1 n
)
SCALAR_BYTES: Final = 32
POINT_BYTES: Final = 33
MEMORY_BYTES: Final = 64
"""Of one point as libsecp256k1 holds it: its own business, never sent and never kept without its maker's
mark.
"""
AT_INFINITY: Final = bytes(POINT_BYTES)
"""How the point at infinity is written; SEC 1 has no form of 33 bytes for it."""
_BLOCK = 1 << 16
"""Points of one call: their addresses take 512 KB, however large the column is."""

Ints = npt.NDArray[np.int64]
Memory = npt.NDArray[np.uint8]


class NotAPoint(ValueError):
    """Bytes that are no point of the curve; `position` says the first of them."""

    def __init__(self, position: int) -> None:
        super().__init__(f"entry {position} is not a point of secp256k1")
        self.position = position


_COPY = "int (unsigned char *, const unsigned char *, const unsigned char *, void *)"


@ffi.callback(_COPY)  # type: ignore[untyped-decorator]
def _whole_point(output: Any, x: Any, y: Any, _: Any) -> int:
    ffi.memmove(output, x, SCALAR_BYTES)
    ffi.memmove(output + SCALAR_BYTES, y, SCALAR_BYTES)
    return 1


class Point:
    """One element of the group, the point at infinity included. Immutable."""

    __slots__ = ("_key",)

    def __init__(self, key: PublicKey | None) -> None:
        self._key = key

    @classmethod
    def from_bytes(cls, raw: bytes) -> Point:
        """The point of 33 compressed bytes. Raises NotAPoint, also for the point at infinity."""
        if len(raw) != POINT_BYTES:
            raise NotAPoint(0)
        try:
            return cls(PublicKey(bytes(raw)))
        except ValueError:
            raise NotAPoint(0) from None

    @classmethod
    def sum_from_bytes(cls, raw: bytes) -> Point:
        """As `from_bytes`, where the point at infinity is allowed: sums of points."""
        return INFINITY if raw == AT_INFINITY else cls.from_bytes(raw)

    def to_bytes(self) -> bytes:
        """33 bytes: compressed, or `AT_INFINITY`."""
        return AT_INFINITY if self._key is None else self._key.format()

    @property
    def is_infinity(self) -> bool:
        """Whether this is the neutral element."""
        return self._key is None

    def __add__(self, other: Point) -> Point:
        return total((self, other))

    def __neg__(self) -> Point:
        if self._key is None:
            return INFINITY
        # A copy, since libsecp256k1 turns it in place.
        held = ffi.new("secp256k1_pubkey *", self._key.public_key[0])
        lib.secp256k1_ec_pubkey_negate(GLOBAL_CONTEXT.ctx, held)
        return Point(PublicKey(held))

    def __sub__(self, other: Point) -> Point:
        return self + -other

    def __mul__(self, scalar: int) -> Point:
        """`scalar` times this point, in a time that depends on the scalar: for public ones."""
        reduced = scalar % ORDER
        if self._key is None or reduced == 0:
            return INFINITY
        return Point(self._key.multiply(reduced.to_bytes(SCALAR_BYTES, "big")))

    def times_secret(self, scalar: int) -> Point:
        """`scalar` times this point for a secret scalar in [1, n - 1]: libsecp256k1's constant-time ECDH
        product.

        Raises ValueError for a scalar out of range, or at infinity.
        """
        if self._key is None or not 0 < scalar < ORDER:
            raise ValueError("a secret scalar lies in [1, n - 1] and multiplies a finite point")
        output = ffi.new("unsigned char[64]")
        secret = scalar.to_bytes(SCALAR_BYTES, "big")
        good = lib.secp256k1_ecdh(
            GLOBAL_CONTEXT.ctx, output, self._key.public_key, secret, _whole_point, ffi.NULL
        )
        if not good:  # an interrupt came while the point was copied: nothing is wrong with it
            raise RuntimeError("the product was interrupted; form it again")
        return Point(PublicKey(b"\x04" + bytes(output)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __repr__(self) -> str:
        return f"Point({self.to_bytes().hex()})"


INFINITY: Final = Point(None)


def random_scalar() -> int:
    """Uniform in [1, n - 1], from the operating system's generator."""
    return 1 + secrets.randbelow(ORDER - 1)


def times_base(scalar: int) -> Point:
    """`scalar` times the generator G, in constant time but for a scalar that is 0 modulo the order."""
    reduced = scalar % ORDER
    if reduced == 0:
        return INFINITY
    return Point(PublicKey.from_valid_secret(reduced.to_bytes(SCALAR_BYTES, "big")))


G: Final = times_base(1)


def total(points: Iterable[Point]) -> Point:
    """The sum of points; of none, the point at infinity."""
    keys = [point._key for point in points if point._key is not None]
    if len(keys) < 2:
        return Point(keys[0]) if keys else INFINITY
    try:
        return Point(PublicKey.combine_keys(keys))
    except ValueError:
        return INFINITY  # they cancel: libsecp256k1 has no other reason to refuse valid keys


def sum_of_products(points: Sequence[Point], scalars: Sequence[int]) -> Point:
    """sum_i scalars[i] * points[i], for public scalars. Raises ValueError for lists of different lengths."""
    return total(point * scalar for point, scalar in zip(points, scalars, strict=True))


class Points:
    """n finite points side by side: (n, 64) uint8, each as libsecp256k1 holds it. Read-only."""

    __slots__ = ("_memory",)

    def __init__(self, memory: Memory) -> None:
        """Of memory that this library filled, and nobody else: what is no point would end the process.

        Raises ValueError for another shape or layout.
        """
        shaped = memory.ndim == 2 and memory.shape[1] == MEMORY_BYTES
        if not shaped or memory.dtype != np.uint8 or not memory.flags.c_contiguous:
            raise ValueError("points lie in a contiguous (n, 64) array of bytes")
        self._memory = memory

    @classmethod
    def parse(cls, raw: bytes) -> Points:
        """Of n times 33 compressed bytes, each checked to be on the curve. Raises NotAPoint."""
        count, rest = divmod(len(raw), POINT_BYTES)
        if rest:
            raise NotAPoint(count)
        memory = np.empty((count, MEMORY_BYTES), dtype=np.uint8)
        if count:
            source = ffi.from_buffer("unsigned char[]", raw)
            target = ffi.from_buffer("secp256k1_pubkey[]", memory)
            for i in range(count):
                at = source + i * POINT_BYTES
                if not lib.secp256k1_ec_pubkey_parse(
                    GLOBAL_CONTEXT.ctx, target + i, at, POINT_BYTES
                ):
                    raise NotAPoint(i)
        return cls(memory)

    @property
    def memory(self) -> Memory:
        """(n, 64) uint8, to be copied into a column; see `__init__` for what may come back."""
        return self._memory

    def __len__(self) -> int:
        return int(self._memory.shape[0])

    def point(self, position: int) -> Point:
        """One of them."""
        held = ffi.new("secp256k1_pubkey *")
        ffi.memmove(held, self._memory[position].tobytes(), MEMORY_BYTES)
        return Point(PublicKey(held))

    def to_bytes(self) -> bytes:
        """n times 33 compressed bytes."""
        return b"".join(self.point(i).to_bytes() for i in range(len(self)))

    def sum(self, rows: Ints | None = None) -> Point:
        """The sum of all, or of the `rows` given (each any number of times, as often as it is named).

        Parses nothing, and takes memory for `_BLOCK` addresses whatever the number of rows. Other threads
        run meanwhile. Raises IndexError for a row that is not there, ValueError for what are no row numbers.
        """
        chosen = np.arange(len(self), dtype=np.int64) if rows is None else rows
        if chosen.ndim != 1 or chosen.dtype != np.int64:
            raise ValueError("rows are a list of int64")
        if chosen.size and (int(chosen.min()) < 0 or int(chosen.max()) >= len(self)):
            raise IndexError("a row lies outside the points")
        starts = range(0, chosen.size, _BLOCK)
        return total(self._sum_block(chosen[start : start + _BLOCK]) for start in starts)

    def _sum_block(self, rows: Ints) -> Point:
        addresses = self._memory.ctypes.data + MEMORY_BYTES * rows.astype(np.uint64)
        pointers = ffi.cast("secp256k1_pubkey **", ffi.from_buffer(addresses))
        result = ffi.new("secp256k1_pubkey *")
        finite = lib.secp256k1_ec_pubkey_combine(GLOBAL_CONTEXT.ctx, result, pointers, rows.size)
        return Point(PublicKey(result)) if finite else INFINITY

    def sum_of_products(self, scalars: Sequence[int]) -> Point:
        """sum_i scalars[i] * self[i], for public scalars.

        Buckets by windows of bits (N. Pippenger, FOCS 1976; D. Bernstein, J. Doumen, T. Lange, J.-J.
        Oosterwijk, INDOCRYPT 2012), whose sums are additions side by side: the more points, the less each
        of them takes.
        Raises ValueError for a list of another length.
        """
        if len(scalars) != len(self):
            raise ValueError("one scalar for each point")
        width = _window(len(self))
        bits = _bits([scalar % ORDER for scalar in scalars])
        powers = [
            power
            for start in range(0, bits.shape[1], width)
            for power in self._window_powers(bits[:, start : start + width])
        ]
        result = INFINITY
        for power in reversed(powers):
            result = total((result, result, power))
        return result

    def _window_powers(self, bits: npt.NDArray[np.uint8]) -> list[Point]:
        """For each bit of one window, least first: the sum of the points whose scalar has it."""
        width = bits.shape[1]
        digits = bits @ (1 << np.arange(width, dtype=np.int64))
        order = np.argsort(digits, kind="stable")
        ends = np.cumsum(np.bincount(digits, minlength=1 << width))
        buckets = np.zeros((1 << width, MEMORY_BYTES), dtype=np.uint8)
        filled = self._fill_buckets(buckets, order, ends)
        sums = Points(buckets)
        return [sums.sum(filled[(filled >> bit) & 1 == 1]) for bit in range(width)]

    def _fill_buckets(self, buckets: Memory, order: Ints, ends: Ints) -> Ints:
        """Writes each bucket's sum; returns the buckets that have one. Bucket 0 counts for nothing."""
        addresses = self._memory.ctypes.data + MEMORY_BYTES * order.astype(np.uint64)
        pointers = ffi.cast("secp256k1_pubkey **", ffi.from_buffer(addresses))
        target = ffi.from_buffer("secp256k1_pubkey[]", buckets)
        edges = ends.tolist()
        filled = []
        for bucket in range(1, len(edges)):
            start, end = edges[bucket - 1], edges[bucket]
            if end > start and lib.secp256k1_ec_pubkey_combine(
                GLOBAL_CONTEXT.ctx, target + bucket, pointers + start, end - start
            ):
                filled.append(bucket)
        return np.array(filled, dtype=np.int64)


def points_from_bytes(raw: bytes) -> tuple[Point, ...]:
    """The points of n times 33 compressed bytes. Raises NotAPoint, also for the point at infinity."""
    parsed = Points.parse(raw)
    return tuple(parsed.point(i) for i in range(len(parsed)))


def _window(points: int) -> int:
    """Bits of a window at which additions and buckets take about as long (measured: a bucket, ten
    additions).
    """
    return max(1, min(14, points.bit_length() - 4))


def _bits(scalars: Sequence[int]) -> npt.NDArray[np.uint8]:
    """(n, 256) of 0 and 1, least significant first."""
    raw = b"".join(scalar.to_bytes(SCALAR_BYTES, "little") for scalar in scalars)
    rows = np.frombuffer(raw, dtype=np.uint8).reshape(-1, SCALAR_BYTES)
    return np.unpackbits(rows, axis=1, bitorder="little")
