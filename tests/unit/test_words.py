"""Odds as people read them: upper bounds, rounded up, rising with what is spent."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.words import epsilon_of, odds_of, right_at_most
from ml.dp.accounting import odds, rho, zcdp_to_eps

COSTS = st.integers(0, 2**56 - 1)
MEMBERS = st.none() | st.integers(1, 10**8)


def test_nothing_spent_is_pure_chance() -> None:
    assert right_at_most(0) == "50.00"


@given(COSTS, MEMBERS)
def test_the_figure_is_never_below_the_bound_and_hardly_above(
    cost: int, members: int | None
) -> None:
    told = Decimal(right_at_most(cost, members))
    bound = odds(epsilon_of(cost, members)[0])
    assert Decimal(bound) <= told <= 100
    assert told - Decimal(bound) < Decimal("0.01")


@given(COSTS, COSTS)
def test_whoever_spends_more_is_told_no_less(one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert Decimal(right_at_most(less)) <= Decimal(right_at_most(more))


def test_delta_is_a_millionth_or_a_tenth_of_a_persons_share() -> None:
    assert epsilon_of(10**7)[1] == epsilon_of(10**7, 100)[1] == 1e-6
    assert math.isclose(epsilon_of(10**7, 10**6)[1], 1e-7)
    assert epsilon_of(10**7)[0] == zcdp_to_eps(rho(10**7), 1e-6)


@pytest.mark.parametrize("cost", [1_000_000, 300_000_000])
def test_the_sentence_says_the_figures(cost: int) -> None:
    told = odds_of(cost, what="all results so far")
    sentence = told["in_words"]
    assert "guessed from all results so far" in sentence
    assert "50 times in 100 by chance" in sentence
    assert f"at most {told['right_at_most']} times in 100" in sentence
    assert not {"anonymous", "safe"} & set(sentence.lower().split())
