"""Logarithms of opened sums, by a table that is built once and kept in the user's cache folder.

A table is i G for i = 1..T, public and the same for everybody: nothing in it is of any answer. Every
logarithm that it leads to is checked against its point, so one that was tampered with costs time and no more.
"""

from __future__ import annotations

import math
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from marketplace.errors import Refusal
from marketplace.wire.plain import counted
from ml.homomorphic.curve import Point
from ml.homomorphic.logarithm import OutOfRange, Table, TableDamaged

LEAST_BITS: Final = 12
"""Of a table's size: 4,096 points take 20 ms."""
MOST_BITS: Final = 26
"""0.5 GB and some minutes, once: no answer wants one so large by itself; `prepare` builds it."""
STEP_SECONDS: Final = 6e-6
"""One point of a table that is built, or one step of a search."""
READ_SECONDS: Final = 3e-8
"""One point of a table that is kept."""
POINT_BYTES: Final = 8
SPARE_BYTES: Final = 1 << 20
"""That a disk has to have beside the table."""
PATIENCE_SECONDS: Final = 2.0
"""What takes longer is said before it begins."""
_NAME: Final = "logarithms-{bits}.bin"

_BUILDING = threading.Lock()
"""One table at a time: threads that want the same one wait for it, and do not build it, too."""

_READ: dict[Path, tuple[tuple[int, int, int], Table]] = {}
"""Tables that were read, with their files' state then: who opens many answers reads each once."""

Told = Callable[[str], None]
Range = tuple[int, int]


def _unheard(_: str) -> None:
    """Where nobody listens."""


