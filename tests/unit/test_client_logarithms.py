"""Rules of the tables that sums are opened with: built once, kept whole or not at all, never trusted."""

import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.client import logarithms
from marketplace.client.logarithms import (
    LEAST_BITS,
    MOST_BITS,
    Logarithms,
    NoRoom,
    cache_folder,
    seconds_of,
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

    def build(size: int, advance: Callable[[int], None] | None = None) -> Table:
        sizes.append(size)
        return real(size, advance)

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


@pytest.mark.parametrize(("more", "serves"), [(1, True), (3, True), (5, False)])
def test_a_larger_table_serves_as_well_unless_reading_it_takes_longer_than_building_the_other(
    tmp_path: Path, built: list[int], monkeypatch: pytest.MonkeyPatch, more: int, serves: bool
) -> None:
    bits = LEAST_BITS + more
    monkeypatch.setattr(logarithms, "READ_SECONDS", logarithms.STEP_SECONDS / 16)
    Table.build(1 << bits).save(tmp_path / f"logarithms-{bits}.bin")
    assert Logarithms(tmp_path).find([times_base(4)], [SMALL]) == [4]
    assert built == ([1 << bits] if serves else [1 << bits, 1 << LEAST_BITS])


@pytest.fixture
def few_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of 16 to 1,024 points, with times as of those that are really used."""
    monkeypatch.setattr(logarithms, "LEAST_BITS", 4)
    monkeypatch.setattr(logarithms, "MOST_BITS", 10)


WIDE = [(-(1 << 13), (1 << 13) - 1)] * 16


@pytest.mark.usefixtures("few_bits")
def test_the_largest_table_that_is_kept_serves_the_widest_answer(
    tmp_path: Path, built: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although a smaller one, which such an answer has built by itself, is kept too."""
    cache = Logarithms(tmp_path, processes=1)
    values = [at * 1000 - 8000 for at in range(16)]
    points = [times_base(value) for value in values]
    assert cache.find(points, WIDE) == values
    (own,) = built
    assert own < 1 << 10
    assert cache.prepare(10)
    used: list[int] = []
    real = Table.find

    def find(self: Table, *given: Any) -> list[int]:
        used.append(self.size)
        return real(self, *given)

    monkeypatch.setattr(Table, "find", find)
    assert cache.find(points, WIDE) == values
    assert used == [1 << 10]
    assert built == [own, 1 << 10]


def test_of_64_sums_of_the_widest_range_the_largest_table_is_worth_its_reading() -> None:
    widest = [(-(1 << 39), (1 << 39) - 1)] * 64
    wanted = table_bits(widest)
    seconds = {bits: seconds_of(bits, widest, kept=True) for bits in range(wanted, MOST_BITS + 1)}
    assert min(seconds, key=seconds.__getitem__) == MOST_BITS == 26
    assert seconds[MOST_BITS] < seconds_of(wanted, widest, kept=False)


@pytest.mark.usefixtures("few_bits")
def test_a_table_is_prepared_once_and_says_before_it_begins_how_long_and_how_large(
    tmp_path: Path, built: list[int]
) -> None:
    heard: list[str] = []
    advanced: list[int] = []
    cache = Logarithms(tmp_path / "deep", told=heard.append)
    assert cache.prepare(9, lambda more: advanced.append(more))
    assert heard == [
        "Building a table of logarithms: about 1 second. It takes 4,096 bytes and is kept in "
        f"{tmp_path / 'deep'}."
    ]
    assert sum(advanced) == 512
    assert not cache.prepare(9)
    assert built == [512]
    (tmp_path / "deep" / "logarithms-9.bin").write_bytes(b"not a table")
    assert cache.prepare(9)
    assert built == [512, 512]
    for bits in (3, 11):
        with pytest.raises(ValueError, match=r"2\^4 to 2\^10"):
            cache.prepare(bits)


@pytest.mark.usefixtures("few_bits")
def test_where_there_is_no_room_nothing_is_begun(
    tmp_path: Path, built: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 8 * 512 + logarithms.SPARE_BYTES - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(NoRoom) as refused:
        Logarithms(tmp_path).prepare(9)
    assert refused.value.facts == {"wanted": free + 1, "free": free}
    assert built == []
    assert Logarithms(tmp_path).prepare(8)


@pytest.mark.usefixtures("few_bits")
def test_who_interrupts_leaves_nothing_behind(tmp_path: Path, built: list[int]) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Logarithms(tmp_path).prepare(9, stop)
    assert list(tmp_path.iterdir()) == []
    assert Logarithms(tmp_path).prepare(9)
    assert built == [512, 512]


@pytest.mark.usefixtures("few_bits")
def test_a_larger_table_that_was_tampered_with_is_put_away(tmp_path: Path) -> None:
    """It would mislead every answer, each of which built another one."""
    true = Table.build(1 << 10)
    Table(true.size, true.keys ^ true.keys.dtype.type(1 << 60)).save(tmp_path / "logarithms-10.bin")
    heard: list[str] = []
    assert Logarithms(tmp_path, told=heard.append, processes=1).find(
        [times_base(4)], [WIDE[0]]
    ) == [4]
    assert heard == [f"{tmp_path / 'logarithms-10.bin'} is damaged; it is removed."]
    kept = [each.name for each in tmp_path.iterdir()]
    assert kept == [f"logarithms-{table_bits(WIDE[:1])}.bin"]


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
    assert heard == [f"{tmp_path / SMALLEST} is damaged; it is removed."]
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


def test_who_opens_many_answers_reads_the_table_once_and_again_only_if_its_file_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, real = list[str](), Table.load

    def load(path: Path) -> Table:
        read.append(path.name)
        return real(path)

    monkeypatch.setattr(Table, "load", staticmethod(load))
    monkeypatch.setattr(logarithms, "_READ", {})
    Logarithms(tmp_path).prepare(LEAST_BITS)
    for _ in range(3):
        assert Logarithms(tmp_path).find([times_base(7)], [SMALL]) == [7]
    assert read == [SMALLEST]
    Table.build(1 << LEAST_BITS).save(tmp_path / SMALLEST)
    assert Logarithms(tmp_path).find([times_base(-7)], [SMALL]) == [-7]
    assert read == [SMALLEST] * 2
    Logarithms(tmp_path / "other").prepare(LEAST_BITS)
    assert Logarithms(tmp_path / "other").find([times_base(7)], [SMALL]) == [7]
    # Of one size, the last: two of the largest would be a gigabyte.
    assert list(logarithms._READ) == [tmp_path / "other" / SMALLEST]


def test_a_small_table_that_is_read_leaves_the_large_one_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers of different ranges take turns, and the large one takes longest to read."""
    paths = [tmp_path / f"{size}" for size in range(3)]
    for size, path in enumerate(paths):
        Table.build(64 << size).save(path)
    monkeypatch.setattr(logarithms, "_READ", {})
    for path, left in ((0, [0]), (2, [2]), (1, [2, 1]), (0, [2, 1, 0]), (1, [2, 1, 0])):
        logarithms._read(paths[path])
        assert list(logarithms._READ) == [paths[each] for each in left]
    paths[1].write_bytes(paths[0].read_bytes())  # another one, now as small as the smallest
    logarithms._read(paths[1])
    assert list(logarithms._READ) == [paths[2], paths[1]]


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
    assert first.startswith("Building a table of logarithms: about 1 second. It takes 32,768 ")
    assert second.startswith("Looking for the sums: about 1 second.")
