"""What is opened is what the analysis says: the right polynomials, in bounds, from columns that exist."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.analyses import CATALOGUE
from marketplace.analyses.tallies import TALLIES, products_for
from marketplace.analyses.variables import variables_of
from marketplace.errors import BadParameter
from marketplace.wire.encoding import Encoding
from ml.dp import counts, means, sums, variances
from ml.dp.accounting import scale_for
from ml.dp.domain import Table
from ml.dp.noise import GaussianNoise
from tests.support.tallied_study import (
    COST,
    KNOWN,
    PLAIN,
    QUESTIONS,
    VARIABLES,
    Asked,
    asked,
    atoms,
    cohort,
    dictionary,
    grid,
    needed,
    with_products,
)

questions = pytest.mark.parametrize("question", QUESTIONS)
ASKED: dict[str, Asked] = {}


def ask(question: str) -> Asked:
    if question not in ASKED:
        ASKED[question] = asked(*QUESTIONS[question])
    return ASKED[question]


DOMAINS = [
    range(18, 99),
    range(100, 601),
    range(60, 261),
    range(21),
    range(61),
    range(3),
    range(2),
    range(2),
]
rows = st.tuples(
    *(st.none() | st.sampled_from([d[0], d[-1]]) | st.integers(d[0], d[-1]) for d in DOMAINS)
)


def held(encoding: Encoding, forms: list[Any], row: Any) -> list[int]:
    values = encoding.values(row)
    return [sum(c * values[at] for at, c in form.items()) for form in forms]


def test_every_analysis_is_asked_here() -> None:
    assert {name for name, _ in QUESTIONS.values()} == set(TALLIES)


@questions
@settings(max_examples=12, deadline=None)
@given(row=rows)
def test_columns_hold_the_polynomials_and_polynomials_stay_in_bounds(
    question: str, row: Any
) -> None:
    one = ask(question)
    forms = one.tallied.forms(one.encoding)
    direct = one.vectors([row])[0].tolist()
    assert held(one.encoding, forms, row) == direct
    for wanted, value in zip(one.tallied.wanted, direct, strict=True):
        assert wanted.low <= value <= wanted.high


@questions
def test_bounds_hold_for_a_whole_cohort_and_are_not_far_beyond_it(question: str) -> None:
    one = ask(question)
    found = one.vectors([*cohort(2000, 1), [None] * len(VARIABLES), *corners()])
    for wanted, column in zip(one.tallied.wanted, found.T, strict=True):
        assert wanted.low <= min(column) <= max(column) <= wanted.high
        assert max(abs(column)) >= max(-wanted.low, wanted.high) / 4


def corners() -> list[list[int | None]]:
    ends = [[d[0], d[-1]] if len(d) != 3 else list(d) for d in DOMAINS]
    return [list(row) for row in itertools.product(*ends)]


@questions
def test_an_encoding_without_the_products_is_refused_by_the_name_of_one(question: str) -> None:
    one = ask(question)
    if not one.encoding.products:
        return
    fewer = with_products(PLAIN, one.encoding.products[:-1])
    with pytest.raises(BadParameter) as refused:
        one.tallied.forms(fewer)
    assert refused.value.field == "encoding"
    lacking = refused.value.facts["product"]
    assert sorted(str(lacking).split("*")) == sorted("*".join(one.encoding.products[-1]).split("*"))


@questions
def test_the_products_that_are_named_are_enough_and_none_is_idle(question: str) -> None:
    one = ask(question)
    assert products_for(one.tallied, one.encoding) == []
    used = {at for form in one.tallied.forms(one.encoding) for at in form}
    names = [one.encoding.columns[at].name for at in used]
    listed = ["*".join(pair) for pair in one.encoding.products]
    inside = {part for pair in one.encoding.products for part in pair}
    assert all(name in names or name in inside for name in listed)


def test_one_encoding_can_serve_every_question_at_once() -> None:
    encoding = needed(PLAIN.encoding)
    for name, parameters in QUESTIONS.values():
        tallied = TALLIES[name].tallied(TALLIES[name].parse(parameters, KNOWN), encoding)
        encoding = with_products(PLAIN, [*encoding.products, *products_for(tallied, encoding)])
        tallied.forms(encoding)
    assert len(encoding.columns) < 256


def test_a_cell_that_nobody_can_be_in_is_a_sum_of_no_columns() -> None:
    men = [{"variable": "sex", "op": "==", "value": "male"}]
    one = asked("histogram.v1", {"variable": "sex", "filters": men})
    forms = one.tallied.forms(one.encoding)
    assert [len(form) for form in forms] == [0, 1, 0]
    assert one.exact([[None] * 5 + [sex, None, None] for sex in (0, 1, 1, 2, None)]) == [0, 2, 0]


def test_a_presence_may_be_listed_itself_or_as_its_indicators() -> None:
    """bmi? beside sex? needs one product, or one for each sex: both are read."""
    one = asked("correlation.v1", {"variables": ["bmi", "age"], "cases": "pairwise"})
    spelled = [["bmi", f"age={i}"] for i in range(3)] + [["bmi?", f"age={i}"] for i in range(3)]
    kept = [list(pair) for pair in one.encoding.products if "age?" not in pair]
    apart = with_products(PLAIN, [*kept, *spelled])
    rows_of = cohort(30, 4, missing=0.3)
    for form, wanted in zip(one.tallied.forms(apart), one.vectors(rows_of).T, strict=True):
        for row, value in zip(rows_of, wanted, strict=True):
            columns = apart.values(row)
            assert sum(c * columns[at] for at, c in form.items()) == value


# --- the vault lane says the same, byte for byte, where the grid is that of stored integers

FINE = dictionary(
    grids=[
        grid("age", "1", "50", "65"),
        grid("bmi", "0.1"),
        grid("sbp", "1", "120", "140"),
        grid("visits", "1"),
        grid("months", "1"),
        {"name": "sex"},
    ]
)
SAME: dict[str, tuple[str, dict[str, Any]]] = {
    "count": ("count.v1", {"filters": [{"variable": "age", "op": ">=", "value": 50}]}),
    "count of two": (
        "count.v1",
        {
            "filters": [
                {"variable": "age", "op": "<", "value": "65"},
                {"variable": "sex", "op": "in", "value": ["male", "other"]},
            ]
        },
    ),
    "count with >": ("count.v1", {"filters": [{"variable": "age", "op": ">", "value": "49"}]}),
    "count with <=": ("count.v1", {"filters": [{"variable": "sbp", "op": "<=", "value": "139"}]}),
    "sum": ("sum.v1", {"variable": "bmi"}),
    "sum of some": (
        "sum.v1",
        {"variable": "visits", "filters": [{"variable": "age", "op": ">=", "value": 65}]},
    ),
    "mean": ("mean.v1", {"variable": "bmi"}),
    "mean of some": (
        "mean.v1",
        {"variable": "sbp", "filters": [{"variable": "sex", "op": "==", "value": "male"}]},
    ),
    "variance": ("variance.v1", {"variable": "bmi"}),
    "variance of some": (
        "variance.v1",
        {"variable": "age", "filters": [{"variable": "age", "op": ">=", "value": 50}]},
    ),
    "histogram": ("histogram.v1", {"variable": "sbp", "edges": [120, 140, 260]}),
    "histogram of categories": ("histogram.v1", {"variable": "sex"}),
    "cross table": (
        "cross_table.v1",
        {
            "axes": [
                {"variable": "sbp", "edges": ["60", "140", "260"]},
                {"variable": "sex"},
                {"variable": "age", "edges": [18, 50, 98]},
            ]
        },
    ),
}


def fake(vector: Any, noise: GaussianNoise) -> list[int]:
    return [int(v) + round(noise.scale * (at * 7 % 5 - 2) / 3) for at, v in enumerate(vector)]


def table_of(cohort_rows: Any) -> Table:
    columns, valid = {}, {}
    for at, each in enumerate(VARIABLES):
        raw = [row[at] for row in cohort_rows]
        columns[str(each["name"])] = np.array([0 if v is None else v for v in raw], dtype=np.int64)
        valid[str(each["name"])] = np.array([v is not None for v in raw])
    return Table(columns, valid, len(cohort_rows))


@pytest.mark.parametrize("question", SAME)
@pytest.mark.parametrize("cost", [40_000, 50_000_000])
def test_both_lanes_make_the_same_answer_of_the_same_noised_sums(
    question: str, cost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, given = SAME[question]
    for module in (counts, means, sums, variances):
        monkeypatch.setattr(module, "add_gaussian", fake)
    people = cohort(300, 7)
    vault = CATALOGUE[name].run(CATALOGUE[name].parse(given, KNOWN), table_of(people), cost)
    one = asked(name, given, FINE, variables_of(FINE))
    noise = GaussianNoise(cost, one.tallied.squared_sensitivity, vault_scale(one, cost))
    noised = fake(one.exact(people), noise)
    assert one.tallied.finish(noised, noise, len(people), cost).to_json() == vault.to_json()


def vault_scale(one: Asked, cost: int) -> float:
    return scale_for(cost, one.tallied.squared_sensitivity)


@pytest.mark.parametrize("question", SAME)
def test_the_forecast_is_the_vault_lanes_with_the_noise_that_a_quorum_makes(question: str) -> None:
    name, given = SAME[question]
    one = asked(name, given, FINE, variables_of(FINE))
    vault = CATALOGUE[name].expected_error(CATALOGUE[name].parse(given, KNOWN), 5000, COST)
    alone = TALLIES[name].foretell(one.parameters, one.encoding, 5000, COST, 1, 1)
    assert alone.unit == vault.unit
    assert alone.span == vault.span
    assert float(alone.error.standard_error) == pytest.approx(
        float(vault.error.standard_error), rel=0.01
    ) or name in ("count.v1", "histogram.v1", "cross_table.v1")
    three = TALLIES[name].foretell(one.parameters, one.encoding, 5000, COST, 2, 3)
    assert three.error.standard_error >= alone.error.standard_error


def test_atoms_are_read_here_as_the_encoding_reads_them() -> None:
    encoding = needed(PLAIN.encoding)
    for row in cohort(40, 3, missing=0.3):
        values = encoding.values(row)
        mine = atoms(encoding, [row])
        assert values == [int(mine[column.name][0]) for column in encoding.columns]
