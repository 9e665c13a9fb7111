"""Parameters are read exactly, written one way only, and refused by field and with a remedy."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.analyses import CATALOGUE, ReleaseKind, analysis_by_hash, analysis_by_id
from marketplace.analyses.explained import EXAMPLES, MEANS, RELEASES
from marketplace.errors import BadParameter
from ml.dp.domain import Op, Variable

SBP = Variable("sbp", "number", "mm[Hg]", 500, 2500, 1)
AGE = Variable("age", "number", "a", 0, 120, 0)
SEX = Variable("sex", "category", categories=("female", "male", "other"))
DICTIONARY = {v.name: v for v in (SBP, AGE, SEX)}

# keccak256 of each id's ASCII letters, computed by a second implementation, which is not the product's.
HASHES = {
    "count.v1": "e40b58f50d10cef9e48f366308de35875b72df323e5032ad67c12b2ddcd80dc5",
    "sum.v1": "d20b4fd1444738ad14274ebff9129ec42cf4021d6be84a0d62b305c3d7736b56",
    "mean.v1": "d625528b4f0feb3907b8dccc3117bacd77d84b33f837ebc06a96e4f3f162470a",
    "variance.v1": "b72ec9964fef64f2119a849bd6dbfde6861c1db5c96077f3a9580a40aae07148",
    "histogram.v1": "dc0ebf5f261c0c1fd28e6069c279876660ecd7f0b1f3ff76445761ab81819dbc",
    "quantile.v1": "e7582f1c71ad4fb408a0ee03575a0e1b81586cc25510f0dfed656a978874f1cb",
    "cross_table.v1": "fd78293b7573812f930e896aca8d81b0459b6757d87b737f13616963b135bb29",
}

MEASURED = {"variable": "sbp", "clip": ["80", 200], "filters": []}
GOOD: dict[str, dict[str, Any]] = {
    "count.v1": {"filters": [{"variable": "age", "op": ">=", "value": 65}]},
    "sum.v1": MEASURED,
    "mean.v1": MEASURED,
    "variance.v1": MEASURED,
    "histogram.v1": {"variable": "age", "edges": [0, 40, "65", 120]},
    "quantile.v1": {**MEASURED, "level": "0.50"},
    "cross_table.v1": {"axes": [{"variable": "sex"}, {"variable": "age", "edges": [0, 50, 120]}]},
}


def filtered(op: object, value: object, variable: object = "sbp") -> dict[str, Any]:
    return {"variable": "age", "filters": [{"variable": variable, "op": op, "value": value}]}


def test_the_catalogue_is_what_it_says() -> None:
    assert list(CATALOGUE) == [
        "count.v1",
        "sum.v1",
        "mean.v1",
        "variance.v1",
        "histogram.v1",
        "quantile.v1",
        "cross_table.v1",
    ]
    for name, analysis in CATALOGUE.items():
        assert analysis.id == name
        assert len(analysis.analysis_hash()) == 32
        assert analysis_by_hash(analysis.analysis_hash()) is analysis
        assert analysis_by_id(name) is analysis


def test_every_parameter_is_explained_and_no_other() -> None:
    assert set(MEANS) == {key for analysis in CATALOGUE.values() for key in analysis.keys}
    assert " ".join(get_args(Op)) in MEANS["filters"]


def test_what_leaves_names_the_flag_that_a_class_allows_it_by() -> None:
    assert set(RELEASES) == set(ReleaseKind)
    assert all(words.endswith(f" {1 << kind}") for kind, words in RELEASES.items())


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_example_of_an_analysis_shows_all_its_parameters_and_would_do(name: str) -> None:
    dictionary = {**DICTIONARY, "systolic": replace(SBP, name="systolic")}
    example = EXAMPLES[name]
    assert set(example) == set(CATALOGUE[name].keys)
    assert CATALOGUE[name].parse(example, dictionary)


def test_the_hash_of_an_analysis_never_changes() -> None:
    assert {name: each.analysis_hash().hex() for name, each in CATALOGUE.items()} == HASHES


@pytest.mark.parametrize("name", ["mean", "mean.v2", "", 5, None, "../mean.v1"])
def test_an_analysis_outside_the_catalogue_is_refused(name: object) -> None:
    with pytest.raises(BadParameter) as refused:
        analysis_by_id(name)
    assert refused.value.field == "analysis"
    assert "mean.v1" in refused.value.remedy


def test_a_hash_outside_the_catalogue_is_refused() -> None:
    with pytest.raises(BadParameter):
        analysis_by_hash(bytes(32))


@pytest.mark.parametrize("name", CATALOGUE)
def test_canonical_parameters_read_back_as_the_same_parameters(name: str) -> None:
    analysis = CATALOGUE[name]
    parameters = analysis.parse(GOOD[name], DICTIONARY)
    text = analysis.canonical(parameters)
    again = analysis.parse(json.loads(text), DICTIONARY)
    assert again == parameters
    assert analysis.canonical(again) == text


def test_canonical_parameters_are_written_in_one_way() -> None:
    mean = CATALOGUE["mean.v1"]
    given = {
        "filters": [
            {"variable": "sex", "op": "in", "value": ["male", "female", "male"]},
            {"variable": "age", "op": ">=", "value": "65"},
            {"variable": "age", "op": ">=", "value": 65},
        ],
        "variable": "sbp",
    }
    assert mean.canonical(mean.parse(given, DICTIONARY)) == (
        b'{"clip":["50.0","250.0"],"filters":['
        b'{"op":">=","value":"65","variable":"age"},'
        b'{"op":"in","value":["female","male"],"variable":"sex"}],"variable":"sbp"}'
    )


@given(st.permutations(range(3)), st.booleans())
def test_the_order_and_spelling_of_filters_do_not_matter(order: list[int], text: bool) -> None:
    filters: list[dict[str, Any]] = [
        {"variable": "sbp", "op": "<", "value": "120.0" if text else 120},
        {"variable": "sex", "op": "==", "value": "other"},
        {"variable": "age", "op": "in", "value": [50, 40] if text else [40, 50]},
    ]
    count = CATALOGUE["count.v1"]
    one = count.parse({"filters": filters}, DICTIONARY)
    other = count.parse({"filters": [filters[i] for i in order]}, DICTIONARY)
    assert count.canonical(one) == count.canonical(other)


@given(st.integers(500, 2500), st.sampled_from(["text", "float", "padded"]))
def test_a_number_is_read_exactly_however_it_is_written(stored: int, form: str) -> None:
    decimal = Decimal(stored) / 10
    value = {"text": str(decimal), "float": float(decimal), "padded": f"{decimal:.5f}"}[form]
    parameters = CATALOGUE["mean.v1"].parse(filtered("==", value), DICTIONARY)
    assert parameters.measured.conditions[0].values == (stored,)


BAD: list[tuple[str, Any, str]] = [
    ("mean.v1", [], "parameters"),
    ("mean.v1", {}, "variable"),
    ("mean.v1", {"variable": "weight"}, "variable"),
    ("mean.v1", {"variable": ["sbp"]}, "variable"),
    ("mean.v1", {"variable": "sex"}, "variable"),
    ("mean.v1", {"variable": "sbp", "cost": 5}, "cost"),
    ("mean.v1", {"variable": "sbp", "clip": ["80"]}, "clip"),
    ("mean.v1", {"variable": "sbp", "clip": "80"}, "clip"),
    ("mean.v1", {"variable": "sbp", "clip": ["200", "80"]}, "clip"),
    ("mean.v1", {"variable": "sbp", "clip": ["80", "80"]}, "clip"),
    ("mean.v1", {"variable": "sbp", "clip": ["80", "251"]}, "clip[1]"),
    ("mean.v1", {"variable": "sbp", "clip": ["49.9", "80"]}, "clip[0]"),
    ("mean.v1", {"variable": "sbp", "clip": ["80.05", "100"]}, "clip[0]"),
    ("mean.v1", {"variable": "sbp", "filters": {}}, "filters"),
    ("mean.v1", {"variable": "sbp", "filters": [5]}, "filters[0]"),
    ("mean.v1", {"variable": "sbp", "filters": [{"op": "<"}]}, "filters[0].variable"),
    ("mean.v1", filtered("<", 10, "weight"), "filters[0].variable"),
    ("mean.v1", filtered("!=", 100), "filters[0].op"),
    ("mean.v1", filtered(["<"], 100), "filters[0].op"),
    ("mean.v1", filtered("<", "female", "sex"), "filters[0].op"),
    ("mean.v1", filtered("==", "robot", "sex"), "filters[0].value"),
    ("mean.v1", filtered("==", 0, "sex"), "filters[0].value"),
    ("mean.v1", filtered("in", []), "filters[0].value"),
    ("mean.v1", filtered("in", "80"), "filters[0].value"),
    ("mean.v1", filtered("in", [80, 9999]), "filters[0].value[1]"),
    ("count.v1", {}, "filters"),
    ("count.v1", {"filters": []}, "filters"),
    ("count.v1", {"filters": GOOD["count.v1"]["filters"] * 9}, "filters"),
    ("histogram.v1", {"variable": "age"}, "edges"),
    ("histogram.v1", {"variable": "age", "edges": [0, 50, 50]}, "edges"),
    ("histogram.v1", {"variable": "age", "edges": [0]}, "edges"),
    ("histogram.v1", {"variable": "age", "edges": [0, 121]}, "edges[1]"),
    ("histogram.v1", {"variable": "sex", "edges": [0, 1]}, "edges"),
    ("quantile.v1", MEASURED, "level"),
    ("quantile.v1", {**MEASURED, "level": 0}, "level"),
    ("quantile.v1", {**MEASURED, "level": "1"}, "level"),
    ("quantile.v1", {**MEASURED, "level": "0.5001"}, "level"),
    ("cross_table.v1", {"axes": [{"variable": "sex"}]}, "axes"),
    ("cross_table.v1", {"axes": [{"variable": "sex"}] * 2}, "axes"),
    ("cross_table.v1", {"axes": [{"variable": "sex"}, {"variable": "age"}]}, "axes[1].edges"),
    ("cross_table.v1", {"axes": [{"variable": "sex"}, "age"]}, "axes[1]"),
    (
        "cross_table.v1",
        {
            "axes": [
                {"variable": "age", "edges": list(range(60))},
                {"variable": "sbp", "edges": list(range(50, 80))},
            ]
        },
        "axes",
    ),
]


@pytest.mark.parametrize(("name", "given_", "field"), BAD)
def test_a_bad_parameter_is_refused_by_its_field_and_with_a_remedy(
    name: str, given_: Any, field: str
) -> None:
    with pytest.raises(BadParameter) as refused:
        CATALOGUE[name].parse(given_, DICTIONARY)
    assert refused.value.field == field
    assert refused.value.remedy


@pytest.mark.parametrize(
    "value",
    [
        *("NaN", "inf", "-Infinity", "1e2", "1_00", "١٢٠", " 120", "120\n", "", "1" * 5000),
        *("0x78", "--1", "1.", True, None, [], {}, float("nan"), float("inf"), 1e300),
    ],
)
def test_what_is_not_a_plain_decimal_number_is_no_number(value: object) -> None:
    with pytest.raises(BadParameter) as refused:
        CATALOGUE["mean.v1"].parse(filtered("<", value), DICTIONARY)
    assert refused.value.field == "filters[0].value"
    assert len(str(refused.value)) < 300


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["variable", "op", "value", "filters", "clip", "level", "edges", "axes"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(sorted(CATALOGUE)), json_values)
def test_any_json_is_parsed_or_refused_and_never_fails_otherwise(name: str, value: Any) -> None:
    refused = refusal_of(name, value)
    assert refused is None or (refused.field and refused.remedy)


def refusal_of(name: str, value: Any) -> BadParameter | None:
    try:
        CATALOGUE[name].parse(value, DICTIONARY)
    except BadParameter as refused:
        return refused
    return None
