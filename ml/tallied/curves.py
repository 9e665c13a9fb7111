"""Logistic and Poisson regression from means and covariances alone.

Their likelihood has its maximum where sum x (y - f(s)) = 0, s = x'b, f the mean: that wants sums of x f(s),
which differ with b, so that nobody can open them once and for all. But the average of x f(s) is all that
matters of predictors. For Gaussian ones it follows from means and covariances (C. Stein, 1981), and the
maximum is least squares, rescaled by the mean of f' (D. Brillinger, 1982; M. Erdogdu, M. Bayati, L. Dicker,
"Scaled least squares estimator for GLMs in large-scale problems", NeurIPS 2016). Predictors here lie
between bounds, so each is taken as the Beta distribution that has its mean and variance: two values where
the variance is as large as it can be (exact for a category), uniform or nearly Gaussian where it is less.
What the others add to s, beyond what follows from this one, is taken as Gaussian.

A parabola on a fixed interval (J. Huggins, R. Adams, T. Broderick, "PASS-GLM", NeurIPS 2017) takes the same
sums, and has a curvature of its own, whatever the cohort is like: with [-4, 4] slopes are 50% too large
where log odds are near 0, and 50% too small where one in ten has the outcome. Here they are exact for one
predictor of two values; within 4% of the maximum likelihood for symmetric predictors, where the linear
predictor has a deviation of at most 1 (a person at its 97.5% has 50 times the odds of one at its 2.5%); and
within a quarter for what is as skewed as a log-normal of 40% variation (`tests/unit/test_tallies_curves.py`).
Several categories of one variable among the predictors exclude each other, which is not taken into account:
up to a fifth off in logistic regression there, and more in Poisson regression.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ml.tallied.draws import Floats

Ints = npt.NDArray[np.int64]

_POINTS: Final = 6
"""Of a predictor's distribution: Gauss quadrature, exact for polynomials of degree 11."""
_NODES: Final = 5
"""Of the Gaussian rest."""
_MOST_STEPS: Final = 20
CLOSE: Final = 1e-6
_LARGEST_STEP: Final = 1.0
_FARTHEST: Final = 30.0
"""A linear predictor beyond counts as this."""
_LEAST_VOLUME: Final = 1e-12
"""Of a matrix with rows of length 1, whose largest is 1: with less it is singular."""
_LEAST_LENGTH: Final = 1e-100
_MOST_MEAN: Final = 1 - 1e-6
_LEAST_CONCENTRATION: Final = 1e-9
"""Of a Beta: two values, for every purpose."""

Derivatives = Callable[[Floats], tuple[Floats, Floats, Floats]]
"""s -> f(s), f'(s), f''(s)."""


@dataclass(frozen=True)
class Curve:
    """The mean of an outcome as a function of the linear predictor: of a canonical link, so that f' is the
    outcome's variance, too. start: the linear predictor of a mean; NaN where there is none.
    """

    derivatives: Derivatives
    start: Callable[[Floats], Floats]


@dataclass(frozen=True)
class Moments:
    """Of predictors t in [-1, 1] and an outcome y in its unit; one row a draw, the estimate first."""

    means: Floats  # (rows, k)
    spread: Floats  # (rows, k, k) covariances, positive definite
    outcome: Floats  # (rows,) mean
    cross: Floats  # (rows, k) covariances of predictors and outcome

    def rows(self, kept: Ints) -> Moments:
        """Of these draws alone."""
        return Moments(self.means[kept], self.spread[kept], self.outcome[kept], self.cross[kept])


def logistic(s: Floats) -> tuple[Floats, Floats, Floats]:
    """Of an outcome 0 or 1: 1 / (1 + exp(-s))."""
    mean = 1 / (1 + np.exp(-s))
    slope = mean * (1 - mean)
    return mean, slope, slope * (1 - 2 * mean)


def exponential(s: Floats) -> tuple[Floats, Floats, Floats]:
    """Of a count: exp(s)."""
    mean = np.exp(s)
    return mean, mean, mean


def _log_odds(mean: Floats) -> Floats:
    inside = np.where((mean > 0) & (mean < 1), mean, np.nan)
    found: Floats = np.log(inside / (1 - inside))
    return found


def _log(mean: Floats) -> Floats:
    found: Floats = np.log(np.where(mean > 0, mean, np.nan))
    return found


LOGISTIC: Final = Curve(logistic, _log_odds)
EXPONENTIAL: Final = Curve(exponential, _log)


@dataclass(frozen=True)
class Equations:
    """Of one guess: averages of f(s) and of (t - mean) f(s), and their derivatives by m and b. For a
    canonical link those are the information of one case, too: the covariance of what chance adds.
    """

    values: Floats  # (rows, 1 + k)
    slopes: Floats  # (rows, 1 + k, 1 + k)


