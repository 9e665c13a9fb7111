"""variance.v1: the variance (divisor N) of a number over the members that meet all conditions.

Parameters: variable, clip (default: the dictionary's bounds), filters (default: none). A null
record, or one that is filtered out, is in no sum. Weighted count, sum and recentred sum of squares
are noised together: L2 sensitivity 2 a R, R = U - L, a = ceil(R sqrt 2), under replacement, the
weighted sum's alone. Cost rho = (2 a R)^2 / (2 sigma^2).
"""

from fractions import Fraction

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
from ml.dp.variances import expected_variance_error, noised_variance, variance_noise

_HOLDS = "if all these members are counted, and their mean is in the middle half of the clip range"


def _foretell(parameters: MeasuredParameters, n: int, cost: int) -> Forecast:
    measured = parameters.measured
    error = expected_variance_error(measured.clip, variance_noise(measured.clip, n, cost), n)
    unit = f"({measured.variable.unit})^2" if measured.variable.unit else ""
    # Popoviciu: no variance within the clip range is above the square of its half.
    span = span_in_unit(Fraction(measured.clip.width**2, 4), measured, 2)
    return Forecast(in_unit(error, measured, 2), unit, _HOLDS, span)


def _answer(parameters: MeasuredParameters, table: Table, cost: int) -> Noised:
    return noised_variance(table, parameters.measured, cost)


VARIANCE = Analysis(
    id="variance.v1",
    title="Variance",
    release_kind=ReleaseKind.NUMBER,
    keys=KEYS,
    read=read_measured,
    foretell=_foretell,
    answer=_answer,
)
