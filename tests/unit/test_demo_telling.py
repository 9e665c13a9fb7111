"""The demonstration's words between its steps: what goes on, and what a visitor may misread."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from marketplace.analyses.tallies.scores import SCORE
from marketplace.analyses.variables import variables_of
from marketplace.demo import Story, setting
from marketplace.demo.asking import about_gap
from marketplace.demo.setting import SEED
from marketplace.fhir.demo import demo_bundles, tallied_dictionary
from marketplace.fhir.extract import extract
from marketplace.local import Local
from marketplace.wire.amounts import Token
from marketplace.wire.score_layout import layout_of_dictionary, values_in_layout
from ml.ckks.models import model_of
from ml.ckks.score import PreparedModel


@pytest.mark.parametrize(
    ("result", "truth", "gap"), [("121.40", "121.052", "0.348"), ("119", "121.052", "2.052")]
)
def test_the_gap_between_result_and_truth_is_called_the_noise_that_protects_patients(
    result: str, truth: str, gap: str
) -> None:
    said = about_gap(result, truth)
    assert f"The gap of {gap} between result and truth is the noise that protects patients" in said


def test_amounts_are_told_in_euros_and_not_in_units() -> None:
    told = [Token().amount(units) for units in (600_000, "137000000", 0)]
    assert told == ["0.60 EUR", "137.00 EUR", "0.00 EUR"]


def test_the_demos_model_runs_on_its_records_and_its_class_allows_what_it_asks_for() -> None:
    dictionary, model = tallied_dictionary(), model_of(setting.MODEL)
    PreparedModel(model, layout_of_dictionary(dictionary))
    assert dictionary.encoding is not None
    known = variables_of(dictionary)
    asked = {"model": "0x" + model.hash.hex(), "variables": [each.name for each in model.inputs]}
    sums = SCORE.tallied(SCORE.parse(asked, known), dictionary.encoding)
    assert all(sums.forms(dictionary.encoding))
    assert setting.class_terms().release_kinds >> SCORE.release_kind & 1
    assert "score of your own" in setting.class_page().what
    (bundle,) = demo_bundles(1, SEED + 1)
    values = values_in_layout(dictionary, extract(bundle, dictionary))
    assert round(model.plain(values), 3) == 0.778, "what the README says that a visitor sees"


def test_a_visitor_is_left_a_bundle_a_purpose_and_a_model(tmp_path: Path) -> None:
    story = object.__new__(Story)
    story.local = Local(tmp_path)
    story.leave_examples()
    left = {path.name: path.read_bytes() for path in (tmp_path / "examples").iterdir()}
    assert set(left) == {"bundle.json", "purpose.json", "model.json"}
    assert model_of(json.loads(left["model.json"])) == model_of(setting.MODEL)


def test_news_between_two_steps_is_a_line_of_its_own() -> None:
    written = io.StringIO()
    story = object.__new__(Story)
    story.console = Console(file=written, highlight=False)
    story.note("every process stops")
    assert written.getvalue() == "    every process stops\n"
