"""Logarithms of opened sums, by a table that is built once and kept in the user's cache folder.

A table is i G for i = 1..T, public and the same for everybody: nothing in it is of any answer. Every
logarithm that it leads to is checked against its point, so one that was tampered with costs time and no more.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from marketplace.wire.plain import counted
from ml.homomorphic.curve import Point
from ml.homomorphic.logarithm import OutOfRange, Table, TableDamaged

LEAST_BITS: Final = 12
"""Of a table's size: 4,096 points take 20 ms."""
MOST_BITS: Final = 25
"""270 MB and about three minutes, once."""
MUCH_LARGER: Final = 4
"""Bits by which a kept table may be larger than the one wanted: it is read sooner than that one is built."""
STEP_SECONDS: Final = 6e-6
"""One point of a table, or one step of a search."""
PATIENCE_SECONDS: Final = 2.0
"""What takes longer is said before it begins."""
_NAME: Final = "logarithms-{bits}.bin"

_BUILDING = threading.Lock()
"""One table at a time: threads that want the same one wait for it, and do not build it, too."""

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
            kept = self._kept(bits)
            table = self._built(bits) if kept is None else kept
        try:
            return self._found(table, points, ranges)
        except OutOfRange:
            if kept is None:
                raise
        with _BUILDING:
            table = self._built(bits)
        return self._found(table, points, ranges)

    def _found(self, table: Table, points: Sequence[Point], ranges: Sequence[Range]) -> list[int]:
        stride = 2 * table.size + 1
        steps = sum((high - low) // stride + 1 for low, high in ranges)
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

    def _kept(self, bits: int) -> Table | None:
        """The smallest kept table that is large enough; damaged ones are put away, with a word."""
        for size in range(bits, min(MOST_BITS, bits + MUCH_LARGER) + 1):
            path = self.folder / _NAME.format(bits=size)
            try:
                found = Table.load(path)
                if found.size == 1 << size:
                    return found
                self._put_away(path)
            except TableDamaged:
                self._put_away(path)
            except OSError:
                continue
        return None

    def _put_away(self, path: Path) -> None:
        self.told(f"{path} is damaged; it is built again.")
        with suppress(OSError):
            path.unlink()

    def _built(self, bits: int) -> Table:
        self._tell("Building a table of logarithms", 1 << bits, f" It is kept in {self.folder}.")
        table = Table.build(1 << bits)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            table.save(self.folder / _NAME.format(bits=bits))
        except OSError as fault:
            self.told(f"The table could not be kept in {self.folder}: {fault.strerror}.")
        return table

    def _tell(self, what: str, steps: int, more: str) -> None:
        seconds = steps * STEP_SECONDS
        if seconds > PATIENCE_SECONDS:
            self.told(f"{what}: about {counted(math.ceil(seconds), 'second')}.{more}")
