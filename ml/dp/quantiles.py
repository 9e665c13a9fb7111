"""A quantile of a clipped variable, and an interval for it.

Half of the cost chooses the value (exponential mechanism), half finds the interval: ten noised
comparisons of ranks, each placed where the ones before leave most in doubt.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np

from ml.dp.accounting import CostRefused, require_cost, scale_for
from ml.dp.clipping import Clip, Measured
from ml.dp.domain import Ints, Table
from ml.dp.noise import GaussianNoise, add_gaussian, choose_best, gaussian_noise
from ml.dp.noised import ExpectedError, Noised, interval_estimate, scale_text

MAX_CANDIDATES = 4096  # a value is one of at most so many, evenly spaced over the clipping range
PROBES = 10  # fewer leave the interval coarse, more make each comparison noisier
Z_PROBE = Fraction(2576, 1000)  # one-sided: P[N(0,1) > 2.576] = 0.0049975, ten of them below 5%
MAX_LEVEL_DENOMINATOR = 1000


@dataclass(frozen=True)
class Level:
    """Which quantile: a fraction strictly between 0 and 1, at most thousandths; 1/2 is the median.

    The quantile of N values is the least x with (values <= x) >= level N.
    """

    of_one: Fraction

    def __post_init__(self) -> None:
        if not 0 < self.of_one < 1 or self.of_one.denominator > MAX_LEVEL_DENOMINATOR:
            raise ValueError("a level lies strictly between 0 and 1, in thousandths")

    @property
    def p(self) -> int:
        """Numerator in lowest terms."""
        return self.of_one.numerator

    @property
    def q(self) -> int:
        """Denominator in lowest terms, at most 1000: the sensitivity of every score (`exact_scores`)."""
        return self.of_one.denominator


@dataclass(frozen=True)
class Grid:
    """Evenly spaced candidates lower, lower + step, ...; a value belongs to the one at or below."""

    clip: Clip

    @property
    def step(self) -> int:
        """Stored integers from one candidate to the next: the fewest that leave at most MAX_CANDIDATES."""
        return -(-(self.clip.width + 1) // MAX_CANDIDATES)

    @property
    def size(self) -> int:
        """How many candidates there are, from 2 to MAX_CANDIDATES."""
        return self.clip.width // self.step + 1

    def first(self, index: int) -> int:
        """The candidate, which is the least value that belongs to it."""
        return self.clip.lower + index * self.step

    def last(self, index: int) -> int:
        """The greatest value that belongs to a candidate."""
        return min(self.clip.upper, self.first(index) + self.step - 1)

    def tally(self, values: Ints) -> Ints:
        """(size,) int64: how many clipped values belong to each candidate."""
        clipped = np.clip(values, self.clip.lower, self.clip.upper)
        places = (clipped - self.clip.lower) // self.step
        return np.bincount(places, minlength=self.size).astype(np.int64)


@dataclass(frozen=True)
class QuantileNoise:
    """choice: nano-rho for the value, at noise scale `choice_scale`; probe: for each comparison."""

    choice: int
    choice_scale: float
    probe: GaussianNoise


def quantile_noise(level: Level, members: int, cost: int) -> QuantileNoise:
    """The cost, divided: half for the choice, a twentieth for each of ten comparisons.

    choice + 10 probes <= cost, by rounding down. Raises CostRefused when a share is below one
    nano-rho, and NotRepresentable.
    """
    require_cost(cost)
    share = cost // (2 * PROBES)
    choice = cost // 2
    if share < 1:
        raise CostRefused(f"a quantile costs at least {2 * PROBES} nano-rho")
    probe = gaussian_noise(share, level.q**2, members * level.q)
    return QuantileNoise(choice, scale_for(choice, level.q**2), probe)


def expected_quantile_error(
    level: Level, grid: Grid, noise: QuantileNoise, members: int
) -> ExpectedError:
    """Error as a *rank*: by how many members the answer is too high or too low in the ordering.

    half_width holds for any data: P[score < best - scale (ln candidates + ln 20)] <= 5% (McSherry
    and Talwar 2007). standard_error is that of values spread evenly around the quantile, where the
    rank is off by a Laplace variable.
    """
    ranks = Fraction(noise.choice_scale) / level.q
    tail = Fraction((Decimal(grid.size) * 20).ln())
    most = Fraction(members)
    return ExpectedError(min(ranks * Fraction(99, 70), most), min(ranks * tail, most))


def exact_scores(tally: Ints, level: Level) -> Ints:
    """The un-noised score of each candidate: 0 for the quantile, falling by rank; not to release.

    With lt, le the numbers of values below, and below or at, a candidate: -max(0, q lt - p N,
    p N - q le). Sensitivity q for each candidate: one record adds to q lt - p N either q - p
    (below), -p (at or above) or 0 (null or filtered out), and any two of these differ by at most
    q; the same for p N - q le; a maximum moves no more than what it is taken over.
    """
    at_or_below = np.cumsum(tally)
    target = level.p * int(tally.sum())
    too_high = level.q * (at_or_below - tally) - target
    too_low = target - level.q * at_or_below
    scores: Ints = -np.maximum(0, np.maximum(too_high, too_low))
    return scores


def exact_shortfall(at_or_below: int, count: int, level: Level) -> int:
    """p N - q le: positive exactly if the quantile lies above the candidate; not to be released.

    Sensitivity q, as for exact_scores.
    """
    return level.p * count - level.q * at_or_below


def noised_quantile(table: Table, measured: Measured, level: Level, cost: int) -> Noised:
    """A quantile of the clipped values, in the variable's unit, with a 95% interval for the noise.

    rho-zCDP: q^2 / (2 scale^2) for the choice and for each comparison, added up (adaptive
    composition), <= cost; replacement of one member's record, null allowed. The interval is the
    whole clipping range where too few values are counted. Raises CostRefused, NotRepresentable.
    """
    grid, variable = Grid(measured.clip), measured.variable
    noise = quantile_noise(level, table.n, cost)
    tally = grid.tally(measured.values(table))
    chosen = choose_best(exact_scores(tally, level), level.q, noise.choice)
    low, high = _interval(tally, level, noise.probe)
    unit = Fraction(1, 10**variable.decimals)
    ends = grid.first(min(low, chosen)) * unit, grid.last(max(high, chosen)) * unit
    estimate = interval_estimate(grid.first(chosen) * unit, ends, variable.decimals)
    text = (
        ("rank of the interval's ends", scale_text(noise.probe.sigma / level.q)),
        ("rank of the value", scale_text(Fraction(noise.choice_scale) / level.q)),
    )
    return Noised("quantile", variable.unit, (estimate,), text, cost, table.n)


def _interval(tally: Ints, level: Level, noise: GaussianNoise) -> tuple[int, int]:
    at_or_below = np.cumsum(tally)
    count = int(at_or_below[-1])

    def shortfall(index: int) -> int:
        exact = exact_shortfall(int(at_or_below[index]), count, level)
        return add_gaussian([exact], noise)[0]

    return search(len(tally), shortfall, math.ceil(Z_PROBE * noise.sigma))


def search(size: int, shortfall: Callable[[int], int], margin: int) -> tuple[int, int]:
    """First and last candidate that PROBES noised comparisons leave possible.

    A comparison is believed only beyond `margin`; each is wrong, then, at most once in 200 times,
    whatever the data, so all are right 95 times in 100. Unsure ones mark the middle; the larger
    gap outside it is halved next.
    """
    low, high = 0, size - 1  # the quantile is in [low, high]
    unsure: list[int] = []
    for _ in range(PROBES):
        place = _next_probe(low, high, [u for u in unsure if low <= u < high])
        if place is None:
            break
        noised = shortfall(place)
        if noised > margin:
            low = place + 1
        elif noised < -margin:
            high = place
        else:
            unsure.append(place)
    return low, high


def _next_probe(low: int, high: int, unsure: list[int]) -> int | None:
    """A place in [low, high) outside the unsure ones; None when nothing is left to ask."""
    if not unsure:
        return (low + high) // 2 if low < high else None
    left, right = min(unsure) - low, high - 1 - max(unsure)
    if max(left, right) < 1:
        return None
    return (low + min(unsure)) // 2 if left >= right else (max(unsure) + 1 + high) // 2
