"""The mean of a clipped variable: a noised sum over a noised count, noised together."""

from collections.abc import Sequence
from fractions import Fraction

from ml.dp.accounting import sqrt_up
from ml.dp.clipping import EXTRA_DIGITS, Clip, Measured, capped_error, mean_deviation
from ml.dp.domain import Ints, Table
from ml.dp.interval import Z_95, Bounds, ratio_bounds, reach, within
from ml.dp.noise import GaussianNoise, add_gaussian, gaussian_noise
from ml.dp.noised import ExpectedError, Noised, interval_estimate, scale_text
from ml.dp.units import Unit


def mean_noise(clip: Clip, members: int, cost: int) -> GaussianNoise:
    """Noise for exact_mean_vector. Raises CostRefused, NotRepresentable."""
    return gaussian_noise(cost, (2 * clip.width) ** 2, members * 2 * clip.width)


def exact_mean_vector(values: Ints, clip: Clip) -> list[int]:
    """The un-noised (S, w N), S = sum of u = 2 x - (L + U), N = number of values; not to release.

    L2 sensitivity 2 R, R = U - L, that of S alone. Between two values: S moves by at most 2 R, N
    not at all. Between a value and null (or filtered out): S moves by at most R and w N by w, and
    R^2 + w^2 <= R^2 + 3 R^2 = (2 R)^2, since w^2 <= 3 R^2.
    """
    deviations = clip.doubled_deviations(values)
    return [int(deviations.sum()), clip.count_weight * len(values)]


def mean_of(noised: Sequence[int], clip: Clip, members: int) -> Fraction:
    """The noised mean, stored units, clamped to [L, U]; the count is clamped to [1, n] first."""
    return clip.middle + mean_deviation(noised[0], noised[1], clip, members, clip.count_weight) / 2


def mean_interval(noised: Sequence[int], clip: Clip, noise: GaussianNoise) -> Bounds | None:
    """Fieller's 95% interval for the cohort's mean, or None if the noise drowns the count.

    For the true mean m of u, S - m N has expectation 0, so its noise is one Gaussian whose length
    is known: no approximation of the ratio is needed.
    """
    weight = clip.count_weight
    bounds = ratio_bounds(
        Fraction(noised[0]),
        Fraction(noised[1], weight),
        (Fraction(1), Fraction(1, weight**2)),
        reach(noise, Z_95, 2),
    )
    return None if bounds is None else (clip.middle + bounds[0] / 2, clip.middle + bounds[1] / 2)


def expected_mean_error(clip: Clip, noise: GaussianNoise, members: int) -> ExpectedError:
    """Error of the mean, stored units, when `members` values are counted.

    Holds at most for a mean at the very edge of the clipping range; in its middle it is 13% less.
    """
    weight = clip.count_weight
    length = Fraction(1) + Fraction(clip.width, weight) ** 2
    standard = noise.sigma * sqrt_up(length) / (2 * members)
    bounds = mean_interval([clip.width * members, weight * members], clip, noise)
    return capped_error(standard, bounds, Fraction(clip.width))


def noised_mean(table: Table, measured: Measured, cost: int) -> Noised:
    """Mean of the clipped values, in the variable's unit, with a 95% interval for the noise.

    rho-zCDP with rho = (2 R)^2 / (2 sigma^2) <= cost for sum and count together; replacement of
    one member's record, null allowed. A mean of nobody, or of too few to tell through the noise,
    has the whole clipping range for its interval. Raises CostRefused, NotRepresentable.
    """
    noise = mean_noise(measured.clip, table.n, cost)
    noised = add_gaussian(exact_mean_vector(measured.values(table), measured.clip), noise)
    return mean_answer(noised, noise, measured.clip, measured.unit, table.n)


def mean_answer(
    noised: Sequence[int], noise: GaussianNoise, clip: Clip, unit: Unit, members: int
) -> Noised:
    """What `noised_mean` says, from a noised `exact_mean_vector` of whole numbers of `unit`."""
    value = mean_of(noised, clip, members)
    low, high = Fraction(clip.lower), Fraction(clip.upper)
    bounds = within(mean_interval(noised, clip, noise), value, low, high)
    digits = unit.digits + EXTRA_DIGITS
    estimate = interval_estimate(unit.value(value), unit.values(bounds), digits)
    text = (
        ("count", scale_text(noise.sigma / clip.count_weight)),
        ("sum of deviations from the middle", scale_text(noise.sigma * unit.size / 2)),
    )
    return Noised("mean", unit.name, (estimate,), text, noise.cost, members)
