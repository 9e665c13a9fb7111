"""An answer as people and tables get it: its interval, what that leaves out, whether it says anything."""

import builtins
import sys
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from marketplace.client import Answer, ListedRequest
from marketplace.client.answers import MOST_TOLD, Cell
from marketplace.client.frames import frame, frame_of_requests
from marketplace.errors import Refusal
from marketplace.vocabulary import Lane
from marketplace.words import NO_SAMPLING, WITH_SAMPLING
from tools.readme import ROOT

ID = "0x" + "11" * 32
CLIP = {"clip": ["80", "200"], "filters": [], "variable": "systolic"}


def estimate(value: str, low: str, high: str, *label: str) -> dict[str, Any]:
    return {"high": high, "label": list(label), "low": low, "value": value}


def answer(
    analysis: str,
    parameters: Mapping[str, Any],
    *estimates: dict[str, Any],
    unit: str = "mm[Hg]",
    covers: str = "noise",
) -> Answer:
    noised = {
        "confidence": "0.95",
        "cost_nano_rho": 1,
        "covers": covers,
        "estimates": list(estimates),
        "format": 1,
        "members": 40,
        "noise": [],
        "quantity": "any",
        "unit": unit,
    }
    document = {
        "analysis": analysis,
        "parameters": dict(parameters),
        "cohort_size": 40,
        "noised": noised,
    }
    return Answer(ID, document, {})


MEAN = answer("mean.v1", CLIP, estimate("121.5", "118.25", "124.75"))
AXES = {"axes": [{"variable": "sex"}, {"edges": ["0", "50"], "variable": "age"}], "filters": []}
TABLE = answer(
    "cross_table.v1",
    AXES,
    estimate("12", "8", "16", "female", "[0, 50)"),
    estimate("9", "0", "40", "male", "[0, 50)"),
    unit="members",
)
HISTOGRAM = answer(
    "histogram.v1",
    {"edges": ["80", "200"], "filters": [], "variable": "systolic"},
    estimate("31", "29", "33", "[80, 200]"),
    unit="members",
)


def test_a_number_is_told_with_its_interval_its_cohort_and_what_it_leaves_out() -> None:
    assert MEAN.in_words == (
        "121.5 mmHg, 95% interval 118.25 to 124.75 mmHg.",
        "Counted: 40 patients.",
        NO_SAMPLING,
    )


def test_beside_a_filter_the_size_of_the_group_is_not_said_to_be_that_of_the_answer() -> None:
    old = {"variable": "age", "op": ">=", "value": "50"}
    some = {"variable": "smoker", "op": "in", "value": ["no", "perhaps"]}
    filtered = answer("mean.v1", {**CLIP, "filters": [old, some]}, estimate("121.5", "118", "124"))
    passed = "age >= 50 and smoker in no, perhaps"
    about = f"The group had 40 patients; the answer is about those of them with {passed}."
    assert filtered.in_words[1] == f"{about} How many these are is not part of it."
    count = answer("count.v1", {"filters": [old, some]}, estimate("12", "8", "16"), unit="members")
    assert about in count.in_words  # which tells how many these are


SPANNING = {
    "mean": answer("mean.v1", CLIP, estimate("120", "80", "200")),
    "quantile": answer("quantile.v1", {**CLIP, "level": "0.5"}, estimate("120", "80", "200.0")),
    "variance": answer("variance.v1", CLIP, estimate("9", "0", "3600")),
    "sum": answer("sum.v1", CLIP, estimate("9", "0", "8000")),
    "count": answer("count.v1", {"filters": []}, estimate("9", "0", "40")),
}


@pytest.mark.parametrize("name", SPANNING)
def test_an_interval_that_spans_everything_possible_is_said_to_tell_nothing(name: str) -> None:
    assert any(each.endswith("it tells nothing.") for each in SPANNING[name].in_words)


def test_of_a_table_it_is_said_how_many_cells_tell_nothing() -> None:
    (said,) = (each for each in TABLE.in_words if "tells nothing" in each)
    assert said.startswith("In 1 of 2 cells the interval spans everything possible (0 to 40)")


def test_a_long_table_is_not_told_cell_by_cell() -> None:
    many = [estimate("1", "0", "2", f"cell {i}") for i in range(MOST_TOLD + 3)]
    words = answer("histogram.v1", {"edges": []}, *many, unit="members").in_words
    assert sum("95% interval 0 to 2" in each for each in words) == MOST_TOLD
    assert "3 more cells are in the result." in words


def test_cells_are_exact_numbers() -> None:
    (cell,) = MEAN.cells
    assert cell == Cell((), Decimal("121.5"), Decimal("118.25"), Decimal("124.75"))
    assert (MEAN.unit, MEAN.level, MEAN.cohort_size) == ("mm[Hg]", Decimal("0.95"), 40)


# --- what only sums tell

MODEL = {"cases": "complete", "filters": [], "outcome": {"variable": "sbp"}, "predictors": []}
SLOPE = answer(
    "linear_regression.v1",
    MODEL,
    estimate("0.5", "0.4", "0.6", "age", "coefficient"),
    estimate("0.02", "0.02", "0.02", "age", "standard error"),
    unit="mm[Hg] per unit of each",
    covers="noise and sampling",
)
ALIKE = answer(
    "correlation.v1",
    {"cases": "complete", "filters": [], "variables": ["age", "sbp"]},
    estimate("0.1", "-1", "1", "age", "sbp"),
    unit="",
)
RELATED = answer(
    "chi_square.v1",
    AXES,
    estimate("4.2", "4.2", "4.2", "chi-square"),
    estimate("0.04", "0.04", "0.04", "p-value"),
    unit="",
    covers="noise and sampling",
)


