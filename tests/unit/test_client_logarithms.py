"""Rules of the tables that sums are opened with: built once, kept whole or not at all, never trusted."""

from pathlib import Path
from threading import Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.client import logarithms
from marketplace.client.logarithms import (
    LEAST_BITS,
    MOST_BITS,
    MUCH_LARGER,
    Logarithms,
    cache_folder,
    table_bits,
)
from ml.homomorphic.curve import times_base
from ml.homomorphic.logarithm import OutOfRange, Table

SMALL = (-50, 50)
SMALLEST = f"logarithms-{LEAST_BITS}.bin"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    Table.build(1 << LEAST_BITS).save(folder / SMALLEST)
    return folder


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of tables that are built from here on."""
    sizes: list[int] = []
    real = Table.build

    def build(size: int) -> Table:
        sizes.append(size)
        return real(size)

    monkeypatch.setattr(Table, "build", staticmethod(build))
    return sizes


# --- where


def test_tables_lie_below_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/else")
    assert cache_folder() == Path("/somewhere/else/usufruct")
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_folder() == Path.home() / ".cache" / "usufruct"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "usufruct"


# --- how large


@given(st.lists(st.integers(0, (1 << 40) - 1), min_size=1, max_size=64))
def test_a_table_is_as_large_as_building_and_searching_together_are_quick(spans: list[int]) -> None:
    bits = table_bits([(0, span) for span in spans])
    assert LEAST_BITS <= bits <= MOST_BITS
    steps = sum(span // (2 << bits) for span in spans)
    if LEAST_BITS < bits < MOST_BITS:
        assert steps <= 2 << bits
        assert sum(spans) > 1 << (2 * bits - 2)


def test_small_ranges_do_not_wait_for_a_large_table() -> None:
    assert table_bits([SMALL]) == LEAST_BITS
    assert table_bits([(0, 1 << 24)] * 4) <= 13
    assert table_bits([(0, (1 << 40) - 1)] * 64) <= MOST_BITS


# --- what is found


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(-(10**6), 10**6), st.integers(0, 999)), min_size=1))
def test_each_point_is_looked_for_in_its_own_range(
    kept: Path, drawn: list[tuple[int, int]]
) -> None:
    values = [value for value, _ in drawn]
    ranges = [(value - room, value + 999 - room) for value, room in drawn]
    found = Logarithms(kept, processes=1).find([times_base(each) for each in values], ranges)
    assert found == values


def test_a_point_outside_its_range_is_named_by_its_own_position(kept: Path) -> None:
    points = [times_base(each) for each in (60, 5, 51, 7)]
    with pytest.raises(OutOfRange) as outside:
        Logarithms(kept).find(points, [(0, 99), SMALL, SMALL, SMALL])
    assert outside.value.position == 2


# --- what is kept


def test_a_table_is_built_once_and_kept(tmp_path: Path, built: list[int]) -> None:
    folder = tmp_path / "deep" / "usufruct"
    for value in (-3, 4):
        assert Logarithms(folder).find([times_base(value)], [SMALL]) == [value]
    assert built == [1 << LEAST_BITS]
    assert [each.name for each in folder.iterdir()] == [SMALLEST]
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("more", "serves"), [(1, True), (MUCH_LARGER, True), (5, False)])
def test_a_somewhat_larger_table_serves_as_well_and_a_huge_one_is_not_read(
    tmp_path: Path, built: list[int], more: int, serves: bool
) -> None:
    bits = LEAST_BITS + more
    Table.build(1 << bits).save(tmp_path / f"logarithms-{bits}.bin")
    assert Logarithms(tmp_path).find([times_base(4)], [SMALL]) == [4]
    assert built == ([1 << bits] if serves else [1 << bits, 1 << LEAST_BITS])


def damaged(path: Path, how: str) -> None:
    whole = path.read_bytes()
    bent = bytearray(whole)
    bent[-1] ^= 1
    content = {"flipped": bytes(bent), "cut": whole[:-9], "empty": b"", "text": b"not a table"}
    path.write_bytes(content[how])


@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "text"])
def test_a_damaged_table_is_built_again_with_a_note(
    tmp_path: Path, built: list[int], how: str
) -> None:
    heard: list[str] = []
    cache = Logarithms(tmp_path, told=heard.append)
    cache.find([times_base(4)], [SMALL])
    damaged(tmp_path / SMALLEST, how)
    assert cache.find([times_base(4)], [SMALL]) == [4]
    assert heard == [f"{tmp_path / SMALLEST} is damaged; it is built again."]
    assert built == [1 << LEAST_BITS] * 2
    assert cache.find([times_base(5)], [SMALL]) == [5]
    assert len(built) == 2


def test_a_table_of_another_size_than_its_name_says_is_built_again(
    tmp_path: Path, built: list[int]
) -> None:
    Table.build(100).save(tmp_path / SMALLEST)
    assert Logarithms(tmp_path).find([times_base(4)], [SMALL]) == [4]
    assert built == [100, 1 << LEAST_BITS]


def test_nobody_is_accused_by_a_table_that_was_tampered_with(tmp_path: Path) -> None:
    """With a good digest: only a table that is built anew says that a point has no logarithm."""
    true = Table.build(1 << LEAST_BITS)
    Table(true.size, true.keys ^ true.keys.dtype.type(1 << 60)).save(tmp_path / SMALLEST)
    assert Logarithms(tmp_path).find([times_base(4)], [SMALL]) == [4]
    assert Table.load(tmp_path / SMALLEST).keys.tolist() == true.keys.tolist()


def test_where_nothing_can_be_kept_the_answer_is_found_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    heard: list[str] = []
    cache = Logarithms(tmp_path / "file" / "usufruct", told=heard.append)
    assert cache.find([times_base(4)], [SMALL]) == [4]
    (said,) = heard
    assert said.startswith("The table could not be kept in ")


def test_threads_build_one_table(tmp_path: Path, built: list[int]) -> None:
    caches = [Logarithms(tmp_path) for _ in range(4)]
    threads = [Thread(target=each.find, args=([times_base(4)], [SMALL])) for each in caches]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert built == [1 << LEAST_BITS]


def test_what_takes_long_is_said_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    Logarithms(tmp_path, told=heard.append).find([times_base(4)], [SMALL])
    assert heard == []
    monkeypatch.setattr(logarithms, "PATIENCE_SECONDS", 0.0)
    Logarithms(tmp_path / "other", told=heard.append).find([times_base(4)], [SMALL])
    first, second = heard
    assert first.startswith("Building a table of logarithms: about 1 second. It is kept in ")
    assert second.startswith("Looking for the sums: about 1 second.")
