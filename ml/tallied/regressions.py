"""Least squares, logistic and Poisson regression from noised moments.

Of the moments N, sum t, sum t t' (a `moments.joint` design whose last number is the outcome), ordinary and
penalised least squares follow exactly. Logistic and Poisson regression make do with them, too, once something
is said of what predictors are like (`curves`, which says how near that comes).

95% intervals cover noise and sampling: each draw takes its noise off again (`draws`) and adds chance: that
of errors of one variance, or of the model's own variance about the estimate (C. Ferrando, S. Wang, D.
Sheldon, AISTATS 2022; G. Bernstein, D. Sheldon, NeurIPS 2019). They cover what this estimator makes of the
whole population; how far that is from the likelihood's maximum, no interval says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.dp.noise import GaussianNoise
from ml.dp.noised import Estimate, ExpectedError
from ml.dp.units import Unit
from ml.tallied.covariances import TYPICAL
from ml.tallied.curves import Curve, Moments, law, solved
from ml.tallied.draws import Floats, sampling, with_undone
from ml.tallied.moments import Bools, Design
from ml.tallied.told import Range, digits_for, foretold, told, told_error, worst

CLOSE_ENOUGH = 0.01
"""Of a draw's linear predictor."""
INTERCEPT = "intercept"
COEFFICIENT, STANDARD_ERROR = "coefficient", "standard error"
LEAST_SPREAD = 1e-9
"""Of the predictors' matrix, per case: with less in some direction no coefficient can be told."""


@dataclass(frozen=True)
class Model:
    """Names and units of predictors, and of the outcome last.

    curve: the outcome's mean as a function of the linear predictor, for one in the outcome's unit; None for
    the linear predictor itself. span: how far the linear predictor can go, at most. penalty: on slopes per
    half range, only without a curve.
    """

    design: Design
    names: tuple[str, ...]
    units: tuple[Unit, ...]
    span: float
    curve: Curve | None = None
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
        most = self.span / steps
        typical = self.span / (2 * self.halves[:-1])
        ends = float(2 * self.span + np.abs(self.middles[:-1]) @ most)
        ends += abs(float(self.middles[-1])) if self.curve is None else 0.0
        first = Range(-ends, ends, digits_for(self.span) + 2)
        pairs = zip(most.tolist(), typical.tolist(), strict=True)
        return [first, *(Range(-m, m, digits_for(t) + 2) for m, t in pairs)]


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
    most = 2 * model.span
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
    products = gram(sums, model.design)
    cases = _Cases.of(products, model)
    centred = _least_squares(cases) if model.curve is None else _curved(cases, model.curve)
    slopes = centred[:, 1:] / model.halves[:-1]
    means = np.where(cases.sure[:, None], cases.moments.means, 0.0)
    intercept = centred[:, 0] - np.einsum("ri,ri->r", centred[:, 1:], means)
    return np.column_stack([intercept - slopes @ model.middles[:-1], slopes])


@dataclass(frozen=True)
class _Cases:
    """How many they are and their moments; a stand-in for those where they are not `sure`."""

    sure: (
        Bools  # (rows,) that there are enough cases, and that predictors spread in every direction
    )
    counts: Floats  # (rows,) at least 1
    moments: Moments
    penalty: Floats  # (rows, k - 1, k - 1) on slopes, for one case
    deviation: Floats  # (rows,) of the outcome about least squares

    @classmethod
    def of(cls, products: Floats, model: Model) -> _Cases:
        size, counts = products.shape[1] - 1, np.maximum(products[:, 0, 0], 1.0)
        means = products[:, 0, 1:] / counts[:, None]
        whole = products[:, 1:, 1:] / counts[:, None, None] - means[:, :, None] * means[:, None, :]
        values, vectors = np.linalg.eigh(whole[:, :-1, :-1])
        penalty = model.penalty / counts
        sure = (values[:, 0] + penalty > LEAST_SPREAD) & (products[:, 0, 0] > size)
        kept = np.where(sure[:, None], np.maximum(values, LEAST_SPREAD / 2), 1.0)
        spread = np.einsum("rij,rj,rkj->rik", vectors, kept, vectors)
        half, middle = float(model.halves[-1]), float(model.middles[-1])
        cross, square = whole[:, :-1, -1] * half, whole[:, -1, -1] * half**2
        added = penalty[:, None, None] * np.eye(size - 1)
        slopes = _solved(spread + added, cross)
        left = square - np.einsum("ri,ri->r", slopes, 2 * cross - _times(spread, slopes))
        deviation = np.sqrt(np.maximum(left, 0.0) * counts / np.maximum(counts - size, 1.0))
        moments = Moments(means[:, :-1], spread, middle + half * means[:, -1], cross)
        return cls(sure, counts, moments, added, deviation)

    def moved(self, by: Floats) -> Moments:
        """By chance: (rows, k) of the sum of outcomes and of its products with predictors, for one case."""
        old, each = self.moments, by / np.sqrt(self.counts)[:, None]
        return Moments(old.means, old.spread, old.outcome + each[:, 0], old.cross + each[:, 1:])


def _least_squares(cases: _Cases) -> Floats:
    """(rows, k) the outcome at the predictors' means, and slopes."""
    spread, free = cases.moments.spread, sampling(len(cases.penalty[0]) + 1)
    values, vectors = np.linalg.eigh(spread)
    across = _times(vectors, np.sqrt(values) * free[:, 1:])
    chance = cases.deviation[:, None] * np.column_stack([free[:, 0], across])
    moved = cases.moved(chance)
    found = np.column_stack([moved.outcome, _solved(spread + cases.penalty, moved.cross)])
    return np.where(cases.sure[:, None], found, np.nan)


def _curved(cases: _Cases, curve: Curve) -> Floats:
    """(rows, k) the linear predictor at the predictors' means, and slopes."""
    first, shape = cases.moments.rows(np.arange(1)), (len(cases.sure), len(cases.penalty[0]) + 1)
    like = law(first.means[0], np.diagonal(first.spread[0]))
    level = np.column_stack([curve.start(first.outcome), np.zeros_like(first.cross)])
    estimate = solved(curve, like, first, level)
    if not cases.sure[0] or np.isnan(estimate).any():
        return np.full(shape, np.nan)
    information = like.equations(curve, first.spread, estimate).slopes[0]
    lengths, axes = np.linalg.eigh((information + information.T) / 2)
    root = axes * np.sqrt(np.maximum(lengths, 0.0))
    dispersion = max(1.0, float(cases.deviation[0] ** 2 / information[0, 0]))
    chance: Floats = sampling(shape[1]) @ root.T * math.sqrt(dispersion)
    moved = cases.moved(chance)
    found = solved(curve, like, moved, np.repeat(estimate, shape[0], axis=0), CLOSE_ENOUGH)
    found[0] = estimate[0]
    return np.where(cases.sure[:, None], found, np.nan)


def _solved(matrices: Floats, columns: Floats) -> Floats:
    return np.asarray(np.linalg.solve(matrices, columns[:, :, None])[:, :, 0], dtype=np.float64)


def _times(matrices: Floats, columns: Floats) -> Floats:
    """(rows, i) of (rows, i, j) and (rows, j)."""
    found: Floats = np.einsum("rij,rj->ri", matrices, columns)
    return found
