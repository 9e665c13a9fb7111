"""Logistic and Poisson regression from means and covariances, beside the maximum of the likelihood itself.

The maximum is found by Newton's method on the same rows, so that nothing here is left to chance but shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from ml.dp.noise import GaussianNoise
from ml.dp.units import Unit
from ml.tallied import curves
from ml.tallied.curves import EXPONENTIAL, LOGISTIC, Curve
from ml.tallied.moments import joint
from ml.tallied.regressions import Model, regressed

N = 20_000
STEPS = 120
NEAR, MANY, EXCLUSIVE, SKEWED, EXACT = 0.04, 0.1, 0.2, 0.25, 0.005
"""How far slopes may be from the maximum's, as shares of those."""
ERRORS = 0.12
"""The same of standard errors."""
LEVELS = (0.0, -1.0, -2.5)

Table = np.ndarray
Shape = Callable[[np.random.Generator], Table]


def normal(draw: np.random.Generator) -> Table:
    return np.clip(draw.normal(size=N) / 3.5, -1, 1)


def uniform(draw: np.random.Generator) -> Table:
    return draw.uniform(-1, 1, N)


def skewed(draw: np.random.Generator) -> Table:
    """Log-normal, of 40% variation, from 0 to six times the median."""
    return np.clip(np.exp(0.4 * draw.normal(size=N)) / 3 - 1, -1, 1)


def two_values(share: float) -> Shape:
    return lambda draw: np.where(draw.random(N) < share, 1.0, -1.0)


def on_grid(t: Table) -> Table:
    """(n, k) u in -R..R, where R is 1 for what is -1 or 1."""
    widths = widths_of(t)
    return np.rint((t + 1) / 2 * widths).astype(np.int64) * 2 - widths


def widths_of(t: Table) -> Table:
    return np.where((np.abs(t) == 1).all(axis=0), 1, STEPS)


def newton(curve: Curve, t: Table, y: Table) -> tuple[Table, Table]:
    """The maximum of the likelihood and its standard errors, by the inverse information."""
    x = np.column_stack([np.ones(len(y)), t])
    b = np.append(curve.start(np.array([y.mean()])), np.zeros(t.shape[1]))
    for _ in range(60):
        mean, variance, _ = curve.derivatives(x @ b)
        information = x.T @ (variance[:, None] * x)
        step = np.linalg.solve(information, x.T @ (y - mean))
        b = b + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-12:
            break
    return b, np.sqrt(np.diag(np.linalg.inv(information)))


def from_sums(curve: Curve, t: Table, y: Table, most: int) -> tuple[Table, Table]:
    """Coefficients and standard errors of half ranges, from the sums that are opened, without noise.

    most: the largest outcome.
    """
    u = np.column_stack([on_grid(t), 2 * y.astype(np.int64) - most])
    widths = [*widths_of(t).tolist(), most]
    design = joint(widths, [width == 1 for width in widths])
    units = [Unit("", Fraction(2, width), 0, Fraction(-1)) for width in widths[:-1]]
    names = [f"x{i}" for i in range(len(units))] + ["y"]
    model = Model(design, tuple(names), (*units, Unit("", Fraction(1), 0)), 16.0, curve)
    sums = design.exact(u, np.ones(u.shape, dtype=bool))
    told = [float(each.value) for each in regressed(sums, GaussianNoise(1, 1, 0.0), model)]
    return np.array(told[::2]), np.array(told[1::2])


def outcome(curve: Curve, s: Table, draw: np.random.Generator) -> Table:
    mean, _, _ = curve.derivatives(s)
    return np.asarray(draw.random(N) < mean if curve is LOGISTIC else draw.poisson(mean)) * 1.0


