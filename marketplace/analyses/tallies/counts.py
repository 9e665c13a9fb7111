"""count.v1, histogram.v1 and cross_table.v1 from encrypted sums.

Squared L2 sensitivity 1 for a count (a record adds 0 or 1), 2 for all cells of a table together: a record is
in at most one cell, so that replacing it moves at most two counts, by 1 each.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod

from marketplace.analyses.analysis import Forecast
from marketplace.analyses.count import COUNT, CountParameters
from marketplace.analyses.cross_table import CROSS_TABLE, CrossTableParameters
from marketplace.analyses.histogram import HISTOGRAM, HistogramParameters
from marketplace.analyses.polynomials import Polynomial, require_few
from marketplace.analyses.tallied import Tallied, Wanted
from marketplace.analyses.tallies.indicators import cells, holding
from marketplace.analyses.tallies.tally import Tally
from marketplace.wire.encoding import Encoding
from ml.dp.axes import Axis, cell_labels
from ml.dp.counts import (
    CELLS_SQUARED_SENSITIVITY,
    COUNT_SENSITIVITY,
    cells_answer,
    count_answer,
    expected_count_error,
)
from ml.dp.domain import Condition
from ml.dp.noise import GaussianNoise
from ml.dp.noised import Noised


def counted(polynomials: Sequence[Polynomial]) -> tuple[Wanted, ...]:
    """Sums that a record adds 0 or 1 to."""
    return tuple(Wanted(each, 0, 1) for each in polynomials)


def table(
    axes: Sequence[Axis], conditions: Sequence[Condition], encoding: Encoding
) -> list[Polynomial]:
    """1 for a record in the cell, the last axis running fastest. Raises BadParameter."""
    found = [holding(conditions, encoding)]
    for i, axis in enumerate(axes):
        field = "edges" if len(axes) == 1 else f"axes[{i}].edges"
        inside = cells(axis, encoding, field)
        require_few(
            sum(len(each.terms) for each in found) * sum(len(each.terms) for each in inside)
        )
        found = [outer * inner for outer in found for inner in inside]
    return found


def _count(parameters: CountParameters, encoding: Encoding) -> Tallied:
    def finish(noised: Sequence[int], noise: GaussianNoise, members: int, _: int) -> Noised:
        return count_answer(noised[0], noise, members)

    wanted = counted([holding(parameters.conditions, encoding)])
    return Tallied(wanted, COUNT_SENSITIVITY**2, finish)


def _cells(axes: Sequence[Axis], conditions: Sequence[Condition], encoding: Encoding) -> Tallied:
    def finish(noised: Sequence[int], noise: GaussianNoise, members: int, _: int) -> Noised:
        return cells_answer(noised, noise, cell_labels(axes), members)

    wanted = counted(table(axes, conditions, encoding))
    if len(wanted) != prod(axis.size for axis in axes):
        raise ArithmeticError("a table has one sum for each cell")
    return Tallied(wanted, CELLS_SQUARED_SENSITIVITY, finish)


def _histogram(parameters: HistogramParameters, encoding: Encoding) -> Tallied:
    return _cells([parameters.axis], parameters.conditions, encoding)


def _cross_table(parameters: CrossTableParameters, encoding: Encoding) -> Tallied:
    return _cells(parameters.axes, parameters.conditions, encoding)


def _foresee_count(_: object, __: Encoding, noise: GaussianNoise, members: int) -> Forecast:
    return Forecast(expected_count_error(noise), "members", "for any data", Fraction(members))


def _foresee_cells(_: object, __: Encoding, noise: GaussianNoise, members: int) -> Forecast:
    error = expected_count_error(noise)
    return Forecast(error, "members in a cell", "for any data", Fraction(members))


COUNT_TALLY = Tally(
    id=COUNT.id,
    title=COUNT.title,
    release_kind=COUNT.release_kind,
    keys=COUNT.keys,
    read=COUNT.read,
    express=_count,
    foresee=_foresee_count,
)
HISTOGRAM_TALLY = Tally(
    id=HISTOGRAM.id,
    title=HISTOGRAM.title,
    release_kind=HISTOGRAM.release_kind,
    keys=HISTOGRAM.keys,
    read=HISTOGRAM.read,
    express=_histogram,
    foresee=_foresee_cells,
)
CROSS_TABLE_TALLY = Tally(
    id=CROSS_TABLE.id,
    title=CROSS_TABLE.title,
    release_kind=CROSS_TABLE.release_kind,
    keys=CROSS_TABLE.keys,
    read=CROSS_TABLE.read,
    express=_cross_table,
    foresee=_foresee_cells,
)
