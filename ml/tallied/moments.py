"""Which weighed sums of products of numbers are opened for a matrix or a model, and what noise they need.

A record has a number u_i in -R_i..R_i for each variable (the place on the encoding's grid, doubled, less
the grid's length, so that 0 is the middle; for one of two categories -1 or 1), or no number. With
t_i = u_i / R_i in [-1, 1], all sums are weighed so that *together* their sensitivity is little more than what
the squares alone would need: one draw of noise pays for all, as it does for the mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, combinations_with_replacement
from typing import Final

import numpy as np
import numpy.typing as npt

from ml.dp.noise import GaussianNoise
from ml.dp.noised import scale_text
from ml.tallied.draws import Floats

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

FINENESS: Final = 4
"""The least weight of a square: rounding weights down to whole numbers loses at most a fifth of one."""


@dataclass(frozen=True)
class Entry:
    """One sum over the records that have all numbers of `cases`, of `weight` times

    1 (no factors), u_i, u_i u_j, or 2 u_i^2 - R_i^2 (a factor twice).
    """

    cases: tuple[int, ...]
    factors: tuple[int, ...]
    weight: int


@dataclass(frozen=True)
class Design:
    """The sums that are opened, in order. squared_sensitivity: of all of them together, in L2, under
    replacement of one record by any other or none.
    """

    widths: tuple[int, ...]  # R_i
    entries: tuple[Entry, ...]
    squared_sensitivity: int

    def bounds(self, entry: Entry) -> tuple[int, int]:
        """What one record can add."""
        most = self._scale(entry)
        return (-most if entry.factors else 0), most

    def exact(self, deviations: Ints, known: Bools) -> list[int]:
        """The sums of (n, k) numbers u, where (n, k) known; never to be released without noise."""
        return [self._exact(entry, deviations, known) for entry in self.entries]

    def moment(self, sums: Floats, cases: Sequence[int], *factors: int) -> Floats:
        """(rows,) sums of 1, t_i or t_i t_j over the records with all `cases`, of (rows, entries) sums."""
        places = tuple(sorted(factors))
        square = len(set(places)) < len(places)
        if square and (tuple(cases), places) not in self._position:  # of a number that is -1 or 1
            return self.moment(sums, cases)
        at = self._position[tuple(cases), places]
        found: Floats = sums[:, at] / self._scale(self.entries[at])
        return (found + self.moment(sums, cases)) / 2 if square else found

    def expected(self, count: int, seconds: Floats) -> list[int]:
        """The sums over `count` records with all numbers, their means 0 and (k, k) E t_i t_j as given."""
        return [round(self._mean(entry, seconds) * count) for entry in self.entries]

    @cached_property
    def _position(self) -> Mapping[tuple[tuple[int, ...], tuple[int, ...]], int]:
        return {(entry.cases, entry.factors): at for at, entry in enumerate(self.entries)}

    def _scale(self, entry: Entry) -> int:
        return entry.weight * math.prod(self.widths[i] for i in entry.factors)

    def _mean(self, entry: Entry, seconds: Floats) -> float:
        if not entry.factors:
            return float(entry.weight)
        if len(entry.factors) == 1:
            return 0.0
        i, j = entry.factors
        mean = float(seconds[i, j])
        return self._scale(entry) * (2 * mean - 1 if i == j else mean)

    def _exact(self, entry: Entry, deviations: Ints, known: Bools) -> int:
        chosen = deviations[known[:, list(entry.cases)].all(axis=1)]
        each = np.prod(chosen[:, list(entry.factors)], axis=1, dtype=np.int64)
        if len(set(entry.factors)) < len(entry.factors):
            each = 2 * each - self.widths[entry.factors[0]] ** 2
        return entry.weight * int(each.sum())


def joint(widths: Sequence[int], constant_squares: Sequence[bool] = ()) -> Design:
    """Count, sums, squares and products over the records that have all k numbers (or none of them counts).

    constant_squares: whose u is always -1 or 1, so that its square needs no sum.

    Let d be a whole number. The weights are at most, per t: sqrt(k) d for t_i, sqrt(2) d for t_i t_j, d for
    t_i^2 (d / 2 for 2 t_i^2 - 1), and sqrt(10 k^2 + 3 k) d / 2 for the count. Then the squared
    sensitivity is at most 4.5 k^2 d^2; a smaller weight only shortens a difference.

    Two records t, t' with a = |t|^2, b = |t'|^2 <= k and s = t.t': since
    sum_ij (t_i t_j - t'_i t'_j)^2 = a^2 + b^2 - 2 s^2, the squared difference over d^2 is
    k (a + b - 2 s) + a^2 + b^2 - 2 s^2. It is convex in a and in b, which lie between s^2 / b or s^2 / a
    and k, so that it is largest where a = b = k, or where t and t' are collinear.
    a = b = k: 2 (k - s) (2 k + s) <= 4.5 k^2, at s = -k / 2.
    Collinear: (x + y)^2 (k + (x - y)^2) for x, y <= sqrt(k), largest with one of them sqrt(k); with
    z = |x - y| / sqrt(k) at most k^2 (2 - z)^2 (1 + z^2) <= 4 k^2, as for the variance.
    A record and none: over d^2, (10 k^2 + 3 k) / 4 + k a + a^2 - a + k / 4, convex in a, so at most
    2.5 k^2 + 0.75 k + 2 k^2 - 0.75 k = 4.5 k^2 (and at a = 0 less).
    """
    count, unit = len(widths), _unit(widths)
    everyone = tuple(range(count))
    constant = tuple(constant_squares) or (False,) * count
    entries = [Entry(everyone, (), math.isqrt((10 * count**2 + 3 * count) * unit**2 // 4))]
    entries += [Entry(everyone, (i,), math.isqrt(count * unit**2) // widths[i]) for i in everyone]
    for i, j in combinations_with_replacement(everyone, 2):
        whole = unit // 2 if i == j else math.isqrt(2 * unit**2)
        if not (i == j and constant[i]):
            entries.append(Entry(everyone, (i, j), whole // (widths[i] * widths[j])))
    return Design(tuple(widths), tuple(entries), 9 * count**2 * unit**2 // 2)


def pairwise(widths: Sequence[int]) -> Design:
    """For each number count, sum and squares over the records that have it; for each pair count, both sums
    and the product over the records that have both.

    Every one of these k (k + 1) / 2 groups has squared sensitivity at most 8 d^2, all together at most
    4 k (k + 1) d^2. One number: sqrt(2) d t, d (2 t^2 - 1) and sqrt(5) d for the count, as for the variance
    (A = 2 d^2, B = 4 d^2, w^2 <= 3 A - B / 4). A pair: d t_i, d t_j, d t_i t_j and sqrt(5) d. Between two
    records each entry is affine in each of t_i, t_j, t'_i, t'_j alone, so that the squared difference is
    convex in each, and largest where all are -1 or 1: both differ, 8 d^2, or one, 4 d^2 + 4 d^2. Between
    a record and none (or one that lacks a number) at most 5 d^2 + 3 d^2.
    """
    count, unit = len(widths), _unit(widths)
    counted = math.isqrt(5 * unit**2)
    entries: list[Entry] = []
    for i in range(count):
        entries += [
            Entry((i,), (), counted),
            Entry((i,), (i,), math.isqrt(2 * unit**2) // widths[i]),
            Entry((i,), (i, i), unit // widths[i] ** 2),
        ]
    for i, j in combinations(range(count), 2):
        entries += [
            Entry((i, j), (), counted),
            Entry((i, j), (i,), unit // widths[i]),
            Entry((i, j), (j,), unit // widths[j]),
            Entry((i, j), (i, j), unit // (widths[i] * widths[j])),
        ]
    return Design(tuple(widths), tuple(entries), 4 * count * (count + 1) * unit**2)


def _unit(widths: Sequence[int]) -> int:
    """d: even, and large enough that no weight is below FINENESS."""
    return 2 * FINENESS * max(widths) ** 2


def noise_text(design: Design, noise: GaussianNoise) -> tuple[tuple[str, str], ...]:
    """Noise scales of the count, and of the noisiest sum as a share of what one record can add at most."""
    count = max(entry.weight for entry in design.entries if not entry.factors)
    least = min(design.bounds(entry)[1] for entry in design.entries if entry.factors)
    return (
        ("count", scale_text(noise.sigma / count)),
        ("sum of products, each at most 1", scale_text(noise.sigma / least)),
    )
