"""score.v1: what it reads, what it counts, and that nothing of a score is in it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.analyses.analysis import ReleaseKind
from marketplace.analyses.catalogue import lanes_of
from marketplace.analyses.tallies import TALLIES
from marketplace.analyses.tallies.scores import MOST_VARIABLES
from marketplace.errors import BadParameter
from marketplace.vocabulary import Lane
from ml.ckks import layout
from tests.support.tallied_study import KNOWN, PLAIN, VARIABLES, asked, dictionary, grid, needed

SCORE = TALLIES["score.v1"]
MODEL = "0x" + "5c" * 32
NAMES = [
    *("age", "bmi", "sbp", "visits", "months"),
    *("sex=0", "sex=1", "sex=2", "arm=0", "arm=1", "status=0", "status=1"),
]
FULL = [50, 200, 120, 3, 12, 1, 0, 1]
some = st.lists(st.sampled_from(NAMES), min_size=1, max_size=len(NAMES), unique=True)
record = st.tuples(*(st.sampled_from([None, value]) for value in FULL))


def parsed(variables: Any, model: Any = MODEL) -> Any:
    return SCORE.parse({"model": model, "variables": variables}, KNOWN)


def test_it_is_of_the_homomorphic_lane_alone_and_releases_personal_scores() -> None:
    assert lanes_of("score.v1") == (Lane.HOMOMORPHIC,)
    assert SCORE.release_kind is ReleaseKind.PERSONAL_SCORE
    assert 1 << SCORE.release_kind == 4
    assert MOST_VARIABLES == layout.MOST_VARIABLES


@given(names=some)
def test_the_names_stand_as_they_were_given_since_their_order_is_the_models(
    names: list[str],
) -> None:
    assert parsed(names).document() == {"model": MODEL, "variables": names}
    assert [each.name for each in parsed(names).variables] == list(
        dict.fromkeys(name.partition("=")[0] for name in names)
    )


@given(names=some, people=st.lists(record, min_size=1, max_size=12))
def test_each_count_is_of_the_records_that_have_the_variable(names: list[str], people: Any) -> None:
    one = asked("score.v1", {"model": MODEL, "variables": names})
    at = [[each["name"] for each in VARIABLES].index(v.name) for v in one.parameters.variables]
    assert one.exact(people) == [sum(row[i] is not None for row in people) for i in at]
    found = one.answer(people)
    assert [each.label for each in found.estimates] == [
        (", ".join(each for each in names if each.partition("=")[0] == v.name),)
        for v in one.parameters.variables
    ]


def test_a_count_is_named_by_what_the_model_reads() -> None:
    one = asked("score.v1", {"model": MODEL, "variables": ["sex=1", "age", "arm=0", "sex=0"]})
    found = one.answer([FULL])
    assert [each.label for each in found.estimates] == [("sex=1, sex=0",), ("age",), ("arm=0",)]


@given(names=some)
def test_the_sensitivity_is_that_of_a_full_and_an_empty_record(names: list[str]) -> None:
    one = asked("score.v1", {"model": MODEL, "variables": names})
    rows: list[list[int | None]] = [
        [*FULL],
        [None] * len(FULL),
        [value if i % 2 else None for i, value in enumerate(FULL)],
    ]
    vectors = one.vectors(rows).tolist()
    moved = [
        sum((a - b) ** 2 for a, b in zip(*pair, strict=True))
        for pair in itertools.combinations(vectors, 2)
    ]
    assert max(moved) == one.tallied.squared_sensitivity == len(one.parameters.variables)


@pytest.mark.parametrize(
    ("variables", "field"),
    [
        ([], "variables"),
        ("age", "variables"),
        ([f"sex={i}" for i in range(33)], "variables"),
        (["age", "age"], "variables"),
        (["sex"], "variables[0]"),
        (["age", "sex=3"], "variables[1]"),
        (["age=0"], "variables[0]"),
        (["sex=01"], "variables[0]"),
        (["sex=-1"], "variables[0]"),
        (["sex=\u0660"], "variables[0]"),
        (["sex=0\n"], "variables[0]"),
        (["height"], "variables[0]"),
        (["height=0"], "variables[0]"),
        ([None], "variables[0]"),
        ([["age"]], "variables[0]"),
    ],
)
def test_what_no_record_has_is_refused_by_its_place(variables: Any, field: str) -> None:
    with pytest.raises(BadParameter) as refused:
        parsed(variables)
    assert refused.value.field == field
    assert refused.value.remedy


@pytest.mark.parametrize(
    "model",
    [None, 5, "", "5c" * 32, "0x" + "5C" * 32, MODEL + "\n", MODEL[:-1], MODEL + "0", [MODEL]],
)
def test_a_model_is_named_by_its_hash_written_in_one_way(model: Any) -> None:
    with pytest.raises(BadParameter) as refused:
        parsed(["age"], model)
    assert refused.value.field == "model"


def test_a_variable_that_is_not_encoded_has_no_presence_to_count() -> None:
    few = needed(dictionary(grids=[grid("age", "1"), {"name": "sex"}]).encoding)
    assert len(SCORE.tallied(parsed(["age", "sex=1"]), few).forms(few)) == 2
    with pytest.raises(BadParameter) as refused:
        SCORE.tallied(parsed(["age", "bmi"]), few)
    assert refused.value.field == "variables"
    assert "age, sex" in refused.value.remedy


def test_no_product_is_ever_needed() -> None:
    """Any encoding of its variables will do."""
    encoding = needed(PLAIN.encoding)
    assert encoding.products == ()
    assert SCORE.tallied(parsed(NAMES), encoding).forms(encoding)
