"""k of n holders decrypt sums together, to one recipient, and everybody can check it.

The key y is f(0) of a polynomial of degree k - 1 that nobody knows; holder i has f(i), and A_j = a_j G of
its coefficients are public (P. Feldman, FOCS 1987), so that Y = A_0 and S_i = f(i) G = sum i^j A_j (T.
Pedersen, EUROCRYPT 1991).

A partial decryption never shows f(i) A. Holder i encrypts it for the recipient with key P = p G, as (E, F)
= (t G, f(i) A + t P), and proves that it did (M. Jakobsson, "On quorum controlled asymmetric proxy
re-encryption", PKC 1999). Interpolated, k of these encrypt y A for the recipient; (E, B - F) then holds the
sum, and p opens it. Fewer than k holders, the recipient among them, learn nothing of a sum whose decryption
they were not given, under the decisional Diffie-Hellman assumption.

The proof is for all sums at once: weighed by powers of a challenge, it shows f(i) and t' with S_i = f(i) G,
E' = t' G, F' = f(i) A' + t' P (D. Chaum and T. Pedersen, CRYPTO 1992; R. Cramer, Ph.D. thesis 1996, for the
AND of such statements).
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ml.homomorphic.curve import (
    INFINITY,
    ORDER,
    POINT_BYTES,
    SCALAR_BYTES,
    NotAPoint,
    Point,
    random_scalar,
    sum_of_products,
    times_base,
    total,
)
from ml.homomorphic.scalars import powers, scalars_from_bytes, scalars_to_bytes
from ml.homomorphic.transcript import Transcript

PARTIAL: Final = "usufruct/partial/1"
OPENING: Final = "usufruct/opened-sums-proof/1"
NONCE: Final = b"usufruct/opened-sums-nonce/1"
PAIR_BYTES: Final = 2 * POINT_BYTES
PROOF_BYTES: Final = 3 * SCALAR_BYTES
MOST_HOLDERS: Final = 255


class PartialInvalid(ValueError):
    """A partial decryption that its proof does not carry; says what does not hold."""


class OpeningInvalid(ValueError):
    """A sum that was not opened with the recipient's key."""


@dataclass(frozen=True)
class Sum:
    """One encrypted sum (A, B); either may be the point at infinity."""

    key: Point
    value: Point

    def to_bytes(self) -> bytes:
        """66 bytes."""
        return self.key.to_bytes() + self.value.to_bytes()

    @classmethod
    def zero(cls) -> Sum:
        """Of nothing: 0 without any randomness."""
        return cls(INFINITY, INFINITY)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Sum:
        """Of 66 bytes. Raises NotAPoint."""
        if len(raw) != PAIR_BYTES:
            raise NotAPoint(0)
        return cls(Point.sum_from_bytes(raw[:POINT_BYTES]), Point.sum_from_bytes(raw[POINT_BYTES:]))

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.key + other.key, self.value + other.value)

    def __sub__(self, other: Sum) -> Sum:
        return Sum(self.key - other.key, self.value - other.value)

    def __mul__(self, factor: int) -> Sum:
        return Sum(self.key * factor, self.value * factor)


def sums_to_bytes(sums: Sequence[Sum]) -> bytes:
    """66 bytes each."""
    return b"".join(each.to_bytes() for each in sums)


def sums_from_bytes(raw: bytes) -> list[Sum]:
    """Inverse of `sums_to_bytes`. Raises NotAPoint, naming the sum."""
    found = []
    for position, at in enumerate(range(0, len(raw), PAIR_BYTES)):
        try:
            found.append(Sum.from_bytes(raw[at : at + PAIR_BYTES]))
        except NotAPoint:
            raise NotAPoint(position) from None
    return found


@dataclass(frozen=True)
class Partial:
    """One holder's partial decryptions, for the recipient, and their proof (challenge and two answers)."""

    pairs: tuple[Sum, ...]  # (E, F) of each sum
    proof: bytes

    def to_bytes(self) -> bytes:
        """The proof, then 66 bytes a sum."""
        return self.proof + sums_to_bytes(self.pairs)

    @classmethod
    def from_bytes(cls, raw: bytes, sums: int) -> Partial:
        """Raises PartialInvalid for another length, or what is no point."""
        if len(raw) != PROOF_BYTES + PAIR_BYTES * sums:
            raise PartialInvalid("it has a wrong length")
        try:
            return cls(tuple(sums_from_bytes(raw[PROOF_BYTES:])), raw[:PROOF_BYTES])
        except NotAPoint as fault:
            raise PartialInvalid(f"pair {fault.position} is not of points") from None


