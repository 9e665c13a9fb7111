"""Costs are exact, and what people are told of them is never too small."""

import math
from fractions import Fraction

import opendp.prelude as dp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.dp.accounting import (
    MAX_COST,
    CostRefused,
    display_delta,
    odds,
    require_cost,
    rho,
    scale_for,
    sqrt_up,
    zcdp_to_eps,
)

dp.enable_features("contrib")

costs = st.integers(1, MAX_COST)


@given(costs, st.integers(1, 2**80))
def test_the_scale_never_spends_more_than_the_cost_and_wastes_almost_nothing(
    cost: int, squared: int
) -> None:
    spent = Fraction(squared, 2) / Fraction(scale_for(cost, squared)) ** 2
    assert spent <= rho(cost)
    assert spent >= rho(cost) * (1 - Fraction(1, 10**11))


@given(st.fractions(min_value=0, max_value=10**30))
def test_a_root_rounded_up_is_above_and_close(value: Fraction) -> None:
    root = sqrt_up(value)
    assert root**2 >= value
    assert root**2 <= value * (1 + Fraction(1, 2**58))


def test_a_negative_number_has_no_root() -> None:
    with pytest.raises(ValueError, match="negative"):
        sqrt_up(Fraction(-1))


@pytest.mark.parametrize("cost", [0, -1, MAX_COST + 1, True, 1.0, "5", None])
def test_a_cost_out_of_range_or_of_another_type_is_refused(cost: object) -> None:
    with pytest.raises(CostRefused):
        require_cost(cost)  # type: ignore[arg-type]


def test_a_mechanism_without_sensitivity_has_no_scale() -> None:
    with pytest.raises(ValueError, match="sensitivity"):
        scale_for(1, 0)


@pytest.mark.parametrize("spent", [1e-9, 1e-6, 0.001, 0.005, 0.1, 1.0, 4.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-9])
def test_epsilon_agrees_with_opendp_and_is_below_bun_and_steinke(
    spent: float, delta: float
) -> None:
    space = dp.atom_domain(T="i64"), dp.absolute_distance(T="i64")
    gaussian = dp.m.make_gaussian(*space, scale=math.sqrt(0.5 / spent))
    theirs = dp.c.make_zCDP_to_approxDP(gaussian).map(1).epsilon(delta)
    ours = zcdp_to_eps(spent, delta)
    # Both minimise the same bound over its order, so near rho = 0 only rounding tells them apart.
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-7)
    assert ours <= spent + 2 * math.sqrt(spent * math.log(1 / delta))


@given(costs, costs)
def test_epsilon_rises_with_the_cost(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert zcdp_to_eps(rho(low), 1e-6) <= zcdp_to_eps(rho(high), 1e-6) * (1 + 1e-8)


def test_no_cost_is_no_epsilon() -> None:
    assert zcdp_to_eps(0, 1e-6) == 0


@pytest.mark.parametrize(("spent", "delta"), [(-1.0, 0.1), (1.0, 0.0), (1.0, 1.0), (math.inf, 0.1)])
def test_epsilon_of_nonsense_is_refused(spent: float, delta: float) -> None:
    with pytest.raises(ValueError, match="delta"):
        zcdp_to_eps(spent, delta)


def test_delta_is_a_tenth_of_one_person_and_never_above_a_millionth() -> None:
    assert display_delta(1) == 1e-6
    assert display_delta(10**7) == 1e-8
    with pytest.raises(ValueError, match="population"):
        display_delta(0)


def test_odds_start_at_chance_and_never_pass_certainty() -> None:
    assert odds(0) == 50
    assert odds(1) == pytest.approx(100 * math.e / (1 + math.e))
    assert odds(1000) == 100
    with pytest.raises(ValueError, match="negative"):
        odds(-0.1)
