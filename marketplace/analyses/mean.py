"""mean.v1: the mean of a number over the members that meet all conditions.

Parameters: variable, clip (default: the dictionary's bounds), filters (default: none). A null
record, or one that is filtered out, is in neither sum nor count. Sum of 2 x - (L + U) and weighted
count are noised together: L2 sensitivity 2 (U - L) under replacement, the sum's alone. Cost
rho = (2 (U - L))^2 / (2 sigma^2).
"""

from marketplace.analyses.analysis import Analysis, Forecast, ReleaseKind
from marketplace.analyses.measured import (
    KEYS,
    MeasuredParameters,
    in_unit,
    read_measured,
    span_in_unit,
)
from ml.dp.domain import Table
from ml.dp.means import expected_mean_error, mean_noise, noised_mean
from ml.dp.noised import Noised

_HOLDS = "at most, wherever the mean lies, and if all of them are counted: with fewer it grows"


def _foretell(parameters: MeasuredParameters, n: int, cost: int) -> Forecast:
    measured = parameters.measured
    error = expected_mean_error(measured.clip, mean_noise(measured.clip, n, cost), n)
    span = span_in_unit(measured.clip.width, measured)
    return Forecast(in_unit(error, measured), measured.variable.unit, _HOLDS, span)


def _answer(parameters: MeasuredParameters, table: Table, cost: int) -> Noised:
    return noised_mean(table, parameters.measured, cost)


MEAN = Analysis(
    id="mean.v1",
    title="Mean",
    release_kind=ReleaseKind.NUMBER,
    keys=KEYS,
    read=read_measured,
    foretell=_foretell,
    answer=_answer,
)
