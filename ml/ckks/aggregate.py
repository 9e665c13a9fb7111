"""From a score to a column of the tally lane: a whole number on a published grid.

The same rounding as an encoding's (`usufruct-encoding/1`): q = (s - lower + step / 2) div step with
step = (upper - lower) / steps; halves go up, and 0 <= q <= steps. A score beyond the bounds counts as the
bound, so that one patient moves a sum by `steps` at most, whatever the model says.

This alone protects nothing: q is the patient's, and goes on only encrypted, with its proof, into a sum that
is noised.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Final

MOST_STEPS: Final = 2**32
"""The largest value of one column."""


class BadGrid(ValueError):
    """Bounds or steps that are no grid."""


def placed(score: Decimal | Fraction, lower: Decimal, upper: Decimal, steps: int) -> int:
    """q of a score, exactly, without floating point. Raises BadGrid; ValueError for a score that is no
    number.
    """
    if not (lower.is_finite() and upper.is_finite() and lower < upper):
        raise BadGrid("the bounds are not two numbers in ascending order")
    if type(steps) is not int or not 1 <= steps <= MOST_STEPS:
        raise BadGrid(f"a grid has 1 to {MOST_STEPS} steps")
    if isinstance(score, Decimal) and not score.is_finite():
        raise ValueError("the score is no number")
    low, high = Fraction(lower), Fraction(upper)
    step = (high - low) / steps
    inside = min(max(Fraction(score), low), high)
    return int((2 * (inside - low) + step) // (2 * step))