def test_a_phrase_that_is_a_unit_is_said_once_and_a_number_without_interval_gets_none() -> None:
    assert SLOPE.in_words == (
        "age, coefficient: 0.5 (mm[Hg] per unit of each), 95% interval 0.4 to 0.6.",
        "age, standard error: 0.02.",
        "Counted: 40 patients.",
        WITH_SAMPLING,
    )


def test_where_nothing_has_an_interval_nothing_is_said_of_any() -> None:
    said = ("chi-square: 4.2.", "p-value: 0.04.", "Counted: 40 patients.")
    assert RELATED.in_words == said


def test_a_correlation_from_one_end_to_the_other_is_said_to_tell_nothing() -> None:
    assert "The interval spans everything possible (-1 to 1): it tells nothing." in ALIKE.in_words


def test_filters_hide_how_many_were_counted_unless_counts_are_told() -> None:
    old = [{"variable": "age", "op": ">=", "value": "50"}]
    some = answer("correlation.v1", {**ALIKE.result["parameters"], "filters": old}, unit="")
    assert some.in_words[-1].endswith("How many these are is not part of it.")


def test_tables_of_sums_are_named_by_what_their_labels_are() -> None:
    assert list(frame(SLOPE).index.names) == ["predictor", "number"]
    assert list(frame(ALIKE).index.names) == ["variable", "other"]
    assert frame(RELATED)["estimate"].to_list() == [4.2, 0.04]


BENT: Mapping[str, Answer] = {
    "text for a number": answer("mean.v1", CLIP, estimate("much", "1", "2")),
    "a clip of text": answer("mean.v1", {"clip": ["low", "high"]}, estimate("1", "1", "2")),
    "no result": Answer(ID, {"analysis": "mean.v1", "parameters": {}, "cohort_size": 1}, {}),
    "no parameters": Answer(ID, {**MEAN.result, "parameters": None}, {}),
    "no cohort": Answer(ID, {**MEAN.result, "cohort_size": None}, {}),
}


@pytest.mark.parametrize("name", BENT)
def test_an_answer_that_its_gate_bent_is_refused_and_not_told(name: str) -> None:
    with pytest.raises(Refusal) as refused:
        assert BENT[name].in_words
    assert refused.value.code == "malformed_answer"


# --- pandas


def test_a_number_is_a_table_of_one_row() -> None:
    made = frame(MEAN)
    assert list(made.columns) == ["estimate", "lower", "upper", "unit", "level"]
    assert made.loc[0].to_list() == [121.5, 118.25, 124.75, "mm[Hg]", 0.95]
    assert (made.index == [0]).all()
    assert made[["estimate", "lower", "upper", "level"]].dtypes.eq("float64").all()


def test_a_cross_table_has_a_row_for_each_cell_named_by_its_variables() -> None:
    made = frame(TABLE)
    assert list(made.index.names) == ["sex", "age"]
    assert made.loc[("female", "[0, 50)"), "estimate"] == 12
    assert len(made) == 2


def test_a_histogram_is_named_by_its_variable() -> None:
    made = frame(HISTOGRAM)
    assert list(made.index.names) == ["systolic"]
    assert made["upper"].to_list() == [33]


def listed(**changes: Any) -> ListedRequest:
    given: dict[str, Any] = {
        "request": ID,
        "researcher": "0x" + "22" * 20,
        "dataset": "0x" + "33" * 32,
        "lane": Lane.HOMOMORPHIC,
        "analysis": "mean.v1",
        "purpose": "biomedical research",
        "stage": "funded",
        "notice_until": datetime(2026, 11, 22, tzinfo=UTC),
        "submitted_at": datetime(2026, 11, 21, tzinfo=UTC),
        "reason": None,
    }
    return ListedRequest(**{**given, **changes})


def test_requests_are_a_row_each_with_times_in_utc() -> None:
    other = "0x" + "44" * 32
    made = frame_of_requests([listed(), listed(request=other, notice_until=None)])
    assert list(made.index) == [ID, other]
    assert made.loc[ID, "notice_until"] == pd.Timestamp("2026-11-22", tz="UTC")
    assert pd.isna(made.loc[other, "notice_until"])
    assert made.loc[ID, "purpose"] == "biomedical research"
    assert made.loc[ID, "lane"] == "homomorphic"


def test_no_requests_are_an_empty_table_with_the_same_columns() -> None:
    assert list(frame_of_requests([]).columns) == list(frame_of_requests([listed()]).columns)


def test_without_pandas_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any, **named: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.delitem(sys.modules, "pandas")
    monkeypatch.setattr(builtins, "__import__", without)
    for table in (lambda: frame(MEAN), lambda: frame_of_requests([])):
        with pytest.raises(Refusal) as refused:
            table()
        assert refused.value.code == "pandas_missing"
        assert 'pip install "usufruct[pandas]"' in refused.value.remedy


def test_the_extra_that_is_named_asks_for_the_pandas_that_the_tests_run_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (asked,) = project["optional-dependencies"]["pandas"]
    assert asked in (ROOT / "requirements" / "dev.in").read_text().splitlines()
    assert "pandas" not in (ROOT / "requirements" / "runtime.in").read_text()
