"""What k - 1 holders of a key are shown by the others, made up without a secret of any other.

The simulators of R. Gennaro, S. Jarecki, H. Krawczyk, T. Rabin, "Secure distributed key generation for
discrete-log based cryptosystems" (EUROCRYPT 1999; J. Cryptology 20, 2007), for this project's messages. They
are given what is public, the corrupt holders' own shares, and a request's answer; proofs are made from their
answers, at points of the random oracle that are set then (M. Bellare, P. Rogaway, CCS 1993).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations

import pytest

from ml.homomorphic import keygen, threshold
from ml.homomorphic.curve import ORDER, Point, random_scalar, times_base, total
from ml.homomorphic.keygen import Dealing
from ml.homomorphic.scalars import scalars_from_bytes, scalars_to_bytes
from ml.homomorphic.threshold import Partial, Sum
from ml.homomorphic.transcript import Transcript
from tests.support.tallying import value_at


class Oracle:
    """The hash of every proof, but for points that a simulator set: each once, before anybody asked."""

    def __init__(self) -> None:
        self._set: dict[tuple[bytes, str], int] = {}
        self._asked: set[tuple[bytes, str]] = set()
        self._next: int | None = None

    @contextmanager
    def setting(self, challenge: int) -> Iterator[None]:
        """What is asked inside, once, is answered so from now on."""
        self._next = challenge
        yield
        assert self._next is None, "nothing was asked"

    @contextmanager
    def installed(self) -> Iterator[None]:
        hashed = Transcript.challenge

        def challenge(talk: Transcript, label: str) -> int:
            point = talk._hash.copy().digest(), label
            answered = hashed(talk, label)
            if self._next is not None:
                assert point not in self._asked, "somebody knows another answer already"
                self._set[point], self._next = self._next, None
            self._asked.add(point)
            return self._set.get(point, answered)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Transcript, "challenge", challenge)
            yield


# --- points of one polynomial


def basis(at: Sequence[int]) -> dict[int, list[int]]:
    """For each index, the coefficients of the polynomial that is 1 there and 0 at the others."""
    found = {}
    for own in at:
        polynomial = [1]
        for other in at:
            if other != own:
                scale = pow(own - other, -1, ORDER)
                shifted = [0, *polynomial]
                lower = [-other * c for c in polynomial] + [0]
                polynomial = [(a + b) * scale % ORDER for a, b in zip(shifted, lower, strict=True)]
        found[own] = polynomial
    return found


def commitments_through(points: Mapping[int, Point]) -> list[Point]:
    """Commitments of the polynomial in the exponent that passes through these points."""
    each = basis(sorted(points))
    return [
        total(points[index] * polynomial[j] for index, polynomial in each.items())
        for j in range(len(points))
    ]


def point_at(points: Mapping[int, Point], index: int) -> Point:
    """Where the polynomial in the exponent that passes through these points is at another index."""
    each = basis(sorted(points))
    return total(points[i] * value_at(polynomial, index) for i, polynomial in each.items())


def coalitions(quorum: int, holders: int) -> list[tuple[int, ...]]:
    """Every set of holders that is one short of a quorum."""
    return list(combinations(range(1, holders + 1), quorum - 1))


# --- a key generation


@dataclass(frozen=True)
class DealingCoins:
    """The two scalars of a simulated dealing's proof."""

    challenge: int = field(default_factory=random_scalar)
    answer: int = field(default_factory=random_scalar)

    @classmethod
    def of(cls, dealing: Dealing) -> DealingCoins:
        return cls(*scalars_from_bytes(dealing.proof, ValueError))


def made_up_dealing(
    first: Point, shares: Mapping[int, int], context: bytes, coins: DealingCoins, oracle: Oracle
) -> Dealing:
    """Of a dealer who shares the unknown logarithm of `first`, and gives the corrupt these shares of it."""
    known = {0: first, **{index: times_base(share) for index, share in shares.items()}}
    commitments = tuple(commitments_through(known))
    announced = times_base(coins.answer) - first * coins.challenge
    with oracle.setting(coins.challenge):
        keygen._challenge(commitments, announced, context)
    return Dealing(commitments, scalars_to_bytes((coins.challenge, coins.answer)))


# --- a request


@dataclass(frozen=True)
class PartialCoins:
    """The scalars that a simulated partial is made of: of each pair, and of its proof."""

    blinds: tuple[int, ...]
    challenge: int = field(default_factory=random_scalar)
    for_share: int = field(default_factory=random_scalar)
    for_blind: int = field(default_factory=random_scalar)

    @classmethod
    def drawn(cls, sums: int) -> PartialCoins:
        return cls(tuple(random_scalar() for _ in range(sums)))

    @classmethod
    def of(cls, partial: Partial, blinds: Sequence[int]) -> PartialCoins:
        return cls(tuple(blinds), *scalars_from_bytes(partial.proof, ValueError))


@dataclass(frozen=True)
class Corrupt:
    """k - 1 holders: the joint key, and their shares of it."""

    key: Point
    shares: Mapping[int, int]

    @property
    def commitments(self) -> list[Point]:
        """Of the joint polynomial, of which they know all but one point."""
        known = {index: times_base(share) for index, share in self.shares.items()}
        return commitments_through({0: self.key, **known})


@dataclass(frozen=True)
class Request:
    """What is decrypted for whom, and what it opens to."""

    sums: Sequence[Sum]
    answer: Sequence[Point]  # v G of each sum
    recipient: Point
    context: bytes

    def part(self, at: int, corrupt: Corrupt, holder: int) -> Point:
        """f(h) A of one sum, from y A = B - v G and the corrupt f(i) A."""
        each = self.sums[at]
        known = {index: each.key * share for index, share in corrupt.shares.items()}
        return point_at({0: each.value - self.answer[at], **known}, holder)

    def made_up_partial(
        self, corrupt: Corrupt, holder: int, coins: PartialCoins, oracle: Oracle
    ) -> Partial:
        """What an honest holder gives, without its share."""
        parts = [self.part(at, corrupt, holder) for at in range(len(self.sums))]
        pairs = tuple(
            Sum(times_base(t), part + self.recipient * t)
            for part, t in zip(parts, coins.blinds, strict=True)
        )
        public = threshold.share_key(corrupt.commitments, holder)
        talk = threshold._PartialTalk(public, self.sums, self.recipient, self.context, pairs)
        weighed, c = talk.weighed_pair(), coins.challenge
        announced = (
            times_base(coins.for_share) - public * c,
            times_base(coins.for_blind) - weighed.key * c,
            talk.weighed_key() * coins.for_share
            + self.recipient * coins.for_blind
            - weighed.value * c,
        )
        with oracle.setting(c):
            talk.challenge(*announced)
        return Partial(pairs, scalars_to_bytes((c, coins.for_share, coins.for_blind)))
