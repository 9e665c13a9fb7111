"""Parameters are read exactly and written one way; what an encoding cannot say is refused by field."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from marketplace.analyses import CATALOGUE, ReleaseKind
from marketplace.analyses.tallies import TALLIES, products_for
from marketplace.analyses.variables import variables_of
from marketplace.errors import BadParameter, Refusal
from marketplace.fhir.demo import demo_dictionary
from marketplace.wire import encoding as encodings
from ml.tallied.draws import DRAWS, interval, normals, point, standard_error, with_undone
from tests.support.tallied_study import (
    COST,
    DEATH,
    KNOWN,
    MEN,
    PLAIN,
    QUESTIONS,
    asked,
    category,
    dictionary,
    grid,
    needed,
    number,
)
from tests.unit.test_tallies_sums import ask, questions

ENCODING = needed(PLAIN.encoding)
EIGHT = [f"v{i}" for i in range(8)]
WIDE = dictionary(
    [*(number(name, "0", "40") for name in EIGHT), category("sex", "female", "male")],
    [*(grid(name, "1") for name in EIGHT), {"name": "sex"}],
)
"""Eight numbers, of which complete cases need products of nine atoms: as many as one may have."""


def test_the_tallies_are_what_they_say() -> None:
    assert list(TALLIES) == [
        "count.v1",
        "sum.v1",
        "mean.v1",
        "variance.v1",
        "histogram.v1",
        "cross_table.v1",
        "covariance.v1",
        "correlation.v1",
        "linear_regression.v1",
        "ridge.v1",
        "logistic.v1",
        "poisson.v1",
        "kaplan_meier.v1",
        "log_rank.v1",
        "chi_square.v1",
        "score.v1",
    ]
    for name, tally in TALLIES.items():
        assert tally.id == name
        assert tally.title
        assert tally.release_kind in ReleaseKind


def test_what_both_lanes_have_is_named_and_hashed_alike() -> None:
    for name in TALLIES.keys() & CATALOGUE.keys():
        assert TALLIES[name].analysis_hash() == CATALOGUE[name].analysis_hash()
        assert TALLIES[name].title == CATALOGUE[name].title
        assert TALLIES[name].release_kind == CATALOGUE[name].release_kind
        assert TALLIES[name].keys == CATALOGUE[name].keys


@questions
def test_canonical_parameters_read_back_as_themselves(question: str) -> None:
    name, given = QUESTIONS[question]
    parameters = TALLIES[name].parse(given, KNOWN)
    written = TALLIES[name].canonical(parameters)
    assert TALLIES[name].parse(json.loads(written), KNOWN) == parameters
    assert written == TALLIES[name].canonical(TALLIES[name].parse(json.loads(written), KNOWN))
    filtered = bool(json.loads(written).get("filters"))
    assert parameters.thins == (filtered and name != "count.v1")


@questions
def test_every_key_that_is_not_known_is_refused(question: str) -> None:
    name, given = QUESTIONS[question]
    with pytest.raises(BadParameter):
        TALLIES[name].parse({**given, "surprise": 1}, KNOWN)


LINEAR = QUESTIONS["linear"][1]
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("covariance.v1", {"variables": ["age"]}, "variables"),
    ("covariance.v1", {"variables": ["age", "age"]}, "variables"),
    ("covariance.v1", {"variables": ["age", "sex"]}, "variables[1]"),
    ("covariance.v1", {"variables": ["age", "height"]}, "variables[1]"),
    ("covariance.v1", {"variables": ["age", 3]}, "variables[1]"),
    ("correlation.v1", {"variables": ["age", "bmi"], "cases": "some"}, "cases"),
    ("correlation.v1", {"variables": ["age", "bmi"], "cases": ["complete"]}, "cases"),
    ("linear_regression.v1", {**LINEAR, "outcome": DEATH}, "outcome"),
    ("linear_regression.v1", {**LINEAR, "outcome": "sbp"}, "outcome"),
    ("linear_regression.v1", {**LINEAR, "outcome": {"variable": "age"}}, "predictors"),
    ("linear_regression.v1", {**LINEAR, "predictors": []}, "predictors"),
    ("linear_regression.v1", {**LINEAR, "predictors": [{"variable": "bmi"}] * 2}, "predictors"),
    (
        "linear_regression.v1",
        {**LINEAR, "predictors": [{"variable": "sex"}]},
        "predictors[0].category",
    ),
    (
        "linear_regression.v1",
        {**LINEAR, "predictors": [{"variable": "age", "category": "old"}]},
        "predictors[0].category",
    ),
    ("linear_regression.v1", {**LINEAR, "penalty": "1"}, "penalty"),
    ("ridge.v1", LINEAR, "penalty"),
    ("ridge.v1", {**LINEAR, "penalty": "-1"}, "penalty"),
    ("ridge.v1", {**LINEAR, "penalty": "much"}, "penalty"),
    ("logistic.v1", LINEAR, "outcome"),
    ("poisson.v1", {**LINEAR, "outcome": DEATH}, "outcome"),
    ("kaplan_meier.v1", {"time": "sex", "event": DEATH}, "time"),
    ("kaplan_meier.v1", {"time": "months", "event": {"variable": "age"}}, "event"),
    ("log_rank.v1", {**QUESTIONS["log-rank"][1], "compare": ["control", "control"]}, "compare"),
    ("log_rank.v1", {**QUESTIONS["log-rank"][1], "compare": ["control", "none"]}, "compare"),
    ("log_rank.v1", {**QUESTIONS["log-rank"][1], "group": "age"}, "compare"),
    (
        "log_rank.v1",
        {**QUESTIONS["log-rank"][1], "group": "status", "compare": ["dead", "alive"]},
        "group",
    ),
    ("chi_square.v1", {"axes": [{"variable": "sex"}] * 2}, "axes"),
    (
        "chi_square.v1",
        {"axes": [{"variable": "sex"}, {"variable": "arm"}, {"variable": "status"}]},
        "axes",
    ),
    (
        "chi_square.v1",
        {"axes": [{"variable": "sex"}, {"variable": "age", "edges": [18, 98]}]},
        "axes",
    ),
]


@pytest.mark.parametrize(("name", "given", "field"), BAD)
def test_what_makes_no_sense_is_refused_by_field_and_with_a_remedy(
    name: str, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadParameter) as refused:
        TALLIES[name].parse(given, KNOWN)
    assert refused.value.field == field
    assert refused.value.remedy.endswith(".")


# --- what an encoding cannot say


def where(variable: str, op: str, value: Any) -> dict[str, Any]:
    return {"filters": [{"variable": variable, "op": op, "value": value}]}


INEXPRESSIBLE: list[tuple[str, dict[str, Any], str, list[str]]] = [
    ("count.v1", where("age", ">=", 51), "filters", ["18", "50", "65", "98"]),
    ("count.v1", where("age", "<=", 50), "filters", ["18", "50", "65", "98"]),
    ("count.v1", where("age", "==", 50), "filters", ["18", "50", "65", "98"]),
    ("count.v1", where("age", "in", [50, 60]), "filters", ["18", "50", "65", "98"]),
    ("count.v1", where("bmi", ">", "30"), "filters", []),
    ("histogram.v1", {"variable": "age", "edges": [18, 40, 98]}, "edges", ["18", "50", "65", "98"]),
    ("histogram.v1", {"variable": "age", "edges": [18, 50, 65]}, "edges", ["18", "50", "65", "98"]),
    ("histogram.v1", {"variable": "visits", "edges": [0, 5]}, "edges", []),
    (
        "cross_table.v1",
        {"axes": [{"variable": "sex"}, {"variable": "age", "edges": [20, 98]}]},
        "axes[1].edges",
        ["18", "50", "65", "98"],
    ),
    (
        "chi_square.v1",
        {"axes": [{"variable": "sex"}, {"variable": "age", "edges": [20, 50, 98]}]},
        "axes[1].edges",
        ["18", "50", "65", "98"],
    ),
]


@pytest.mark.parametrize(("name", "given", "field", "edges"), INEXPRESSIBLE)
def test_a_cut_that_the_encoding_does_not_have_is_refused_with_those_that_it_has(
    name: str, given: dict[str, Any], field: str, edges: list[str]
) -> None:
    parameters = TALLIES[name].parse(given, KNOWN)
    with pytest.raises(BadParameter) as refused:
        TALLIES[name].tallied(parameters, ENCODING)
    assert refused.value.field == field
    assert refused.value.facts["edges"] == edges
    assert all(edge in refused.value.remedy for edge in edges)


@pytest.mark.parametrize(
    ("op", "value"),
    [
        (">=", 50),
        (">", 49),
        ("<", 50),
        ("<=", 49),
        (">=", 18),
        ("<=", 98),
        ("in", list(range(18, 50))),
    ],
)
def test_a_cut_that_the_encoding_has_may_be_said_in_any_way(op: str, value: Any) -> None:
    one = asked("count.v1", where("age", op, value))
    people = [[age, *[None] * 7] for age in (None, 18, 49, 50, 64, 65, 98)]
    holds = {">=": lambda a: a >= value, ">": lambda a: a > value, "<": lambda a: a < value}
    holds |= {"<=": lambda a: a <= value, "in": lambda a: a in value}
    truth = sum(holds[op](row[0]) for row in people if row[0] is not None)
    assert one.exact(people) == [truth]


def test_a_condition_on_a_grid_is_on_the_values_of_the_grid() -> None:
    """sbp in steps of 2: 119 counts as 120, since halves go up."""
    one = asked("count.v1", where("sbp", ">=", 120))
    assert one.exact([[None, None, sbp, *[None] * 5] for sbp in (118, 119, 120)]) == [2]


@pytest.mark.parametrize("name", ["sum.v1", "mean.v1", "variance.v1"])
def test_clipping_is_at_the_dictionarys_bounds_or_refused(name: str) -> None:
    whole = TALLIES[name].parse({"variable": "bmi", "clip": ["10", "60.0"]}, KNOWN)
    assert TALLIES[name].tallied(whole, ENCODING).wanted
    narrow = TALLIES[name].parse({"variable": "bmi", "clip": ["15", "60"]}, KNOWN)
    with pytest.raises(BadParameter) as refused:
        TALLIES[name].tallied(narrow, ENCODING)
    assert refused.value.field == "clip"
    assert "10.0 and 60.0" in refused.value.remedy


def test_a_variable_that_is_not_encoded_is_refused_with_those_that_are() -> None:
    few = needed(dictionary(grids=[grid("age", "1", "50"), {"name": "sex"}]).encoding)
    for question, field in [("mean", "variable"), ("cross table", None), ("survival", "time")]:
        name, given = QUESTIONS[question]
        parameters = TALLIES[name].parse(given, KNOWN)
        if field is None:
            continue
        with pytest.raises(BadParameter) as refused:
            TALLIES[name].tallied(parameters, few)
        assert refused.value.field == field
        assert "age, sex" in refused.value.remedy


def test_a_time_without_intervals_is_refused_with_those_that_have_some() -> None:
    given = {"time": "visits", "event": DEATH}
    parameters = TALLIES["kaplan_meier.v1"].parse(given, KNOWN)
    with pytest.raises(BadParameter) as refused:
        TALLIES["kaplan_meier.v1"].tallied(parameters, ENCODING)
    assert refused.value.field == "time"
    assert "months" in refused.value.remedy


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("covariance.v1", {"variables": EIGHT, "filters": [MEN]}),
        (
            "linear_regression.v1",
            {
                "outcome": {"variable": EIGHT[0]},
                "predictors": [{"variable": name} for name in EIGHT[1:]],
                "filters": [MEN],
            },
        ),
    ],
)
def test_complete_cases_of_more_than_a_product_can_hold_are_refused_with_a_way_out(
    name: str, given: dict[str, Any]
) -> None:
    known = variables_of(WIDE)
    parameters = TALLIES[name].parse(given, known)
    with pytest.raises(BadParameter) as refused:
        TALLIES[name].tallied(parameters, needed(WIDE.encoding))
    assert refused.value.field == "cases"
    assert refused.value.facts["factors"] == 10
    way_out = "pairwise" if name == "covariance.v1" else "middle"
    assert way_out in refused.value.remedy
    for other in ({"filters": []}, {"cases": way_out}):
        one = asked(name, {**given, **other}, WIDE, known)
        assert one.tallied.forms(one.encoding)
        assert len(one.encoding.columns) < 256


def test_an_encoding_of_many_intervals_that_lacks_a_product_is_refused_at_once() -> None:
    """Each presence of seven could be looked for as 64 indicators: there are 64^7 ways, and no time."""
    names = [f"v{i}" for i in range(7)]
    edges = [str(edge) for edge in range(1, 64)]
    cut = dictionary(
        [number(name, "0", "80") for name in names], [grid(name, "1", *edges) for name in names]
    )
    parameters = TALLIES["covariance.v1"].parse({"variables": names}, variables_of(cut))
    encoding = needed(cut.encoding)
    tallied = TALLIES["covariance.v1"].tallied(parameters, encoding)
    started = time.process_time()
    with pytest.raises(BadParameter) as refused:
        tallied.forms(encoding)
    assert refused.value.field == "encoding"
    assert time.process_time() - started < 5


def test_a_count_that_can_be_below_0_is_not_explained_as_one() -> None:
    below = variables_of(
        dictionary([number("x", "-1", "9"), number("y", "0", "9")], [grid("y", "1")])
    )
    given = {"outcome": {"variable": "x"}, "predictors": [{"variable": "y"}]}
    with pytest.raises(BadParameter) as refused:
        TALLIES["poisson.v1"].parse(given, below)
    assert refused.value.field == "outcome"


def test_a_cohort_too_large_to_open_is_refused_before_payment() -> None:
    one = ask("covariance")
    with pytest.raises(Refusal):
        TALLIES[one.name].foretell(one.parameters, one.encoding, 2**31, COST, 2, 3)


@pytest.mark.parametrize("cost", [0, 10**10])
def test_a_cost_out_of_range_is_refused_by_name(cost: int) -> None:
    one = ask("linear")
    with pytest.raises(BadParameter) as refused:
        TALLIES[one.name].foretell(one.parameters, one.encoding, 500, cost, 2, 3)
    assert refused.value.field == "cost"


# --- the demonstration's dictionary


def test_the_demonstrations_variables_can_be_asked_for_models() -> None:
    demo = demo_dictionary()
    document = {
        "variables": [
            {"name": "age", "step": "1", "edges": ["40", "65"]},
            {"name": "systolic", "step": "2", "edges": ["120", "140"]},
            {"name": "hba1c", "step": "0.1", "edges": []},
            {"name": "sex"},
        ],
        "products": [],
    }
    encoding, known = encodings.read(document, demo.variables), variables_of(demo)
    predictors = [{"variable": "age"}, {"variable": "sex", "category": "male"}]
    for name, given in (
        ("linear_regression.v1", {"outcome": {"variable": "systolic"}, "predictors": predictors}),
        ("correlation.v1", {"variables": ["age", "systolic", "hba1c"]}),
    ):
        parameters = TALLIES[name].parse(given, known)
        tallied = TALLIES[name].tallied(parameters, encoding)
        listed = [list(pair) for pair in products_for(tallied, encoding)]
        fuller = encodings.read({**document, "products": listed}, demo.variables)
        assert len(fuller.columns) < 60
        forecast = TALLIES[name].foretell(parameters, fuller, 20_000, COST, 2, 3)
        assert not forecast.tells_nothing


def test_products_are_named_in_an_order_in_which_they_can_be_listed() -> None:
    one = ask("covariance")
    assert products_for(TALLIES[one.name].tallied(one.parameters, ENCODING), ENCODING)[:4] == [
        ("age", "age"),
        ("age", "bmi"),
        ("age", "sbp"),
        ("age", "bmi?"),
    ] or set(products_for(one.tallied, ENCODING)) == set(one.encoding.products)


# --- draws


def test_draws_are_standard_normal_unrelated_and_always_the_same() -> None:
    drawn = normals(20)
    assert drawn.shape == (DRAWS, 20)
    assert np.allclose(drawn.mean(axis=0), 0, atol=1e-12)
    assert np.allclose(drawn.T @ drawn / DRAWS, np.eye(20), atol=1e-10)
    assert np.abs(np.quantile(drawn, 0.975, axis=0) - 1.96).max() < 0.15
    assert np.abs(np.quantile(drawn, 0.975) - 1.96) < 0.02
    normals.cache_clear()
    assert (normals(20) == drawn).all()


def test_an_interval_leaves_out_a_fortieth_at_each_end_and_counts_what_is_unknown_at_both() -> None:
    values = np.concatenate([[50.0], np.arange(DRAWS) * 100 / DRAWS])
    low, high = interval(values, 0, 100)
    assert low == pytest.approx(2.5, abs=0.1)
    assert high == pytest.approx(97.5, abs=0.1)
    assert standard_error(values, 0, 100) == pytest.approx(34.1, abs=0.1)
    values[1 : DRAWS // 25 + 1] = np.nan  # a twenty-fifth: more than is left out
    assert interval(values, -1000, 1000) == (-1000, 1000)
    assert point(np.full(DRAWS + 1, np.nan), -4, 8) == 2


def test_an_estimate_is_never_outside_its_interval() -> None:
    values = np.concatenate([[1e9], np.zeros(DRAWS)])
    assert interval(values, -5, 5) == (0, 5)
    assert interval(-values, -5, 5) == (-5, 0)


def test_the_first_row_is_what_was_opened() -> None:
    rows = with_undone([3, -7, 2**39], Fraction(17, 3))
    assert rows[0].tolist() == [3, -7, 2**39]
    assert len(rows) == DRAWS + 1
