"""count.v1: how many members meet all conditions.

Parameters: filters (at least one: how many members there are is public). A null record meets none.
Sensitivity 1 under replacement: a member counts 0 or 1. Cost rho = 1 / (2 sigma^2).
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from marketplace.analyses.analysis import Analysis, Forecast, Parameters, ReleaseKind
from marketplace.analyses.fields import Fields, bad, filters_document
from ml.dp.counts import count_noise, expected_count_error, noised_count
from ml.dp.domain import Condition, Table
from ml.dp.noised import Noised


@dataclass(frozen=True)
class CountParameters(Parameters):
    """Conditions that must all hold."""

    conditions: tuple[Condition, ...]

    def document(self) -> dict[str, Any]:
        """`filters` alone, in canonical order."""
        return {"filters": filters_document(self.conditions)}


def _read(fields: Fields) -> CountParameters:
    conditions = fields.filters()
    if not conditions:
        raise bad(
            "filters",
            "names no condition, and the size of a cohort is public already",
            "Give at least one filter.",
        )
    return CountParameters(conditions)


def _foretell(_: CountParameters, n: int, cost: int) -> Forecast:
    error = expected_count_error(count_noise(n, cost))
    return Forecast(error, "members", "for any data", Fraction(n))


def _answer(parameters: CountParameters, table: Table, cost: int) -> Noised:
    return noised_count(table, parameters.conditions, cost)


COUNT = Analysis(
    id="count.v1",
    title="How many participants",
    release_kind=ReleaseKind.NUMBER,
    keys=frozenset({"filters"}),
    read=_read,
    foretell=_foretell,
    answer=_answer,
)
