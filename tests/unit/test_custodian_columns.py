"""Rules of a custodian's folders of columns: laid out before any request, right after any crash, in a memory
that the cohort's size hardly moves.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from marketplace.custodian import column_folders
from marketplace.custodian import watch as watch_module
from marketplace.custodian.column_folders import AT_ONCE
from marketplace.custodian.journal import Journal
from marketplace.custodian.models import TallyRow
from marketplace.custodian.tallies import FOLDER, Tallies
from marketplace.custodian.watch import Watch
from marketplace.errors import Refusal
from ml.homomorphic import columns
from ml.homomorphic.columns import ColumnStore
from tests.support.filled_journal import NOBODY_ASKS, Filled, fill

VALUES = [[at, at * at, 1] for at in range(7)]
RECORDS = 2 * AT_ONCE + 5
SMALL = {"proof": 10, "header": 10}


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    return fill(tmp_path, RECORDS, VALUES, **SMALL)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows that are written from here on."""
    rows: list[int] = []
    real = ColumnStore.write_many

    def write_many(self: ColumnStore, records: dict[int, bytes]) -> None:
        rows.extend(records)
        real(self, records)

    monkeypatch.setattr(ColumnStore, "write_many", write_many)
    return rows


def check(filled: Filled, tallies: Tallies) -> None:
    filled.require_right(filled.sums(tallies), range(RECORDS))


# --- before any request


def test_a_sum_writes_nothing_once_all_is_spread(filled: Filled, written: list[int]) -> None:
    tallies = filled.tallies()
    assert tallies.spread()
    assert written == list(range(RECORDS))
    written.clear()
    check(filled, tallies)
    assert tallies.spread()
    again = filled.tallies()  # after a start, rows are looked at, and not written again
    assert again.spread()
    check(filled, again)
    assert written == []


def test_a_sum_spreads_what_is_not_yet(filled: Filled, written: list[int]) -> None:
    tallies = filled.tallies()
    assert not tallies.spread(until=0)
    assert written == list(range(AT_ONCE))
    check(filled, tallies)
    assert written == list(range(RECORDS))
    assert tallies.spread()
    assert len(written) == RECORDS


def test_spreading_stops_in_time_and_goes_on_where_it_was(
    filled: Filled, written: list[int]
) -> None:
    tallies = filled.tallies()
    rounds = [tallies.spread(time.monotonic()) for _ in range(5)]
    assert rounds == [False, False, False, True, True]
    assert written == list(range(RECORDS))
    check(filled, tallies)


