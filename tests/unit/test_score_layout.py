"""A dictionary as slots: every value has its place, and what has none is refused before anybody encrypts."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.config import MAX_BODY_BYTES
from marketplace.errors import Refusal
from marketplace.fhir.demo import demo_dictionary
from marketplace.scoring.files import MATERIAL_FILE, RECORD_FILE
from marketplace.wire.canonical import canonical
from marketplace.wire.dictionary import SCHEMA, Dictionary, from_json
from marketplace.wire.http import to_base64
from marketplace.wire.paging import LARGEST_SCORED
from marketplace.wire.score_layout import layout_of_dictionary, values_in_layout
from ml.ckks.layout import MOST_VARIABLES
from tests.support.tallied_study import VARIABLES, category, number


def dictionary(*variables: dict[str, Any]) -> Dictionary:
    head = {"schema": SCHEMA, "name": "slots", "version": 1}
    return from_json({**head, "variables": list(variables)})


STUDY = dictionary(*VARIABLES)


def test_numbers_have_their_bounds_and_each_category_has_an_indicator() -> None:
    found = layout_of_dictionary(STUDY)
    assert [each.name for each in found.variables] == [
        *("age", "bmi", "sbp", "visits", "months"),
        *("sex=0", "sex=1", "sex=2", "arm=0", "arm=1", "status=0", "status=1"),
    ]
    bounds = {each.name: (each.lower, each.upper) for each in found.variables}
    assert bounds["bmi"] == (Fraction(10), Fraction(60))
    assert bounds["sex=2"] == (Fraction(0), Fraction(1))


def test_the_layout_is_the_same_for_everybody_and_another_for_another_dictionary() -> None:
    again = from_json(json.loads(STUDY.to_bytes()))
    assert layout_of_dictionary(again).hash == layout_of_dictionary(STUDY).hash
    wider = dictionary(number("age", "18", "99", unit="a"), *VARIABLES[1:])
    assert layout_of_dictionary(wider).hash != layout_of_dictionary(STUDY).hash


def test_the_demonstrations_records_can_be_scored() -> None:
    assert len(layout_of_dictionary(demo_dictionary()).variables) == 12


@given(
    age=st.none() | st.integers(18, 98).map(Decimal),
    bmi=st.none() | st.integers(100, 600).map(lambda tenths: Decimal(tenths) / 10),
    sex=st.none() | st.sampled_from(["female", "male", "other"]),
)
def test_every_record_of_the_dictionary_has_its_place(age: Any, bmi: Any, sex: Any) -> None:
    found = values_in_layout(STUDY, {"age": age, "bmi": bmi, "sex": sex})
    layout = layout_of_dictionary(STUDY)
    slots = layout.place(found)
    at = layout.position
    assert slots[32 + at["sex=1"]].tolist() == [float(sex is not None)] * 64
    assert slots[at["sex=1"]].tolist() == [float(sex == "male")] * 64
    assert sum(slots[at[f"sex={i}"]][0] for i in range(3)) == float(sex is not None)
    assert found["bmi"] == (None if bmi is None else Fraction(bmi))
    assert slots[32 + at["age"]][0] == float(age is not None)
    assert found["status=0"] is None


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_bounds_are_written_without_idle_digits(decimals: int) -> None:
    made = dictionary(
        number("x", "-0." + "5".ljust(max(decimals, 1), "0"), "100", max(decimals, 1))
    )
    (only,) = layout_of_dictionary(made).variables
    assert (only.lower, only.upper) == (Fraction(-1, 2), Fraction(100))


@pytest.mark.parametrize(
    "variables",
    [
        [category("c", *(str(i) for i in range(MOST_VARIABLES + 1)))],
        [number(f"v{i}", "0", "1") for i in range(MOST_VARIABLES + 1)],
        [number("wide", "0", "1099511627776")],
    ],
)
def test_what_has_no_place_is_refused_for_everybody(variables: list[dict[str, Any]]) -> None:
    with pytest.raises(Refusal) as refused:
        layout_of_dictionary(dictionary(*variables))
    assert (refused.value.code, refused.value.field) == ("not_scorable", "dataset")


def test_the_body_that_hands_in_a_record_has_room_for_just_that() -> None:
    sent = {"material": to_base64(bytes(MATERIAL_FILE)), "record": to_base64(bytes(RECORD_FILE))}
    assert LARGEST_SCORED - 2**20 < len(canonical(sent)) <= LARGEST_SCORED == MAX_BODY_BYTES
