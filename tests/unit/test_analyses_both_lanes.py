"""One catalogue over both lanes, and what a page says of each analysis before it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from marketplace.analyses import CATALOGUE, analysis_by_id
from marketplace.analyses.catalogue import CALLED, analysis_in, known_in, lanes_of
from marketplace.analyses.explained import ASKS, EXAMPLES_IN, MEANS, MEANS_IN, TELLS
from marketplace.analyses.possible import possible_cell, possible_range
from marketplace.analyses.tallies import TALLIES, products_for
from marketplace.analyses.variables import variables_of
from marketplace.errors import BadParameter
from marketplace.vocabulary import Lane
from marketplace.wire.analysis import analysis_hash
from ml.dp.accounting import MAX_COST
from tests.support.tallied_study import (
    QUESTIONS,
    category,
    cohort,
    dictionary,
    grid,
    needed,
    number,
    with_products,
)
from tests.unit.test_tallies_sums import ask

EVERY = [(lane, name) for lane in Lane for name in (CATALOGUE if lane is Lane.VAULT else TALLIES)]
every = pytest.mark.parametrize(("lane", "name"), EVERY)


# --- the catalogue


@every
def test_an_analysis_is_found_in_its_lane_by_id_and_by_hash(lane: Lane, name: str) -> None:
    found = analysis_in(lane, name)
    assert found is (CATALOGUE if lane is Lane.VAULT else TALLIES)[name]
    assert known_in(lane)[analysis_hash(name)] is found
    assert lane in lanes_of(name)


def test_every_lane_knows_its_analyses_and_no_other() -> None:
    assert [each.id for each in known_in(Lane.VAULT).values()] == list(CATALOGUE)
    assert [each.id for each in known_in(Lane.HOMOMORPHIC).values()] == list(TALLIES)
    assert set(CALLED) == set(Lane)


def test_some_are_answered_in_both_lanes_and_some_in_one() -> None:
    assert lanes_of("mean.v1") == (Lane.VAULT, Lane.HOMOMORPHIC)
    assert lanes_of("quantile.v1") == (Lane.VAULT,)
    assert lanes_of("covariance.v1") == (Lane.HOMOMORPHIC,)
    for name in ("mean", "", None, 5, ["mean.v1"]):
        assert lanes_of(name) == ()


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize("name", ["mean", "mean.v2", "", 5, None, ["mean.v1"], "../mean.v1"])
def test_what_no_lane_has_is_refused_as_the_vault_lane_refuses_it(lane: Lane, name: object) -> None:
    with pytest.raises(BadParameter) as refused:
        analysis_in(lane, name)
    assert refused.value.field == "analysis"
    assert "mean.v1" in refused.value.remedy
    if lane is Lane.VAULT:
        with pytest.raises(BadParameter) as same:
            analysis_by_id(name)
        assert vars(same.value) == vars(refused.value)


@pytest.mark.parametrize(
    ("lane", "name", "other"),
    [
        (Lane.HOMOMORPHIC, "quantile.v1", "the vault lane"),
        (Lane.VAULT, "covariance.v1", "the homomorphic lane"),
    ],
)
def test_what_another_lane_has_is_refused_with_its_name(lane: Lane, name: str, other: str) -> None:
    with pytest.raises(BadParameter) as refused:
        analysis_in(lane, name)
    assert refused.value.remedy.endswith(f"It is asked in {other}.")
    assert name not in refused.value.facts["known"]


# --- words


def test_every_analysis_says_what_it_asks_and_what_it_tells() -> None:
    names = {name for _, name in EVERY}
    assert set(ASKS) == set(TELLS) == names
    assert all(words.endswith("?") for words in ASKS.values())
    assert all(words.endswith(".") for words in TELLS.values())


NOT_OFFERED: Mapping[Lane, set[str]] = {Lane.VAULT: set(), Lane.HOMOMORPHIC: {"clip"}}
"""What is taken only as it is written out in a canonical question: nothing to choose."""


@pytest.mark.parametrize("lane", Lane)
def test_every_parameter_of_a_lane_is_explained_there_and_no_other(lane: Lane) -> None:
    taken = {key for each in known_in(lane).values() for key in each.keys}
    assert set(MEANS_IN[lane]) == taken - NOT_OFFERED[lane]
    assert MEANS_IN[Lane.VAULT] is MEANS
    for words in MEANS_IN[lane].values():
        assert words.endswith(".")
        assert "  " not in words


@pytest.mark.parametrize("name", TALLIES)
def test_what_is_told_says_what_its_interval_covers(name: str) -> None:
    """As the answer itself says it."""
    question = next(each for each, (of, _) in QUESTIONS.items() if of == name)
    covers = ask(question).answer(cohort(40, 1)).covers
    if name == "chi_square.v1":
        assert "No interval." in TELLS[name]
    else:
        assert ("chance in who takes part" in TELLS[name]) is (covers == "noise and sampling")
        assert "interval" in TELLS[name]


def test_what_is_computed_from_sums_alone_says_how_near_it_comes() -> None:
    for name in ("logistic.v1", "poisson.v1"):
        assert "within about 4%" in TELLS[name]
        assert "No interval covers that." in TELLS[name]


EXAMPLE = dictionary(
    [
        number("age", "18", "110", unit="a"),
        number("systolic", "60", "260", unit="mm[Hg]"),
        number("visits", "0", "30"),
        number("months", "0", "60", unit="mo"),
        category("sex", "female", "male"),
        category("smoking", "current", "never"),
        category("status", "dead", "alive"),
    ],
    [
        grid("age", "1", "40"),
        grid("systolic", "2", "120", "140"),
        grid("visits", "1"),
        grid("months", "1", "12", "24", "36"),
        *({"name": name} for name in ("sex", "smoking", "status")),
    ],
)


@pytest.mark.parametrize("name", TALLIES)
def test_the_example_of_an_analysis_shows_what_it_takes_and_can_be_asked(name: str) -> None:
    tally, example = TALLIES[name], EXAMPLES_IN[Lane.HOMOMORPHIC][name]
    assert set(example) == tally.keys - {"clip"} - ({"edges"} - set(example))
    parameters = tally.parse(example, variables_of(EXAMPLE))
    tallied = tally.tallied(parameters, needed(EXAMPLE.encoding))
    pairs = products_for(tallied, needed(EXAMPLE.encoding))
    encoding = with_products(EXAMPLE, pairs)
    forecast = tally.foretell(parameters, encoding, 20_000, MAX_COST // 10, 3, 5)
    assert not forecast.tells_nothing


def test_examples_are_of_every_analysis_of_their_lane() -> None:
    for lane in Lane:
        assert set(EXAMPLES_IN[lane]) == {each.id for each in known_in(lane).values()}


# --- what is possible


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("scale", [0.0, 1e3, 1e9])
def test_no_interval_leaves_what_is_possible(question: str, scale: float) -> None:
    one = ask(question)
    people = cohort(200, 2)
    noised = [round(each + scale * (-1) ** at) for at, each in enumerate(one.exact(people))]
    answer = one.answer(people, scale, noised)
    document = one.parameters.document()
    for each in answer.estimates:
        found = possible_cell(one.name, document, len(people), each.label)
        if found is not None:
            assert found[0] <= Decimal(each.low) <= Decimal(each.high) <= found[1]


def test_what_noise_drowns_is_as_wide_as_what_is_possible() -> None:
    for question in ("correlation", "survival", "log-rank", "count", "mean"):
        one = ask(question)
        wide = [
            each
            for each in one.answer(cohort(30, 2), 1e9, [0] * len(one.tallied.wanted)).estimates
            if possible_cell(one.name, one.parameters.document(), 30, each.label) is not None
        ]
        assert wide
        for each in wide:
            ends = possible_cell(one.name, one.parameters.document(), 30, each.label)
            assert (Decimal(each.low), Decimal(each.high)) == ends


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("chi_square.v1", ("chi-square",)),
        ("log_rank.v1", ("p-value",)),
        ("linear_regression.v1", ("age", "standard error")),
        ("linear_regression.v1", ("age", "coefficient")),
        ("covariance.v1", ("age", "sbp")),
    ],
)
def test_what_has_no_interval_or_bounds_of_the_dictionary_is_not_judged(
    name: str, label: tuple[str, ...]
) -> None:
    assert possible_cell(name, {}, 30, label) is None


def test_of_a_cell_as_of_the_whole_where_all_cells_are_alike() -> None:
    clipped: dict[str, Any] = {"clip": ["10", "20"], "filters": []}
    for name in ("count.v1", "histogram.v1", "mean.v1", "sum.v1", "variance.v1", "quantile.v1"):
        given = {} if name in ("count.v1", "histogram.v1") else clipped
        assert possible_cell(name, given, 30, ()) == possible_range(name, given, 30)