def share_key(commitments: Sequence[Point], index: int) -> Point:
    """S_i = sum i^j A_j, the public side of holder i's share; i = 1, 2, ...

    Raises ValueError for an index below 1: f(0) is the key itself.
    """
    if not 1 <= index <= MOST_HOLDERS:
        raise ValueError("holders count from 1")
    if any(point.is_infinity for point in commitments):
        raise ValueError("a commitment at infinity would lower the quorum")
    return sum_of_products(commitments, powers(index, len(commitments)))


def lagrange(indices: Sequence[int]) -> dict[int, int]:
    """For each index its factor in f(0) = sum factor * f(index). Raises ValueError for a repeated one, or
    below 1.
    """
    if len(set(indices)) != len(indices):
        raise ValueError("each holder counts once")
    if min(indices, default=1) < 1:
        raise ValueError("holders count from 1")
    factors = {}
    for own in indices:
        others = [other for other in indices if other != own]
        below = math.prod(other - own for other in others)
        factors[own] = math.prod(others) * pow(below, -1, ORDER) % ORDER
    return factors


def decrypt_partially(share: int, sums: Sequence[Sum], recipient: Point, context: bytes) -> Partial:
    """Holder i's part, fresh each time; whoever must answer twice with the same bytes keeps the first.

    Args:
        share: f(i), a secret in [1, n - 1].
        context: 32 bytes, all that the proof is bound to beside its own statement.
    """
    blinds = [random_scalar() for _ in sums]
    announced = random_scalar(), random_scalar()
    return _decrypt(share, sums, recipient, context, blinds, announced)


def _decrypt(
    share: int,
    sums: Sequence[Sum],
    recipient: Point,
    context: bytes,
    blinds: Sequence[int],
    announced: tuple[int, int],
) -> Partial:
    pairs = tuple(
        Sum(times_base(t), total((_secret(each.key, share), recipient.times_secret(t))))
        for each, t in zip(sums, blinds, strict=True)
    )
    talk = _PartialTalk(times_base(share), sums, recipient, context, pairs)
    a, b = announced
    weighed_key = talk.weighed_key()
    c = talk.challenge(
        times_base(a), times_base(b), total((_secret(weighed_key, a), recipient.times_secret(b)))
    )
    t = sum(power * blind for power, blind in zip(talk.powers, blinds, strict=True))
    return Partial(pairs, scalars_to_bytes((c, a + c * share, b + c * t)))


def verify_partial(
    partial: Partial, share_public: Point, sums: Sequence[Sum], recipient: Point, context: bytes
) -> None:
    """Raises PartialInvalid unless this is holder i's decryption (S_i = `share_public`) of these sums for
    this recipient.
    """
    if len(partial.pairs) != len(sums) or len(partial.proof) != PROOF_BYTES:
        raise PartialInvalid("it is about another number of sums")
    if recipient.is_infinity:
        raise PartialInvalid("it is for nobody: the recipient's key is the point at infinity")
    c, for_share, for_blind = scalars_from_bytes(partial.proof, PartialInvalid)
    talk = _PartialTalk(share_public, sums, recipient, context, partial.pairs)
    weighed = talk.weighed_pair()
    expected = talk.challenge(
        times_base(for_share) - share_public * c,
        times_base(for_blind) - weighed.key * c,
        total((talk.weighed_key() * for_share, recipient * for_blind, -(weighed.value * c))),
    )
    if c != expected:
        raise PartialInvalid(
            "its proof does not hold for this holder, these sums and this recipient"
        )


def combine(partials: Mapping[int, Partial], sums: Sequence[Sum], quorum: int) -> list[Sum]:
    """The sums, encrypted for the recipient: (E, B - F) with E, F interpolated from k verified partials.

    Raises ValueError unless there are exactly `quorum` of them: another number interpolates another key.
    """
    if len(partials) != quorum or quorum < 1:
        raise ValueError("combine exactly as many partial decryptions as the quorum")
    factors = lagrange(sorted(partials))
    delivered = []
    for at, each in enumerate(sums):
        pairs = [(partials[index].pairs[at], factor) for index, factor in factors.items()]
        key = total(pair.key * factor for pair, factor in pairs)
        value = total(pair.value * factor for pair, factor in pairs)
        delivered.append(Sum(key, each.value - value))
    return delivered


def open_sums(delivered: Sequence[Sum], secret: int) -> list[Point]:
    """v G of each sum, by the recipient's key p: (B - F) + p E."""
    return [total((each.value, _secret(each.key, secret))) for each in delivered]


