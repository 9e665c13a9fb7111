"""Statistics of noise that was drawn, against the discrete Gaussian that it is said to be."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

Draws = npt.NDArray[np.int64]

ERROR_RATE = 1e-9
"""With which a test fails a correct sampler, at most: divided among the tests that look at the same draws."""
SHAPE = 1e-10
"""The level for p-values of shapes, divided likewise: with cells of 20 expected draws chi-square says up to
five times too little.
"""


def discrete_gaussian(variance: float) -> tuple[Draws, npt.NDArray[np.float64]]:
    """Its support, as far as matters, and the chance of each value."""
    reach = math.ceil(17 * math.sqrt(variance)) + 5
    support = np.arange(-reach, reach + 1)
    weights = np.exp(-(support**2) / (2 * variance))
    return support, weights / weights.sum()


def shape_p_value(draws: Draws, variance: float) -> float:
    """Chi-square p-value, cells of fewer than 20 expected draws pooled into one, if that expects 5."""
    support, chances = discrete_gaussian(variance)
    middle = chances * len(draws) >= 20
    observed = np.array([np.count_nonzero(draws == value) for value in support[middle]])
    expected = chances[middle] * len(draws)
    rest = len(draws) - observed.sum(), len(draws) - expected.sum()
    if rest[1] >= 5:
        observed, expected = np.append(observed, rest[0]), np.append(expected, rest[1])
    else:
        expected = expected * observed.sum() / expected.sum()
    return float(stats.chisquare(observed, expected).pvalue)


def variance_limits(draws: int, cases: int) -> tuple[float, float]:
    """What the mean of squares of so many draws lies within, over its expectation, in all of so many cases.

    Of normal draws it is chi-square; a discrete Gaussian of scale 3 or more has the same moments to 1e-30.
    """
    level = ERROR_RATE / (2 * cases)
    return float(stats.chi2.ppf(level, draws) / draws), float(stats.chi2.isf(level, draws) / draws)


def mean_of_squares(draws: Draws) -> float:
    """Their variance, since they are known to be of mean 0."""
    return float(np.mean(draws.astype(float) ** 2))
