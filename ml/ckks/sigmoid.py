"""Polynomials in place of the sigmoid 1 / (1 + e^-z), each with a bound of its error on its whole interval.

A polynomial is a sum of Chebyshev polynomials T_k of t = (z - centre) / half, which runs over -1..1 as z
runs over the interval: its coefficients are small, so that errors stay as they are, where powers of t would
magnify them a hundred times. Near-minimax by interpolation in Chebyshev points (L. N. Trefethen,
Approximation Theory and Approximation Practice, SIAM 2013, theorem 16.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev

from ml.ckks.documents import decimal, decimal_text, decimals, fields, require

DEGREES: Final = (3, 7, 15)
"""One less than a power of two: each uses its depth, log2(degree + 1), in full."""
LARGEST_SUM: Final = 4
"""Of the coefficients' magnitudes: bounds every partial result."""
LEAST_FACTOR: Final = Fraction(1, 2**20)
"""Of what a ciphertext is multiplied by: SEAL refuses what rounds to 0."""
WIDEST: Final = 64
"""Interval; beyond about 16, degree 15 says little."""
_POINTS: Final = 20_001

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sigmoid:
    """A polynomial on an interval, and how far it may be from the sigmoid there."""

    low: Fraction
    high: Fraction
    coefficients: tuple[Fraction, ...]
    """Of T_0, T_1, ..."""
    error: Fraction

    @property
    def centre(self) -> Fraction:
        """z at t = 0."""
        return (self.low + self.high) / 2

    @property
    def half(self) -> Fraction:
        """z - centre at t = 1."""
        return (self.high - self.low) / 2

    @property
    def depth(self) -> int:
        """Multiplications one after the other."""
        return (len(self.coefficients) - 1).bit_length()

    def of(self, z: float) -> float:
        """The polynomial's value."""
        t = (z - float(self.centre)) / float(self.half)
        return float(chebyshev.chebval(t, np.array(self.coefficients, dtype=np.float64)))


def fitted(low: Fraction, high: Fraction, degree: int) -> dict[str, Any]:
    """The document of a sigmoid on this interval: coefficients of 9 places, bound rounded up to 6."""
    half, centre = float(high - low) / 2, float(high + low) / 2
    points = chebyshev.chebpts1(degree + 1)
    series = chebyshev.chebfit(points, exact(centre + half * points), degree)
    texts = [decimal_text(float(each)) for each in series]
    bound = error_bound([float(each) for each in texts], low, high)
    return {
        "degree": degree,
        "interval": [decimal_text(float(low)), decimal_text(float(high))],
        "coefficients": texts,
        "error": decimal_text(np.ceil(bound * 1e6) / 1e6, 6),
    }


def sigmoid_of(document: Any, at: str) -> Sigmoid:
    """A checked polynomial; that its stated error holds is computed. Raises BadDocument."""
    given = fields(document, ("degree", "interval", "coefficients", "error"), at)
    degree = given["degree"]
    known = type(degree) is int and degree in DEGREES
    require(known, f"{at}.degree", "is none of 3, 7 and 15", "Use one of them.")
    low, high = decimals(given["interval"], f"{at}.interval", 2)
    wide = 0 < high - low <= WIDEST
    require(wide, f"{at}.interval", "is empty or too wide", f"Use at most {WIDEST}.")
    coefficients = decimals(given["coefficients"], f"{at}.coefficients", degree + 1)
    _require_usable(coefficients, f"{at}.coefficients")
    error = decimal(given["error"], f"{at}.error")
    true = error_bound([float(each) for each in coefficients], low, high)
    holds = error >= Fraction(true)
    require(holds, f"{at}.error", "is less than the true one", f"State at least {true:.6f}.")
    return Sigmoid(low, high, coefficients, error)


def exact(z: Floats) -> Floats:
    """The sigmoid itself."""
    return 1.0 / (1.0 + np.exp(-np.asarray(z, dtype=np.float64)))


def error_bound(coefficients: Sequence[float], low: Fraction, high: Fraction) -> float:
    """An upper bound of |polynomial - sigmoid| on all of low..high.

    The largest difference on a fine grid, plus spacing^2 / 8 times a bound of the second derivative, which is
    what a function can rise above its chord; |sigmoid''| < 0.1, and |T_k''| <= k^2 (k^2 - 1) / 3.
    """
    half = float(high - low) / 2
    t = np.linspace(-1.0, 1.0, _POINTS)
    values = chebyshev.chebval(t, np.array(coefficients, dtype=np.float64))
    seen = np.abs(values - exact(float(high + low) / 2 + half * t)).max()
    bend = sum(k**2 * (k**2 - 1) / 3 * abs(each) for k, each in enumerate(coefficients))
    spacing = 2.0 / (_POINTS - 1)
    return float(seen + spacing**2 / 8 * (bend + 0.1 * half**2) + 1e-12)


def split(coefficients: Sequence[Fraction]) -> tuple[list[Fraction], list[Fraction]]:
    """low and high with p = low + T_m high, each of degree m - 1, where p has 2 m coefficients.

    By T_(m+j) = 2 T_m T_j - T_(m-j).
    """
    m = len(coefficients) // 2
    upper = coefficients[m:]
    low = [coefficients[0], *(coefficients[j] - upper[m - j] for j in range(1, m))]
    return low, [upper[0], *(2 * each for each in upper[1:])]


def _require_usable(coefficients: Sequence[Fraction], at: str) -> None:
    small = sum(map(abs, coefficients)) <= LARGEST_SUM
    require(small, at, "are too large", f"Their magnitudes may add up to {LARGEST_SUM}.")
    usable = min(_factors(coefficients)) >= LEAST_FACTOR
    require(usable, at, "would multiply by next to 0", "Use a lower degree or a wider interval.")


def _factors(coefficients: Sequence[Fraction]) -> list[Fraction]:
    """Magnitudes of what t itself is multiplied by, where a polynomial is computed by halves."""
    if len(coefficients) == 2:
        return [abs(coefficients[1])]
    low, high = split(coefficients)
    return [*_factors(low), *_factors(high)]
