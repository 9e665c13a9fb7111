"""Least squares from noised moments, and models whose likelihood is approximated by a parabola.

Of the moments N, sum t, sum t t' (a `moments.joint` design whose last number is the outcome), ordinary and
penalised least squares follow exactly. Logistic and Poisson regression have no such sums; with the one
curved function of the likelihood replaced by its Chebyshev expansion of degree 2 on a stated interval of the
linear predictor they have, and the estimate is least squares again, shifted and scaled (J. Huggins, R. Adams,
T. Broderick, "PASS-GLM", NeurIPS 2017, section 4). What is estimated then is the maximum of the *approximate*
likelihood, which is near the exact one where the linear predictor of most members fills the interval: a
parabola over a wider one is flatter in its middle, so that coefficients lie further from 0.

95% intervals cover noise and sampling: each draw takes its noise off again (`draws`) and adds chance as of
least squares with errors of one variance (C. Ferrando, S. Wang, D. Sheldon, AISTATS 2022; G. Bernstein,
D. Sheldon, NeurIPS 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ml.dp.noise import GaussianNoise
from ml.dp.noised import Estimate, ExpectedError
from ml.dp.units import Unit
from ml.tallied.covariances import TYPICAL
from ml.tallied.draws import Floats, sampling, with_undone
from ml.tallied.moments import Design
from ml.tallied.told import Range, digits_for, foretold, told, told_error, worst

INTERCEPT = "intercept"
COEFFICIENT, STANDARD_ERROR = "coefficient", "standard error"
LEAST_SPREAD = 1e-9
"""Of the predictors' matrix, per case: with less in some direction no coefficient can be told."""
_NODES = 64
"""Of Gauss and Chebyshev, for the coefficients of the expansion: more than any interval here needs."""


@dataclass(frozen=True)
class Link:
    """From least squares of the outcome, in its unit, to coefficients: slopes times `slope`; the intercept
    times `slope`, plus `shift`. `span`: how far the linear predictor can go, at most.
    """

    slope: float
    shift: float
    span: float


@dataclass(frozen=True)
class Model:
    """Names and units of predictors, and of the outcome last; the penalty is on slopes per half range."""

    design: Design
    names: tuple[str, ...]
    units: tuple[Unit, ...]
    link: Link
    penalty: float = 0.0

    @property
    def halves(self) -> Floats:
        """(k,) half of each number's range, in its unit."""
        pairs = zip(self.units, self.design.widths, strict=True)
        return np.array([float(unit.size * width / 2) for unit, width in pairs])

    @property
    def middles(self) -> Floats:
        """(k,) of each number's range, in its unit."""
        return np.array([float(unit.origin) for unit in self.units]) + self.halves

    def ranges(self) -> list[Range]:
        """Where intercept and slopes can be told: no slope above the linear predictor's whole span for
        one step of its predictor. Intervals are cut there.
        """
        steps = np.array([float(unit.size) for unit in self.units[:-1]])
        most = self.link.span / steps
        typical = self.link.span / (2 * self.halves[:-1])
        ends = float(2 * self.link.span + np.abs(self.middles[:-1]) @ most)
        ends += abs(self.link.shift) + abs(self.link.slope * float(self.middles[-1]))
        first = Range(-ends, ends, digits_for(self.link.span) + 2)
        pairs = zip(most.tolist(), typical.tolist(), strict=True)
        return [first, *(Range(-m, m, digits_for(t) + 2) for m, t in pairs)]


def identity(model_range: float) -> Link:
    """Least squares itself, of an outcome with this range."""
    return Link(1.0, 0.0, model_range)


def logit(low: float, high: float) -> Link:
    """Log odds of an outcome 0 or 1, approximated on [low, high]: log likelihood y s - log(1 + exp(s)).

    On [-r, r] this is PASS-GLM's phi(y s), y = -1 or 1; for a rare outcome another interval is nearer.
    """
    return _approximated(lambda s: np.logaddexp(0.0, s), low, high)


def log_rate(low: float, high: float) -> Link:
    """Log rate of a count, approximated on [low, high]: log likelihood y s - exp(s)."""
    return _approximated(np.exp, low, high)


def _approximated(function: Callable[[Floats], Floats], low: float, high: float) -> Link:
    """With f(s) about c0 + c1 s + c2 s^2, s = x'b, the maximum of sum y s - f(s) solves
    sum x y - c1 sum x - 2 c2 sum x x' b = 0; and least squares of 1 on x is the intercept alone.
    """
    _, linear, square = parabola(function, low, high)
    return Link(1 / (2 * square), -linear / (2 * square), high - low)


