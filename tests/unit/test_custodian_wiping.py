"""Rules of what an erasure leaves in a custodian's folder when it is killed within it: nothing, once it was
started again.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from marketplace.custodian.journal import Journal
from marketplace.custodian.models import ErasedRow, TallyRow
from marketplace.custodian.tallies import FOLDER, Tallies
from marketplace.custodian.watch import Watch
from ml.homomorphic.columns import SEGMENT_ROWS
from ml.homomorphic.curve import MEMORY_BYTES, Memory, Points
from tests.support.daily import daily
from tests.support.filled_journal import NOBODY_ASKS, Filled, fill

VALUES = [[at + 2, at * at + 2, 5] for at in range(7)]
"""Of as many records, so that no two have a cell in common."""
GONE = (2, 6)
"""The last one's row stays, as zeros; the other's goes."""
LEFT = tuple(at for at in range(len(VALUES)) if at not in GONE)
WINDOW = 16
"""Bytes of a cell that are looked for, every so many: however it was cut, one of these is whole."""
STEP = 8

DYING = """
import os, signal, sys
from pathlib import Path
from marketplace.custodian.journal import Journal
from marketplace.custodian.tallies import Tallies
from marketplace.wire import sqlite
from ml.homomorphic import columns
from tests.support.filled_journal import DATASET, NOBODY_ASKS

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

folder, where, holders = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
journal = Journal.open(folder)
tallies = Tallies(NOBODY_ASKS, journal, folder)
tallies.own()
with journal.writing() as session:
    for holder in holders:
        assert journal.destroy(session, DATASET, holder) == 1
if where == "before any wipe":
    die()
elif where == "within the journal's":
    empty, emptied = sqlite._empty_log, []
    def again(raw):  # the file is written anew, and that lies in its log
        if emptied:
            die()
        emptied.append(raw)
        empty(raw)
    sqlite._empty_log = again
journal.wipe_destroyed()
if where == "between the two":
    die()
elif where == "within a row":
    def some(self, rows):  # what a kill within the copy leaves
        (row,) = rows
        segment = self._segment(0)
        segment.points[: len(segment.points) // 2, row] = 0
        die()
    columns.ColumnStore.erase_many = some
elif where == "before a row is forgotten":
    erase = columns.ColumnStore.erase
    def one(self, row):
        erase(self, row)
        die()
    columns.ColumnStore.erase = one
else:
    erase, erased = columns.ColumnStore.erase, []
    def second(self, row):
        if erased:
            die()
        erased.append(row)
        erase(self, row)
    columns.ColumnStore.erase = second
tallies.wipe()
"""
WHERE = (
    "before any wipe",
    "within the journal's",
    "between the two",
    "within a row",
    "before a row is forgotten",
    "between two rows",
)
DAILY = ("before any wipe", "within a row", "between two rows")


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    """All of it laid out for sums."""
    made = fill(tmp_path, len(VALUES), VALUES, proof=200, header=10)
    assert made.tallies().spread()
    return made


@pytest.mark.parametrize("where", daily(WHERE, DAILY))
def test_a_kill_while_records_are_erased_leaves_none_of_their_cells_once_it_was_started_again(
    filled: Filled, where: str
) -> None:
    cells = {at: pieces(filled, at) for at in range(len(VALUES))}
    for at, each in cells.items():
        assert len(found_in(filled.folder, each)) > 1, at  # in the journal, and beside it
    holders = [f"0x{at:040x}" for at in GONE]
    command = [sys.executable, "-c", DYING, str(filled.folder), where, *holders]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    gone = list(chain.from_iterable(cells[at] for at in GONE))
    assert found_in(filled.folder, gone) != []

    journal, tallies = started(filled)
    assert found_in(filled.folder, gone) == []
    assert not cells_at(filled.folder, GONE).any()
    assert cells_at(filled.folder, LEFT).any(axis=2).all()
    for at in LEFT:
        assert len(found_in(filled.folder, cells[at])) > 1
    with journal.reading() as session:
        erased = [bytes(each) for each in session.scalars(select(ErasedRow.commitment))]
        rows = list(session.scalars(select(TallyRow.row).order_by(TallyRow.row)))
    assert sorted(erased) == sorted(filled.commitments[at] for at in GONE)
    assert rows == [*LEFT, len(VALUES) - 1]
    counted = [filled.commitments[at] for at in LEFT]
    filled.require_right(filled.sums(tallies), LEFT)
    filled.require_right(filled.sums(tallies, counted), LEFT)
    again = filled.tallies()
    assert again.spread()
    filled.require_right(filled.sums(again), LEFT)
    assert found_in(filled.folder, gone) == []


def started(filled: Filled) -> tuple[Journal, Tallies]:
    """The custodian's process after a start, and after the first round of its watch."""
    journal, tallies = Journal.open(filled.folder), filled.tallies()
    tallies.own()
    nobody: Any = None
    Watch(NOBODY_ASKS, journal, tallies, nobody, nobody).destroy_remains()
    return journal, tallies


def pieces(filled: Filled, at: int) -> list[bytes]:
    """Of a record's columns as they came, and of each cell as libsecp256k1 holds it."""
    journal = Journal.open(filled.folder)
    with journal.reading() as session:
        columns = session.get_one(TallyRow, filled.commitments[at]).columns
    journal.engine.dispose()
    assert columns is not None
    held = [each.tobytes() for each in Points.parse(columns).memory]
    return [
        whole[start : start + WINDOW]
        for whole in (columns, *held)
        for start in range(0, len(whole) - WINDOW + 1, STEP)
    ]


def found_in(folder: Path, wanted: Sequence[bytes]) -> list[str]:
    """Files below the folder that hold any of these."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return [name for name, raw in files.items() if any(each in raw for each in wanted)]


def cells_at(folder: Path, rows: Sequence[int]) -> Memory:
    """What lies at these rows in the one segment there is."""
    (path,) = (folder / FOLDER).glob("*/0.columns")
    whole = np.fromfile(path, dtype=np.uint8)
    return whole.reshape(2 * len(VALUES[0]), SEGMENT_ROWS, MEMORY_BYTES)[:, rows]
