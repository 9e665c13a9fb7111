"""Progress bars on long work: on standard error, and only where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

T = TypeVar("T")
Advance = Callable[[int], None]
"""Moves a bar by so many steps."""


@contextmanager
def bar(what: str, total: int | None) -> Iterator[Advance]:
    """A bar of `total` steps, gone when the work ends; None where nobody knows how many there are.

    Log lines are printed above it. Standard output is left alone.
    """
    columns = [TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()]
    if total is not None:
        columns.insert(2, MofNCompleteColumn())
    shown = Progress(
        *columns,
        console=Console(stderr=True, highlight=False),
        transient=True,
        redirect_stdout=False,
        disable=not sys.stderr.isatty(),
    )
    with shown:
        task = shown.add_task(what, total=total)
        yield lambda steps: shown.advance(task, steps)


def tracked(what: str, items: Sequence[T]) -> Iterator[T]:
    """The items, one step of a bar for each that was dealt with."""
    with bar(what, len(items)) as advance:
        for item in items:
            yield item
            advance(1)
