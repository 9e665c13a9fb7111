"""A condition that the encoding has no products for is refused as such, and those that work are named."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.analyses.answerable import require_tallied
from marketplace.analyses.polynomials import ONE, any_of
from marketplace.analyses.tallies import TALLIES
from marketplace.analyses.variables import variables_of
from marketplace.errors import BadParameter
from marketplace.fhir.demo import tallied_dictionary
from marketplace.wire.dictionary import Dictionary, from_json
from tests.support.tallied_study import (
    KNOWN,
    QUESTIONS,
    asked,
    category,
    dictionary,
    grid,
    number,
)
from tests.unit.test_tallies_sums import questions

QUORUM, CUSTODIANS, COST = 2, 3, 1_000_000
OLD = {"variable": "age", "op": ">=", "value": "65"}
WOMEN = {"variable": "sex", "op": "==", "value": "female"}
TREATED = {"variable": "arm", "op": "==", "value": "treated"}


def encoded(*products: tuple[str, str]) -> Dictionary:
    """The demo's variables, with these products and no others."""
    document = json.loads(tallied_dictionary().to_bytes())
    document["encoding"]["products"] = [list(pair) for pair in products]
    return from_json(document)


def beside(*indicators: str) -> list[tuple[str, str]]:
    """What a mean of `systolic` takes under one of these conditions: the number's value, and its presence."""
    return [
        pair
        for each in indicators
        for pair in ((each, "systolic"), *((each, f"systolic={i}") for i in range(3)))
    ]


SEXES, AGES = [f"sex={i}" for i in range(3)], [f"age={i}" for i in range(3)]
MEN_ALONE = encoded(*beside("sex=1", "age=0"))
ANY_SEX, ANY_AGE = encoded(*beside(*SEXES)), encoded(*beside(*AGES))
BARE = encoded()


def refusal(of: Dictionary, analysis: str, **parameters: Any) -> BadParameter:
    """By the way of quotes (which foretell), and by the way of operators and custodians: the same."""
    tally, encoding = TALLIES[analysis], of.encoding
    assert encoding is not None
    parsed = tally.parse(parameters, variables_of(of))
    with pytest.raises(BadParameter) as foretold:
        tally.foretell(parsed, encoding, 200, COST, QUORUM, CUSTODIANS)
    with pytest.raises(BadParameter) as required:
        require_tallied(tally, parsed, encoding, (20,), COST, QUORUM, CUSTODIANS)
    first, second = foretold.value, required.value
    assert (first.field, first.message, first.remedy) == (
        second.field,
        second.message,
        second.remedy,
    )
    return first


def mean(of: Dictionary, *filters: dict[str, str]) -> BadParameter:
    return refusal(of, "mean.v1", variable="systolic", filters=list(filters))


def test_the_refusal_is_about_the_filters_and_names_the_variable_and_not_a_column() -> None:
    found = mean(ANY_SEX, OLD)
    assert (found.code, found.field) == ("bad_parameter", "filters")
    assert "by age" in found.message
    assert "age=2" not in found.message + found.remedy
    assert "encoding has no column" not in found.message


@pytest.mark.parametrize(
    ("of", "filters", "works"),
    [
        (ANY_SEX, [OLD], "sex"),
        (ANY_AGE, [WOMEN], "age (cut at 40, 65)"),
        (MEN_ALONE, [OLD], "age (below 40), sex (1 of 3 categories)"),
        (MEN_ALONE, [WOMEN], "age (below 40), sex (male)"),
    ],
)
def test_the_conditions_that_work_are_named(
    of: Dictionary, filters: list[dict[str, str]], works: str
) -> None:
    found = mean(of, *filters)
    assert f"can choose by: {works}. " in found.remedy
    assert "Or leave filters out" in found.remedy


def test_where_none_works_that_is_said() -> None:
    found = mean(BARE, OLD)
    assert found.field == "filters"
    assert "no condition can be answered" in found.remedy
    assert "Leave filters out" in found.remedy


def test_two_conditions_that_work_alone_and_not_together_are_said_to_be_two() -> None:
    both = encoded(*beside(*AGES, *SEXES))
    found = mean(both, OLD, WOMEN)
    assert "by sex and age together" in found.message
    assert "can choose by: age (cut at 40, 65), sex. " in found.remedy
    assert "two at once" in found.remedy
    counted = refusal(both, "count.v1", filters=[OLD, WOMEN])
    assert "by sex and age together" in counted.message
    assert "Or leave filters out" not in counted.remedy


def test_what_is_named_is_answered_and_what_is_not_is_refused() -> None:
    """Of MEN_ALONE, by asking it."""
    for condition, works in (
        ({"variable": "age", "op": "<", "value": "40"}, True),
        ({"variable": "age", "op": ">=", "value": "40"}, False),
        ({"variable": "sex", "op": "==", "value": "male"}, True),
        ({"variable": "sex", "op": "in", "value": ["male", "female"]}, False),
    ):
        tally, encoding = TALLIES["mean.v1"], MEN_ALONE.encoding
        assert encoding is not None
        given = {"variable": "systolic", "filters": [condition]}
        parsed = tally.parse(given, variables_of(MEN_ALONE))
        if works:
            assert tally.foretell(parsed, encoding, 200, COST, QUORUM, CUSTODIANS)
            continue
        with pytest.raises(BadParameter) as refused:
            tally.foretell(parsed, encoding, 200, COST, QUORUM, CUSTODIANS)
        assert refused.value.field == "filters"


