"""Intervals for whatever is computed from noised sums.

The true sums are the noised ones less their noise, and the noise's distribution is known exactly. So taking
fresh draws of noise off again gives the sums as they may have been, and any function of those has a
generalised pivot: its 2.5% and 97.5% quantiles are a 95% interval (S. Weerahandi, "Generalized confidence
intervals", JASA 88, 1993; for noised statistics C. Ferrando, S. Wang, D. Sheldon, AISTATS 2022). It is exact
for linear functions and ratios of a clear denominator, and close for smooth ones. Where a draw has no answer
(a variance below 0, nobody at risk) it may be anything: it counts at both ends of the possible range, so that
noise that drowns the sums makes an interval wide and never fails.

The draws are the same for everybody, made from a hash: they protect nothing, and equal sums shall have equal
answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from hashlib import shake_256
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DRAWS: Final = 4000
SAMPLING: Final = 1 << 20
"""Columns from here on are for chance in who takes part, those before for noise."""
_TAIL: Final = DRAWS // 40
"""Draws left out at each end of a 95% interval, and one less: 2.5%."""
_THIRD: Final = round(DRAWS * 0.158655)
"""And of one that is a standard error to each side of a Gaussian's middle."""
_WORD: Final = 8
_MANTISSA: Final = 53


@lru_cache(maxsize=16)
def normals(columns: int, first: int = 0) -> Floats:
    """(DRAWS, columns) standard normals, always the same: means 0, deviations 1, correlations 0, all exactly,
    so that what is linear in them has the very variance that it should.
    """
    drawn = np.column_stack([_column(first + at) for at in range(columns)])
    root = np.linalg.cholesky(drawn.T @ drawn / DRAWS)
    found: Floats = np.linalg.solve(root, drawn.T).T
    found.setflags(write=False)
    return found


def with_undone(noised: Sequence[int], sigma: Fraction) -> Floats:
    """(1 + DRAWS, sums): the noised sums, then what they may have been before the noise."""
    sums = np.array([float(each) for each in noised])
    return np.vstack([sums, sums - float(sigma) * normals(len(sums))])


def sampling(columns: int) -> Floats:
    """(1 + DRAWS, columns): nothing for the estimate itself, then standard normals."""
    return np.vstack([np.zeros(columns), normals(columns, SAMPLING)])


def interval(values: Floats, low: float, high: float) -> tuple[float, float]:
    """The 95% interval in low..high of (1 + DRAWS,) values: the estimate, then its draws; NaN for none.

    The estimate is always within.
    """
    first, last = _central(values[1:], low, high, _TAIL - 1)
    estimate = point(values, low, high)
    return min(first, estimate), max(last, estimate)


def standard_error(values: Floats, low: float, high: float) -> float:
    """Half of the central 68% of (1 + DRAWS,) values: a deviation that a few far draws do not move."""
    first, last = _central(values[1:], low, high, _THIRD)
    return (last - first) / 2


def point(values: Floats, low: float, high: float) -> float:
    """The estimate, in low..high; the middle where there is none."""
    return (low + high) / 2 if np.isnan(values[0]) else float(np.clip(values[0], low, high))


def _central(draws: Floats, low: float, high: float, left_out: int) -> tuple[float, float]:
    none = np.isnan(draws)
    lows = np.sort(np.where(none, low, np.clip(draws, low, high)))
    highs = np.sort(np.where(none, high, np.clip(draws, low, high)))
    return float(lows[left_out]), float(highs[-1 - left_out])


def _column(index: int) -> Floats:
    """G. Box and M. Muller, 1958; each draw beside its opposite."""
    half = DRAWS // 2
    raw = shake_256(b"usufruct draws" + index.to_bytes(4, "big")).digest(2 * half * _WORD)
    whole = np.frombuffer(raw, dtype=">u8").reshape(2, half) >> np.uint64(64 - _MANTISSA)
    radius, angle = (whole.astype(np.float64) + 0.5) / 2.0**_MANTISSA
    drawn = np.sqrt(-2 * np.log(radius)) * np.cos(2 * np.pi * angle)
    column: Floats = np.concatenate([drawn, -drawn])
    return column
