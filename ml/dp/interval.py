"""Intervals that cover the noise: exact rationals, rounded outwards, so the same on every machine.

Discrete noise is covered through the continuous Gaussian: for integer m >= 1,
P[discrete >= m] <= P[continuous >= m - 1] (Canonne, Kamath and Steinke 2020, proposition 25), so
one lattice unit more than the continuous quantile always suffices.
"""

import math
from fractions import Fraction

from ml.dp.accounting import sqrt_up
from ml.dp.noise import GaussianNoise

CONFIDENCE = "0.95"
Z_95 = Fraction(196, 100)  # two-sided: P[|N(0,1)| > 1.96] = 0.049996
RADIUS_95_OF_THREE = Fraction(27955, 10_000)  # root of 7.81498; chi-square, 3 degrees, 95%: 7.81473

Bounds = tuple[Fraction, Fraction]


def half_width(noise: GaussianNoise) -> int:
    """Whole units around one noised integer that hold the true one 95 times in 100, or more.

    t = ceil(1.96 sigma): P[|noise| >= t + 1] <= P[|N(0, sigma^2)| >= t] <= 0.05.
    """
    return math.ceil(Z_95 * noise.sigma)


def reach(noise: GaussianNoise, z: Fraction, coordinates: int) -> Fraction:
    """How far, per unit of length, a weighing of `coordinates` noised integers can be off.

    z standard deviations, and one lattice unit for each coordinate, which is sqrt(coordinates) for
    weights of length one.
    """
    return z * noise.sigma + sqrt_up(Fraction(coordinates))


def ratio_bounds(
    numerator: Fraction, denominator: Fraction, weights: Bounds, reach_: Fraction
) -> Bounds | None:
    """Fieller's set: every v with |numerator - v denominator| <= reach sqrt(K + J v^2).

    weights: (K, J), squared lengths of the noise in numerator and denominator per unit of noise.
    None when the denominator is not clearly positive, for then no bound on the ratio is honest.
    Source: Fieller 1954, "Some problems in interval estimation".
    """
    k, j = weights
    square = reach_**2
    lead = denominator**2 - square * j
    if denominator <= 0 or lead <= 0:
        return None
    under_root = square * (k * denominator**2 + j * numerator**2 - square * j * k)
    centre, root = numerator * denominator, sqrt_up(max(Fraction(0), under_root))
    return (centre - root) / lead, (centre + root) / lead


def clamp(value: Fraction, low: Fraction, high: Fraction) -> Fraction:
    """`value`, or the nearer end of [low, high]."""
    return min(max(value, low), high)


def within(bounds: Bounds | None, estimate: Fraction, low: Fraction, high: Fraction) -> Bounds:
    """`bounds` cut to the possible range [low, high], and never leaving the estimate outside."""
    if bounds is None:
        return low, high
    first, last = (clamp(end, low, high) for end in bounds)
    return min(first, estimate), max(last, estimate)
