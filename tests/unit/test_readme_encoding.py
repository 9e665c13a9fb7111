"""What the README says of encodings is so: the one that it shows, and what questions take of products."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from marketplace.analyses.tallies import TALLIES
from marketplace.analyses.variables import variables_of
from marketplace.errors import BadParameter
from marketplace.wire import dictionary as dictionaries
from marketplace.wire.dictionary import Dictionary
from tests.support.readme import documents, text

SHOWN = re.compile(r'```json\n\s*("encoding": \{.*?\})\n\s*```', re.DOTALL)
WOMEN = {"variable": "sex", "op": "==", "value": "female"}
OLD = {"variable": "age", "op": ">=", "value": "65"}
PRESSURE = {"variable": "systolic"}
EDGES = {"variable": "age", "edges": ["18", "40", "65", "110"]}
SQUARE = [["systolic", "systolic"]]
BOTH = [["age", "systolic"], ["age", "systolic?"], ["systolic", "age?"], ["age?", "systolic?"]]
SQUARES = [*SQUARE, ["age", "age"], ["age*age", "systolic?"], ["systolic*systolic", "age?"]]
CELLS = [[f"age={i}", f"sex={j}"] for i in range(3) for j in range(3)]
SEXED = [["sex=0", "systolic"], ["sex=0", "systolic?"]]
MOMENTS = ("covariance.v1", "correlation.v1")
TWO = {"variables": ["age", "systolic"]}
LINE = {"outcome": PRESSURE, "predictors": [{"variable": "age"}]}
LEFT = {"time": "age", "event": {"variable": "sex", "category": "male"}}
ENDED = [[f"age={i}", of] for i in range(3) for of in ("sex=1", "sex?")]

# question, its parameters, what the README's table says that it takes
ROWS: list[tuple[str, dict[str, Any], list[list[str]]]] = [
    ("count.v1", {"filters": [WOMEN]}, []),
    ("sum.v1", PRESSURE, []),
    ("mean.v1", PRESSURE, []),
    ("histogram.v1", EDGES, []),
    ("variance.v1", PRESSURE, SQUARE),
    ("count.v1", {"filters": [WOMEN, OLD]}, [["sex=0", "age=2"]]),
    ("cross_table.v1", {"axes": [{"variable": "sex"}, EDGES]}, CELLS),
    ("chi_square.v1", {"axes": [{"variable": "sex"}, EDGES]}, CELLS),
    ("mean.v1", {**PRESSURE, "filters": [WOMEN]}, SEXED),
    ("histogram.v1", {**EDGES, "filters": [WOMEN]}, [[f"age={i}", "sex=0"] for i in range(3)]),
    (
        "variance.v1",
        {**PRESSURE, "filters": [WOMEN]},
        [*SQUARE, *SEXED, ["systolic*systolic", "sex=0"]],
    ),
    *((each, TWO, [*BOTH, *SQUARES]) for each in MOMENTS),
    ("linear_regression.v1", LINE, [*BOTH, *SQUARES]),
    ("ridge.v1", {**LINE, "penalty": "10"}, [*BOTH, *SQUARES]),
    ("kaplan_meier.v1", LEFT, ENDED),
]


def with_products(products: Sequence[Sequence[str]]) -> Dictionary:
    """The README's dictionary, its encoding with these products."""
    document = documents(text())["dictionary.json"]
    encoding = {**shown(), "products": [list(each) for each in products]}
    return dictionaries.from_json(
        {**document, "schema": "usufruct-dictionary/2", "encoding": encoding}
    )


def shown() -> dict[str, Any]:
    (found,) = SHOWN.findall(text())
    encoding: dict[str, Any] = json.loads("{" + found + "}")["encoding"]
    return encoding


def is_asked(analysis: str, parameters: dict[str, Any], of: Dictionary) -> bool:
    tally, encoding = TALLIES[analysis], of.encoding
    assert encoding is not None
    try:
        tally.tallied(tally.parse(parameters, variables_of(of)), encoding).forms(encoding)
    except BadParameter as lacking:
        if lacking.field not in ("encoding", "filters"):
            raise
        return False
    return True


def test_the_encoding_that_is_shown_is_read() -> None:
    of = with_products(shown()["products"])
    assert is_asked("mean.v1", {**PRESSURE, "filters": [WOMEN]}, of)
    assert is_asked("variance.v1", PRESSURE, of)
    assert not is_asked("mean.v1", {**PRESSURE, "filters": [OLD]}, of)


@pytest.mark.parametrize(("analysis", "parameters", "products"), ROWS)
def test_a_question_takes_the_products_that_the_table_says_and_each_of_them(
    analysis: str, parameters: dict[str, Any], products: list[list[str]]
) -> None:
    assert is_asked(analysis, parameters, with_products(products))
    for each in products:
        less = [pair for pair in products if pair != each and "*".join(each) not in pair]
        assert not is_asked(analysis, parameters, with_products(less)), each


def test_of_an_interval_the_presence_may_be_left_out() -> None:
    by_age = [[f"age={i}", "systolic"] for i in range(3)]
    of = with_products([*by_age, *[[f"age={i}", "systolic?"] for i in range(3)]])
    assert is_asked("mean.v1", {**PRESSURE, "filters": [OLD]}, of)
