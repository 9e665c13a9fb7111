"""quantile.v1: a quantile of a number over the members that meet all conditions.

Parameters: variable, level ("0.5" is the median; thousandths), clip (default: the dictionary's
bounds), filters (default: none). A null record, or one that is filtered out, has no rank. With
level p / q, each candidate's score has sensitivity q under replacement. Half of the cost chooses
the value (exponential mechanism, rho = epsilon^2 / 8), half its interval (ten noised ranks).
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from marketplace.analyses.analysis import Analysis, Forecast, Parameters, ReleaseKind
from marketplace.analyses.fields import Fields, bad, exact_number, measured_document
from marketplace.analyses.measured import KEYS
from ml.dp.clipping import Measured
from ml.dp.domain import Table
from ml.dp.noised import Noised, decimal_text
from ml.dp.quantiles import (
    Grid,
    Level,
    expected_quantile_error,
    noised_quantile,
    quantile_noise,
)

LOWEST, HIGHEST = Fraction(1, 100), Fraction(99, 100)  # further out, a few people are the answer

_HOLDS = "half-width: at most, for any data; standard error: for values spread evenly"


@dataclass(frozen=True)
class QuantileParameters(Parameters):
    """A clipped number, who is counted, and which quantile."""

    measured: Measured
    level: Level

    @property
    def thins(self) -> bool:
        """Whether there are conditions."""
        return bool(self.measured.conditions)

    def document(self) -> dict[str, Any]:
        """As of sum and mean, with `level` as a decimal without trailing zeros (0.5, not 0.500)."""
        return {
            **measured_document(self.measured),
            "level": decimal_text(self.level.of_one, 3).rstrip("0"),
        }


def _read(fields: Fields) -> QuantileParameters:
    level = exact_number(fields.get("level"), "level")
    if not LOWEST <= level <= HIGHEST or (level * 1000).denominator != 1:
        raise bad("level", "is not in range", "Give a share from 0.01 to 0.99, in steps of 0.001.")
    return QuantileParameters(fields.measured(), Level(level))


def _foretell(parameters: QuantileParameters, n: int, cost: int) -> Forecast:
    level, grid = parameters.level, Grid(parameters.measured.clip)
    error = expected_quantile_error(level, grid, quantile_noise(level, n, cost), n)
    return Forecast(error, "members in rank", _HOLDS, Fraction(n))


def _answer(parameters: QuantileParameters, table: Table, cost: int) -> Noised:
    return noised_quantile(table, parameters.measured, parameters.level, cost)


QUANTILE = Analysis(
    id="quantile.v1",
    title="Quantile",
    release_kind=ReleaseKind.NUMBER,
    keys=KEYS | {"level"},
    read=_read,
    foretell=_foretell,
    answer=_answer,
)
