"""Every value of a range is found, and nothing beside it."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.homomorphic import logarithm
from ml.homomorphic.curve import INFINITY, ORDER, Point, times_base
from ml.homomorphic.logarithm import MOST_BITS, OutOfRange, Table, TableDamaged
from tests.support.tallying import flip

TABLES = {size: Table.build(size) for size in range(1, 71)}
KNOWN = {value: times_base(value) for value in range(-320, 321)}


def on_points(values: range | list[int]) -> list[Point]:
    return [KNOWN.get(value) or times_base(value) for value in values]


@pytest.mark.parametrize("size", TABLES)
def test_a_table_of_any_size_finds_every_value_near_its_edges(size: int) -> None:
    """About 0, +-size, and one and two giant steps: where one step hands on to the next."""
    stride = 2 * size + 1
    near = {
        edge + by for edge in (0, size, -size, stride, -stride, 2 * stride) for by in (-1, 0, 1)
    }
    values = sorted(near)
    assert TABLES[size].find(on_points(values), values[0], values[-1]) == values


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 31, 32, 33, 64, 70])
@pytest.mark.parametrize(("low", "high"), [(0, 60), (-60, 0), (-37, 41), (50, 99), (-99, -50)])
def test_every_value_of_a_range_is_found_and_its_neighbours_are_not(
    size: int, low: int, high: int
) -> None:
    values = list(range(low, high + 1))
    assert TABLES[size].find(on_points(values), low, high) == values
    for outside in (low - 1, high + 1, low - 150, high + 150):
        with pytest.raises(OutOfRange, match="point 0"):
            TABLES[size].find(on_points([outside]), low, high)


@given(
    st.sampled_from(sorted(TABLES)),
    st.integers(-(2**60), 2**60),
    st.integers(0, 3000),
    st.data(),
)
@settings(max_examples=60)
def test_a_value_is_found_wherever_its_range_lies(
    size: int, low: int, width: int, data: st.DataObject
) -> None:
    value = data.draw(st.sampled_from([low, low + width]) | st.integers(low, low + width))
    assert TABLES[size].find([times_base(value)], low, low + width) == [value]


@pytest.mark.parametrize("value", [-9, 0, 4])
def test_a_range_of_one_value_has_that_value(value: int) -> None:
    assert TABLES[3].find(on_points([value]), value, value) == [value]
    with pytest.raises(OutOfRange):
        TABLES[3].find(on_points([value + 1]), value, value)


@pytest.mark.parametrize("size", [1, 5, 64])
@pytest.mark.parametrize(("low", "high"), [(0, 0), (-7, 7), (-300, 0), (0, 300), (-1000, 555)])
def test_the_point_at_infinity_is_zero(size: int, low: int, high: int) -> None:
    assert TABLES[size].find([INFINITY], low, high) == [0]


@pytest.mark.parametrize(("low", "high"), [(1, 50), (-50, -1)])
def test_the_point_at_infinity_is_not_in_a_range_without_zero(low: int, high: int) -> None:
    with pytest.raises(OutOfRange):
        TABLES[5].find([INFINITY], low, high)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_looks_into_the_table_after_any_number_of_steps_find_the_same(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values that a look ends at, and those whose walk passes the point at infinity."""
    monkeypatch.setattr(logarithm, "_STEPS", steps)
    table = Table.build(7)
    assert np.array_equal(table.keys, TABLES[7].keys)
    values = list(range(-100, 101))
    assert table.find(on_points(values), -100, 100) == values


@pytest.mark.parametrize("position", [0, 2, 4])
def test_what_is_out_of_range_is_named_by_its_place(position: int) -> None:
    values = [1, 2, 3, 4, 5]
    values[position] = 51
    with pytest.raises(OutOfRange, match=f"point {position} ") as refusal:
        TABLES[5].find(on_points(values), -50, 50)
    assert refusal.value.position == position
    values[-1] = -51
    with pytest.raises(OutOfRange, match=f"point {position} "):  # the first of them
        TABLES[5].find(on_points(values), -50, 50)


def test_a_point_with_no_small_logarithm_is_out_of_range() -> None:
    for value in (2**200, ORDER // 2, ORDER // 3):
        with pytest.raises(OutOfRange):
            TABLES[70].find([times_base(value)], -5000, 5000)


def test_values_count_modulo_the_order() -> None:
    assert TABLES[5].find([times_base(ORDER - 3)], -5, 5) == [-3]


@pytest.mark.parametrize(("low", "high"), [(1, 0), (0, 1 << MOST_BITS), (-(1 << 39), 1 << 39)])
def test_a_range_that_is_empty_or_too_wide_is_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="a range has"):
        TABLES[5].find(on_points([0]), low, high)


def test_a_range_may_be_as_wide_as_the_documentation_says() -> None:
    assert TABLES[5].find(on_points([3]), 1, 1 << MOST_BITS) == [3]


@pytest.mark.parametrize("size", [0, -1, logarithm.LARGEST_TABLE + 1])
def test_a_table_of_no_points_or_too_many_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="a table has"):
        Table.build(size)