def compared(
    curve: Curve, t: Table, level: float, slopes: list[float], seed: int = 1
) -> tuple[Table, Table, Table]:
    """Ratios of slopes less 1, those of standard errors less 1, and the slopes of the maximum."""
    draw = np.random.default_rng(seed)
    widths = widths_of(t)
    seen = on_grid(t) / widths
    y = outcome(curve, level + (seen - seen.mean(axis=0)) @ np.array(slopes), draw)
    truth, errors = newton(curve, seen, y)
    found, stated = from_sums(curve, seen, y, max(1, int(y.max())))
    print(level, slopes, "maximum", truth, "found", found, "errors", errors, stated)
    return (found / truth - 1)[1:], (stated / errors - 1)[1:], truth[1:]


def column(shape: Shape, seed: int = 5) -> Table:
    return shape(np.random.default_rng(seed))[:, None]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("deviation", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("shape", [normal, uniform])
def test_symmetric_predictors_have_the_slopes_of_the_maximum(
    shape: Shape, deviation: float, level: float
) -> None:
    """deviation: of the linear predictor."""
    t = column(shape)
    slopes, errors, _ = compared(LOGISTIC, t, level, [deviation / float(t.std())])
    assert np.abs(slopes).max() < NEAR
    assert np.abs(errors).max() < ERRORS


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize("odds", [1.3, 3.0, 20.0])
def test_a_predictor_of_two_values_has_the_slope_of_the_maximum(
    odds: float, share: float, level: float
) -> None:
    """Its odds ratio is that of the four-fold table, and its standard error that of B. Woolf (1955)."""
    t = column(two_values(share))
    slopes, errors, _ = compared(LOGISTIC, t, level, [np.log(odds) / 2])
    assert np.abs(slopes).max() < EXACT
    assert np.abs(errors).max() < ERRORS


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("deviation", [-1.0, -0.5, 0.5, 1.0])
def test_skewed_predictors_have_about_the_slope_of_the_maximum(
    deviation: float, level: float
) -> None:
    t = column(skewed)
    slopes, errors, _ = compared(LOGISTIC, t, level, [deviation / float(t.std())])
    assert np.abs(slopes).max() < SKEWED
    assert np.abs(errors).max() < SKEWED


def mixed(seed: int = 5) -> Table:
    """Three related numbers, and two categories, one of them related to the first."""
    draw = np.random.default_rng(seed)
    shared = draw.normal(size=N)
    numbers = [(draw.normal(size=N) + shared) / 5 for _ in range(3)]
    related = np.where(shared + draw.normal(size=N) > 1, 1.0, -1.0)
    columns = [*(np.clip(each, -1, 1) for each in numbers), related, two_values(0.5)(draw)]
    return np.column_stack(columns)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("times", [0.5, 1.0])
def test_many_predictors_at_once_have_the_slopes_of_the_maximum(times: float, level: float) -> None:
    given = [times * each for each in (1.5, -0.8, 0.6, 0.5, -0.4)]
    slopes, errors, truth = compared(LOGISTIC, mixed(), level, given)
    assert (np.abs(slopes * truth) < MANY * np.abs(truth).max()).all()
    assert np.abs(errors).max() < ERRORS


def test_categories_of_one_variable_have_about_the_slopes_of_the_maximum() -> None:
    draw = np.random.default_rng(5)
    which = draw.choice(4, N, p=[0.4, 0.3, 0.2, 0.1])
    t = np.column_stack([np.where(which == i, 1.0, -1.0) for i in (1, 2, 3)])
    slopes, _, _ = compared(LOGISTIC, t, -1.0, [0.25, -0.25, 0.5])
    assert np.abs(slopes).max() < EXCLUSIVE


@pytest.mark.parametrize("level", [0.0, 1.0])
@pytest.mark.parametrize("deviation", [0.25, 0.5])
@pytest.mark.parametrize("shape", [normal, uniform, two_values(0.5), two_values(0.1)])
def test_poisson_regression_has_the_slopes_of_the_maximum(
    shape: Shape, deviation: float, level: float
) -> None:
    t = column(shape)
    slopes, errors, _ = compared(EXPONENTIAL, t, level, [deviation / float(t.std())])
    assert np.abs(slopes).max() < NEAR
    assert np.abs(errors).max() < ERRORS


@pytest.mark.parametrize("level", [0.0, -2.5])
def test_a_parabola_on_a_fixed_interval_is_half_too_large_or_half_too_small(level: float) -> None:
    """What PASS-GLM of degree 2 on [-4, 4] makes of the same sums: why it is not used."""
    t = column(normal)
    s = level + 0.5 * t / t.std()
    y = outcome(LOGISTIC, s[:, 0], np.random.default_rng(1))
    angles = np.pi * (np.arange(64) + 0.5) / 64
    softplus = np.logaddexp(0, 4 * np.cos(angles))
    square = 2 * float(np.mean(softplus * np.cos(2 * angles))) * 2 / 16
    squares = float(np.cov(t[:, 0], y)[0, 1] / t.var())
    truth, _ = newton(LOGISTIC, t, y)
    ratio = squares / (2 * square) / truth[1]
    assert ratio > 1.4 if level == 0 else ratio < 0.6


# --- the parts


@pytest.mark.parametrize(
    ("mean", "variance"), [(0.0, 1 / 3), (0.3, 0.02), (-0.9, 0.002), (0.2, 0.96)]
)
def test_a_law_has_the_moments_of_the_beta_of_its_mean_and_variance(
    mean: float, variance: float
) -> None:
    total = (1 - mean**2) / variance - 1
    like = curves.law(np.array([mean]), np.array([variance]))
    x = mean + np.sqrt(variance) * like.places[0]
    if total < 1e-6:
        assert sorted(set(np.round(x[like.shares[0] > 1e-6], 6))) == [-1, 1]
        return
    beta = stats.beta(total * (1 + mean) / 2, total * (1 - mean) / 2, loc=-1, scale=2)
    for degree in range(9):
        assert like.shares[0] @ x**degree == pytest.approx(beta.moment(degree), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("curve", [LOGISTIC, EXPONENTIAL])
def test_slopes_of_the_equations_are_their_derivatives(curve: Curve) -> None:
    draw = np.random.default_rng(4)
    root = draw.normal(size=(3, 3))
    spread = (root @ root.T / 12)[None]
    like = curves.law(np.array([0.1, -0.2, 0.4]), np.diagonal(spread[0]))
    guess = np.array([[-0.4, 0.8, -0.5, 0.3]])
    found = like.equations(curve, spread, guess)
    for at in range(4):
        step = np.zeros((1, 4))
        step[0, at] = 1e-5
        ends = [like.equations(curve, spread, guess + sign * step).values for sign in (1, -1)]
        assert found.slopes[0, :, at] == pytest.approx(
            (ends[0] - ends[1])[0] / 2e-5, rel=1e-4, abs=1e-5
        )


@pytest.mark.parametrize("curve", [LOGISTIC, EXPONENTIAL])
def test_derivatives_of_a_curve_are_its_derivatives(curve: Curve) -> None:
    s = np.linspace(-5, 3, 33)
    ends = [curve.derivatives(s + step) for step in (1e-5, -1e-5)]
    _, slope, bend = curve.derivatives(s)
    assert slope == pytest.approx((ends[0][0] - ends[1][0]) / 2e-5, rel=1e-6)
    assert bend == pytest.approx((ends[0][1] - ends[1][1]) / 2e-5, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("mean", [-0.1, 0.0, 1.0, 1.2])
def test_an_outcome_that_everybody_or_nobody_has_is_not_explained(mean: float) -> None:
    with np.errstate(invalid="ignore"):
        found = LOGISTIC.start(np.array([mean]))
    assert np.isnan(found).all()


def test_what_no_slope_explains_has_no_answer() -> None:
    """A covariance beyond what an outcome of 0 and 1 can have with a predictor of two values."""
    spread = np.array([[[1.0]]])
    moments = curves.Moments(np.zeros((1, 1)), spread, np.array([0.5]), np.array([[0.6]]))
    like = curves.law(np.zeros(1), np.ones(1))
    assert np.isnan(curves.solved(LOGISTIC, like, moments, np.zeros((1, 2)))).all()
