"""sum.v1, mean.v1 and variance.v1 from encrypted sums.

q in 0..R stands for lower + q step. Mean and variance open what the vault lane noises (`exact_mean_vector`,
`exact_variance_vector`) with the clip range [0, R] of q, whose proofs hold for any whole numbers in it,
present or not: squared sensitivity (2 R)^2 and (2 a R)^2. The sum is one of whole multiples of
g = gcd(step, lower), the largest unit in which every value is whole: sensitivity
(max(0, upper) - min(0, lower)) / g.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import gcd

from marketplace.analyses.analysis import Analysis, Forecast
from marketplace.analyses.mean import MEAN
from marketplace.analyses.measured import MeasuredParameters
from marketplace.analyses.polynomials import Polynomial, atom, present
from marketplace.analyses.sum import SUM
from marketplace.analyses.tallied import Tallied, Wanted
from marketplace.analyses.tallies.grids import deviation, require_bounds, unit_of
from marketplace.analyses.tallies.indicators import encoded, holding
from marketplace.analyses.tallies.tally import Tally
from marketplace.analyses.variance import VARIANCE
from marketplace.wire.encoding import Encoded, Encoding
from ml.dp.clipping import Clip
from ml.dp.means import expected_mean_error, mean_answer
from ml.dp.noise import GaussianNoise
from ml.dp.noised import ExpectedError, Noised
from ml.dp.sums import expected_sum_error, sum_answer
from ml.dp.units import Unit
from ml.dp.variances import expected_variance_error, variance_answer

_MEAN_HOLDS = "at most, wherever the mean lies, and if all of them are counted: with fewer it grows"
_VARIANCE_HOLDS = (
    "if all these members are counted, and their mean is in the middle half of the range"
)


def _read(parameters: MeasuredParameters, encoding: Encoding) -> tuple[Encoded, Unit, Polynomial]:
    """The number's place, its unit, and 1 for a record that is counted if it has the number."""
    require_bounds(parameters.measured)
    variable = parameters.measured.variable
    number = encoded(variable, encoding, "variable")
    return number, unit_of(variable, number), holding(parameters.measured.conditions, encoding)


def _sum(parameters: MeasuredParameters, encoding: Encoding) -> Tallied:
    number, unit, where = _read(parameters, encoding)
    clip, whole = _whole(number, unit)

    def finish(noised: Sequence[int], noise: GaussianNoise, members: int, _: int) -> Noised:
        return sum_answer(noised[0], noise, clip, whole, members)

    slope, start = (clip.upper - clip.lower) // number.steps, clip.lower
    value = atom(number.name) * slope + present(number.name) * start
    wanted = Wanted(value * where, min(0, clip.lower), max(0, clip.upper))
    return Tallied((wanted,), clip.sum_sensitivity**2, finish)


def _whole(number: Encoded, unit: Unit) -> tuple[Clip, Unit]:
    """The bounds in the largest unit that divides both step and lower bound, and that unit."""
    common = gcd(number.step, number.lower)
    upper = (number.lower + number.step * number.steps) // common
    size = unit.size * common / number.step
    return Clip(number.lower // common, upper), Unit(unit.name, size, unit.digits)


def _mean(parameters: MeasuredParameters, encoding: Encoding) -> Tallied:
    number, unit, where = _read(parameters, encoding)
    clip = Clip(0, number.steps)

    def finish(noised: Sequence[int], noise: GaussianNoise, members: int, _: int) -> Noised:
        return mean_answer(noised, noise, clip, unit, members)

    count = present(number.name) * clip.count_weight
    wanted = (
        Wanted(deviation(number) * where, -clip.width, clip.width),
        Wanted(count * where, 0, clip.count_weight),
    )
    return Tallied(wanted, (2 * clip.width) ** 2, finish)


def _variance(parameters: MeasuredParameters, encoding: Encoding) -> Tallied:
    number, unit, where = _read(parameters, encoding)
    clip = Clip(0, number.steps)

    def finish(noised: Sequence[int], noise: GaussianNoise, members: int, _: int) -> Noised:
        return variance_answer(noised, noise, clip, unit, members)

    u, width, linear = deviation(number), clip.width, clip.linear_weight
    squares = u * u * 2 - present(number.name) * width**2
    count = present(number.name) * clip.variance_count_weight
    wanted = (
        Wanted(u * linear * where, -linear * width, linear * width),
        Wanted(count * where, 0, clip.variance_count_weight),
        Wanted(squares * where, -(width**2), width**2),
    )
    return Tallied(wanted, (2 * linear * width) ** 2, finish)


def _foresee_sum(
    parameters: MeasuredParameters, encoding: Encoding, noise: GaussianNoise, members: int
) -> Forecast:
    number, unit, _ = _read(parameters, encoding)
    clip, whole = _whole(number, unit)
    span = members * clip.sum_sensitivity * whole.size
    error = _scaled(expected_sum_error(noise), whole.size)
    return Forecast(error, unit.name, "for any data", span)


def _foresee_mean(
    parameters: MeasuredParameters, encoding: Encoding, noise: GaussianNoise, members: int
) -> Forecast:
    number, unit, _ = _read(parameters, encoding)
    error = expected_mean_error(Clip(0, number.steps), noise, members)
    span = number.steps * unit.size
    return Forecast(_scaled(error, unit.size), unit.name, _MEAN_HOLDS, span)


def _foresee_variance(
    parameters: MeasuredParameters, encoding: Encoding, noise: GaussianNoise, members: int
) -> Forecast:
    number, unit, _ = _read(parameters, encoding)
    error = expected_variance_error(Clip(0, number.steps), noise, members)
    span = (number.steps * unit.size) ** 2 / 4
    return Forecast(_scaled(error, unit.size**2), unit.squared_name, _VARIANCE_HOLDS, span)


def _scaled(error: ExpectedError, size: Fraction) -> ExpectedError:
    return ExpectedError(error.standard_error * size, error.half_width * size)


def _tally(
    analysis: Analysis[MeasuredParameters],
    express: Callable[[MeasuredParameters, Encoding], Tallied],
    foresee: Callable[[MeasuredParameters, Encoding, GaussianNoise, int], Forecast],
) -> Tally[MeasuredParameters]:
    return Tally(
        id=analysis.id,
        title=analysis.title,
        release_kind=analysis.release_kind,
        keys=analysis.keys,
        read=analysis.read,
        express=express,
        foresee=foresee,
    )


SUM_TALLY = _tally(SUM, _sum, _foresee_sum)
MEAN_TALLY = _tally(MEAN, _mean, _foresee_mean)
VARIANCE_TALLY = _tally(VARIANCE, _variance, _foresee_variance)
