"""Survival curves and their comparison, from noised counts of who leaves in which interval of time, and how.

Each member is in at most one cell (interval, event or censored, group), so that all counts together have
squared L2 sensitivity 2. Who is censored in an interval counts as at risk throughout it, as with exact times
that are tied (E. Kaplan, P. Meier, JASA 1958). Counts with noise: L. Gondara, K. Wang, "Differentially
private survival function estimation", MLHC 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ml.dp.noise import GaussianNoise
from ml.dp.noised import Estimate, ExpectedError
from ml.tallied.draws import Floats, sampling, with_undone
from ml.tallied.told import Range, foretold, told, told_alone, worst

SURVIVAL = Range(0.0, 1.0, 4)
DIFFERENCE = "events less expected"
LOG_HAZARD_RATIO = "log hazard ratio"
CHI_SQUARE = "chi-square"
P_VALUE = "p-value"
LARGEST_LOG_RATIO = 5.0
"""A hazard 148 times as high: beyond, a ratio is not told."""
_DIGITS = 4
_LEAST_AT_RISK = 1.0


def kaplan_meier(
    noised: Sequence[int], noise: GaussianNoise, intervals: Sequence[str]
) -> tuple[Estimate, ...]:
    """The share that has had no event by the end of each interval.

    noised: events in each interval, then censored in each. The curve never rises. 95% intervals one by one
    for noise and sampling (Greenwood's variance, on the scale of log(-log S), J. Kalbfleisch and
    R. Prentice 1980). From where noise may have left nobody at risk, anything in [0, 1] is possible.
    """
    curves = _curves(with_undone(noised, noise.sigma), len(intervals))
    falling = _falling(curves[0])
    values = np.vstack([falling, curves[1:]])
    return tuple(told(values[:, at], SURVIVAL, (name,)) for at, name in enumerate(intervals))


def expected_survival_error(noise: GaussianNoise, intervals: int, members: int) -> ExpectedError:
    """At the worst interval of the first half, for members who leave evenly, half of them with an event."""
    each = [round(members / (2 * intervals))] * (2 * intervals)
    curves = _curves(with_undone(each, noise.sigma), intervals)
    return worst([foretold(curves[:, at], 0.0, 1.0) for at in range(max(1, intervals // 2))])


def log_rank(
    noised: Sequence[int], noise: GaussianNoise, intervals: int, members: int
) -> tuple[Estimate, ...]:
    """Events in the first group less those expected if hazards were equal; their log hazard ratio (R. Peto,
    1972: difference / variance), chi-square with one degree of freedom, and its two-sided p-value.

    noised: events of the first group in each interval, its censored, then both of the second. The
    statistic is difference^2 / (variance + what the noise adds to it), so that its p-value holds whatever
    the noise; where noise drowns the events, p is near 1. Intervals of the first two are for noise and
    sampling; the others have none.
    """
    sums = with_undone(noised, noise.sigma)
    difference, variance = _differences(sums, intervals)
    deviation = _deviation(difference, variance)
    chance = difference + math.sqrt(_chance(variance)) * sampling(1)[:, 0]
    size = Range(-float(members), float(members), 2)
    square = (float(difference[0]) / deviation) ** 2
    return (
        told(chance, size, (DIFFERENCE,)),
        told(_log_ratio(chance, variance), _RATIO, (LOG_HAZARD_RATIO,)),
        told_alone(square, _DIGITS, (CHI_SQUARE,)),
        told_alone(math.erfc(math.sqrt(square / 2)), _DIGITS, (P_VALUE,)),
    )


def expected_log_ratio_error(noise: GaussianNoise, intervals: int, members: int) -> ExpectedError:
    """Of the log hazard ratio, for two equal groups who leave evenly, half of them with an event."""
    each = [round(members / (4 * intervals))] * (4 * intervals)
    difference, variance = _differences(with_undone(each, noise.sigma), intervals)
    chance = difference + math.sqrt(_chance(variance)) * sampling(1)[:, 0]
    return foretold(_log_ratio(chance, variance), -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)


_RATIO = Range(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO, _DIGITS)


def _curves(sums: Floats, intervals: int) -> Floats:
    """(rows, intervals) survival at each end; draws with chance; NaN from where nobody is at risk."""
    events, censored = sums[:, :intervals], sums[:, intervals:]
    at_risk = _at_risk(events + censored)
    known = np.logical_and.accumulate(at_risk >= _LEAST_AT_RISK, axis=1)
    most = np.where(known, at_risk, 1.0)
    hazard = np.where(known, np.minimum(events / most, 1.0), np.nan)
    survival = np.clip(np.cumprod(1 - hazard, axis=1), 0.0, 1.0)
    left = np.where(known, np.maximum(most - np.maximum(events, 0.0), 0.5), 1.0)
    greenwood = np.cumsum(np.maximum(events, 0.0) / (most * left), axis=1)
    return _with_chance(survival, greenwood)


def _with_chance(survival: Floats, greenwood: Floats) -> Floats:
    """The same chance at all intervals of a draw: each interval's own distribution is what counts."""
    inside = np.clip(survival, 1e-6, 1 - 1e-6)
    hazard = -np.log(inside)
    moved = np.log(hazard) + np.sqrt(greenwood) / hazard * sampling(1)
    drawn = np.exp(-np.exp(np.minimum(moved, 50.0)))
    found: Floats = np.where((survival > 0) & (survival < 1), drawn, survival)
    return found


def _differences(sums: Floats, intervals: int) -> tuple[Floats, Floats]:
    """(rows,) observed less expected events of the first group, and its hypergeometric variance."""
    cells = sums.reshape(len(sums), 2, 2, intervals)  # group, event or censored
    events, at_risk = cells[:, :, 0].sum(axis=1), _at_risk(cells.sum(axis=2))
    everybody = np.maximum(at_risk.sum(axis=1), _LEAST_AT_RISK)
    share = np.clip(at_risk[:, 0] / everybody, 0.0, 1.0)
    expected = events * share
    tied = np.clip((everybody - events) / np.maximum(everybody - 1, 1.0), 0.0, 1.0)
    variance = np.maximum(expected * (1 - share) * tied, 0.0)
    difference: Floats = (cells[:, 0, 0] - expected).sum(axis=1)
    return difference, variance.sum(axis=1)


def _deviation(difference: Floats, variance: Floats) -> float:
    """Of the difference, if hazards are equal: chance, and what the noise moves it."""
    return math.sqrt(_chance(variance) + float(np.var(difference[1:])))


def _chance(variance: Floats) -> float:
    return max(float(variance[0]), 1.0)


def _log_ratio(difference: Floats, variance: Floats) -> Floats:
    found: Floats = np.where(variance >= 1.0, difference / np.maximum(variance, 1.0), np.nan)
    return found


def _at_risk(leaving: Floats) -> Floats:
    """Who leaves in this interval or a later one, along the last axis."""
    found: Floats = np.cumsum(leaving[..., ::-1], axis=-1)[..., ::-1]
    return found


def _falling(curve: Floats) -> Floats:
    """The nearest curve that never rises (pool adjacent violators, M. Ayer et al. 1955); NaN stays last."""
    pools: list[tuple[float, int]] = []
    for value in curve[~np.isnan(curve)].tolist():
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] < pools[-1][0]:
            (a, m), (b, n) = pools[-2:]
            pools[-2:] = [((a * m + b * n) / (m + n), m + n)]
    falling = [value for value, size in pools for _ in range(size)]
    return np.array(falling + [np.nan] * (len(curve) - len(falling)))
