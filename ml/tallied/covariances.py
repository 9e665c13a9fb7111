"""Covariances and correlations of a cohort, from noised moments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, combinations_with_replacement

import numpy as np

from ml.dp.noise import GaussianNoise
from ml.dp.noised import Estimate, ExpectedError
from ml.dp.units import Unit
from ml.tallied.draws import Floats, with_undone
from ml.tallied.moments import Design
from ml.tallied.told import Range, digits_for, foretold, told, worst

CORRELATION_DIGITS = 4
TYPICAL = 1 / 3
_LEAST_COUNT = 1.0

Names = Sequence[str]


def covariances(
    noised: Sequence[int], noise: GaussianNoise, design: Design, names: Names, units: Sequence[Unit]
) -> tuple[Estimate, ...]:
    """One for each pair of names, each with itself too, divisor N, in the product of both units.

    95% intervals one by one, for the noise; within +-(range of one) (range of other) / 4, and from 0 for
    a variance. A pair that nobody may have is told as 0 within all that is possible.
    """
    sums = with_undone(noised, noise.sigma)
    found = []
    for i, j in combinations_with_replacement(range(len(names)), 2):
        scale = _half(units[i], design.widths[i]) * _half(units[j], design.widths[j])
        low = 0.0 if i == j else -scale
        within = Range(low, scale, digits_for(scale) + 2)
        found.append(told(covariance(sums, design, i, j) * scale, within, (names[i], names[j])))
    return tuple(found)


def correlations(
    noised: Sequence[int], noise: GaussianNoise, design: Design, names: Names
) -> tuple[Estimate, ...]:
    """Pearson's, one for each pair of different names, in [-1, 1].

    95% intervals one by one, for the noise. Where noise may have made a variance of nothing, anything in
    [-1, 1] is possible. With numbers of unequal cases each variance is over all who have the number.
    """
    sums = with_undone(noised, noise.sigma)
    within = Range(-1.0, 1.0, CORRELATION_DIGITS)
    return tuple(
        told(_correlation(sums, design, i, j), within, (names[i], names[j]))
        for i, j in combinations(range(len(names)), 2)
    )


def expected_errors(
    design: Design, noise: GaussianNoise, members: int
) -> tuple[ExpectedError, ExpectedError]:
    """Of the worst pair: of a covariance as a share of the largest possible, and of a correlation.

    For `members` records with all numbers, unrelated, means in the middle, deviations `TYPICAL` of half
    the range (a sixth of the range).
    """
    k = len(design.widths)
    sums = with_undone(design.expected(members, np.eye(k) * TYPICAL**2), noise.sigma)
    pairs = list(combinations_with_replacement(range(k), 2))
    shares = [foretold(covariance(sums, design, i, j), -1.0, 1.0) for i, j in pairs]
    ratios = [foretold(_correlation(sums, design, i, j), -1.0, 1.0) for i, j in pairs if i < j]
    return worst(shares), worst(ratios)


def covariance(sums: Floats, design: Design, i: int, j: int) -> Floats:
    """(rows,) covariance of t_i and t_j; NaN where nobody has both."""
    cases = _cases(design, i, j)
    count = design.moment(sums, cases)
    somebody = np.where(count >= _LEAST_COUNT, count, np.nan)
    means = (design.moment(sums, cases, each) / somebody for each in (i, j))
    product: Floats = design.moment(sums, cases, i, j) / somebody - np.prod(list(means), axis=0)
    return product


def _correlation(sums: Floats, design: Design, i: int, j: int) -> Floats:
    spread = covariance(sums, design, i, i) * covariance(sums, design, j, j)
    sure = (covariance(sums, design, i, i) > 0) & (covariance(sums, design, j, j) > 0)
    root = np.sqrt(np.where(sure, spread, np.nan))
    found: Floats = covariance(sums, design, i, j) / root
    return found


def _cases(design: Design, i: int, j: int) -> tuple[int, ...]:
    """Over whom the moments of this pair are: everybody with all numbers, or with these."""
    return next(cases for cases in _groups(design) if {i, j} <= set(cases))


def _groups(design: Design) -> Iterator[tuple[int, ...]]:
    yield from sorted({entry.cases for entry in design.entries}, key=len)


def _half(unit: Unit, width: int) -> float:
    """Half of a number's range, in its unit."""
    return float(unit.size * width / 2)
