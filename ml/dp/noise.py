"""The two sources of noise, both OpenDP's exact samplers, each refusing to overspend.

A mechanism is built, asked by OpenDP's own privacy map what it spends, and run only if that is at
most the cost. No float touches the data: integers in, integers out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import opendp.prelude as dp

from ml.dp.accounting import CostRefused, rho, scale_for
from ml.dp.domain import Ints

dp.enable_features("contrib")

_INT64 = 2**63
_EXACT = 2**62  # true values stay below this, so that int64 arithmetic on them cannot wrap
_FAR = 16  # scales; noise beyond this has probability below 1e-55


class NotRepresentable(ValueError):
    """The aggregate or its noise could leave the 64-bit integers; nothing was computed."""


@dataclass(frozen=True)
class GaussianNoise:
    """Discrete Gaussian noise for an integer vector that one replacement moves by a known length.

    scale: its parameter sigma, about its standard deviation, in units of the vector's integers.
    rho-zCDP with rho = squared_sensitivity / (2 sigma^2) <= cost / 1e9 (Canonne, Kamath and
    Steinke 2020, theorem 14).
    """

    cost: int
    squared_sensitivity: int
    scale: float

    @property
    def sigma(self) -> Fraction:
        """The very number that the float `scale` is, so that what is computed from it stays exact."""
        return Fraction(self.scale)


def gaussian_noise(cost: int, squared_sensitivity: int, largest: int) -> GaussianNoise:
    """Noise for a vector whose entries are at most `largest` in magnitude for any records.

    Raises NotRepresentable when an entry, alone or noised, might not fit; depends only on public
    numbers, so it can be asked before payment. Raises CostRefused on a cost out of range.
    """
    scale = scale_for(cost, squared_sensitivity)
    if largest >= _EXACT or largest + _FAR * math.ceil(scale) >= _INT64:
        raise NotRepresentable("the aggregate or its noise could exceed 64-bit integers")
    return GaussianNoise(cost, squared_sensitivity, scale)


def gaussian_mechanism(scale: float) -> dp.Measurement:
    """Adds an independent discrete Gaussian of this scale to each integer: OpenDP's exact sampler (C.
    Canonne, G. Kamath, T. Steinke, NeurIPS 2020).

    It spends what its map says of an L2 distance; whoever runs it holds that against a cost.
    """
    space = (
        dp.vector_domain(dp.atom_domain(T="i64")),
        dp.l2_distance(T="f64"),
    )
    return dp.m.make_gaussian(*space, scale=scale)


def add_gaussian(vector: Sequence[int], noise: GaussianNoise) -> list[int]:
    """The vector plus independent discrete Gaussian noise; see GaussianNoise for the guarantee.

    Raises CostRefused if OpenDP's map says that this would spend more than `noise.cost`.
    """
    mechanism = gaussian_mechanism(noise.scale)
    _require_within(mechanism, _length_up(noise.squared_sensitivity), noise.cost)
    return [int(value) for value in mechanism([int(value) for value in vector])]


def choose_best(scores: Ints, sensitivity: int, cost: int) -> int:
    """Index of a high score: index i with probability proportional to exp(scores[i] / scale).

    scores: (m,) int64, each moved by at most `sensitivity` by one replacement. The exponential
    mechanism with epsilon = 2 sensitivity / scale has range bounded by epsilon, hence
    rho = epsilon^2 / 8 (Cesar and Rogers 2021, arXiv 2004.07223), which is what OpenDP's map says.
    Raises CostRefused if that map exceeds the cost.
    """
    space = (
        dp.vector_domain(dp.atom_domain(T="i64")),
        dp.linf_distance(T="i64"),
    )
    mechanism = dp.m.make_noisy_max(
        *space, dp.zero_concentrated_divergence(), scale=scale_for(cost, sensitivity**2)
    )
    _require_within(mechanism, sensitivity, cost)
    return int(mechanism(scores))


def _length_up(squared: int) -> float:
    length = math.sqrt(squared)
    while Fraction(length) ** 2 < squared:
        length = math.nextafter(length, math.inf)
    return length


def _require_within(mechanism: Any, distance: float, cost: int) -> None:
    spent = float(mechanism.map(distance))
    if not 0 <= spent < math.inf or Fraction(spent) > rho(cost):
        raise CostRefused(f"the mechanism would spend {spent!r} rho, more than {cost} nano-rho")
