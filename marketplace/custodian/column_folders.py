"""The folders of columns: what the journal holds of the homomorphic lane, laid out for sums.

Rows are spread as records come in, so that no request waits for it; a sum spreads what it lacks all the same.
The journal is the durable record. A row counts as spread once its mark says of which record it is, and the
mark is put after the columns are on disk: who is killed in between spreads the row again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog
from sqlalchemy import ColumnElement, func, select

from marketplace.custodian.journal import PART, Journal
from marketplace.custodian.models import TallyRow
from marketplace.custodian.row_marks import RowMarks
from marketplace.errors import Refusal
from marketplace.wire.kept import unwritten
from ml.homomorphic.columns import ColumnStore, LayoutChanged, discard
from ml.homomorphic.curve import Ints
from ml.homomorphic.elgamal import COLUMN_BYTES
from ml.homomorphic.threshold import Sum

AT_ONCE: Final = 64
"""Rows: of each column a page of memory. A request that comes meanwhile waits for no more than these."""
_HERE: Final = TallyRow.columns.is_not(None)

log = structlog.stdlib.get_logger(__name__)


class ErasedMeanwhile(Refusal):
    """A record that went while it was to be added up."""

    CODE = "record_erased"


@dataclass(frozen=True)
class _Place:
    """Where a record's columns lie, and how many they are."""

    commitment: bytes
    row: int
    columns: int


class ColumnFolders:
    """One folder for each dataset and joint key. Safe for threads.

    lock: held from what the journal says to what a folder holds: nothing erased comes back in between.
    """

    def __init__(self, journal: Journal, path: Path) -> None:
        self.lock = threading.RLock()
        self._journal = journal
        self._path = path
        self._stores: dict[str, ColumnStore] = {}
        self._through: dict[str, int] = {}  # by folder, the row up to which all was found spread

    def sums(self, name: str, commitments: Sequence[bytes], columns: Sequence[int]) -> list[Sum]:
        """The sum of each of the columns over those records that the folder has a row of.

        Memory: that of some numbers a record, and of `AT_ONCE` records' columns.

        Raises:
            Refusal: record_erased, storage_full, storage_unavailable.
        """
        with self.lock:
            try:
                rows = [self._rows(places) for places in self._pages(name, commitments)]
                if not rows:
                    return [Sum.zero() for _ in columns]
                return self._stores[name].sum(columns, np.concatenate(rows))
            except OSError as fault:
                raise unwritten(fault, "columns") from fault

    def _pages(self, name: str, commitments: Sequence[bytes]) -> Iterator[list[_Place]]:
        """Of those records that are in the folder, each page spread when it is given."""
        for start in range(0, len(commitments), PART):
            part = TallyRow.commitment.in_(commitments[start : start + PART])
            places = self._places(name, part, PART)
            if places:
                self._write(name, places)
                yield places

    def _rows(self, places: Sequence[_Place]) -> Ints:
        return np.array([each.row for each in places], dtype=np.int64)

    # --- spreading

    def spread(self, until: float = float("inf")) -> bool:
        """Spreads what came in since it last did; the first time, whatever is not spread. Returns whether
        that was all, or the time (`time.monotonic`) was over.

        Raises:
            Refusal: record_erased, storage_full, storage_unavailable. What was spread stays so, and every
            other folder was spread: of several that could not be, the first one's is told.
        """
        first: Refusal | None = None
        for name in self._names():
            try:
                while self._spread_more(name):
                    if time.monotonic() >= until:
                        return False
            except OSError as fault:
                first = first or unwritten(fault, "columns")
            except Refusal as refusal:
                first = first or refusal
        if first is not None:
            raise first
        return True

    def _spread_more(self, name: str) -> bool:
        """The next rows of a folder; False where there are none."""
        with self.lock:
            through = self._through.get(name, -1)
            places = self._places(name, TallyRow.row > through, AT_ONCE)
            if places:
                self._write(name, places)
                self._through[name] = places[-1].row
        return bool(places)

    def _names(self) -> list[str]:
        """Folders, each found by the one before it: there are few, of many rows."""
        found: list[str] = []
        with self._journal.reading() as session:
            last = session.scalar(select(func.min(TallyRow.folder)))
            while last is not None:
                found.append(last)
                query = select(func.min(TallyRow.folder)).where(TallyRow.folder > last)
                last = session.scalar(query)
        return found

    def _places(self, name: str, which: ColumnElement[bool], most: int) -> list[_Place]:
        """By row, without what has been erased; no columns are read for it."""
        wanted: Any = (TallyRow.commitment, TallyRow.row, func.length(TallyRow.columns))
        query = select(*wanted).where(TallyRow.folder == name, _HERE, which)
        with self._journal.reading() as session:
            rows = session.execute(query.order_by(TallyRow.row).limit(most)).all()
        return [_Place(each, row, size // COLUMN_BYTES) for each, row, size in rows]

    def _write(self, name: str, places: Sequence[_Place]) -> None:
        """Writes the rows that the folder lacks, and those that it holds of another record, by a restored
        backup of one of the two, or without a mark.
        """
        store = self._store(name, places[0].columns)
        with closing(RowMarks(self._path / name)) as marks:
            lacking = [
                each
                for each in places
                if not (store.holds(each.row) and marks.is_of(each.row, each.commitment))
            ]
            for start in range(0, len(lacking), AT_ONCE):
                self._write_some(store, marks, lacking[start : start + AT_ONCE])

    def _write_some(self, store: ColumnStore, marks: RowMarks, places: Sequence[_Place]) -> None:
        columns = self._columns([each.commitment for each in places])
        if len(columns) < len(places):
            raise ErasedMeanwhile(
                message="A record was erased while it was added up.",
                remedy="Ask again: it does not count any more.",
            )
        store.erase_many([each.row for each in places if store.holds(each.row)])
        store.write_many({each.row: columns[each.commitment] for each in places})
        for each in places:
            marks.put(each.row, each.commitment)

    def _columns(self, commitments: Sequence[bytes]) -> dict[bytes, bytes]:
        query = select(TallyRow.commitment, TallyRow.columns)
        with self._journal.reading() as session:
            found = session.execute(query.where(_HERE, TallyRow.commitment.in_(commitments)))
            return {commitment: columns for commitment, columns in found if columns is not None}

    # --- stores

    def _store(self, name: str, columns: int) -> ColumnStore:
        store = self._stores.get(name)
        if store is None:
            store = self._stores[name] = self._opened(name, columns)
        return store

    def _opened(self, name: str, columns: int) -> ColumnStore:
        try:
            return ColumnStore(self._path / name, columns, _cut_short)
        except LayoutChanged:  # of another libsecp256k1: the journal has everything to make it anew
            _throw_away(self._path / name)
            return ColumnStore(self._path / name, columns, _cut_short)

    def erase(self, name: str, row: int) -> None:
        """Overwrites a row's cells, where the folder has any. Raises OSError: it has to be tried again."""
        with self.lock:
            store, folder = self._stores.get(name), self._path / name
            if store is None and folder.exists():
                try:
                    store = self._stores[name] = ColumnStore.existing(folder, _cut_short)
                except (LayoutChanged, FileNotFoundError):
                    # It is made anew from the journal, which has this record no more.
                    _throw_away(folder)
            if store is not None:
                store.erase(row)


def _throw_away(folder: Path) -> None:
    """One that cannot be read as it was laid out."""
    log.warning("columns_of_another_layout")
    discard(folder)


def _cut_short(number: int) -> None:
    """Whatever cut it may have cut others: who keeps this disk should know."""
    log.warning("columns_cut_short", segment=number)
