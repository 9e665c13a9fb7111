"""The variance of a clipped variable: noised count, sum and sum of squares, noised together."""

from collections.abc import Sequence
from fractions import Fraction

from ml.dp.accounting import sqrt_up
from ml.dp.clipping import (
    EXTRA_DIGITS,
    Clip,
    Measured,
    capped_error,
    clamped_count,
    mean_deviation,
)
from ml.dp.domain import Ints, Table
from ml.dp.interval import RADIUS_95_OF_THREE, Bounds, clamp, ratio_bounds, reach, within
from ml.dp.noise import GaussianNoise, add_gaussian, gaussian_noise
from ml.dp.noised import ExpectedError, Noised, interval_estimate, scale_text
from ml.dp.units import Unit


def variance_noise(clip: Clip, members: int, cost: int) -> GaussianNoise:
    """Noise for exact_variance_vector. Raises CostRefused, NotRepresentable."""
    length = 2 * clip.linear_weight * clip.width
    return gaussian_noise(cost, length**2, members * max(length, clip.variance_count_weight))


def exact_variance_vector(values: Ints, clip: Clip) -> list[int]:
    """The un-noised (a S, w N, Q), Q = sum of 2 u^2 - R^2; S, N, u, R as for the mean.

    L2 sensitivity 2 a R, that of a S alone. With t = u / R in [-1, 1], A = (a R)^2, B = 4 R^4:
    between two values the squared distance is (t - t')^2 (A + B (t + t')^2), and, with
    s = |t + t'| and |t - t'| <= 2 - s, at most g(s) = (2 - s)^2 (A + B s^2). g has no turning
    point when B <= 2 A (2 B s^2 - 2 B s + A > 0 but for one point), so it falls from g(0) = 4 A;
    B <= 2 A since a^2 >= 2 R^2. Between a value and null it is A t^2 + w^2 + (B / 4)(2 t^2 - 1)^2,
    convex in t^2, so at most A + w^2 + B / 4 <= 4 A, since w^2 <= 3 A - B / 4.
    """
    deviations = clip.doubled_deviations(values)
    squares = 2 * deviations**2 - clip.width**2
    return [
        clip.linear_weight * int(deviations.sum()),
        clip.variance_count_weight * len(values),
        int(squares.sum()),
    ]


def variance_of(noised: Sequence[int], clip: Clip, members: int) -> Fraction:
    """The noised variance (over the cohort, divisor N), stored units squared, in [0, R^2 / 4]."""
    centre = _centre(noised, clip, members)
    count = clamped_count(noised[1], clip.variance_count_weight, members)
    square = (Fraction(noised[2]) / count + clip.width**2) / 2
    return clamp(square - centre**2, Fraction(0), Fraction(clip.width**2)) / 4


def variance_interval(
    noised: Sequence[int], clip: Clip, noise: GaussianNoise, members: int
) -> Bounds | None:
    """A 95% interval for the cohort's variance, or None if the noise drowns the count.

    Conservative. All that is used happens when the three noises lie in a ball of radius 2.7955
    sigma, which has probability 95%. Then every weighing of them is covered at once (Scheffe 1953),
    also one that depends on the noise: with c the noised mean, var = E (u - c)^2 - (mean - c)^2,
    where the first is a ratio of noised sums, and the second is bounded by the mean's interval.
    """
    centre = _centre(noised, clip, members)
    mean = _mean_bounds(noised, clip, noise)
    spread = _spread_about(centre, noised, clip, noise)
    if mean is None or spread is None:
        return None
    off = max((end - centre) ** 2 for end in mean)
    return (spread[0] - off) / 4, spread[1] / 4