def parabola(function: Callable[[Floats], Floats], low: float, high: float) -> tuple[float, ...]:
    """c0, c1, c2 of the Chebyshev expansion of degree 2 on [low, high], in powers of s itself."""
    middle, half = (low + high) / 2, (high - low) / 2
    angles = np.pi * (np.arange(_NODES) + 0.5) / _NODES
    values = function(middle + half * np.cos(angles))
    t0, t1, t2 = (2 * float(np.mean(values * np.cos(m * angles))) for m in range(3))
    a, b, c = t0 / 2 - t2, t1 / half, 2 * t2 / half**2
    return a - b * middle + c * middle**2, b - 2 * c * middle, c


def regressed(noised: Sequence[int], noise: GaussianNoise, model: Model) -> tuple[Estimate, ...]:
    """Coefficient and standard error of the intercept and each predictor, per unit of it.

    95% intervals one by one, for noise and sampling, of the coefficients in the population (with a
    penalty: of the penalised ones). Where the noise may have made a predictor's spread of nothing, all
    within `Model.ranges` is possible.
    """
    values = _coefficients(with_undone(noised, noise.sigma), model)
    names = [INTERCEPT, *model.names[:-1]]
    found: list[Estimate] = []
    for at, (name, within) in enumerate(zip(names, model.ranges(), strict=True)):
        found.append(told(values[:, at], within, (name, COEFFICIENT)))
        found.append(told_error(values[:, at], within, (name, STANDARD_ERROR)))
    return tuple(found)


def expected_slope_error(noise: GaussianNoise, model: Model, members: int) -> ExpectedError:
    """Of the least certain slope, as the change of the linear predictor over the predictor's whole range.

    For `members` records with all numbers, unrelated, means in the middle, deviations a sixth of the
    range (of what is 0 or 1: a half).
    """
    seconds = np.diag([1.0 if width == 1 else TYPICAL**2 for width in model.design.widths])
    sums = with_undone(model.design.expected(members, seconds), noise.sigma)
    values = _coefficients(sums, model)[:, 1:] * 2 * model.halves[:-1]
    most = 2 * model.link.span
    return worst([foretold(values[:, at], -most, most) for at in range(values.shape[1])])


def gram(sums: Floats, design: Design) -> Floats:
    """(rows, k + 1, k + 1) sums of products of (1, t_1, ..., t_k)."""
    k = len(design.widths)
    everyone = tuple(range(k))
    found = np.empty((len(sums), k + 1, k + 1))
    found[:, 0, 0] = design.moment(sums, everyone)
    for i in everyone:
        found[:, 0, i + 1] = found[:, i + 1, 0] = design.moment(sums, everyone, i)
        for j in range(i, k):
            found[:, i + 1, j + 1] = design.moment(sums, everyone, i, j)
            found[:, j + 1, i + 1] = found[:, i + 1, j + 1]
    return found


def _coefficients(sums: Floats, model: Model) -> Floats:
    """(rows, k) intercept and slopes, in units; NaN where they cannot be told."""
    fitted = _fitted(gram(sums, model.design), model.penalty)
    halves, middles = model.halves, model.middles
    slopes = fitted[:, 1:] * halves[-1] / halves[:-1]
    intercept = middles[-1] + halves[-1] * fitted[:, 0] - slopes @ middles[:-1]
    link = model.link
    return np.column_stack([link.slope * intercept + link.shift, link.slope * slopes])


def _fitted(products: Floats, penalty: float) -> Floats:
    """(rows, k) least squares of the last of (1, t_1, ..., t_k) on the others, and chance in the draws."""
    inner, outer, square = products[:, :-1, :-1], products[:, :-1, -1], products[:, -1, -1]
    size, counts = inner.shape[1], products[:, 0, 0]
    values, vectors = np.linalg.eigh(inner + penalty * np.diag([0.0, *([1.0] * (size - 1))]))
    sure = (values[:, 0] > LEAST_SPREAD * np.maximum(counts, 1.0)) & (counts > size)
    apart = vectors / np.where(sure[:, None], values, 1.0)[:, None, :]
    fitted = _times(apart, _times(vectors.transpose(0, 2, 1), outer))
    left = square - 2 * np.einsum("ri,ri->r", fitted, outer)
    left += np.einsum("ri,ri->r", fitted, _times(inner, fitted))
    deviation = np.sqrt(np.maximum(left, 0.0) / np.maximum(counts - size, 1.0))
    roots = (values, vectors) if penalty == 0 else np.linalg.eigh(inner)
    chance = _times(roots[1] * np.sqrt(np.maximum(roots[0], 0.0))[:, None, :], sampling(size))
    moved = _times(apart, _times(vectors.transpose(0, 2, 1), chance))
    found: Floats = fitted + deviation[:, None] * moved
    return np.where(sure[:, None], found, np.nan)


def _times(matrices: Floats, columns: Floats) -> Floats:
    """(rows, i) of (rows, i, j) and (rows, j)."""
    found: Floats = np.einsum("rij,rj->ri", matrices, columns)
    return found