def prove_opening(delivered: Sequence[Sum], secret: int, context: bytes) -> bytes:
    """That `open_sums` was done with the recipient's key, for whoever is shown the answer: 64 bytes.

    Another one each time. Zero-knowledge: of the key it shows no more than the opened sums do. The nonce is
    drawn from the key and what is proven, too (as RFC 6979, section 3.6): a machine that repeats its random
    numbers does not give the key away, which opens every answer that was sealed to it.
    """
    drawn = hashlib.sha512(NONCE + secret.to_bytes(SCALAR_BYTES, "big") + secrets.token_bytes(32))
    drawn.update(context + sums_to_bytes(delivered))
    return _prove_opening(delivered, secret, context, int.from_bytes(drawn.digest(), "big") % ORDER)


def _prove_opening(delivered: Sequence[Sum], secret: int, context: bytes, blind: int) -> bytes:
    talk = _OpeningTalk(times_base(secret), delivered, open_sums(delivered, secret), context)
    c = talk.challenge(times_base(blind), _secret(talk.key, blind))
    return scalars_to_bytes((c, blind + c * secret))


def verify_opening(
    proof: bytes,
    opened: Sequence[Point],
    delivered: Sequence[Sum],
    recipient: Point,
    context: bytes,
) -> None:
    """Raises OpeningInvalid unless `opened` is what the recipient's key makes of `delivered`."""
    if len(proof) != 2 * SCALAR_BYTES or len(opened) != len(delivered):
        raise OpeningInvalid("the proof is about another number of sums")
    if recipient.is_infinity:
        raise OpeningInvalid("the recipient has no key")
    c, answer = scalars_from_bytes(proof, OpeningInvalid)
    talk = _OpeningTalk(recipient, delivered, opened, context)
    announced = talk.key * answer - talk.opened * c
    if talk.challenge(times_base(answer) - recipient * c, announced) != c:
        raise OpeningInvalid("the sums were not opened with the recipient's key")


class _PartialTalk:
    """What a partial's proof is about, and its weights."""

    def __init__(
        self,
        share_public: Point,
        sums: Sequence[Sum],
        recipient: Point,
        context: bytes,
        pairs: Sequence[Sum],
    ) -> None:
        self._talk = Transcript(PARTIAL, context)
        self._talk.absorb("share", share_public.to_bytes())
        self._talk.absorb("recipient", recipient.to_bytes())
        self._talk.absorb("sums", sums_to_bytes(sums))
        self._talk.absorb("pairs", sums_to_bytes(pairs))
        self._sums, self._pairs = sums, pairs
        self.powers = powers(self._talk.challenge("weights"), len(sums))

    def weighed_key(self) -> Point:
        """A'."""
        return sum_of_products([each.key for each in self._sums], self.powers)

    def weighed_pair(self) -> Sum:
        """(E', F')."""
        return Sum(
            sum_of_products([each.key for each in self._pairs], self.powers),
            sum_of_products([each.value for each in self._pairs], self.powers),
        )

    def challenge(self, share: Point, blind: Point, value: Point) -> int:
        """c, after the three announcements."""
        self._talk.absorb("announced", share.to_bytes() + blind.to_bytes() + value.to_bytes())
        return self._talk.challenge("answers")


class _OpeningTalk:
    """That P = p G, and that what was opened exceeds what was delivered by p times its keys, all weighed."""

    def __init__(
        self, recipient: Point, delivered: Sequence[Sum], opened: Sequence[Point], context: bytes
    ) -> None:
        self._talk = Transcript(OPENING, context)
        self._talk.absorb("recipient", recipient.to_bytes())
        self._talk.absorb("delivered", sums_to_bytes(delivered))
        self._talk.absorb("opened", b"".join(point.to_bytes() for point in opened))
        weights = powers(self._talk.challenge("weights"), len(delivered))
        self.key = sum_of_products([each.key for each in delivered], weights)
        exceeds = [point - each.value for point, each in zip(opened, delivered, strict=True)]
        self.opened = sum_of_products(exceeds, weights)

    def challenge(self, key: Point, opened: Point) -> int:
        """c, after the two announcements."""
        self._talk.absorb("announced", key.to_bytes() + opened.to_bytes())
        return self._talk.challenge("answers")


def _secret(point: Point, scalar: int) -> Point:
    """In constant time but at infinity, which says nothing of the scalar."""
    return INFINITY if point.is_infinity else point.times_secret(scalar)
