"""Encrypted columns of many records on disk, laid out for sums: a cache that can be made again from the
records.

Rows are records, in segments of `SEGMENT_ROWS`; in a segment each column's points lie side by side, as
libsecp256k1 holds them, so that a sum parses nothing and reads only what it adds. Sums of the last cohort
are kept: one that differs by a few records costs those few.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ml.homomorphic.curve import MEMORY_BYTES, G, Ints, Memory, Point, Points, total
from ml.homomorphic.elgamal import COLUMN_BYTES
from ml.homomorphic.threshold import Sum

SEGMENT_ROWS: Final = 4096
SPARE_BYTES: Final = 1 << 28
"""That a disk keeps beside a new segment: for the journal, which has to note erasures whatever comes in."""
_MARK_FILE = "layout"
_ZEROS = 1 << 20
_X_BYTES = 32
"""Of a point in memory: libsecp256k1 ends the process where x is 0, whatever y is."""

Bools = npt.NDArray[np.bool_]


def _nobody_asks(_: int) -> None: ...


class LayoutChanged(ValueError):
    """The folder was written for another number of columns, or by another libsecp256k1: make it anew."""


@dataclass(frozen=True)
class _Segment:
    points: Memory  # (2 columns, SEGMENT_ROWS, 64): A and B of each column in turn
    filled: (
        Bools  # (SEGMENT_ROWS,): rows without a zeroed point, which must never reach libsecp256k1
    )


@dataclass(frozen=True)
class _Kept:
    rows: Ints  # ascending
    sum: Sum


class ColumnStore:
    """The columns of one dataset under one joint key. Safe for threads."""

    def __init__(
        self, folder: Path, columns: int, cut_short: Callable[[int], None] = _nobody_asks
    ) -> None:
        """Opens or makes a folder. Raises LayoutChanged.

        Args:
            cut_short: told the number of a segment that was, and is wiped.
        """
        self.columns = columns
        self._folder = folder
        self._cut_short = cut_short
        self._segments: dict[int, _Segment] = {}
        self._kept: dict[int, _Kept] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="columns")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._require_layout()

    @classmethod
    def existing(cls, folder: Path, cut_short: Callable[[int], None] = _nobody_asks) -> ColumnStore:
        """A folder that was made before, with its own number of columns. Raises LayoutChanged, OSError."""
        marked = int.from_bytes((folder / _MARK_FILE).read_bytes()[:4], "big")
        return cls(folder, marked, cut_short)

    def holds(self, row: int) -> bool:
        """Whether a record lies at this row."""
        with self._lock:
            number, at = divmod(row, SEGMENT_ROWS)
            known = row >= 0 and (number in self._segments or self._is_whole(number))
            return known and bool(self._segment(number).filled[at])

    def close(self) -> None:
        """Ends the threads that add."""
        self._threads.shutdown()

    def write(self, row: int, columns: bytes) -> None:
        """As `write_many`, for one record."""
        self.write_many({row: columns})

    def write_many(self, records: Mapping[int, bytes]) -> None:
        """Puts records' columns (66 bytes each) at their rows, on disk when this returns: a segment is
        brought there once, whatever the number of its rows. Memory: 64 bytes a point of these records.

        A row is written once, or after `erase`. Raises NotAPoint; ValueError for another number of columns,
        or a row that holds something; OSError where the disk is full. Nothing was written then.
        """
        points = {row: self._parsed(columns) for row, columns in records.items()}
        with self._lock:
            for segment, at in map(self._place, points):
                if segment.filled[at]:
                    raise ValueError("the row holds a record")
            for number, inside in _by_segment(_ascending(points)):
                segment = self._segment(number)
                rows = (inside + number * SEGMENT_ROWS).tolist()
                segment.points[:, inside] = np.stack([points[row] for row in rows], axis=1)
                _flush(segment.points)
                segment.filled[inside] = True
            # Sums that are kept stay right: none of these rows is in one.

    def _parsed(self, columns: bytes) -> Memory:
        if len(columns) != self.columns * COLUMN_BYTES:
            raise ValueError("the record has another number of columns")
        return Points.parse(columns).memory

    def erase(self, row: int) -> None:
        """Overwrites a row with zeros, on disk when this returns."""
        self.erase_many([row])

    def erase_many(self, rows: Iterable[int]) -> None:
        """Overwrites rows with zeros, on disk when this returns: a segment is brought there once."""
        with self._lock:
            self._kept.clear()
            for number, inside in _by_segment(_ascending(rows)):
                if number < 0:
                    raise ValueError("rows count from 0")
                if number in self._segments or self._is_whole(number):
                    segment = self._segment(number)
                    segment.filled[inside] = False
                    segment.points[:, inside] = 0
                    _flush(segment.points)

    def read(self, row: int) -> bytes:
        """A row's columns, 66 bytes each. Raises KeyError where nothing is."""
        with self._lock:
            segment, at = self._place(row)
            if not segment.filled[at]:
                raise KeyError(row)
            return Points(np.ascontiguousarray(segment.points[:, at])).to_bytes()

    def sum(self, columns: Sequence[int], rows: Sequence[int] | Ints) -> list[Sum]:
        """The sum of each of the columns over distinct rows, in the order of `columns`.

        Memory: some 8-byte numbers for each row, whatever the number of columns.
        Raises KeyError for a row that holds nothing, ValueError for a repeated one.
        """
        if not all(0 <= column < self.columns for column in columns):
            raise KeyError("a column is not there")
        chosen = np.unique(np.asarray(rows, dtype=np.int64))
        if chosen.size != len(rows):
            raise ValueError("each row counts once")
        with self._lock:
            self._require_filled(chosen)
            return list(self._threads.map(lambda column: self._sum(column, chosen), columns))

    def _sum(self, column: int, rows: Ints) -> Sum:
        kept = self._kept.get(column)
        if kept is None:
            found = self._add(column, rows)
        else:
            added = np.setdiff1d(rows, kept.rows, assume_unique=True)
            removed = np.setdiff1d(kept.rows, rows, assume_unique=True)
            if added.size + removed.size < rows.size:
                found = kept.sum + self._add(column, added) - self._add(column, removed)
            else:
                found = self._add(column, rows)
        self._kept[column] = _Kept(rows, found)
        return found

    def _add(self, column: int, rows: Ints) -> Sum:
        key: list[Point] = []
        value: list[Point] = []
        for number, inside in _by_segment(rows):
            points = self._segment(number).points
            key.append(Points(points[2 * column]).sum(inside))
            value.append(Points(points[2 * column + 1]).sum(inside))
        return Sum(total(key), total(value))

    def _require_filled(self, rows: Ints) -> None:
        for number, inside in _by_segment(rows):
            known = number >= 0 and (number in self._segments or self._is_whole(number))
            missing = inside if not known else inside[~self._segment(number).filled[inside]]
            if missing.size:
                raise KeyError(number * SEGMENT_ROWS + int(missing[0]))

    def _place(self, row: int) -> tuple[_Segment, int]:
        if row < 0:
            raise ValueError("rows count from 0")
        number, at = divmod(row, SEGMENT_ROWS)
        return self._segment(number), at

    def _segment(self, number: int) -> _Segment:
        held = self._segments.get(number)
        if held is None:
            path, shape = self._path(number), (2 * self.columns, SEGMENT_ROWS, MEMORY_BYTES)
            if not self._is_whole(number):
                _make(path, math.prod(shape))
            points = np.memmap(path, dtype=np.uint8, mode="r+", shape=shape)
            filled = np.ones(SEGMENT_ROWS, dtype=np.bool_)
            for column in points:
                filled &= column[:, :_X_BYTES].any(axis=1)
            held = self._segments[number] = _Segment(points, filled)
        return held

    def _is_whole(self, number: int) -> bool:
        """Whether a segment that is not mapped yet is there. One that was cut short is wiped: its rows are
        missing from then on, and whoever wrote them does so again."""
        path, size = self._path(number), 2 * self.columns * SEGMENT_ROWS * MEMORY_BYTES
        if path.exists() and path.stat().st_size != size:
            self._cut_short(number)
            _wipe(path)
            path.unlink()
        return path.exists()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.columns"

    def _require_layout(self) -> None:
        mark = self._folder / _MARK_FILE
        own = self.columns.to_bytes(4, "big") + Points.parse(G.to_bytes()).memory.tobytes()
        if not mark.exists():
            part = mark.with_suffix(".part")
            part.write_bytes(own)
            part.replace(mark)
        if mark.read_bytes() != own:
            raise LayoutChanged("the folder of columns is of another layout")


