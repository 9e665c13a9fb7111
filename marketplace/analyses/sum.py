"""sum.v1: the sum of a number over the members that meet all conditions.

Parameters: variable, clip (default: the dictionary's bounds), filters (default: none). A null
record, or one that is filtered out, adds 0. Sensitivity under replacement max(|L|, |U|, U - L).
Cost rho = sensitivity^2 / (2 sigma^2).
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
from ml.dp.noised import Noised
from ml.dp.sums import expected_sum_error, noised_sum, sum_noise


def _foretell(parameters: MeasuredParameters, n: int, cost: int) -> Forecast:
    measured = parameters.measured
    error = expected_sum_error(sum_noise(measured.clip, n, cost))
    # Whoever is not measured adds 0, so the sum of nobody is possible, too.
    ends = max(0, measured.clip.upper) - min(0, measured.clip.lower)
    span = span_in_unit(n * ends, measured)
    return Forecast(in_unit(error, measured), measured.variable.unit, "for any data", span)


def _answer(parameters: MeasuredParameters, table: Table, cost: int) -> Noised:
    return noised_sum(table, parameters.measured, cost)


SUM = Analysis(
    id="sum.v1",
    title="Sum",
    release_kind=ReleaseKind.NUMBER,
    keys=KEYS,
    read=read_measured,
    foretell=_foretell,
    answer=_answer,
)
