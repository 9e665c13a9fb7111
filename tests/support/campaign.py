"""Ten thousand random cases in ten parts, each of them other cases, wherever they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import hypothesis
import pytest

PARTS: Final = 10
PART: Final = 1_000
"""Cases of a part: PARTS * PART together."""

Test = TypeVar("Test", bound=Callable[..., None])


def in_parts(daily: int) -> list[Any]:
    """(how many cases, which part) for `pytest.mark.parametrize`: so many each day, the whole in `--long`."""
    long = [pytest.param(PART, part, marks=pytest.mark.long, id=f"{part}") for part in range(PARTS)]
    return [pytest.param(daily, None, id="daily"), *long]


def of_part(part: int | None) -> Callable[[Test], Test]:
    """Cases of its own for each part, where Hypothesis derives them from the test's source, as its profile
    for CI does: it would toss the same for all. Elsewhere each run has new ones.
    """

    def seeded(test: Test) -> Test:
        if part is None or not hypothesis.settings().derandomize:
            return test
        return hypothesis.seed(part)(test)

    return seeded
