"""Floats as the decimal strings of an answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ml.dp.noised import Estimate, ExpectedError, interval_estimate
from ml.tallied.draws import Floats, interval, point, standard_error

SIGNIFICANT = 4
"""Digits of a number as large as the public scale that it is told on."""


@dataclass(frozen=True)
class Range:
    """Where an answer can lie, and how many places after its point are told."""

    low: float
    high: float
    digits: int


def told(values: Floats, within: Range, label: tuple[str, ...]) -> Estimate:
    """An estimate with its 95% interval, of (1 + DRAWS,) values as `draws.interval` takes them."""
    low, high = interval(values, within.low, within.high)
    value = Fraction(point(values, within.low, within.high))
    return interval_estimate(value, (Fraction(low), Fraction(high)), within.digits, label)


def told_error(values: Floats, within: Range, label: tuple[str, ...]) -> Estimate:
    """The standard error of such values; it has no interval of its own, so that both ends are the number."""
    return told_alone(standard_error(values, within.low, within.high), within.digits, label)


def told_alone(value: float, digits: int, label: tuple[str, ...]) -> Estimate:
    """A number without an interval: both ends are the number itself, as it is written."""
    alone = interval_estimate(Fraction(value), (Fraction(0), Fraction(0)), digits, label)
    return Estimate(label, alone.value, alone.value, alone.value)


def foretold(values: Floats, low: float, high: float) -> ExpectedError:
    """The error of an estimate whose expected values these are."""
    first, last = interval(values, low, high)
    return ExpectedError(Fraction(standard_error(values, low, high)), Fraction((last - first) / 2))


def worst(errors: Sequence[ExpectedError]) -> ExpectedError:
    """The largest of each kind."""
    return ExpectedError(
        max(each.standard_error for each in errors), max(each.half_width for each in errors)
    )


def digits_for(scale: float) -> int:
    """Places after the point for `SIGNIFICANT` digits of a number as large as `scale` > 0."""
    return max(0, SIGNIFICANT - 1 - math.floor(math.log10(scale)))