def expected_variance_error(clip: Clip, noise: GaussianNoise, members: int) -> ExpectedError:
    """Error of the variance, stored units squared, when `members` values are counted.

    Holds at most for data whose mean lies in the middle half of the clipping range; at its edge
    it can be 1.8 times as much.
    """
    weight, width = clip.variance_count_weight, clip.width
    # Mean at a quarter of the range and no spread: the longest weighing within the middle half.
    centre, about = Fraction(width, 2), Fraction(3 * width**2, 4)
    length = Fraction(1, 4) + (2 * centre / clip.linear_weight) ** 2 + (about / weight) ** 2
    standard = noise.sigma * sqrt_up(length) / (4 * members)
    vector = [
        int(clip.linear_weight * centre * members),
        weight * members,
        int((2 * centre**2 - width**2) * members),
    ]
    bounds = variance_interval(vector, clip, noise, members)
    return capped_error(standard, bounds, Fraction(width**2, 4))


def noised_variance(table: Table, measured: Measured, cost: int) -> Noised:
    """Variance of the clipped values over the cohort (divisor N), in the variable's unit squared.

    rho-zCDP with rho = (2 a R)^2 / (2 sigma^2) <= cost for count, sum and sum of squares together;
    replacement of one member's record, null allowed. Its 95% interval for the noise is
    conservative. Raises CostRefused, NotRepresentable.
    """
    noise = variance_noise(measured.clip, table.n, cost)
    noised = add_gaussian(exact_variance_vector(measured.values(table), measured.clip), noise)
    return variance_answer(noised, noise, measured.clip, measured.unit, table.n)


def variance_answer(
    noised: Sequence[int], noise: GaussianNoise, clip: Clip, unit: Unit, members: int
) -> Noised:
    """What `noised_variance` says, from a noised `exact_variance_vector` of whole numbers of `unit`."""
    value = variance_of(noised, clip, members)
    found = variance_interval(noised, clip, noise, members)
    bounds = within(found, value, Fraction(0), Fraction(clip.width**2, 4))
    digits = 2 * unit.digits + EXTRA_DIGITS
    estimate = interval_estimate(value * unit.size**2, unit.squares(bounds), digits)
    text = _noise_text(noise, clip, unit.size)
    return Noised("variance", unit.squared_name, (estimate,), text, noise.cost, members)


def _noise_text(noise: GaussianNoise, clip: Clip, size: Fraction) -> tuple[tuple[str, str], ...]:
    return (
        ("count", scale_text(noise.sigma / clip.variance_count_weight)),
        (
            "sum of deviations from the middle",
            scale_text(noise.sigma * size / (2 * clip.linear_weight)),
        ),
        ("sum of squared deviations", scale_text(noise.sigma * size**2 / 8)),
    )


def _centre(noised: Sequence[int], clip: Clip, members: int) -> Fraction:
    a, w = clip.linear_weight, clip.variance_count_weight
    return mean_deviation(Fraction(noised[0], a), noised[1], clip, members, w)


def _mean_bounds(noised: Sequence[int], clip: Clip, noise: GaussianNoise) -> Bounds | None:
    a, w = clip.linear_weight, clip.variance_count_weight
    weights = (Fraction(1, a**2), Fraction(1, w**2))
    radius = reach(noise, RADIUS_95_OF_THREE, 3)
    bounds = ratio_bounds(Fraction(noised[0], a), Fraction(noised[1], w), weights, radius)
    if bounds is None:
        return None
    edge = Fraction(clip.width)
    return clamp(bounds[0], -edge, edge), clamp(bounds[1], -edge, edge)


def _spread_about(
    centre: Fraction, noised: Sequence[int], clip: Clip, noise: GaussianNoise
) -> Bounds | None:
    """Bounds of E (u - c)^2 = (Q / 2 - 2 c S) / N + R^2 / 2 + c^2."""
    a, w = clip.linear_weight, clip.variance_count_weight
    slope = 2 * centre / a
    bounds = ratio_bounds(
        Fraction(noised[2], 2) - slope * noised[0],
        Fraction(noised[1], w),
        (Fraction(1, 4) + slope**2, Fraction(1, w**2)),
        reach(noise, RADIUS_95_OF_THREE, 3),
    )
    if bounds is None:
        return None
    fixed = Fraction(clip.width**2, 2) + centre**2
    return bounds[0] + fixed, bounds[1] + fixed
