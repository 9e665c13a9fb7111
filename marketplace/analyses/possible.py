"""Which answers are possible at all: an interval as wide as that says nothing.

It follows from the question and the public size of the cohort, never from a record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from ml.tallied.survival import DIFFERENCE, LARGEST_LOG_RATIO

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


_WITHIN: Final[Mapping[str, tuple[Decimal, Decimal]]] = {
    "correlation.v1": (Decimal(-1), Decimal(1)),
    "kaplan_meier.v1": (Decimal(0), Decimal(1)),
}
_OF_THE_DICTIONARY: Final = frozenset(
    {"covariance.v1", "linear_regression.v1", "ridge.v1", "logistic.v1", "poisson.v1"}
)

WITHOUT_INTERVAL: Final = ("standard error", "chi-square", "degrees of freedom", "p-value")
"""Last words of labels whose estimate has no interval: both ends are the estimate itself."""


def possible_cell(
    analysis: str, parameters: Mapping[str, Any], members: int, label: Sequence[str]
) -> tuple[Decimal, Decimal] | None:
    """The lowest and highest possible of the estimate with this label, in either lane.

    None where the estimate has no interval, or where the question does not say what is possible: covariances
    and coefficients, whose bounds are those of the dictionary's variables.

    Raises:
        KeyError, TypeError, ValueError, ArithmeticError: for parameters of another form.
    """
    if label and label[-1] in WITHOUT_INTERVAL:
        return None
    if analysis in _WITHIN:
        return _WITHIN[analysis]
    if analysis == "log_rank.v1":
        most = Decimal(members) if label[-1] == DIFFERENCE else Decimal(str(LARGEST_LOG_RATIO))
        return -most, most
    if analysis in _OF_THE_DICTIONARY:
        return None
    return possible_range(analysis, parameters, members)
