"""Which answers are possible at all: an interval as wide as that says nothing.

It follows from the question and the public size of the cohort, never from a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

CLIPPED: Final = ("mean.v1", "quantile.v1")


def possible_range(
    analysis: str, parameters: Mapping[str, Any], members: int
) -> tuple[Decimal, Decimal]:
    """The lowest and highest true answer, in the result's unit, for each of its cells.

    Args:
        parameters: in canonical form, with `clip` written out (`Analysis.canonical`).
        members: the cohort's size.

    Raises:
        KeyError, TypeError, ValueError, ArithmeticError: for parameters of another form.
    """
    if "clip" not in parameters:
        return Decimal(0), Decimal(members)
    low, high = (Decimal(end) for end in parameters["clip"])
    if analysis in CLIPPED:
        return low, high
    if analysis == "variance.v1":
        return Decimal(0), ((high - low) / 2) ** 2  # Popoviciu's inequality
    return members * min(low, Decimal(0)), members * max(high, Decimal(0))