def test_no_points_have_no_logarithms() -> None:
    assert TABLES[5].find([], 0, 10) == []


# --- marks: only the upper bits of x are kept


def test_a_mark_that_several_share_finds_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As though x coordinates agreed in all bits that are kept: every hit is checked against its point."""
    honest = logarithm._marks
    monkeypatch.setattr(logarithm, "_marks", lambda memory: honest(memory) & np.uint64(3 << 62))
    table = Table.build(40)
    values = list(range(-90, 91))
    assert table.find(on_points(values), -90, 90) == values
    with pytest.raises(OutOfRange):
        table.find(on_points([91]), -90, 90)


@pytest.mark.parametrize("size", [1, 6, 63, 64, 70])
def test_a_table_holds_each_of_its_points_once(size: int) -> None:
    keys = TABLES[size].keys
    indices = keys & np.uint64((1 << size.bit_length()) - 1)
    assert sorted(indices.tolist()) == list(range(1, size + 1))
    assert (np.diff(keys.astype(object)) > 0).all()


# --- kept tables


def test_a_kept_table_is_the_one_that_was_built(tmp_path: Path) -> None:
    path = tmp_path / "table"
    TABLES[33].save(path)
    loaded = Table.load(path)
    assert loaded.size == 33
    assert np.array_equal(loaded.keys, TABLES[33].keys)
    assert loaded.find(on_points([-55]), -60, 60) == [-55]
    TABLES[9].save(path)  # in place of the other, and nothing is left beside it
    assert Table.load(path).size == 9
    assert [each.name for each in tmp_path.iterdir()] == ["table"]


def test_a_table_is_kept_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table"
    TABLES[9].save(path)

    def stopped(file: int) -> None:
        os.ftruncate(file, 100)
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", stopped)
    with pytest.raises(OSError, match="no space"):
        TABLES[33].save(path)
    assert Table.load(path).size == 9
    assert [each.name for each in tmp_path.iterdir()] == ["table"]


def test_what_killed_builds_left_is_cleared_away_and_what_is_being_written_is_not(
    tmp_path: Path,
) -> None:
    left, written, other = (tmp_path / name for name in ("1.7.part", "1.8.part", "a.part"))
    for path in (left, written, other):
        path.write_bytes(b"half of it")
    for path in (left, other):
        os.utime(path, (0, 0))
    TABLES[9].save(tmp_path / "table")
    assert {each.name for each in tmp_path.iterdir()} == {"1.8.part", "a.part", "table"}


def kept(tmp_path: Path) -> tuple[Path, bytes]:
    path = tmp_path / "table"
    TABLES[20].save(path)
    return path, path.read_bytes()


def test_every_flipped_bit_of_a_kept_table_is_refused(tmp_path: Path) -> None:
    path, raw = kept(tmp_path)
    for byte in range(len(raw)):
        for bit in range(8):
            path.write_bytes(flip(raw, byte, bit))
            with pytest.raises(TableDamaged, match="table"):
                Table.load(path)


def test_a_table_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path, raw = kept(tmp_path)
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(TableDamaged, match="table"):
            Table.load(path)


@pytest.mark.parametrize(
    "raw", [b"", bytes(500), b"PK\x03\x04" + bytes(400), b"\x93NUMPY\x01\x00v\x00{"]
)
def test_another_file_is_no_table(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "table"
    path.write_bytes(raw)
    with pytest.raises(TableDamaged, match="table"):
        Table.load(path)


def test_a_table_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Table.load(tmp_path / "none")


# --- several processes


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logarithm, "_WORTH_PROCESSES", 1)


def test_several_processes_find_what_one_finds(at_once: None) -> None:
    drawn = random.Random(7)
    values = [drawn.randrange(-20_000, 20_000) for _ in range(20)] + [0]
    listed = on_points(values)
    assert TABLES[64].find(listed, -20_000, 20_000, processes=2) == values
    assert TABLES[64].find(listed, -20_000, 20_000) == values


def test_several_processes_name_the_first_that_is_out_of_range(at_once: None) -> None:
    with pytest.raises(OutOfRange) as refusal:
        TABLES[64].find(on_points([1, 20, 5000, 3, -5000]), -1000, 1000, processes=2)
    assert refusal.value.position == 2


def test_few_steps_start_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(logarithm, "ProcessPoolExecutor", never)
    assert TABLES[5].find(on_points([1, 2]), 0, 9, processes=8) == [1, 2]


def test_tables_searched_at_once_are_not_mixed_up(at_once: None) -> None:
    """Each pool has its own: threads that answer two requests share nothing."""
    with ThreadPoolExecutor(2) as threads:
        jobs = [
            threads.submit(TABLES[size].find, on_points([-90, 7, 90]), -90, 90, processes=2)
            for size in (7, 64, 7, 64)
        ]
        assert [job.result() for job in jobs] == [[-90, 7, 90]] * 4
