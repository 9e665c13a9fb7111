"""When an answer would say nothing: an interval as wide as everything possible, before payment and after."""

from fractions import Fraction
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.analyses import CATALOGUE
from marketplace.analyses.possible import possible_range
from marketplace.errors import BadParameter
from marketplace.posed import Posed
from marketplace.prices import TENTH, _of_a_tenth
from marketplace.vocabulary import Lane
from marketplace.wire.units import written
from ml.dp.accounting import MAX_COST
from tests.unit.test_analyses_catalogue import N, cohort, parsed

names = pytest.mark.parametrize("name", CATALOGUE)
ADULTS = {"filters": [{"variable": "age", "op": ">=", "value": 65}]}
RANKS = "quantile.v1"
"""Its error is foretold in ranks, its answer is in the variable's unit."""


def ends(name: str, members: int = N) -> tuple[Fraction, Fraction]:
    low, high = possible_range(name, parsed(name).document(), members)
    return Fraction(low), Fraction(high)


@names
def test_what_is_foretold_to_be_possible_is_what_an_answer_is_held_against(name: str) -> None:
    low, high = ends(name)
    span = CATALOGUE[name].expected_error(parsed(name), N, 10_000_000).span
    assert span == (N if name == RANKS else high - low)


@names
def test_no_answer_and_no_interval_leaves_what_is_possible(name: str) -> None:
    low, high = ends(name)
    for cost in (1_000, MAX_COST):
        for estimate in CATALOGUE[name].run(parsed(name), cohort(), cost).estimates:
            assert low <= Fraction(estimate.low) <= Fraction(estimate.high) <= high


@names
def test_a_hopeless_cost_tells_nothing_and_a_high_one_something(name: str) -> None:
    analysis = CATALOGUE[name]
    assert analysis.expected_error(parsed(name), N, 100).texts()["tells_nothing"] is True
    assert analysis.expected_error(parsed(name), N, MAX_COST).texts()["tells_nothing"] is False


@names
@given(cost=st.integers(100, MAX_COST))
def test_an_answer_tells_nothing_exactly_where_its_interval_is_as_long_as_the_range(
    name: str, cost: int
) -> None:
    try:
        forecast = CATALOGUE[name].expected_error(parsed(name), N, cost)
    except BadParameter:
        return
    assert forecast.tells_nothing is (2 * forecast.error.half_width >= forecast.span)


@names
@given(cost=st.integers(1_000, MAX_COST))
def test_an_error_is_told_as_no_less_than_it_is_and_patients_as_whole_ones(
    name: str, cost: int
) -> None:
    forecast = CATALOGUE[name].expected_error(parsed(name), N, cost)
    told, is_of_people = forecast.texts()["half_width"], forecast.unit.startswith("members")
    step = Fraction(1) if is_of_people else Fraction(1, 10_000)
    assert 0 <= Fraction(told) - forecast.error.half_width < step
    assert told.isdigit() or not is_of_people
    assert "." not in told or told[-1] != "0"


# --- a tenth


def question(name: str, **changes: Any) -> Posed:
    analysis, parameters = CATALOGUE[name], parsed(name, **changes)
    error = partial(analysis.expected_error, parameters)
    return Posed(
        Lane.VAULT, analysis, parameters, error, partial(analysis.cost_for_error, parameters)
    )


def of_a_tenth(name: str, cost: int = 10_000_000, **changes: Any) -> dict[str, Any] | None:
    return _of_a_tenth(question(name, **changes), N, cost)


@names
def test_without_filters_there_is_no_tenth_to_tell_of(name: str) -> None:
    assert of_a_tenth(name) is None


@names
def test_with_filters_the_error_of_a_tenth_is_that_of_so_many_patients(name: str) -> None:
    if name == "count.v1":
        return  # its filters are the question: how many pass does not change its error
    told = of_a_tenth(name, **ADULTS)
    assert told is not None
    texts = CATALOGUE[name].expected_error(parsed(name, **ADULTS), N // TENTH, 10_000_000).texts()
    assert {**texts, "members": 50, "in_words": told["in_words"]} == told
    assert f"95% half-width of {texts['half_width']} {written(texts['unit'])}" in told["in_words"]
    assert "a tenth of them (50 patients)" in told["in_words"]


@pytest.mark.parametrize("name", ["mean.v1", "variance.v1"])
def test_what_is_averaged_over_fewer_is_less_certain(name: str) -> None:
    told = of_a_tenth(name, **ADULTS)
    everybody = CATALOGUE[name].expected_error(parsed(name), N, 10_000_000).texts()
    assert told is not None
    assert Fraction(told["half_width"]) > Fraction(everybody["half_width"])


def test_a_tenth_that_would_say_nothing_is_called_so() -> None:
    told = of_a_tenth("mean.v1", 1_000, **ADULTS)
    assert told is not None
    assert told["tells_nothing"] is True
    assert told["in_words"].endswith("such a result tells nothing.")


@given(st.integers(1, 2 * TENTH))
def test_a_tenth_is_at_least_one_patient(members: int) -> None:
    told = _of_a_tenth(question("mean.v1", **ADULTS), members, MAX_COST)
    assert told is not None
    assert told["members"] == max(1, members // TENTH)
