"""Which conditions a page offers beside a variable are those that the lane then answers, and no others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from marketplace.analyses.tallies import TALLIES
from marketplace.analyses.variables import variables_of
from marketplace.conditions import NONE, OF_ONE_VARIABLE, conditions, together
from marketplace.errors import BadParameter
from marketplace.fhir.demo import demo_dictionary, tallied_dictionary
from marketplace.wire.dictionary import Dictionary, from_json
from marketplace.wire.encoding import Encoded
from tests.support.tally_world import ENCODED


def encoded(products: list[list[str]]) -> Dictionary:
    """The demo's variables with the products that a test needs."""
    document = json.loads(tallied_dictionary().to_bytes())
    document["encoding"]["products"] = products
    return from_json(document)


BY_SEX = [[f"systolic={i}", f"sex={j}"] for i in range(3) for j in range(3)]
RICH = encoded(
    [
        ["systolic", "systolic"],
        *BY_SEX,
        ["sex=0", "systolic"],
        ["sex=1", "systolic"],
        ["systolic*systolic", "sex=0"],
        *[[f"systolic={i}", "age=1"] for i in range(3)],
        ["age=1", "systolic"],
        ["age=2", "systolic"],
    ]
)
DICTIONARIES = {"demo": tallied_dictionary(), "tally": from_json(ENCODED), "rich": RICH}


def filters(of: Encoded, index: int, dictionary: Dictionary) -> list[dict[str, Any]]:
    """What a researcher writes to have one category, or one interval."""
    variable = variables_of(dictionary)[of.name]
    if of.categories:
        return [{"variable": of.name, "op": "==", "value": variable.categories[index]}]
    ends = [variable.text(of.lower + of.step * q) for q in (*of.starts, of.steps)]
    below = "<=" if index == of.indicators - 1 else "<"
    return [
        {"variable": of.name, "op": ">=", "value": ends[index]},
        {"variable": of.name, "op": below, "value": ends[index + 1]},
    ]


def is_answered(
    analysis: str, of: Encoded, condition: list[dict[str, Any]], dictionary: Dictionary
) -> bool:
    """As the lane itself decides it, from a researcher's parameters."""
    assert dictionary.encoding is not None
    known, tally = variables_of(dictionary), TALLIES[analysis]
    variable, parameters = known[of.name], {"variable": of.name, "filters": condition}
    if analysis == "histogram.v1" and not of.categories:
        places = (*(of.starts or (0,)), of.steps)
        parameters["edges"] = [variable.text(of.lower + of.step * q) for q in places]
    try:
        tally.tallied(tally.parse(parameters, known), dictionary.encoding).forms(
            dictionary.encoding
        )
    except BadParameter:
        return False
    return True


@pytest.mark.parametrize("name", DICTIONARIES)
@pytest.mark.parametrize("analysis", OF_ONE_VARIABLE)
def test_a_condition_is_named_exactly_where_the_lane_answers_it(name: str, analysis: str) -> None:
    dictionary = DICTIONARIES[name]
    assert dictionary.encoding is not None
    told, answered = conditions(dictionary)[analysis], 0
    for of in dictionary.encoding.variables:
        if not is_answered(analysis, of, [], dictionary):
            assert of.name not in told
            continue
        for other in dictionary.encoding.variables:
            fits = [
                index
                for index in range(other.indicators)
                if is_answered(analysis, of, filters(other, index, dictionary), dictionary)
            ]
            assert told[of.name].get(other.name, []) == fits, (of.name, other.name)
            answered += len(fits)
    assert answered > 0 or name != "rich"


def sentence(of: Mapping[str, Mapping[str, str]], analysis: str) -> str:
    return of[analysis]["systolic"]


def test_it_is_said_in_a_sentence_with_labels_cuts_and_categories() -> None:
    of = together(RICH)
    mean = "With this variable a condition can be on one of these, alone: {}."
    assert sentence(of, "mean.v1") == mean.format(
        "Administrative sex female, male; Age in completed years from 40 to below 65"
    )
    assert sentence(of, "variance.v1") == mean.format("Administrative sex female")
    assert "Systolic blood pressure at 120, 140" in sentence(of, "histogram.v1")
    assert "Administrative sex female, male, other" in sentence(of, "histogram.v1")


def test_of_the_demo_a_mean_can_be_had_under_every_condition_that_its_encoding_can_say() -> None:
    of = together(tallied_dictionary())
    for analysis in ("sum.v1", "mean.v1", "variance.v1", "histogram.v1"):
        assert "Administrative sex female, male, other" in sentence(of, analysis)
        assert "Age in completed years at 40, 65" in sentence(of, analysis)


def test_where_nothing_goes_together_that_is_said() -> None:
    bare = together(encoded([["systolic", "systolic"], ["sex=0", "systolic"]]))
    assert sentence(bare, "mean.v1") == NONE
    assert "sex" not in bare["mean.v1"]  # no number
    assert together(demo_dictionary()) == {}
