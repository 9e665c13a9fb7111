"""histogram.v1: how many members lie in each cell of one variable.

Parameters: variable, edges (numbers only: rising, in the variable's unit; cells [e0, e1), ..., the
last closed), filters (default: none). A null record, or one that is filtered out or beyond the
edges, is in no cell. One replacement changes at most two cells by 1 each: L2 sensitivity sqrt(2).
Cost rho = 2 / (2 sigma^2), for all cells together.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from marketplace.analyses.analysis import Analysis, Forecast, Parameters, ReleaseKind
from marketplace.analyses.fields import Fields, axis_document, filters_document
from ml.dp.axes import Axis, cell_labels, cells_of
from ml.dp.counts import cells_noise, expected_count_error, noised_cells
from ml.dp.domain import Condition, Table
from ml.dp.noised import Noised


@dataclass(frozen=True)
class HistogramParameters(Parameters):
    """The cut variable, and who is counted."""

    axis: Axis
    conditions: tuple[Condition, ...]

    @property
    def thins(self) -> bool:
        """Whether there are conditions."""
        return bool(self.conditions)

    def document(self) -> dict[str, Any]:
        """`variable`, `edges` where it is a number, and `filters` in canonical order."""
        return {**axis_document(self.axis), "filters": filters_document(self.conditions)}


def _read(fields: Fields) -> HistogramParameters:
    return HistogramParameters(fields.axis(), fields.filters())


def _foretell(_: HistogramParameters, n: int, cost: int) -> Forecast:
    error = expected_count_error(cells_noise(n, cost))
    return Forecast(error, "members in a cell", "for any data", Fraction(n))


def _answer(parameters: HistogramParameters, table: Table, cost: int) -> Noised:
    axes = [parameters.axis]
    cells = cells_of(table, axes, parameters.conditions)
    return noised_cells(cells, cell_labels(axes), table.n, cost)


HISTOGRAM = Analysis(
    id="histogram.v1",
    title="Histogram",
    release_kind=ReleaseKind.TABLE,
    keys=frozenset({"variable", "edges", "filters"}),
    read=_read,
    foretell=_foretell,
    answer=_answer,
)
