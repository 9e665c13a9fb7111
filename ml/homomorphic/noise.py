"""Noise that k of n holders make together, so that k - 1 of them can neither know nor undo it.

Of m contributors at most k - 1 collude, so at least h = m - k + 1 are honest. Each adds discrete Gaussian
noise of variance sigma^2 / h, where sigma is what one trusted party would add: what the honest ones add
then suffices alone, and the whole has m / h times the variance of that one party's (`inflation`). A sum of
h discrete Gaussians of scale s is (1/2) eps^2-zCDP with

    eps^2 = D^2 / (h s^2) + tau d / 2,   tau = 10 sum_{j=1}^{h-1} exp(-2 pi^2 s^2 j / (j + 1))

for d sums of L2 sensitivity D (P. Kairouz, Z. Liu, T. Steinke, ICML 2021, arXiv 2102.06387, proposition 14).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ml.dp.accounting import rho, scale_for, sqrt_up
from ml.dp.noise import gaussian_mechanism
from ml.homomorphic.curve import Point
from ml.homomorphic.elgamal import draw_randomness, encrypt
from ml.homomorphic.relation import ONE, Builder, Relation, combined
from ml.homomorphic.validity import Statement, prove, verify

LEAST_SCALE: Final = 3.0
"""At and above it, tau < 16e-37: a sum of discrete Gaussians is one for every purpose."""
ROOM: Final = 12
"""Scales that one contribution may be away from 0. Beyond lies 2^-105 of the distribution; it is clamped,
so that what is said of zCDP holds but for an event of probability (sums x contributors) 2^-105.
"""
LARGEST_BOUND: Final = 1 << 56
"""Far beyond any sum that can be opened, and far below where the sampler leaves 64 bits."""

Sampler = Callable[[float, int], list[int]]
"""(scale, how many) -> that many integers."""


@dataclass(frozen=True)
class Shares:
    """How the noise of `sums` sums is split: cost in nano-rho, L2 sensitivity squared, the quorum k."""

    cost: int
    squared_sensitivity: int
    sums: int
    quorum: int

    def scale(self, contributors: int) -> float:
        """Of one contribution among `contributors`. Raises ValueError for fewer than the quorum;
        CostRefused.
        """
        honest = contributors - self.quorum + 1
        if self.quorum < 1 or honest < 1:
            raise ValueError("noise needs as many contributors as the quorum")
        alone = Fraction(scale_for(self.cost, self.squared_sensitivity))
        scale = max(LEAST_SCALE, math.nextafter(float(alone / _root_down(honest)), math.inf))
        self._require_private(scale, honest)
        return scale

    def bound(self, contributors: int) -> int:
        """No contribution is larger in magnitude: `ROOM` scales, rounded up."""
        bound = math.ceil(ROOM * Fraction(self.scale(contributors)))
        if bound > LARGEST_BOUND:
            raise ValueError("the noise would be too large to be opened")
        return bound

    def sigma(self, contributors: int) -> Fraction:
        """Of the whole noise of one sum, at most: sqrt(contributors) scales."""
        return Fraction(self.scale(contributors)) * sqrt_up(Fraction(contributors))

    def relation(self, contributors: int) -> Relation:
        """That every one of the columns encrypts a whole number within the bound."""
        return _stated(self.bound(contributors), [0] * self.sums).relation()

    def _require_private(self, scale: float, honest: int) -> None:
        variance = Fraction(scale) ** 2
        terms = (math.exp(-2 * math.pi**2 * scale**2 * j / (j + 1)) for j in range(1, honest))
        tau = Fraction(10 * sum(terms) * (1 + 1e-9))
        squared = Fraction(self.squared_sensitivity) / (honest * variance) + tau * self.sums / 2
        if squared > 2 * rho(self.cost):
            raise ArithmeticError(
                "the noise of the honest contributors is below what the cost needs"
            )


@dataclass(frozen=True)
class Contributor:
    """Who contributes, and to what: no proof or commitment can be made that leaves it out, so none can be
    copied.

    session: 32 bytes that name chain, market, request, cohort and epoch.
    """

    session: bytes
    place: int

    def context(self, contributors: int, quorum: int) -> bytes:
        """What the proof of a contribution to a set of that size is bound to, 32 bytes."""
        return self._hash(b"usufruct/noise-proof/1", contributors, quorum)

    def commitment(self, contributions: Mapping[int, bytes], quorum: int) -> bytes:
        """What is put on chain before anything is revealed, 32 bytes.

        Args:
            contributions: `Contribution.digest` of each, by the size of the set it is for: every size
                from the quorum up to all holders.
        """
        sizes = sorted(contributions)
        listed = b"".join(_two(size) + contributions[size] for size in sizes)
        return self._hash(b"usufruct/noise-commitment/1", len(sizes), quorum, listed)

    def _hash(self, tag: bytes, first: int, quorum: int, rest: bytes = b"") -> bytes:
        if len(self.session) != 32:
            raise ValueError("a session is named by 32 bytes")
        numbers = b"".join(map(_two, (self.place, first, quorum)))
        return hashlib.sha256(tag + self.session + numbers + rest).digest()


@dataclass(frozen=True)
class Contribution:
    """One contributor's noise for a set of a given size: 66 bytes a sum, and the proof of its range."""

    columns: bytes
    proof: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of both, each with its length; 32 bytes."""
        lengths = len(self.columns).to_bytes(8, "big") + len(self.proof).to_bytes(8, "big")
        return hashlib.sha256(lengths + self.columns + self.proof).digest()


def gaussian(scale: float, count: int) -> list[int]:
    """Independent discrete Gaussians, by OpenDP's exact sampler (C. Canonne, G. Kamath, T. Steinke, NeurIPS
    2020).
    """
    return [int(value) for value in gaussian_mechanism(scale)([0] * count)]


def contribute(
    shares: Shares,
    contributors: int,
    public_key: Point,
    by: Contributor,
    sampler: Sampler = gaussian,
) -> Contribution:
    """Fresh noise for every sum, encrypted, with a proof by its contributor that it is known and within its
    bound.

    The integers are forgotten here: nobody, its contributor included, can say them afterwards.
    """
    bound = shares.bound(contributors)
    drawn = sampler(shares.scale(contributors), shares.sums)
    values = [max(-bound, min(bound, value)) for value in drawn]
    stated = _stated(bound, values)
    randomness = draw_randomness(shares.sums)
    columns = encrypt(values, randomness, public_key)
    context = by.context(contributors, shares.quorum)
    statement = Statement(context, public_key, stated.relation(), columns)
    return Contribution(columns, prove(statement, stated.vector, randomness))


def verify_contribution(
    contribution: Contribution,
    shares: Shares,
    contributors: int,
    public_key: Point,
    by: Contributor,
) -> None:
    """Raises ProofInvalid unless this contributor knows this noise, for these sums and a set of this size."""
    context = by.context(contributors, shares.quorum)
    relation = shares.relation(contributors)
    verify(Statement(context, public_key, relation, contribution.columns), contribution.proof)


def inflation(contributors: int, quorum: int) -> Fraction:
    """How many times the variance of one trusted party's noise the whole has: m / (m - k + 1)."""
    return Fraction(contributors, contributors - quorum + 1)


def _stated(bound: int, values: Sequence[int]) -> Builder:
    builder = Builder()
    for value in values:
        builder.encrypt(
            [combined((1, builder.number(2 * bound, value + bound)), (-bound, {ONE: 1}))]
        )
    return builder


def _two(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _root_down(whole: int) -> Fraction:
    """A rational at most the square root of a positive integer, less than 2^-60 (relative) below it."""
    return Fraction(math.isqrt(whole << 128), 1 << 64)
