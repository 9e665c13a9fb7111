"""chi_square.v1: whether two variables are independent, judged with the noise in mind.

Parameters: axes (two, as in cross_table.v1), filters (default: none). The sums are the table's cells: squared
L2 sensitivity 2 together. Cost rho = 2 / (2 sigma^2).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from marketplace.analyses.analysis import Forecast, ReleaseKind
from marketplace.analyses.cross_table import CROSS_TABLE, CrossTableParameters
from marketplace.analyses.fields import Fields, bad
from marketplace.analyses.tallied import Tallied
from marketplace.analyses.tallies.counts import counted, table
from marketplace.analyses.tallies.tally import Tally
from marketplace.wire.encoding import Encoding
from ml.dp.counts import CELLS_SQUARED_SENSITIVITY
from ml.dp.noise import GaussianNoise
from ml.dp.noised import Noised, scale_text
from ml.tallied.independence import expected_cell_error, independence

MOST_CELLS = 256
_AXES = 2
_LEAST_CELLS = 2


def _read(fields: Fields) -> CrossTableParameters:
    parameters = CROSS_TABLE.read(fields)
    sizes = [axis.size for axis in parameters.axes]
    if len(sizes) != _AXES:
        raise bad("axes", "are not two", "Give two variables.")
    if min(sizes) < _LEAST_CELLS or sizes[0] * sizes[1] > MOST_CELLS:
        remedy = f"Give each axis two cells or more, {MOST_CELLS} together at most."
        raise bad("axes", "make no table that can be judged", remedy)
    return parameters


def _express(parameters: CrossTableParameters, encoding: Encoding) -> Tallied:
    rows, columns = (axis.size for axis in parameters.axes)

    def finish(noised: Sequence[int], noise: GaussianNoise, members: int, cost: int) -> Noised:
        found = independence(noised, noise, (rows, columns))
        text = (("cell", scale_text(noise.sigma)),)
        return Noised("chi-square test", "", found, text, cost, members, "noise and sampling")

    wanted = counted(table(parameters.axes, parameters.conditions, encoding))
    return Tallied(wanted, CELLS_SQUARED_SENSITIVITY, finish)


def _foresee(_: object, __: Encoding, noise: GaussianNoise, members: int) -> Forecast:
    error = expected_cell_error(noise)
    return Forecast(error, "members in a cell", "for any data", Fraction(members))


CHI_SQUARE = Tally(
    id="chi_square.v1",
    title="Chi-square test of independence",
    release_kind=ReleaseKind.TABLE,
    keys=CROSS_TABLE.keys,
    read=_read,
    express=_express,
    foresee=_foresee,
)
