"""Small discrete logarithms: v from v G, for v in a known range, negative values included.

Baby steps and giant steps (D. Shanks, 1971). The table holds i G for i = 1..T by x coordinate, so that one
look finds i and -i, and a giant step passes 2 T + 1 values. It depends on nothing but T: it is built once,
and kept (`save`, `load`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from ml.homomorphic.curve import MEMORY_BYTES, G, Memory, Point, Points, times_base

MOST_BITS: Final = 40
"""Of a range: what one answer may lie in, `2**MOST_BITS` values."""
LARGEST_TABLE: Final = 1 << 26
_MARK = b"usufruct/logarithms/1\0" + Points.parse(G.to_bytes()).memory.tobytes()
"""With G as libsecp256k1 holds it: the table is of its own making."""
_STEPS = 1 << 10
"""Giant steps between two looks into the table: points of so many stay in a core's own cache."""
_READ_BYTES = 1 << 22
_LEFT_SECONDS = 3600.0
"""Unwritten for so long, a part of a table is nobody's any more: whoever wrote it was killed."""
_WORTH_PROCESSES = 1 << 18
"""Steps below which other processes take longer to start than they save."""

Keys = npt.NDArray[np.uint64]


class OutOfRange(ValueError):
    """A point whose logarithm does not lie in the range; `position` says which."""

    def __init__(self, position: int) -> None:
        super().__init__(f"point {position} has no logarithm in the range")
        self.position = position


class TableDamaged(ValueError):
    """A kept table that is not what was built."""