def _make(path: Path, size: int) -> None:
    """A file of zeros with all its space, readable by its owner alone, whole or not at all.

    The space is taken now: a full disk found while a mapped page is written would end the process. And not
    the last of it: columns can be laid out again, what else the disk is needed for cannot wait. Raises
    OSError (ENOSPC) where less than `SPARE_BYTES` would be left.
    """
    if shutil.disk_usage(path.parent).free < size + SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    part = path.with_suffix(".part")
    file = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600)
    try:
        os.posix_fallocate(file, 0, size)
        os.fsync(file)
    except OSError:
        part.unlink()
        raise
    finally:
        os.close(file)
    part.replace(path)


def discard(folder: Path) -> None:
    """Removes a folder of columns; what lies in its cells is overwritten first."""
    for path in folder.glob("*.columns"):
        _wipe(path)
    shutil.rmtree(folder)


def _wipe(path: Path) -> None:
    with path.open("r+b") as file:
        for start in range(0, path.stat().st_size, _ZEROS):
            file.write(bytes(min(_ZEROS, path.stat().st_size - start)))
        file.flush()
        os.fsync(file.fileno())


def _ascending(rows: Iterable[int]) -> Ints:
    return np.array(sorted(rows), dtype=np.int64)


def _by_segment(rows: Ints) -> Iterator[tuple[int, Ints]]:
    """Each segment that ascending rows lie in, with their places there."""
    start = 0
    while start < rows.size:
        number = int(rows[start]) // SEGMENT_ROWS
        end = int(np.searchsorted(rows, (number + 1) * SEGMENT_ROWS))
        yield number, rows[start:end] - number * SEGMENT_ROWS
        start = end


def _flush(segment: Memory) -> None:
    if isinstance(segment, np.memmap):
        segment.flush()
