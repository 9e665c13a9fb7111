"""The sum of a clipped variable."""

from fractions import Fraction

import numpy as np

from ml.dp.clipping import Clip, Measured
from ml.dp.domain import Ints, Table
from ml.dp.interval import clamp, half_width, within
from ml.dp.noise import GaussianNoise, add_gaussian, gaussian_noise
from ml.dp.noised import ExpectedError, Noised, interval_estimate, scale_text
from ml.dp.units import Unit


def sum_noise(clip: Clip, members: int, cost: int) -> GaussianNoise:
    """Noise for the sum. Raises CostRefused, NotRepresentable."""
    largest = members * max(abs(clip.lower), abs(clip.upper))
    return gaussian_noise(cost, clip.sum_sensitivity**2, largest)


def expected_sum_error(noise: GaussianNoise) -> ExpectedError:
    """Error of the sum in stored units; holds for any data."""
    return ExpectedError(noise.sigma, Fraction(half_width(noise)))


def exact_sum(values: Ints, clip: Clip) -> int:
    """The un-noised sum; never to be released.

    Sensitivity max(|L|, |U|, U - L): a record adds a value in [L, U], or 0 when null or filtered
    out; the largest distance between two elements of {0} and [L, U] is max(0, U) - min(0, L).
    """
    return int(np.clip(values, clip.lower, clip.upper).sum())


def noised_sum(table: Table, measured: Measured, cost: int) -> Noised:
    """Sum of the clipped values, in the variable's unit, with a 95% interval for the noise.

    rho-zCDP with rho = sensitivity^2 / (2 sigma^2) <= cost; replacement of one member's record,
    null allowed. Raises CostRefused, NotRepresentable.
    """
    noise = sum_noise(measured.clip, table.n, cost)
    (noised,) = add_gaussian([exact_sum(measured.values(table), measured.clip)], noise)
    return sum_answer(noised, noise, measured.clip, measured.unit, table.n)


def sum_answer(noised: int, noise: GaussianNoise, clip: Clip, unit: Unit, members: int) -> Noised:
    """What `noised_sum` says, from a noised `exact_sum` of whole numbers of `unit`."""
    low, high = Fraction(members * min(0, clip.lower)), Fraction(members * max(0, clip.upper))
    value, wide = clamp(Fraction(noised), low, high), half_width(noise)
    bounds = within((Fraction(noised - wide), Fraction(noised + wide)), value, low, high)
    estimate = interval_estimate(unit.value(value), unit.values(bounds), unit.digits)
    text = (("sum", scale_text(noise.sigma * unit.size)),)
    return Noised("sum", unit.name, (estimate,), text, noise.cost, members)
