"""Every analysis: price and accuracy from each other before payment, an answer within its cost."""

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.analyses import CATALOGUE, ReleaseKind
from marketplace.errors import BadParameter
from ml.dp import noise
from ml.dp.accounting import MAX_COST, rho
from ml.dp.domain import Table, Variable
from tests.unit.test_analyses_parameters import DICTIONARY, GOOD

N = 500
CANARY = 1_234


def cohort(n: int = N) -> Table:
    place = np.arange(n)
    columns = {
        "sbp": 1000 + place * 37 % 700,
        "age": 20 + place * 13 % 80,
        "sex": place % 3,
    }
    return Table(columns, dict.fromkeys(columns, place % 17 != 0), n)


def parsed(name: str, **changes: Any) -> Any:
    return CATALOGUE[name].parse({**GOOD[name], **changes}, DICTIONARY)


names = pytest.mark.parametrize("name", CATALOGUE)


@names
def test_an_answer_says_what_it_cost_and_reads_as_canonical_json(name: str) -> None:
    noised = CATALOGUE[name].run(parsed(name), cohort(), 50_000_000)
    assert noised.cost_nano_rho == 50_000_000
    assert noised.members == N
    assert json.loads(noised.to_json())["covers"] == "noise"
    assert noised.noise
    for estimate in noised.estimates:
        low, value, high = (Fraction(t) for t in (estimate.low, estimate.value, estimate.high))
        assert low <= value <= high


