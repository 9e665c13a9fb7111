"""Encrypted columns of many records on disk, laid out for sums: a cache that can be made again from the
records.

Rows are records, in segments of `SEGMENT_ROWS`; in a segment each column's points lie side by side, as
libsecp256k1 holds them, so that a sum parses nothing and reads only what it adds. Sums of the last cohort
are kept: one that differs by a few records costs those few.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
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
_MARK_FILE = "layout"
_X_BYTES = 32
"""Of a point in memory: libsecp256k1 ends the process where x is 0, whatever y is."""

Bools = npt.NDArray[np.bool_]


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

    def __init__(self, folder: Path, columns: int) -> None:
        """Opens or makes a folder. Raises LayoutChanged."""
        self.columns = columns
        self._folder = folder
        self._segments: dict[int, _Segment] = {}
        self._kept: dict[int, _Kept] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="columns")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._require_layout()

    @classmethod
    def existing(cls, folder: Path) -> ColumnStore:
        """A folder that was made before, with its own number of columns. Raises LayoutChanged, OSError."""
        return cls(folder, int.from_bytes((folder / _MARK_FILE).read_bytes()[:4], "big"))

    def holds(self, row: int) -> bool:
        """Whether a record lies at this row."""
        with self._lock:
            number, at = divmod(row, SEGMENT_ROWS)
            known = row >= 0 and (number in self._segments or self._path(number).exists())
            return known and bool(self._segment(number).filled[at])

    def close(self) -> None:
        """Ends the threads that add."""
        self._threads.shutdown()

    def write(self, row: int, columns: bytes) -> None:
        """Puts a record's columns (66 bytes each) at a row, on disk when this returns.

        A row is written once, or after `erase`. Raises NotAPoint; ValueError for another number of columns,
        or a row that holds something; OSError where the disk is full, and nothing was written then.
        """
        if len(columns) != self.columns * COLUMN_BYTES:
            raise ValueError("the record has another number of columns")
        points = Points.parse(columns).memory
        with self._lock:
            segment, at = self._place(row)
            if segment.filled[at]:
                raise ValueError("the row holds a record")
            segment.points[:, at] = points
            _flush(segment.points)
            segment.filled[at] = True
            self._kept.clear()

    def erase(self, row: int) -> None:
        """Overwrites a row with zeros, on disk when this returns."""
        with self._lock:
            if row >= 0 and not self._path(row // SEGMENT_ROWS).exists():
                return
            segment, at = self._place(row)
            segment.filled[at] = False
            segment.points[:, at] = 0
            _flush(segment.points)
            self._kept.clear()

    def read(self, row: int) -> bytes:
        """A row's columns, 66 bytes each. Raises KeyError where nothing is."""
        with self._lock:
            segment, at = self._place(row)
            if not segment.filled[at]:
                raise KeyError(row)
            return Points(np.ascontiguousarray(segment.points[:, at])).to_bytes()

    def sum(self, columns: Sequence[int], rows: Sequence[int]) -> list[Sum]:
        """The sum of each of the columns over distinct rows, in the order of `columns`.

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
        for number in np.unique(rows // SEGMENT_ROWS).tolist():
            inside = rows[rows // SEGMENT_ROWS == number] % SEGMENT_ROWS
            points = self._segment(number).points
            key.append(Points(points[2 * column]).sum(inside))
            value.append(Points(points[2 * column + 1]).sum(inside))
        return Sum(total(key), total(value))

    def _require_filled(self, rows: Ints) -> None:
        for number in np.unique(rows // SEGMENT_ROWS).tolist():
            inside = rows[rows // SEGMENT_ROWS == number] % SEGMENT_ROWS
            known = number >= 0 and self._path(number).exists()
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
            if not path.exists():
                _make(path, 2 * self.columns * SEGMENT_ROWS * MEMORY_BYTES)
            points = np.memmap(path, dtype=np.uint8, mode="r+", shape=shape)
            filled = np.ones(SEGMENT_ROWS, dtype=np.bool_)
            for column in points:
                filled &= column[:, :_X_BYTES].any(axis=1)
            held = self._segments[number] = _Segment(points, filled)
        return held

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

    The space is taken now: a full disk found while a mapped page is written would end the process.
    """
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


def _flush(segment: Memory) -> None:
    if isinstance(segment, np.memmap):
        segment.flush()
