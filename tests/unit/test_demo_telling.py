"""The demonstration's words between its steps: what goes on, and what a visitor may misread."""

import io

import pytest
from rich.console import Console

from marketplace.demo import Story
from marketplace.demo.asking import about_gap
from marketplace.wire.amounts import Token


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


def test_news_between_two_steps_is_a_line_of_its_own() -> None:
    written = io.StringIO()
    story = object.__new__(Story)
    story.console = Console(file=written, highlight=False)
    story.note("every process stops")
    assert written.getvalue() == "    every process stops\n"