def test_only_what_came_in_since_is_looked_at(
    filled: Filled, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tallies, journal = filled.tallies(), Journal.open(filled.folder)
    last = filled.commitments[-1]
    with journal.writing() as session:  # as if it came in later
        kept = session.get_one(TallyRow, last).columns
        session.execute(update(TallyRow).where(TallyRow.commitment == last).values(columns=None))
    assert tallies.spread()
    assert written == list(range(RECORDS - 1))
    looked: list[int] = []
    real = column_folders.RowMarks.is_of

    def is_of(self: column_folders.RowMarks, row: int, commitment: bytes) -> bool:
        looked.append(row)
        return real(self, row, commitment)

    monkeypatch.setattr(column_folders.RowMarks, "is_of", is_of)
    with journal.writing() as session:
        session.execute(update(TallyRow).where(TallyRow.commitment == last).values(columns=kept))
    assert tallies.spread()
    assert written[-1] == RECORDS - 1
    assert set(looked) <= {RECORDS - 1}
    check(filled, tallies)


def test_what_was_erased_is_not_spread(filled: Filled, written: list[int]) -> None:
    journal = Journal.open(filled.folder)
    with journal.writing() as session:
        gone = TallyRow.commitment.in_(filled.commitments[:3])
        session.execute(update(TallyRow).where(gone).values(columns=None, proof=None))
    tallies = filled.tallies()
    assert tallies.spread()
    assert written == list(range(3, RECORDS))
    filled.require_right(filled.sums(tallies), range(3, RECORDS))


def watch(filled: Filled, tallies: Tallies) -> Watch:
    """One that follows no chain."""
    nobody: Any = None
    return Watch(NOBODY_ASKS, Journal.open(filled.folder), tallies, nobody, nobody)


def test_the_watch_spreads_for_some_seconds_a_round(
    filled: Filled, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tallies = filled.tallies()
    watching = watch(filled, tallies)
    monkeypatch.setattr(watch_module, "SPREAD_SECONDS", 0.0)
    watching.spread()
    assert written == list(range(AT_ONCE))
    monkeypatch.setattr(watch_module, "SPREAD_SECONDS", 60.0)
    watching.spread()
    assert written == list(range(RECORDS))
    check(filled, tallies)
    assert len(written) == RECORDS


def test_a_full_disk_keeps_rows_from_being_spread_and_no_more(
    filled: Filled, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    tallies = filled.tallies()
    watching = watch(filled, tallies)
    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(os, "posix_fallocate", full)
        watching.spread()
    assert [(each["event"], each["code"]) for each in logs] == [
        ("columns_not_spread", "storage_full")
    ]
    written.clear()
    watching.spread()
    assert written == list(range(RECORDS))
    check(filled, tallies)


def test_a_sum_on_a_full_disk_is_refused_as_that(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(Refusal) as refused:
        filled.sums(filled.tallies())
    assert (refused.value.code, refused.value.field) == ("storage_full", "disk")


def test_columns_leave_room_on_the_disk_for_the_journal(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They can be laid out again; an erasure has to be noted, and wiped, whatever came in before."""
    size = 2 * len(VALUES[0]) * columns.SEGMENT_ROWS * 64

    def left(_: object) -> SimpleNamespace:
        return SimpleNamespace(free=free)

    monkeypatch.setattr(columns.shutil, "disk_usage", left)
    free = size + columns.SPARE_BYTES - 1
    with pytest.raises(Refusal) as refused:
        filled.tallies().spread()
    assert refused.value.code == "storage_full"
    assert not any((filled.folder / FOLDER).rglob("*.columns"))
    free += 1
    assert filled.tallies().spread()


def test_what_keeps_one_folder_from_being_laid_out_keeps_no_other(
    filled: Filled, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, other = Journal.open(filled.folder), RECORDS - 1
    with journal.writing() as session:  # a folder of its own, which is looked at first
        row = update(TallyRow).where(TallyRow.commitment == filled.commitments[other])
        session.execute(row.values(folder="0", row=0))
    real = column_folders.ColumnFolders._store

    def store(self: column_folders.ColumnFolders, name: str, count: int) -> ColumnStore:
        if name == "0":
            raise OSError(errno.EIO, "Input/output error")
        return real(self, name, count)

    monkeypatch.setattr(column_folders.ColumnFolders, "_store", store)
    with pytest.raises(Refusal) as refused:
        filled.tallies().spread()
    assert refused.value.code == "storage_unavailable"
    assert written == list(range(RECORDS - 1))


def test_cells_of_a_folder_that_is_made_anew_are_overwritten_first(filled: Filled) -> None:
    tallies = filled.tallies()
    assert tallies.spread()
    (path,) = (filled.folder / FOLDER).rglob("0.columns")
    held = filled.folder / "held"
    held.hardlink_to(path)  # what stays of a file that is only unlinked
    assert any(held.read_bytes())
    (path.parent / "layout").write_bytes(b"of another library")
    again = filled.tallies()
    with capture_logs() as logs:
        check(filled, again)
    assert [each["event"] for each in logs] == ["columns_of_another_layout"]
    assert not any(held.read_bytes())


def test_a_segment_that_was_cut_short_is_laid_out_anew(filled: Filled, written: list[int]) -> None:
    assert filled.tallies().spread()
    (path,) = (filled.folder / FOLDER).rglob("0.columns")
    whole, held = path.read_bytes(), filled.folder / "held"
    for left in (len(whole) - 1, 0):
        held.unlink(missing_ok=True)
        held.hardlink_to(path)
        with path.open("r+b") as file:
            file.truncate(left)
        written.clear()
        tallies = filled.tallies()
        with capture_logs() as logs:
            assert tallies.spread()
        assert [(each["event"], each["segment"]) for each in logs] == [("columns_cut_short", 0)]
        check(filled, tallies)
        assert written == list(range(RECORDS))
        assert path.read_bytes() == whole
        assert not any(held.read_bytes())


def test_what_is_erased_of_a_segment_that_was_cut_short_needs_no_room(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert filled.tallies().spread()
    (path,) = (filled.folder / FOLDER).rglob("0.columns")
    held = filled.folder / "held"
    held.hardlink_to(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    monkeypatch.setattr(columns, "SPARE_BYTES", 1 << 60)
    filled.tallies()._columns.erase(path.parent.name, 0)
    assert not path.exists()
    assert not any(held.read_bytes())


@pytest.mark.parametrize("spoilt", ["another layout", "no layout"])
def test_what_is_erased_of_a_folder_that_cannot_be_read_is_overwritten(
    filled: Filled, spoilt: str
) -> None:
    assert filled.tallies().spread()
    (path,) = (filled.folder / FOLDER).rglob("0.columns")
    held, layout = filled.folder / "held", path.parent / "layout"
    held.hardlink_to(path)
    layout.unlink()
    if spoilt == "another layout":
        layout.write_bytes(b"\0\0\0\3 of another library")
    with capture_logs() as logs:
        filled.tallies()._columns.erase(path.parent.name, 0)
    assert [each["event"] for each in logs] == ["columns_of_another_layout"]
    assert not any(held.read_bytes())


def test_a_passing_fault_throws_no_folder_away(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert filled.tallies().spread()
    (path,) = (filled.folder / FOLDER).rglob("0.columns")

    def crowded(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(ColumnStore, "existing", crowded)
        with pytest.raises(OSError, match="Too many"):
            filled.tallies()._columns.erase(path.parent.name, 0)
    assert path.exists()
    check(filled, filled.tallies())


# --- after a crash

DYING = """
import os, signal, sys
from pathlib import Path
from marketplace.custodian import column_folders
from marketplace.custodian.journal import Journal
from marketplace.custodian.tallies import Tallies
from ml.homomorphic.columns import ColumnStore
from tests.support.filled_journal import NOBODY_ASKS

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

folder, after = Path(sys.argv[1]), sys.argv[2]
tallies = Tallies(NOBODY_ASKS, Journal.open(folder), folder)
assert not tallies.spread(until=0)
if after == "write":
    column_folders.RowMarks.put = die
elif after == "some columns":
    import ml.homomorphic.columns as columns
    def half(points):  # what a kill within the copy leaves
        points[len(points) // 2 :, column_folders.AT_ONCE :] = 0
        die()
    columns._flush = half
else:
    put, marked = column_folders.RowMarks.put, []
    def one(self, row, commitment):
        put(self, row, commitment)
        marked.append(row)
        if len(marked) == 3:
            die()
    column_folders.RowMarks.put = one
tallies.spread()
"""


@pytest.mark.parametrize("after", ["write", "some columns", "some marks"])
def test_a_kill_between_write_and_mark_leaves_right_sums(
    filled: Filled, written: list[int], after: str
) -> None:
    command = [sys.executable, "-c", DYING, str(filled.folder), after]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    tallies = filled.tallies()
    check(filled, tallies)  # the request comes first
    first = AT_ONCE + 3 * (after == "some marks")
    assert written == list(range(first, RECORDS))
    assert tallies.spread()
    check(filled, filled.tallies())


def test_rows_that_hold_other_records_are_written_again(filled: Filled, tmp_path: Path) -> None:
    """A folder and a journal restored from different backups."""
    filled.tallies().spread()
    other = fill(tmp_path / "other", RECORDS, VALUES[::-1], **SMALL)
    moved = other.folder / FOLDER
    assert other.tallies().spread()
    (own,), (theirs,) = (filled.folder / FOLDER).iterdir(), moved.iterdir()
    for path in theirs.iterdir():
        path.write_bytes((own / path.name).read_bytes())
    marks = theirs / "commitments"
    marks.write_bytes(bytes(byte ^ 1 for byte in marks.read_bytes()))
    tallies = other.tallies()
    assert tallies.spread()
    check(other, tallies)


# --- memory

CHILD = """
import sys, threading
from pathlib import Path
from marketplace.chain.views import Stored
from marketplace.custodian.journal import Journal
from marketplace.custodian.tallies import Tallies
from tests.support.filled_journal import DATASET, NOBODY_ASKS

folder, records, key = Path(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3])
from eth_utils.crypto import keccak

def anonymous():
    for line in open("/proc/self/smaps_rollup"):
        if line.startswith("Anonymous:"):
            return 1024 * int(line.split()[1])

tallies = Tallies(NOBODY_ASKS, Journal.open(folder), folder)
forms = [{0: 1}]
def added(some):
    assert tallies.missing(some, key) == []
    return tallies.sums(DATASET, key, some, forms)
added([keccak(at.to_bytes(8, "big")) for at in range(512)])  # what is loaded once
before = anonymous()
cohort = [
    Stored(f"0x{at:040x}", keccak(at.to_bytes(8, "big")), f"0x{at:040x}", 1)
    for at in range(records)
]
commitments = [each.commitment for each in cohort]
listed = anonymous()
most, done = [0], threading.Event()
def watch():
    while not done.wait(0.002):
        most.append(anonymous())
watching = threading.Thread(target=watch)
watching.start()
added(commitments)
most.append(anonymous())
done.set()
watching.join()
print(listed - before, max(most) - listed)
"""
A_PATIENT = 500
"""Bytes of a member's addresses and commitment, which every custodian has to know together."""
A_ROW = 60
"""Bytes of numbers of rows, while they are added up."""
CACHE = 1 << 20
"""Of SQLite, which keeps 2 MB of pages, however large the journal: the smaller one fills half of it."""


def test_memory_of_a_sum_does_not_grow_with_the_cohort(tmp_path: Path) -> None:
    """Ten times the cohort, and the same memory but for the list of its members and the numbers of their
    rows: neither headers (here 1.5 KB each) nor columns of more than a page of records are held.
    """
    few, many = 1_024, 10_240
    filled = fill(tmp_path, many, [[1], [2]], proof=10)
    assert filled.tallies().spread()
    own, listed = {}, {}
    for records in (few, many):
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(records)]
        done = subprocess.run(
            [*command, filled.public_key.hex()], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        listed[records], own[records] = map(int, done.stdout.split())
    more = many - few
    assert listed[many] - listed[few] <= A_PATIENT * more
    assert own[many] - own[few] <= A_ROW * more + CACHE