@dataclass(frozen=True)
class Table:
    """i G for i = 1..size: the upper bits of x and the lower ones of i in one number each, ascending."""

    size: int
    keys: Keys

    @classmethod
    def build(cls, size: int, advance: Callable[[int], None] | None = None) -> Table:
        """A table of `size` points: about 3 microseconds and 8 bytes each. Raises ValueError beyond
        `LARGEST_TABLE`.

        advance: hears of so many more points.
        """
        if not 1 <= size <= LARGEST_TABLE:
            raise ValueError(f"a table has 1 to {LARGEST_TABLE} points")
        mask = _index_mask(size)
        keys = np.empty(size, dtype=np.uint64)
        first = G
        for start in range(0, size, _STEPS):
            count = min(_STEPS, size - start)
            memory = _walk(first, G, count)
            keys[start : start + count] = _marks(memory) & ~mask
            keys[start : start + count] |= np.arange(start + 1, start + count + 1, dtype=np.uint64)
            first = times_base(start + count + 1)
            if advance is not None:
                advance(count)
        keys.sort()
        return cls(size, keys)

    def save(self, path: Path) -> None:
        """Writes the table, whole or not at all. Raises OSError, and leaves nothing behind then.

        What killed ones left behind, which may be half a gigabyte each, is cleared away.
        """
        for left in path.parent.glob("*.[0-9]*.part"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                    left.unlink()
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                file.write(_MARK + _digest(self.keys))
                file.write(np.ascontiguousarray(self.keys).data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:  # an interrupt, too: it may be half a gigabyte
            part.unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: Path) -> Table:
        """A table that `save` wrote. Raises TableDamaged, OSError."""
        head = len(_MARK) + hashlib.sha256().digest_size
        with path.open("rb") as file:
            count, rest = divmod(os.fstat(file.fileno()).st_size - head, 8)
            if count > 0 and not rest and file.read(len(_MARK)) == _MARK:
                keys, digest = np.empty(count, dtype=np.uint64), file.read(head - len(_MARK))
                if _read(file, keys) == digest:
                    return cls(count, keys)
        raise TableDamaged(f"{path.name} is not a table that was built here")

    def find(self, points: Sequence[Point], low: int, high: int, processes: int = 1) -> list[int]:
        """The logarithm of each point, all of which lie in low..high.

        Every answer is checked against its point. At most (high - low) / (2 size + 1) steps a point, of
        about 3 microseconds each. Raises OutOfRange, naming the first point that has none; ValueError for a
        range beyond 2**MOST_BITS.
        """
        if not 0 <= high - low < 1 << MOST_BITS:
            raise ValueError(f"a range has 1 to 2^{MOST_BITS} values")
        steps = (high - low) // (2 * self.size + 1) + 1
        if processes > 1 and len(points) > 1 and steps * len(points) > _WORTH_PROCESSES:
            found = self._find_in_processes(points, low, steps, processes)
        else:
            found = [self._find(point, low, steps) for point in points]
        for position, value in enumerate(found):
            if value is None or value > high:
                raise OutOfRange(position)
        return [value for value in found if value is not None]

    def _find_in_processes(
        self, points: Sequence[Point], low: int, steps: int, processes: int
    ) -> list[int | None]:
        tasks = [(point.to_bytes(), low, steps) for point in points]
        # Inherited by fork, so that the table is not copied; by each pool its own.
        context = get_context("fork")
        with ProcessPoolExecutor(
            processes, mp_context=context, initializer=_inherit, initargs=(self,)
        ) as pool:
            return list(pool.map(_find_shared, tasks))

    def _find(self, point: Point, low: int, steps: int) -> int | None:
        stride, middle = 2 * self.size + 1, low + self.size
        back = times_base(-stride)
        for start in range(0, steps, _STEPS):
            count = min(_STEPS, steps - start)
            offset = middle + start * stride
            first = point - times_base(offset)
            if first.is_infinity:
                return offset
            memory = _walk(first, back, count)
            if len(memory) < count:
                return offset + len(memory) * stride
            for step, index in self._look_up(memory):
                for value in (offset + step * stride + index, offset + step * stride - index):
                    if value >= low and times_base(value) == point:
                        return value
        return None

    def _look_up(self, memory: Memory) -> list[tuple[int, int]]:
        """(position, index) wherever the upper bits of x are those of index * G."""
        mask = _index_mask(self.size)
        marks = _marks(memory) & ~mask
        at = np.searchsorted(self.keys, marks)
        pairs: list[tuple[int, int]] = []
        while True:
            inside = at < self.keys.size
            same = inside.copy()
            same[inside] = (self.keys[at[inside]] & ~mask) == marks[inside]
            if not same.any():
                return sorted(pairs)
            pairs += [(int(p), int(self.keys[at[p]] & mask)) for p in np.flatnonzero(same)]
            at = np.where(same, at + 1, self.keys.size)


class _Shared:
    """In a process of the pool: its table."""

    table: Table


def _inherit(table: Table) -> None:
    _Shared.table = table


def _find_shared(task: tuple[bytes, int, int]) -> int | None:
    raw, low, steps = task
    return _Shared.table._find(Point.sum_from_bytes(raw), low, steps)


def _walk(first: Point, step: Point, count: int) -> Memory:
    """first, first + step, ...: `count` points, or those before the point at infinity."""
    memory = np.zeros((count, MEMORY_BYTES), dtype=np.uint8)
    memory[0] = Points.parse(first.to_bytes()).memory[0]
    fixed = Points.parse(step.to_bytes()).memory
    pairs = np.empty((count, 2), dtype=np.uint64)
    pairs[:, 0] = memory.ctypes.data + MEMORY_BYTES * np.arange(count, dtype=np.uint64)
    pairs[:, 1] = fixed.ctypes.data
    source = ffi.cast("secp256k1_pubkey **", ffi.from_buffer(pairs))
    target = ffi.from_buffer("secp256k1_pubkey[]", memory)
    combine: Any = lib.secp256k1_ec_pubkey_combine
    context = GLOBAL_CONTEXT.ctx
    for i in range(1, count):
        if not combine(context, target + i, source + 2 * (i - 1), 2):
            return memory[:i]
    return memory


def _marks(memory: Memory) -> Keys:
    """64 bits of each x coordinate, as libsecp256k1 lies in memory: the same for a point and its negative."""
    return np.ascontiguousarray(memory[:, :8]).view(np.uint64)[:, 0]


def _index_mask(size: int) -> np.uint64:
    return np.uint64((1 << size.bit_length()) - 1)


def _read(file: BufferedReader, keys: Keys) -> bytes:
    """Fills `keys`; their digest, made meanwhile. Of a file that ends too early, another one."""
    whole, digest = keys.data.cast("B"), hashlib.sha256()
    with ThreadPoolExecutor(1) as beside:
        for start in range(0, len(whole), _READ_BYTES):
            part = whole[start : start + _READ_BYTES]
            beside.submit(digest.update, part[: file.readinto(part)])
    return digest.digest()


def _digest(keys: Keys) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(keys).data).digest()
