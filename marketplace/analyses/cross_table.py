"""cross_table.v1: how many members lie in each cell of two or three variables.

Parameters: axes (each: variable, and edges if it is a number, as in histogram.v1), filters
(default: none). A member with a null in any axis, or filtered out, or beyond the edges, is in no
cell. One replacement changes at most two cells by 1 each: L2 sensitivity sqrt(2). Cost
rho = 2 / (2 sigma^2), for all cells together.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from marketplace.analyses.analysis import Analysis, Forecast, Parameters, ReleaseKind
from marketplace.analyses.fields import Fields, axis_document, bad, filters_document
from ml.dp.axes import Axis, cell_count, cell_labels, cells_of
from ml.dp.counts import cells_noise, expected_count_error, noised_cells
from ml.dp.domain import Condition, Table
from ml.dp.noised import Noised

MAX_AXES = 3
MAX_CELLS = 1024  # more cells than people to fill them say nothing but noise


@dataclass(frozen=True)
class CrossTableParameters(Parameters):
    """The cut variables, outermost first, and who is counted."""

    axes: tuple[Axis, ...]
    conditions: tuple[Condition, ...]

    @property
    def thins(self) -> bool:
        """Whether there are conditions."""
        return bool(self.conditions)

    def document(self) -> dict[str, Any]:
        """`axes`, as given, since the order of cells follows theirs; `filters`, in canonical order."""
        return {
            "axes": [axis_document(axis) for axis in self.axes],
            "filters": filters_document(self.conditions),
        }


def _read(fields: Fields) -> CrossTableParameters:
    keys = frozenset({"variable", "edges"})
    given = fields.items("axes", 2, MAX_AXES)
    axes = tuple(fields.within(f"axes[{i}]", entry, keys).axis() for i, entry in enumerate(given))
    if len({axis.variable.name for axis in axes}) < len(axes):
        raise bad("axes", "name a variable twice", "Use a different variable for each axis.")
    if cell_count(axes) > MAX_CELLS:
        raise bad("axes", "span too many cells", f"Use fewer edges: at most {MAX_CELLS} cells.")
    return CrossTableParameters(axes, fields.filters())


def _foretell(_: CrossTableParameters, n: int, cost: int) -> Forecast:
    error = expected_count_error(cells_noise(n, cost))
    return Forecast(error, "members in a cell", "for any data", Fraction(n))


def _answer(parameters: CrossTableParameters, table: Table, cost: int) -> Noised:
    cells = cells_of(table, parameters.axes, parameters.conditions)
    return noised_cells(cells, cell_labels(parameters.axes), table.n, cost)


CROSS_TABLE = Analysis(
    id="cross_table.v1",
    title="Cross table",
    release_kind=ReleaseKind.TABLE,
    keys=frozenset({"axes", "filters"}),
    read=_read,
    foretell=_foretell,
    answer=_answer,
)