def cache_folder() -> Path:
    """Where tables are kept: below XDG_CACHE_HOME if that is an absolute path, else below ~/.cache (XDG Base
    Directory Specification).
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "usufruct"


def table_bits(ranges: Sequence[Range]) -> int:
    """The size of a table with which building and searching take about as long: T = sqrt(values / 2)."""
    values = sum(high - low + 1 for low, high in ranges)
    wanted = math.ceil(math.log2(max(2, values) / 2) / 2)
    return max(LEAST_BITS, min(MOST_BITS, wanted))


def steps_of(bits: int, ranges: Sequence[Range]) -> int:
    """How many steps a search in these ranges takes, by a table of this size."""
    stride = (2 << bits) + 1
    return sum((high - low) // stride + 1 for low, high in ranges)


def seconds_of(bits: int, ranges: Sequence[Range], kept: bool) -> float:
    """About how long it takes to find logarithms with a table that is read, or one that is built first."""
    a_point = READ_SECONDS if kept else STEP_SECONDS
    return a_point * (1 << bits) + STEP_SECONDS * steps_of(bits, ranges)


class NoRoom(Refusal):
    """A disk that cannot take the table."""

    CODE = "storage_full"


def _read(path: Path) -> Table:
    """A kept table, from memory where its file is as it was. Raises TableDamaged, OSError."""
    known = path.stat()
    state = (known.st_ino, known.st_size, known.st_mtime_ns)
    before = _READ.get(path)
    if before is not None and before[0] == state:
        return before[1]
    # First, and what is as large or smaller: so all together are less than twice the largest.
    for other, ((_, size, _), _) in list(_READ.items()):
        if other == path or size <= known.st_size:
            del _READ[other]
    table = Table.load(path)
    _READ[path] = state, table
    return table


@dataclass(frozen=True)
class Logarithms:
    """Finds logarithms. Safe for threads.

    told: hears what takes long, and what was the matter with a kept table.
    """

    folder: Path = field(default_factory=cache_folder)
    told: Told = _unheard
    processes: int = field(default_factory=lambda: os.cpu_count() or 1)

    def find(self, points: Sequence[Point], ranges: Sequence[Range]) -> list[int]:
        """The logarithm of each point, in the range of the same position.

        Raises OutOfRange, naming the first point that has none, by a table that was built just now: what is
        concluded of it is too grave for a file that somebody may have changed.
        """
        if len(points) != len(ranges):
            raise ValueError("each point has its own range")
        bits = table_bits(ranges)
        with _BUILDING:
            kept = self._kept(bits, ranges)
            table = self._built(bits) if kept is None else kept[1]
        try:
            return self._found(table, points, ranges)
        except OutOfRange:
            if kept is None:
                raise
        with _BUILDING:
            table = self._built(bits)
        found = self._found(table, points, ranges)
        if kept[0] != self._path(bits):
            self._put_away(kept[0])
        return found

    def prepare(self, bits: int, advance: Callable[[int], None] | None = None) -> bool:
        """Builds a table of 2^bits points and keeps it, for all answers from then on. Returns whether it was
        built: one that is kept, and whole, is left as it is.

        advance: hears of so many more points. Interrupted, it leaves nothing.

        Raises:
            ValueError: no size from LEAST_BITS to MOST_BITS. NoRoom. OSError: it cannot be written.
        """
        if not LEAST_BITS <= bits <= MOST_BITS:
            raise ValueError(f"a table has 2^{LEAST_BITS} to 2^{MOST_BITS} points")
        with _BUILDING:
            if self._load(bits) is not None:
                return False
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._require_room(bits)
            self._say_build(bits, always=True)
            Table.build(1 << bits, advance).save(self._path(bits))
        return True

    def _require_room(self, bits: int) -> None:
        """First: who waits for minutes is not to hear it then."""
        wanted = (POINT_BYTES << bits) + SPARE_BYTES
        free = shutil.disk_usage(self.folder).free
        if free < wanted:
            raise NoRoom(
                message=f"The table takes {wanted:,} bytes; {self.folder} has {free:,}.",
                remedy="Free disk space, build a smaller one (--bits), or set XDG_CACHE_HOME to a folder "
                "with room.",
                facts={"wanted": wanted, "free": free},
            )

    def _found(self, table: Table, points: Sequence[Point], ranges: Sequence[Range]) -> list[int]:
        steps = steps_of(table.size.bit_length() - 1, ranges)
        self._tell("Looking for the sums", steps, "")
        found: dict[int, int] = {}
        for within in sorted(set(ranges)):
            places = [place for place, each in enumerate(ranges) if each == within]
            try:
                values = table.find([points[place] for place in places], *within, self.processes)
            except OutOfRange as fault:
                raise OutOfRange(places[fault.position]) from None
            found |= dict(zip(places, values, strict=True))
        return [found[place] for place in range(len(points))]

    def _kept(self, bits: int, ranges: Sequence[Range]) -> tuple[Path, Table] | None:
        """The kept table that leads to the logarithms soonest, where that is sooner than to build the one
        that is wanted; damaged ones are put away, with a word.
        """
        built = seconds_of(bits, ranges, kept=False)
        there = [each for each in range(LEAST_BITS, MOST_BITS + 1) if self._path(each).exists()]
        for size in sorted(there, key=lambda each: seconds_of(each, ranges, kept=True)):
            if seconds_of(size, ranges, kept=True) > built:
                return None
            table = self._load(size)
            if table is not None:
                return self._path(size), table
        return None

    def _load(self, bits: int) -> Table | None:
        path = self._path(bits)
        try:
            found = _read(path)
            if found.size == 1 << bits:
                return found
            self._put_away(path)
        except TableDamaged:
            self._put_away(path)
        except OSError:
            pass
        return None

    def _path(self, bits: int) -> Path:
        return self.folder / _NAME.format(bits=bits)

    def _put_away(self, path: Path) -> None:
        self.told(f"{path} is damaged; it is removed.")
        _READ.pop(path, None)
        with suppress(OSError):
            path.unlink()

    def _built(self, bits: int) -> Table:
        self._say_build(bits)
        table = Table.build(1 << bits)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            table.save(self._path(bits))
        except OSError as fault:
            self.told(f"The table could not be kept in {self.folder}: {fault.strerror}.")
        return table

    def _say_build(self, bits: int, always: bool = False) -> None:
        size = f" It takes {POINT_BYTES << bits:,} bytes and is kept in {self.folder}."
        self._tell("Building a table of logarithms", 1 << bits, size, always)

    def _tell(self, what: str, steps: int, more: str, always: bool = False) -> None:
        seconds = steps * STEP_SECONDS
        if always or seconds > PATIENCE_SECONDS:
            self.told(f"{what}: about {counted(math.ceil(seconds), 'second')}.{more}")
