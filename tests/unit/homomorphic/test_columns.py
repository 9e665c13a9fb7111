"""Rules of the column store: sums are those of the records, and nothing zeroed is ever added."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ml.homomorphic.columns import SEGMENT_ROWS, ColumnStore, LayoutChanged
from ml.homomorphic.curve import NotAPoint, Points, times_base
from ml.homomorphic.elgamal import draw_randomness, encrypt

SECRET = 77
PUBLIC = times_base(SECRET)
COLUMNS = 3
ROWS = [0, 1, 2, 3, SEGMENT_ROWS - 1, SEGMENT_ROWS, SEGMENT_ROWS + 5]


def encrypted(values: list[int]) -> bytes:
    return encrypt(values, draw_randomness(len(values)), PUBLIC)


class Book:
    """A store, and what is in it in the clear."""

    def __init__(self, folder: Path) -> None:
        self.store = ColumnStore(folder, COLUMNS)
        self.values: dict[int, list[int]] = {}

    def write(self, row: int) -> bytes:
        self.values[row] = [random.randrange(-50, 1000) for _ in range(COLUMNS)]
        columns = encrypted(self.values[row])
        self.store.write(row, columns)
        return columns

    def check(self, rows: list[int], columns: tuple[int, ...] = (0, 1, 2)) -> None:
        for column, found in zip(columns, self.store.sum(columns, rows), strict=True):
            true = sum(self.values[row][column] for row in rows)
            assert found.value - found.key * SECRET == times_base(true)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    made = Book(tmp_path / "columns")
    for row in ROWS:
        made.write(row)
    return made


def test_a_sum_is_that_of_the_rows_named_in_any_order_over_all_segments(book: Book) -> None:
    for rows in (ROWS, ROWS[::-1], ROWS[2:5], ROWS[:1], []):
        book.check(list(rows))
    book.check(ROWS, (2,))
    book.check(ROWS, (1, 0))


def test_cohorts_one_after_another_are_each_summed_right(book: Book) -> None:
    """Sums of the last cohort are kept, and only what differs is added or taken away."""
    for _ in range(25):
        book.check(random.sample(ROWS, random.randrange(len(ROWS) + 1)))
    book.store.erase(1)
    book.write(1)
    book.check(ROWS)


def test_a_cohort_that_differs_by_one_adds_one(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    book.check(ROWS)
    added: list[int] = []
    whole = Points.sum

    def counted(self: Points, rows: np.ndarray) -> object:
        added.append(rows.size)
        return whole(self, rows)

    monkeypatch.setattr(Points, "sum", counted)
    book.store.sum([0], ROWS[:-1])
    assert sum(added) == 2  # A and B of the one that left
    added.clear()
    book.store.sum([0], ROWS[:-1])
    assert sum(added) == 0


def test_what_was_written_is_read_again_also_by_another_process(book: Book, tmp_path: Path) -> None:
    columns = book.write(9)
    assert book.store.read(9) == columns
    book.store.close()
    other = ColumnStore(tmp_path / "columns", COLUMNS)
    assert other.read(9) == columns
    book.store = other
    book.check(ROWS)


@pytest.mark.parametrize("row", [7, SEGMENT_ROWS + 1, 10 * SEGMENT_ROWS, -1])
def test_a_row_that_holds_nothing_is_never_added(book: Book, row: int) -> None:
    with pytest.raises(KeyError):
        book.store.sum([0], [0, row])


def test_an_erased_row_is_gone_from_the_file_and_from_every_sum(book: Book, tmp_path: Path) -> None:
    memory = Points.parse(book.store.read(2)).memory
    book.check(ROWS)
    book.store.erase(2)
    for each in (book.store, ColumnStore(tmp_path / "columns", COLUMNS)):
        with pytest.raises(KeyError):
            each.sum([0], [2])
        with pytest.raises(KeyError):
            each.read(2)
    raw = (tmp_path / "columns" / "0.columns").read_bytes()
    assert all(point.tobytes() not in raw for point in memory)
    book.check([row for row in ROWS if row != 2])


def test_a_row_is_written_once(book: Book) -> None:
    with pytest.raises(ValueError, match="holds a record"):
        book.store.write(0, encrypted([1, 2, 3]))


def test_several_records_are_brought_to_disk_together(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look at the whole mapping for each segment: with one a record, ten thousand took minutes."""
    flushed: list[int] = []
    real = np.memmap.flush

    def flush(self: np.memmap) -> None:
        flushed.append(1)
        real(self)

    monkeypatch.setattr(np.memmap, "flush", flush)
    several = {row: [row, -row, 7] for row in (SEGMENT_ROWS + 9, 11, 10, SEGMENT_ROWS + 8, 12)}
    book.store.write_many({row: encrypted(values) for row, values in several.items()})
    assert len(flushed) == 2
    book.values |= several
    book.check([*ROWS, *several])
    book.store = ColumnStore(tmp_path / "columns", COLUMNS)
    book.check([*ROWS, *several])
    flushed.clear()
    book.store.erase_many(several)
    assert len(flushed) == 2
    assert not any(map(book.store.holds, several))
    book.check(ROWS)