@pytest.mark.parametrize("filters", [[], [WOMEN]])
def test_what_cannot_be_asked_of_anybody_is_not_blamed_on_filters(
    filters: list[dict[str, str]],
) -> None:
    """A variance needs squares, which nothing here lists."""
    found = refusal(ANY_SEX, "variance.v1", variable="systolic", filters=filters)
    assert found.field == "encoding"


@questions
def test_every_analysis_with_conditions_blames_them_where_they_are_at_fault(question: str) -> None:
    """All products that it takes without the condition are there, and none beside."""
    name, given = QUESTIONS[question]
    if "filters" not in TALLIES[name].keys:
        return
    chosen = WOMEN if "sex" not in json.dumps(given) else TREATED
    kept = {"filters": [TREATED]} if name == "count.v1" else {**given, "filters": []}
    if name == "count.v1":
        chosen = WOMEN
    one = asked(name, kept)
    parsed = TALLIES[name].parse({**kept, "filters": [*kept["filters"], chosen]}, KNOWN)
    with pytest.raises(BadParameter) as refused:
        TALLIES[name].foretell(parsed, one.encoding, 3000, COST, QUORUM, CUSTODIANS)
    assert refused.value.field == "filters"
    assert chosen["variable"] in refused.value.message


def test_an_encoding_of_many_intervals_and_a_table_of_many_cells_are_refused_at_once() -> None:
    edges = [str(edge) for edge in range(1, 64)]
    names = ["a", "b", "c", "d", "e"]
    wide = dictionary(
        [*(number(each, "0", "80") for each in names), category("sex", "female", "male")],
        [*(grid(each, "1", *edges) for each in names), {"name": "sex"}],
    )
    axes = [{"variable": "a", "edges": ["0", *edges[:16], "80"]}, {"variable": "sex"}]
    given = {"axes": axes, "filters": [{"variable": "b", "op": ">=", "value": "1"}]}
    started = time.process_time()
    found = refusal(wide, "cross_table.v1", **given)
    assert time.process_time() - started < 5
    assert found.field in ("filters", "encoding")


def test_of_more_conditions_than_are_tried_those_of_products_are_tried_first() -> None:
    """`/ask` says that g can be one: to deny it would send people to the lane that opens records."""
    edges = [str(each) for each in range(1, 64)]
    of = dictionary(
        [number("a", "0", "100"), number("w", "0", "100"), *CHOICES],
        [grid("a", "1", *edges), grid("w", "1"), {"name": "g"}, {"name": "h"}],
        [(each, f"g={i}") for i in range(3) for each in ("w", "w?")],
    )
    asked_by_h = {"variable": "h", "op": "==", "value": "c1"}
    found = refusal(of, "mean.v1", variable="w", filters=[asked_by_h])
    assert "can choose by: g; others were not tried. " in found.remedy


CHOICES = [category("g", "c0", "c1", "c2"), category("h", "c0", "c1", "c2")]


# --- what nobody may multiply out

WIDE = "abcdefgh"


def of_categories(count: int, variables: str = WIDE) -> Dictionary:
    """As many categories each, all of them encoded, with no products."""
    categories = [f"{i}" for i in range(count)]
    listed = [category(name, *categories) for name in variables]
    return dictionary(listed, [{"name": name} for name in variables])


def chosen(name: str, count: int) -> dict[str, Any]:
    return {"variable": name, "op": "in", "value": [f"{i}" for i in range(count)]}


@pytest.mark.parametrize("conditions", [5, 8])
def test_conditions_that_multiply_out_without_end_are_refused_at_once(conditions: int) -> None:
    """Anybody may ask what a question costs: 9 of 10 categories of eight variables are 43 million terms."""
    began = time.process_time()
    for analysis, more in (("count.v1", {}), ("histogram.v1", {"variable": "a"})):
        filters = [chosen(name, 9) for name in WIDE[:conditions]]
        refused = refusal(of_categories(10), analysis, filters=filters, **more)
        assert refused.field == "encoding"
        assert "multiplies out" in refused.message
        assert "one condition a variable" in refused.remedy
    assert time.process_time() - began < 20  # hours, before


def test_axes_that_multiply_out_without_end_are_refused_at_once() -> None:
    variables = "abc"
    listed = [number(name, "0", "59") for name in variables]
    grids = [grid(name, "1", *(f"{i}" for i in range(1, 60))) for name in variables]
    of = dictionary(listed, grids)
    axes = [{"variable": name, "edges": ["1", "59"]} for name in variables]
    refused = refusal(of, "cross_table.v1", axes=axes)
    assert "multiplies out" in refused.message


def test_a_sum_of_more_terms_than_any_encoding_holds_is_none() -> None:
    half = any_of("a", range(64)), any_of("b", range(64))
    with pytest.raises(BadParameter, match="multiplies out"):
        half[0] * half[1]
    assert len((any_of("a", range(64)) * any_of("b", range(32))).terms) == 64 * 32
    assert (
        len((any_of("a", range(256)) * any_of("a", range(256))).terms) == 256
    )  # one variable, twice


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sets(st.integers(0, 2))), max_size=5))
def test_products_say_what_their_factors_say_together(factors: list[tuple[str, set[int]]]) -> None:
    whole = ONE
    for name, inside in factors:
        whole = whole * any_of(name, sorted(inside))
    for row in itertools.product(range(3), repeat=3):
        met = all(row["abc".index(name)] in inside for name, inside in factors)
        there = {f"{name}={row[at]}" for at, name in enumerate("abc")}
        said = sum(c for monomial, c in whole.terms.items() if set(monomial) <= there)
        assert said == int(met)
