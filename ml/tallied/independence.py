"""Pearson's chi-square test of independence, from a table of noised counts.

The statistic of noised counts does not follow the chi-square distribution. Its own distribution, if rows and
columns are independent, is simulated: a multinomial table with the margins that the noised one has, its
noise, and the same statistic of that (M. Gaboardi, H. Lim, R. Rogers, S. Vadhan, "Differentially private
chi-squared hypothesis testing", ICML 2016, MCIndep; the multinomial by its Gaussian limit, as there for the
asymptotic test). As there, a table with an expected count below 5 is not judged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml.dp.interval import Z_95
from ml.dp.noise import GaussianNoise
from ml.dp.noised import Estimate, ExpectedError
from ml.tallied.draws import DRAWS, SAMPLING, Floats, normals
from ml.tallied.survival import CHI_SQUARE, P_VALUE
from ml.tallied.told import told_alone

DEGREES = "degrees of freedom"
LEAST_EXPECTED = 5.0
_DIGITS = 4


def independence(
    noised: Sequence[int], noise: GaussianNoise, shape: tuple[int, int]
) -> tuple[Estimate, ...]:
    """Chi-square of the noised table (rows outermost), degrees of freedom, and the p-value given the noise.

    p is at least 1 / (DRAWS + 1), and 1 (nothing can be told, chi-square 0) where a cell's expected count
    is below 5 with the noise that there is. None of them has an interval.
    """
    table = np.array([float(each) for each in noised]).reshape(1, *shape)
    square, expected = _statistic(table)
    degrees = (shape[0] - 1) * (shape[1] - 1)
    judged = float(expected.min()) >= LEAST_EXPECTED
    p = _p_value(float(square[0]), expected[0], float(noise.sigma)) if judged else 1.0
    return (
        told_alone(float(square[0]) if judged else 0.0, _DIGITS, (CHI_SQUARE,)),
        told_alone(float(degrees), 0, (DEGREES,)),
        told_alone(p, _DIGITS, (P_VALUE,)),
    )


def expected_cell_error(noise: GaussianNoise) -> ExpectedError:
    """Of each cell that goes into the statistic, in members; holds for any data."""
    return ExpectedError(noise.sigma, Z_95 * noise.sigma)


def _statistic(tables: Floats) -> tuple[Floats, Floats]:
    """(rows,) chi-square and (rows, r, c) expected counts, from margins that are at least 0."""
    rows = np.maximum(tables.sum(axis=2), 0.0)
    columns = np.maximum(tables.sum(axis=1), 0.0)
    total = np.maximum(tables.sum(axis=(1, 2)), 1.0)
    expected = rows[:, :, None] * columns[:, None, :] / total[:, None, None]
    square = (tables - expected) ** 2 / np.maximum(expected, 1.0)
    return square.sum(axis=(1, 2)), expected


def _p_value(square: float, expected: Floats, sigma: float) -> float:
    """How often a table of independent rows and columns, with noise, is as far off; one more than counted."""
    total, cells = float(expected.sum()), expected.size
    shares = np.sqrt(expected.ravel() / total)
    free = normals(cells, SAMPLING)
    multinomial = np.sqrt(total) * shares * (free - (free @ shares)[:, None] * shares)
    drawn = expected.ravel() + multinomial + sigma * normals(cells)
    simulated, _ = _statistic(drawn.reshape(DRAWS, *expected.shape))
    return (1 + int(np.count_nonzero(simulated >= square))) / (DRAWS + 1)