def test_of_several_records_with_a_bad_one_none_is_written(book: Book) -> None:
    good = encrypted([1, 2, 3])
    for row, bad in ((21, good[:-66]), (21, good[:-1] + b"\0" * 34), (3, good), (-1, good)):
        with pytest.raises(ValueError, match=r"number of columns|holds a record|count from 0"):
            book.store.write_many({20: good, row: bad})
        assert not book.store.holds(20)


def test_a_record_that_comes_in_leaves_the_sums_that_are_kept(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.check(ROWS)
    book.write(30)
    added: list[int] = []
    whole = Points.sum

    def counted(self: Points, rows: np.ndarray) -> object:
        added.append(rows.size)
        return whole(self, rows)

    monkeypatch.setattr(Points, "sum", counted)
    book.check([*ROWS, 30])
    assert sum(added) == 2 * COLUMNS  # A and B of the one that came


@pytest.mark.parametrize("rows", [[0, 0], [1, 2, 1]])
def test_a_repeated_row_is_refused(book: Book, rows: list[int]) -> None:
    with pytest.raises(ValueError, match="once"):
        book.store.sum([0], rows)


@pytest.mark.parametrize("columns", [[-1], [COLUMNS], [0, 99]])
def test_a_column_that_is_not_there_is_refused(book: Book, columns: list[int]) -> None:
    with pytest.raises(KeyError):
        book.store.sum(columns, [0])


def test_what_are_no_points_is_not_kept(book: Book) -> None:
    with pytest.raises(NotAPoint):
        book.store.write(20, encrypted([1, 2, 3])[:-33] + b"\x02" + b"\xff" * 32)
    with pytest.raises(ValueError, match="number of columns"):
        book.store.write(20, encrypted([1, 2]))
    with pytest.raises(ValueError, match="count from 0"):
        book.store.write(-1, encrypted([1, 2, 3]))
    with pytest.raises(KeyError):
        book.store.sum([0], [20])


def test_a_folder_of_another_layout_is_refused(book: Book, tmp_path: Path) -> None:
    with pytest.raises(LayoutChanged):
        ColumnStore(tmp_path / "columns", COLUMNS + 1)
    mark = tmp_path / "columns" / "layout"
    mark.write_bytes(mark.read_bytes()[:-1] + b"\x00")
    with pytest.raises(LayoutChanged):
        ColumnStore(tmp_path / "columns", COLUMNS)


def test_stray_bytes_in_an_empty_row_do_not_make_it_a_record(book: Book, tmp_path: Path) -> None:
    """libsecp256k1 ends the process over a point whose x is 0, whatever its y is."""
    path = tmp_path / "columns" / "0.columns"
    with path.open("r+b") as file:
        for column in range(2 * COLUMNS):
            file.seek((column * SEGMENT_ROWS + 50) * 64 + 40)
            file.write(b"\x01")
    other = ColumnStore(tmp_path / "columns", COLUMNS)
    with pytest.raises(KeyError):
        other.sum([0], [50])


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    """The space of a segment is taken when it is made: no mapped page can be without it later."""
    code = (
        "import resource, sys; from pathlib import Path;"
        "from ml.homomorphic.columns import ColumnStore;"
        "from tests.unit.homomorphic.test_columns import encrypted;"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "store = ColumnStore(Path(sys.argv[1]), 3); columns = encrypted([1, 2, 3]);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));\n"
        "try:\n    store.write(0, columns)\nexcept OSError:\n    print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "full")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, "refused"), done.stderr
    assert [each.name for each in (tmp_path / "full").iterdir()] == ["layout"]
