"""A score's place on a grid: the rounding of the tally lane's encodings, digit for digit."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.wire.encoding import Encoded
from ml.ckks.aggregate import MOST_STEPS, BadGrid, placed


@given(st.integers(-(10**6), 10**6), st.integers(1, 500), st.integers(1, 5000), st.data())
def test_every_stored_integer_lands_where_the_encoding_puts_it(
    lower: int, step: int, steps: int, data: st.DataObject
) -> None:
    encoded = Encoded("score", 0, lower, step, steps, (), 0)
    stored = data.draw(st.integers(lower, lower + step * steps))
    score, low, high = (Decimal(each).scaleb(-3) for each in (stored, lower, lower + step * steps))
    assert placed(score, low, high, steps) == encoded.quantised(stored)


@given(st.integers(1, 400), st.integers(1, 60))
def test_halves_go_up_exactly(steps: int, half: int) -> None:
    """Every middle between two places, of grids that no binary number holds."""
    low, high = Decimal("0.1"), Decimal("0.7")
    for q in range(min(steps, half)):
        middle = Fraction(low) + (Fraction(high) - Fraction(low)) / steps * (q + Fraction(1, 2))
        assert placed(middle, low, high, steps) == q + 1
        assert placed(middle - Fraction(1, 10**30), low, high, steps) == q


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3), st.integers(1, 10**9))
def test_whatever_the_score_the_place_stays_on_the_grid(score: Decimal, steps: int) -> None:
    q = placed(score, Decimal("-1.5"), Decimal(2), steps)
    assert 0 <= q <= steps
    if score <= Decimal("-1.5"):
        assert q == 0
    if score >= 2:
        assert q == steps


@pytest.mark.parametrize(
    ("lower", "upper", "steps"),
    [
        ("1", "1", 10),
        ("2", "1", 10),
        ("NaN", "1", 10),
        ("0", "Infinity", 10),
        ("0", "1", 0),
        ("0", "1", -1),
        ("0", "1", MOST_STEPS + 1),
        ("0", "1", True),
    ],
)
def test_what_is_no_grid_is_refused(lower: str, upper: str, steps: int) -> None:
    with pytest.raises(BadGrid):
        placed(Decimal(0), Decimal(lower), Decimal(upper), steps)


@pytest.mark.parametrize("score", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_no_number_has_no_place(score: str) -> None:
    with pytest.raises(ValueError, match="no number"):
        placed(Decimal(score), Decimal(0), Decimal(1), 10)