@dataclass(frozen=True)
class Law:
    """What predictors are taken to be like: (k, POINTS) deviations from the mean, in standard ones, and
    probabilities.
    """

    places: Floats
    shares: Floats

    def equations(self, curve: Curve, spread: Floats, guess: Floats) -> Equations:
        """Of s = m + b'(t - mean), guess = (m, b), for predictors with these covariances.

        Of each t_i alone: s is m + (covariance of s and t_i / variance of t_i) (t_i - mean), and a Gaussian
        rest. What that makes of the average of f(s) beyond a Gaussian s adds up over all t_i.
        """
        along = np.einsum("rij,rj->ri", spread, guess[:, 1:])  # covariance of t_i and s
        own = np.einsum("rii->ri", spread)
        pull, whole = along / own, np.einsum("ri,ri->r", along, guess[:, 1:])
        rest = np.sqrt(np.maximum(whole[:, None] - along * pull, 0.0))
        x = self.places * np.sqrt(own)[:, :, None]
        f = _averaged(curve, guess[:, :1, None] + pull[:, :, None] * x, rest[:, :, None])
        g = _averaged(curve, guess[:, 0], np.sqrt(np.maximum(whole, 0.0)))
        f0, f1, f2 = (np.einsum("iq,riq->ri", self.shares, each) for each in f)
        xf0, xf1, xf2 = (np.einsum("iq,riq,riq->ri", self.shares, x, each) for each in f)
        xxf1 = np.einsum("iq,riq,riq,riq->ri", self.shares, x, x, f[1])
        ratio = spread / own[:, :, None]  # what the mean of t_l gains by t_i
        beside = along[:, None, :] - along[:, :, None] * ratio  # half of what the rest gains by b_l
        straight = (g[2][:, None] * along)[:, None, :]
        through = xf1[:, :, None] * ratio + f2[:, :, None] * beside
        mean = g[0] + (f0 - g[0][:, None]).sum(axis=1)
        slope = g[1] + (f1 - g[1][:, None]).sum(axis=1)
        top = straight[:, 0] + (through - straight).sum(axis=1)
        inner = xxf1[:, :, None] * ratio + xf2[:, :, None] * beside
        left = np.column_stack([slope, xf1])[:, :, None]
        right = np.concatenate([top[:, None, :], inner], axis=1)
        return Equations(np.column_stack([mean, xf0]), np.concatenate([left, right], axis=2))


def law(means: Floats, variances: Floats) -> Law:
    """Beta distributions of these (k,) means and variances in [-1, 1], as Gauss quadratures (G. Golub,
    J. Welsch, 1969).
    """
    middle = np.clip(means, -_MOST_MEAN, _MOST_MEAN)
    total = np.maximum((1 - middle**2) / variances - 1, _LEAST_CONCENTRATION)
    a, b = total * (1 - middle) / 2 - 1, total * (1 + middle) / 2 - 1  # (1 - t)^a (1 + t)^b
    matrix = np.zeros((len(middle), _POINTS, _POINTS))
    matrix[:, 0, 0] = middle
    for n in range(1, _POINTS):
        both = 2 * n + a + b
        matrix[:, n, n] = (b**2 - a**2) / (both * (both + 2))
        square = 4 * n * (n + a) * (n + b) / (both**2 * (both + 1))
        square = square * ((n + a + b) / (both - 1) if n > 1 else 1.0)
        matrix[:, n, n - 1] = matrix[:, n - 1, n] = np.sqrt(np.maximum(square, 0.0))
    places, vectors = np.linalg.eigh(matrix)
    shares = vectors[:, 0, :] ** 2
    away = places - middle[:, None]
    deviation = np.sqrt(np.einsum("iq,iq,iq->i", shares, away, away))
    return Law(away / deviation[:, None], shares)


def solved(
    curve: Curve, like: Law, moments: Moments, start: Floats, close: float = CLOSE
) -> Floats:
    """(rows, 1 + k): the linear predictor at the predictors' means, then slopes, such that the averages of
    f(s) and of (t - mean) f(s) are those of y; NaN where none are found.

    By Newton's method from `start`, until no linear predictor moves by more than `close`; what is left then
    is about its square.
    """
    guess, active = start.copy(), np.arange(len(start))
    for _ in range(_MOST_STEPS):
        some = moments.rows(active)
        found = like.equations(curve, some.spread, guess[active])
        wanted = np.column_stack([some.outcome, some.cross])
        step = _solve(found.slopes, wanted - found.values)
        along = np.einsum("ri,rij,rj->r", step[:, 1:], some.spread, step[:, 1:])
        length = np.maximum(np.abs(step[:, 0]), np.sqrt(np.maximum(along, 0.0)))
        guess[active] += step * (_LARGEST_STEP / np.maximum(length, _LARGEST_STEP))[:, None]
        active = active[length > close]  # not those that are nowhere: NaN stays NaN
        if not len(active):
            break
    guess[active] = np.nan
    return guess


def _solve(matrices: Floats, columns: Floats) -> Floats:
    """NaN where a matrix is singular, or anything is not finite."""
    finite = np.isfinite(matrices.sum(axis=(1, 2)) + columns.sum(axis=1))
    kept = np.where(finite[:, None, None], matrices, 0.0)
    lengths = np.maximum(np.linalg.norm(kept, axis=2), _LEAST_LENGTH)
    kept = kept / lengths[:, :, None]
    regular = finite & np.greater(np.abs(np.linalg.det(kept)), _LEAST_VOLUME)
    safe = np.where(regular[:, None, None], kept, np.eye(kept.shape[1]))
    wanted = np.where(regular[:, None], columns, np.nan) / lengths
    found: Floats = np.linalg.solve(safe, wanted[:, :, None])[:, :, 0]
    return found


def _averaged(curve: Curve, middle: Floats, deviation: Floats) -> tuple[Floats, Floats, Floats]:
    """f, f', f'' of Gaussians with these means and deviations."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    s = np.clip(middle[..., None] + deviation[..., None] * nodes, -_FARTHEST, _FARTHEST)
    f0, f1, f2 = (each @ (weights / weights.sum()) for each in curve.derivatives(s))
    return f0, f1, f2
