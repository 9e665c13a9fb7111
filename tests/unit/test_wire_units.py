"""How units, and steps of them, are written for people."""

import pytest

from marketplace.wire.units import rounded_to


@pytest.mark.parametrize(
    ("step", "unit", "words"),
    [
        ("5", "a", "to the nearest 5 years"),
        ("0.004", "mmol/L", "to the nearest 0.004 mmol/L"),
        ("2", "", "to the nearest 2"),
        ("1", "a", "to whole years"),
        ("1", "mm[Hg]", "to whole mmHg"),
        ("1", "", "to whole numbers"),
    ],
)
def test_numbers_are_rounded_to_steps_and_where_those_are_of_one_to_whole_ones(
    step: str, unit: str, words: str
) -> None:
    assert rounded_to(step, unit) == words
