"""A joint key that nobody ever holds, and handing it to other holders without changing it.

Generation: every dealer i shares a random f_i(0) among all holders, verifiably (P. Feldman, FOCS 1987); the
key is the sum over the dealers that count, holder j's share the sum of f_i(j) (T. Pedersen, EUROCRYPT
1991). Dealers commit to their dealings by hash before any is seen and prove that they know f_i(0) (as in
FROST, RFC 9591 and C. Komlo and I. Goldberg, SAC 2020), so that none is a function of another's. Who may
still abort after seeing the others' can bias the key a little, which threshold ElGamal tolerates (R.
Gennaro, S. Jarecki, H. Krawczyk, T. Rabin, J. Cryptology 2007).

Re-sharing: k old holders each share their own share f(i) among the new holders, by a polynomial that starts
at f(i), which everybody checks against S_i = f(i) G; new shares are weighed sums (Y. Desmedt and S. Jajodia
1997; T. Wong, C. Wang, J. Wing, SISW 2002). The key stays; old and new shares do not fit together, so k - 1
old ones and k - 1 new ones say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ml.homomorphic.curve import (
    ORDER,
    POINT_BYTES,
    SCALAR_BYTES,
    NotAPoint,
    Point,
    points_from_bytes,
    random_scalar,
    times_base,
    total,
)
from ml.homomorphic.scalars import scalars_from_bytes, scalars_to_bytes
from ml.homomorphic.threshold import lagrange, share_key
from ml.homomorphic.transcript import Transcript

KNOWLEDGE: Final = "usufruct/dealing/1"
PROOF_BYTES: Final = 2 * SCALAR_BYTES


class DealingInvalid(ValueError):
    """A dealing that does not hold; says what is wrong with it."""


@dataclass(frozen=True)
class Dealing:
    """The public side of one polynomial: k commitments a_j G, and the proof that a_0 is known."""

    commitments: tuple[Point, ...]
    proof: bytes

    def to_bytes(self) -> bytes:
        """33 bytes a commitment, then the proof."""
        return b"".join(point.to_bytes() for point in self.commitments) + self.proof

    @classmethod
    def from_bytes(cls, raw: bytes, quorum: int) -> Dealing:
        """Raises DealingInvalid for another length, or what is no point."""
        if len(raw) != quorum * POINT_BYTES + PROOF_BYTES:
            raise DealingInvalid("it has a wrong length")
        end = quorum * POINT_BYTES
        try:
            return cls(points_from_bytes(raw[:end]), raw[end:])
        except NotAPoint:
            raise DealingInvalid("a commitment is not a point") from None


@dataclass(frozen=True)
class Polynomial:
    """A dealer's own side, lowest coefficient first. It does not print, and is kept only until a key is
    recorded for good: in a re-sharing it begins with the old share.
    """

    coefficients: tuple[int, ...] = field(repr=False)

    def share(self, index: int) -> int:
        """f(index), for holder `index` = 1, 2, ..."""
        if index < 1:
            raise ValueError("holders count from 1")
        value = 0
        for coefficient in reversed(self.coefficients):
            value = (value * index + coefficient) % ORDER
        return value


def draw(quorum: int, constant: int | None = None) -> Polynomial:
    """A random polynomial of degree `quorum` - 1; with `constant`, through (0, constant): a re-sharing.

    Coefficients are never 0, since 0 G has no 33 bytes; that moves their distribution by less than 2^-251.
    """
    first = random_scalar() if constant is None else constant
    if quorum < 1 or not 0 < first < ORDER:
        raise ValueError("a polynomial needs a quorum and a constant in [1, n - 1]")
    return Polynomial((first, *(random_scalar() for _ in range(quorum - 1))))


def deal(polynomial: Polynomial, context: bytes) -> Dealing:
    """Its public side; `context` binds the proof to session and dealer, 32 bytes."""
    commitments = tuple(times_base(each) for each in polynomial.coefficients)
    blind = random_scalar()
    c = _challenge(commitments, times_base(blind), context)
    answer = blind + c * polynomial.coefficients[0]
    return Dealing(commitments, scalars_to_bytes((c, answer)))


def verify_dealing(
    dealing: Dealing, quorum: int, context: bytes, constant: Point | None = None
) -> None:
    """Raises DealingInvalid unless it is of degree `quorum` - 1, its dealer knows what it shares, and that
    is `constant`.

    Args:
        constant: of a re-sharing, S_i of the dealer's old share; None for a new key.
    """
    if len(dealing.commitments) != quorum or len(dealing.proof) != PROOF_BYTES:
        raise DealingInvalid("it is for another quorum")
    if constant is not None and dealing.commitments[0] != constant:
        raise DealingInvalid("it does not share the dealer's old share")
    c, answer = scalars_from_bytes(dealing.proof, DealingInvalid)
    announced = times_base(answer) - dealing.commitments[0] * c
    if _challenge(dealing.commitments, announced, context) != c:
        raise DealingInvalid("its dealer does not show that it knows what it shares")


def is_share(value: int, index: int, dealing: Dealing) -> bool:
    """Whether this is what the dealing has for holder `index`."""
    return 0 < value < ORDER and times_base(value) == share_key(dealing.commitments, index)


def joined(
    dealings: Mapping[int, Dealing], needed: int, constant: Point | None = None
) -> tuple[Point, ...]:
    """Commitments of the joint polynomial: a sum for a new key; weighed by dealer for a re-sharing.

    Args:
        dealings: by dealer's index; in a re-sharing, each verified to share the dealer's old share.
        needed: dealers that there must be: of fewer, colluders alone would know the key, or another would
            come out.
        constant: the joint key that a re-sharing keeps; None for a new one.

    Raises:
        DealingInvalid: too few, for different quorums, with a sum at infinity, or another key.
    """
    if len(dealings) < needed:
        raise DealingInvalid(f"{len(dealings)} of {needed} dealers are left")
    factors = _factors(sorted(dealings), constant is not None)
    quorums = {len(each.commitments) for each in dealings.values()}
    if len(quorums) != 1:
        raise DealingInvalid("the dealings are for different quorums")
    points = tuple(
        total(dealings[dealer].commitments[j] * factor for dealer, factor in factors.items())
        for j in range(quorums.pop())
    )
    if any(point.is_infinity for point in points):
        raise DealingInvalid("the dealings cancel")
    if constant is not None and points[0] != constant:
        raise DealingInvalid("the dealings lead to another key")
    return points


def joined_share(shares: Mapping[int, int], *, resharing: bool) -> int:
    """A holder's share of the joint polynomial, from what each dealer gave it."""
    factors = _factors(sorted(shares), resharing)
    return sum(shares[dealer] * factor for dealer, factor in factors.items()) % ORDER


def _factors(dealers: Sequence[int], resharing: bool) -> dict[int, int]:
    return lagrange(dealers) if resharing else dict.fromkeys(dealers, 1)


def _challenge(commitments: Sequence[Point], announced: Point, context: bytes) -> int:
    talk = Transcript(KNOWLEDGE, context)
    talk.absorb("commitments", b"".join(point.to_bytes() for point in commitments))
    talk.absorb("announced", announced.to_bytes())
    return talk.challenge("answer")
