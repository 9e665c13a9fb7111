"""Clipped variables, and what sum, mean and variance share.

The mean needs the sum and the count, the variance the sum of squares too. Splitting a budget
between them wastes it: scaled well, all of them *together* have no larger L2 sensitivity than the
sum alone, so that one draw of noise at the full cost pays for all. The proofs stand at the
`exact_...` functions, and the tests try to break them with any pair of records.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ml.dp.domain import Condition, Ints, Table, Variable
from ml.dp.interval import Bounds, clamp
from ml.dp.noised import ExpectedError
from ml.dp.units import Unit, stored_unit

EXTRA_DIGITS = 3  # places after the point beyond the variable's own, for a mean or a variance


@dataclass(frozen=True)
class Clip:
    """Values are pulled into [lower, upper], stored integers, before anything is added up."""

    lower: int
    upper: int

    def __post_init__(self) -> None:
        if not self.lower < self.upper:
            raise ValueError("clipping needs lower < upper")

    @property
    def width(self) -> int:
        """R = U - L in stored integers, at least 1."""
        return self.upper - self.lower

    @property
    def middle(self) -> Fraction:
        """(L + U) / 2, exact: it may lie half way between two stored integers."""
        return Fraction(self.lower + self.upper, 2)

    @property
    def sum_sensitivity(self) -> int:
        """max(|L|, |U|, U - L): from any value, or the 0 of a null, to any other."""
        return max(0, self.upper) - min(0, self.lower)

    @property
    def count_weight(self) -> int:
        """w of exact_mean_vector: the largest integer with w^2 <= 3 R^2."""
        return math.isqrt(3 * self.width**2)

    @property
    def linear_weight(self) -> int:
        """a of exact_variance_vector: the smallest integer with a^2 >= 2 R^2."""
        return math.isqrt(2 * self.width**2 - 1) + 1

    @property
    def variance_count_weight(self) -> int:
        """w of exact_variance_vector: the largest integer with w^2 <= 3 a^2 R^2 - R^4."""
        return math.isqrt(3 * (self.linear_weight * self.width) ** 2 - self.width**4)

    def doubled_deviations(self, values: Ints) -> Ints:
        """(m,) int64: u = 2 x - (L + U) in [-R, R], R = U - L; whole numbers, so exact."""
        clipped = np.clip(values, self.lower, self.upper)
        return 2 * clipped - (self.lower + self.upper)


@dataclass(frozen=True)
class Measured:
    """A clipped variable of the members that meet the conditions."""

    variable: Variable
    clip: Clip
    conditions: tuple[Condition, ...] = ()

    @property
    def unit(self) -> Unit:
        """Of its stored integers."""
        return stored_unit(self.variable.unit, self.variable.decimals)

    def values(self, table: Table) -> Ints:
        """(m,) int64 stored integers of the members that are counted: not clipped yet, not to be released."""
        return table.values(self.variable, self.conditions)


def clamped_count(noised: int, weight: int, members: int) -> Fraction:
    """The noised count of values as it may be divided by: in [1, n]."""
    return clamp(Fraction(noised, weight), Fraction(1), Fraction(members))


def mean_deviation(
    total: Fraction | int, weighted_count: int, clip: Clip, members: int, weight: int
) -> Fraction:
    """The noised mean of u = 2 x - (L + U), in [-R, R]."""
    edge = Fraction(clip.width)
    return clamp(Fraction(total) / clamped_count(weighted_count, weight, members), -edge, edge)


def capped_error(standard: Fraction, bounds: Bounds | None, widest: Fraction) -> ExpectedError:
    """An expected error from an interval at expected values; at most the whole possible range."""
    half = widest if bounds is None else (bounds[1] - bounds[0]) / 2
    return ExpectedError(min(standard, widest), min(half, widest))
