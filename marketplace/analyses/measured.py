"""What sum, mean and variance share: a clipped number and conditions, read and written alike."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from marketplace.analyses.analysis import Parameters
from marketplace.analyses.fields import Fields, measured_document
from ml.dp.clipping import Measured
from ml.dp.noised import ExpectedError

KEYS = frozenset({"variable", "clip", "filters"})


@dataclass(frozen=True)
class MeasuredParameters(Parameters):
    """A number of the dictionary, the range it is clipped to, and who is counted."""

    measured: Measured

    @property
    def thins(self) -> bool:
        """Whether there are conditions."""
        return bool(self.measured.conditions)

    def document(self) -> dict[str, Any]:
        """`variable`, `filters` in canonical order, and `clip` written out, also where it was the default."""
        return measured_document(self.measured)


def read_measured(fields: Fields) -> MeasuredParameters:
    """`variable`, `clip` (default: the dictionary's bounds) and `filters` (default: none)."""
    return MeasuredParameters(fields.measured())


def span_in_unit(stored: int | Fraction, measured: Measured, power: int = 1) -> Fraction:
    """A distance in stored units (to a power) as one in the variable's unit (to that power)."""
    return Fraction(stored) * Fraction(1, 10 ** (power * measured.variable.decimals))


def in_unit(error: ExpectedError, measured: Measured, power: int = 1) -> ExpectedError:
    """An error in stored units (to a power) as one in the variable's unit (to that power)."""
    standard = span_in_unit(error.standard_error, measured, power)
    return ExpectedError(standard, span_in_unit(error.half_width, measured, power))
