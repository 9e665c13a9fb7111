"""Which of many alike cases run every day; all of them run in `make test-long`."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def daily(cases: Iterable[T], kept: Collection[T]) -> list[Any]:
    """The cases for `pytest.mark.parametrize`, of which all but `kept` are marked `long`.

    Every case that is kept must be one of them, so that none is lost by being renamed.
    """
    every = list(cases)
    lost = [case for case in kept if case not in every]
    assert not lost, lost
    return [case if case in kept else pytest.param(case, marks=pytest.mark.long) for case in every]


def daily_rows(rows: Iterable[Sequence[Any]], kept: Collection[Any]) -> list[Any]:
    """The same where a case is a value for each of several names: the first one tells which case it is."""
    every = [tuple(row) for row in rows]
    lost = [first for first in kept if first not in [row[0] for row in every]]
    assert not lost, lost
    return [row if row[0] in kept else pytest.param(*row, marks=pytest.mark.long) for row in every]
