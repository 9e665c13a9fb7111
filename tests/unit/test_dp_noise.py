"""The noise has the shape it claims, and no mechanism runs beyond its cost.

Each statistical test fails a correct sampler with probability 1e-9 at most.
"""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ml.dp import noise as noise_module
from ml.dp.accounting import MAX_COST, CostRefused, rho
from ml.dp.interval import half_width
from ml.dp.noise import NotRepresentable, add_gaussian, choose_best, gaussian_noise
from tests.support.noise_statistics import ERROR_RATE, discrete_gaussian, shape_p_value

SHAPE = 1e-15
"""For p-values of shapes here: where the last cell expects only five draws, its exact binomial says that a
true sampler falls below this with 2e-10, and below 1e-9 with 1e-7.
"""
DRAWS = 40_000


@pytest.mark.parametrize("cost", [MAX_COST, 55_555_555, 3_000_000])
def test_gaussian_noise_follows_the_exact_discrete_gaussian(cost: int) -> None:
    noise = gaussian_noise(cost, 1, 0)
    draws = np.array(add_gaussian([0] * DRAWS, noise))
    assert shape_p_value(draws, noise.scale**2) > SHAPE


def test_the_shape_test_sees_noise_that_is_eight_percent_too_narrow() -> None:
    noise = gaussian_noise(55_555_555, 1, 0)
    narrow = dataclasses.replace(noise, cost=MAX_COST, scale=noise.scale * 0.92)
    draws = np.array(add_gaussian([0] * DRAWS, narrow))
    assert shape_p_value(draws, noise.scale**2) < SHAPE


def test_noise_of_neighbouring_entries_and_of_later_draws_is_unrelated() -> None:
    noise = gaussian_noise(1_000_000, 1, 0)
    draws = np.array(add_gaussian([0] * DRAWS, noise)) / noise.scale
    again = np.array(add_gaussian([0] * DRAWS, noise)) / noise.scale
    limit = stats.norm.isf(ERROR_RATE / 2) * 1.05 / math.sqrt(DRAWS)
    assert abs(np.mean(draws[1:] * draws[:-1])) < limit
    assert abs(np.mean(draws * again)) < limit


@pytest.mark.parametrize("cost", [MAX_COST, 123_456_789, 5_000_000])
@pytest.mark.parametrize("distance", [1, 3, 40])
@pytest.mark.parametrize("order", [1.0001, 1.5, 2, 8, 64])
def test_renyi_divergence_of_shifted_noise_is_within_the_cost(
    cost: int, distance: int, order: float
) -> None:
    sigma = gaussian_noise(cost, distance**2, 0).scale
    support = np.arange(-math.ceil(90 * sigma), math.ceil(90 * sigma) + 1, dtype=np.float64)
    log_p, log_q = -(support**2) / (2 * sigma**2), -((support - distance) ** 2) / (2 * sigma**2)
    log_p, log_q = log_p - log_sum(log_p), log_q - log_sum(log_q)
    divergence = log_sum(order * log_p + (1 - order) * log_q) / (order - 1)
    assert divergence <= order * float(rho(cost)) * (1 + 1e-6) + 1e-9


def log_sum(logs: np.ndarray) -> float:
    top = logs.max()
    return float(top + np.log(np.exp(logs - top).sum()))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(-5, 5)), min_size=2, max_size=6),
    st.integers(1_000_000, MAX_COST),
    st.sampled_from([1.001, 2.0, 16.0]),
)
def test_renyi_divergence_of_a_choice_between_neighbours_is_within_the_cost(
    pairs: list[tuple[int, int]], cost: int, order: float
) -> None:
    scale = gaussian_noise(cost, 5**2, 0).scale
    one = np.array([score for score, _ in pairs]) / scale
    other = np.array([score + moved for score, moved in pairs]) / scale
    one, other = one - log_sum(one), other - log_sum(other)
    divergence = log_sum(order * one + (1 - order) * other) / (order - 1)
    assert divergence <= order * float(rho(cost)) + 1e-9


def test_a_choice_follows_the_exponential_mechanism() -> None:
    scores, cost = np.array([0, -3, -1, -8, -2], dtype=np.int64), 20_000_000
    scale = gaussian_noise(cost, 1, 0).scale
    chances = np.exp(scores / scale) / np.exp(scores / scale).sum()
    drawn = np.bincount([choose_best(scores, 1, cost) for _ in range(4_000)], minlength=5)
    assert stats.chisquare(drawn, chances * 4_000).pvalue > ERROR_RATE


def test_a_scale_too_small_for_its_cost_never_runs() -> None:
    noise = gaussian_noise(1_000_000, 4, 10)
    cheat = dataclasses.replace(noise, scale=noise.scale * (1 - 1e-9))
    with pytest.raises(CostRefused, match="would spend"):
        add_gaussian([5], cheat)
    with pytest.raises(CostRefused, match="would spend"):
        add_gaussian([5], dataclasses.replace(noise, squared_sensitivity=5))


def test_a_choice_whose_map_exceeds_its_cost_never_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.dp.noise.scale_for", lambda cost, squared: 1.0)
    with pytest.raises(CostRefused, match="would spend"):
        choose_best(np.zeros(3, dtype=np.int64), 1, 1000)


@given(st.integers(1, 2**100))
def test_the_length_that_opendp_is_asked_about_is_never_rounded_down(squared: int) -> None:
    length = Fraction(noise_module._length_up(squared))
    assert squared <= length**2 <= squared * (1 + Fraction(1, 2**50))


@pytest.mark.parametrize(
    ("cost", "squared", "largest"), [(1, 2**100, 0), (MAX_COST, 1, 2**62), (1, 2**94, 2**61)]
)
def test_what_may_not_fit_into_64_bits_is_refused_beforehand(
    cost: int, squared: int, largest: int
) -> None:
    with pytest.raises(NotRepresentable):
        gaussian_noise(cost, squared, largest)


@given(st.integers(100_000, MAX_COST))
def test_the_half_width_holds_95_percent_of_the_exact_distribution(cost: int) -> None:
    noise = gaussian_noise(cost, 1, 0)
    support, chances = discrete_gaussian(noise.scale**2)
    assert chances[np.abs(support) <= half_width(noise)].sum() >= 0.95


@pytest.mark.parametrize("sigma", [0.7072, 0.9, 1.0, 1.3, 1.41, 2.0, 3.7, 12.0, 100.0])
def test_discrete_noise_is_never_a_unit_further_out_than_continuous_noise(sigma: float) -> None:
    """The fact behind every interval: P[discrete >= m] <= P[continuous >= m - 1]."""
    support, chances = discrete_gaussian(sigma**2)
    tails = chances[::-1].cumsum()[::-1]
    positive = (support >= 1) & (support <= 12 * sigma)
    assert (tails[positive] <= stats.norm.sf((support[positive] - 1) / sigma)).all()