@names
@pytest.mark.parametrize("cost", [20, 39, 999_999, 77_777_777, MAX_COST])
def test_all_draws_of_an_answer_together_spend_at_most_its_cost(
    name: str, cost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent, require = [], noise._require_within

    def record(mechanism: Any, distance: float, share: int) -> None:
        spent.append(Fraction(mechanism.map(distance)))
        require(mechanism, distance, share)

    monkeypatch.setattr(noise, "_require_within", record)
    CATALOGUE[name].run(parsed(name), cohort(), cost)
    assert 0 < sum(spent) <= rho(cost)


@names
def test_two_answers_differ_because_the_noise_is_drawn_afresh(name: str) -> None:
    analysis, table = CATALOGUE[name], cohort()
    answers = {analysis.run(parsed(name), table, 100_000).to_json() for _ in range(12)}
    assert len(answers) > 1


@names
def test_the_price_of_an_error_is_the_least_cost_that_reaches_it(name: str) -> None:
    analysis, parameters = CATALOGUE[name], parsed(name)
    target = analysis.expected_error(parameters, N, 30_000_000).error.half_width
    cost = analysis.cost_for_error(parameters, N, target)
    assert cost <= 30_000_000
    assert analysis.expected_error(parameters, N, cost).error.half_width <= target
    assert analysis.expected_error(parameters, N, cost - 1).error.half_width > target


@names
def test_an_error_that_anything_reaches_costs_the_least_that_can_run(name: str) -> None:
    least = 20 if name == "quantile.v1" else 1
    assert CATALOGUE[name].cost_for_error(parsed(name), N, 10**9) == least


@names
def test_a_standard_error_can_be_asked_for_too(name: str) -> None:
    analysis, parameters = CATALOGUE[name], parsed(name)
    target = analysis.expected_error(parameters, N, 20_000_000).error.standard_error
    cost = analysis.cost_for_error(parameters, N, target, "standard_error")
    assert analysis.expected_error(parameters, N, cost).error.standard_error <= target
    assert cost == pytest.approx(20_000_000, rel=1e-4)


@names
@settings(max_examples=25, deadline=None)
@given(one=st.integers(1000, MAX_COST), other=st.integers(1000, MAX_COST))
def test_paying_more_never_makes_the_expected_error_larger(name: str, one: int, other: int) -> None:
    low, high = sorted((one, other))
    analysis, parameters = CATALOGUE[name], parsed(name)
    cheap, dear = (analysis.expected_error(parameters, N, c).error for c in (low, high))
    assert dear.half_width <= cheap.half_width
    assert dear.standard_error <= cheap.standard_error


@names
def test_the_expected_error_is_told_in_words_and_decimal_text(name: str) -> None:
    texts = CATALOGUE[name].expected_error(parsed(name), N, 10_000_000).texts()
    assert set(texts) == {"half_width", "holds", "standard_error", "tells_nothing", "unit"}
    assert Fraction(texts["half_width"]) > 0
    assert texts["unit"]


@names
def test_an_error_that_no_cost_reaches_is_refused(name: str) -> None:
    for target in (0, "-1", "0.0000001"):
        with pytest.raises(BadParameter) as refused:
            CATALOGUE[name].cost_for_error(parsed(name), N, target)
        assert refused.value.field == "target"


@names
@pytest.mark.parametrize("measure", ["half_width", "standard_error"])
def test_an_error_out_of_reach_names_the_smallest_one_which_can_be_had(
    name: str, measure: Any
) -> None:
    analysis, parameters = CATALOGUE[name], parsed(name)
    with pytest.raises(BadParameter) as refused:
        analysis.cost_for_error(parameters, N, 0, measure)
    smallest, best = (
        refused.value.facts["smallest"],
        analysis.expected_error(parameters, N, MAX_COST),
    )
    assert smallest == best.texts()[measure]
    assert f"the smallest possible is {smallest} {best.unit}, at" in refused.value.message
    assert analysis.cost_for_error(parameters, N, str(smallest), measure) <= MAX_COST


@names
@pytest.mark.parametrize("cost", [0, -5, MAX_COST + 1, True, 1.5, "9", None])
def test_a_cost_out_of_range_is_refused_before_anything_runs(name: str, cost: Any) -> None:
    analysis = CATALOGUE[name]
    for attempt in (
        lambda: analysis.run(parsed(name), cohort(), cost),
        lambda: analysis.expected_error(parsed(name), N, cost),
    ):
        with pytest.raises(BadParameter) as refused:
            attempt()
        assert refused.value.field == "cost"


@names
@pytest.mark.parametrize("n", [0, -1, 2**31 + 1, True, 2.0, None])
def test_a_cohort_size_out_of_range_is_refused(name: str, n: Any) -> None:
    for attempt in (
        lambda: CATALOGUE[name].expected_error(parsed(name), n, 1000),
        lambda: CATALOGUE[name].cost_for_error(parsed(name), n, 5),
    ):
        with pytest.raises(BadParameter) as refused:
            attempt()
        assert refused.value.field == "n"


def test_numbers_beyond_64_bits_are_refused_before_payment_and_when_run() -> None:
    huge = Variable("sbp", "number", "u", -(2**40), 2**40, 0)
    variance = CATALOGUE["variance.v1"]
    parameters = variance.parse({"variable": "sbp"}, {"sbp": huge})
    for attempt in (
        lambda: variance.expected_error(parameters, 10, 1000),
        lambda: variance.run(parameters, cohort(10), 1000),
    ):
        with pytest.raises(BadParameter) as refused:
            attempt()
        assert refused.value.field == "clip"


def test_a_quantile_below_its_lowest_cost_is_refused() -> None:
    with pytest.raises(BadParameter) as refused:
        CATALOGUE["quantile.v1"].run(parsed("quantile.v1"), cohort(), 19)
    assert "20 nano-rho" in refused.value.message


@names
def test_a_cohort_of_nulls_only_is_answered_like_any_other(name: str) -> None:
    columns = {key: np.full(30, CANARY, dtype=np.int64) for key in DICTIONARY}
    nobody = {key: np.zeros(30, dtype=np.bool_) for key in DICTIONARY}
    noised = CATALOGUE[name].run(parsed(name), Table(columns, nobody, 30), 1_000_000)
    assert noised.members == 30


def test_what_leaves_as_a_table_is_of_another_release_kind_than_a_number() -> None:
    tables = {name for name, a in CATALOGUE.items() if a.release_kind is ReleaseKind.TABLE}
    assert tables == {"histogram.v1", "cross_table.v1"}
    assert [int(kind) for kind in ReleaseKind] == [0, 1, 2]


def test_cells_of_a_cross_table_are_labelled_in_order() -> None:
    noised = CATALOGUE["cross_table.v1"].run(parsed("cross_table.v1"), cohort(), MAX_COST)
    assert [estimate.label for estimate in noised.estimates][:3] == [
        ("female", "[0, 50)"),
        ("female", "[50, 120]"),
        ("male", "[0, 50)"),
    ]


def test_answers_of_a_large_cohort_are_near_the_truth() -> None:
    table = cohort(50_000)
    known = table.columns["sbp"][table.valid["sbp"]]
    (mean,) = CATALOGUE["mean.v1"].run(parsed("mean.v1"), table, 100_000_000).estimates
    (median,) = CATALOGUE["quantile.v1"].run(parsed("quantile.v1"), table, 100_000_000).estimates
    (spread,) = CATALOGUE["variance.v1"].run(parsed("variance.v1"), table, 100_000_000).estimates
    assert float(mean.value) == pytest.approx(known.mean() / 10, abs=0.1)
    assert float(median.value) == pytest.approx(np.median(known) / 10, abs=0.5)
    assert float(spread.value) == pytest.approx(known.var() / 100, rel=0.03)
