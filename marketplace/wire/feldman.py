"""Verifiable secret sharing of record keys.

P. Feldman, "A practical scheme for non-interactive verifiable secret sharing", FOCS 1987, over
secp256k1. The dealer picks f of degree k - 1 with f(0) = s, hands f(i) to custodian i and publishes
A_j = a_j G, so that every custodian and the gate check f(i) G = sum_j i^j A_j.

Fewer than k shares leave s hidden computationally: A_0 = s G is public, so secrecy rests on the
discrete logarithm and needs s uniform, never a low-entropy value. Curve operations are
libsecp256k1's (through coincurve): those on secrets are constant-time there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from marketplace.errors import BadParameter, TooFewShares, WrongShare
from ml.homomorphic.curve import (
    ORDER,
    POINT_BYTES,
    SCALAR_BYTES,
    NotAPoint,
    Point,
    random_scalar,
    times_base,
)
from ml.homomorphic.keygen import Polynomial
from ml.homomorphic.threshold import lagrange, share_key

__all__ = [
    "MOST_CUSTODIANS",
    "ORDER",
    "POINT_BYTES",
    "SCALAR_BYTES",
    "Combined",
    "Dealing",
    "Share",
    "combine",
    "deal",
    "draw_coefficients",
    "interpolate",
    "random_scalar",
    "require_points",
    "times_generator",
    "verify_share",
]

MOST_CUSTODIANS = 16


@dataclass(frozen=True)
class Share:
    """f(index), for custodian `index` = 1..n. The value does not print."""

    index: int
    value: int = field(repr=False)

    def to_bytes(self) -> bytes:
        """32 bytes, big-endian."""
        return self.value.to_bytes(SCALAR_BYTES, "big")


@dataclass(frozen=True)
class Dealing:
    """What a dealer makes: k public commitments (33 bytes each) and n private shares."""

    commitments: tuple[bytes, ...]
    shares: tuple[Share, ...] = field(repr=False)


@dataclass(frozen=True)
class Combined:
    """A recovered secret, and the indices of shares that were found wrong on the way."""

    secret: int = field(repr=False)
    wrong: tuple[int, ...] = ()


def draw_coefficients(secret: int, quorum: int) -> tuple[int, ...]:
    """A random polynomial of degree `quorum` - 1 through (0, secret), lowest coefficient first.

    Coefficients are never 0, since the point at infinity has no 33-byte form; that moves the
    distribution by less than 2^-251. Raises BadParameter for a quorum below 1.
    """
    if quorum < 1:
        raise BadParameter(
            message=f"A quorum of {quorum} is impossible.",
            remedy="Use the quorum of the committee, as the chain has it.",
            field="quorum",
        )
    return (secret, *(random_scalar() for _ in range(quorum - 1)))


def deal(coefficients: Sequence[int], custodians: int) -> Dealing:
    """Shares for custodians 1..`custodians` of the polynomial with these coefficients.

    Raises BadParameter unless 1 <= k <= n <= 16 and every coefficient lies in [1, n - 1].
    """
    if not 1 <= len(coefficients) <= custodians <= MOST_CUSTODIANS:
        raise BadParameter(
            message=f"A quorum of {len(coefficients)} of {custodians} custodians is impossible.",
            remedy=f"Choose 1 <= quorum <= custodians <= {MOST_CUSTODIANS}.",
            field="quorum",
        )
    commitments = tuple(times_generator(a) for a in coefficients)
    polynomial = Polynomial(tuple(coefficients))
    shares = tuple(Share(i, polynomial.share(i)) for i in range(1, custodians + 1))
    return Dealing(commitments, shares)


def times_generator(scalar: int) -> bytes:
    """scalar * G, compressed, 33 bytes. Raises BadParameter outside [1, n - 1]."""
    if not 0 < scalar < ORDER:
        raise BadParameter(
            message="A scalar lies outside [1, n - 1].",
            remedy="Draw it with random_scalar().",
            field="scalar",
        )
    return times_base(scalar).to_bytes()


def require_points(commitments: Sequence[bytes]) -> None:
    """Every commitment is a compressed point on the curve. Raises BadParameter naming the first."""
    for j, raw in enumerate(commitments):
        try:
            Point.from_bytes(raw)
        except NotAPoint:
            raise BadParameter(
                message=f"Key commitment {j} is not a point of secp256k1.",
                remedy=f"Give {POINT_BYTES} bytes, compressed.",
                field=f"key_commitments[{j}]",
            ) from None


def verify_share(share: Share, commitments: Sequence[bytes]) -> None:
    """f(i) G = sum_j i^j A_j (Feldman 1987). Raises WrongShare naming the custodian."""
    if not _is_good(share, commitments):
        raise WrongShare(
            message=f"The share of custodian {share.index} does not match the key commitments.",
            remedy="Ask that custodian for the share it acknowledged, or use another custodian.",
            field="share",
            facts={"custodian": share.index},
        )


def combine(shares: Sequence[Share], commitments: Sequence[bytes]) -> Combined:
    """The secret from any k good shares, by Lagrange interpolation at 0.

    One multiplication when the first k are good (s G = A_0). Otherwise each share is held against
    the commitments, wrong ones are named in the answer, and k good ones are used. Raises
    TooFewShares, with `wrong` and `needed` in its facts, when fewer than k are good.
    """
    quorum = len(commitments)
    candidates = list({s.index: s for s in shares if _in_range(s)}.values())
    if len(candidates) >= quorum:
        secret = interpolate(candidates[:quorum])
        if secret != 0 and times_generator(secret) == commitments[0]:
            return Combined(secret, tuple(s.index for s in shares if not _in_range(s)))
    return _combine_checked(shares, commitments)


def interpolate(shares: Sequence[Share]) -> int:
    """f(0) mod n of the polynomial through `shares`. Raises ValueError for a repeated index."""
    factors = lagrange([share.index for share in shares])
    return sum(share.value * factors[share.index] for share in shares) % ORDER


def _combine_checked(shares: Sequence[Share], commitments: Sequence[bytes]) -> Combined:
    checked = [(share, _is_good(share, commitments)) for share in shares]
    good = {share.index: share for share, fits in checked if fits}
    wrong = tuple(sorted({share.index for share, fits in checked if not fits}))
    if len(good) < len(commitments):
        raise TooFewShares(
            message=f"{len(good)} good shares of {len(commitments)} needed; wrong: {list(wrong)}.",
            remedy="Ask further custodians to turn; report those with wrong shares.",
            field="shares",
            facts={"good": len(good), "needed": len(commitments), "wrong": list(wrong)},
        )
    return Combined(interpolate(list(good.values())[: len(commitments)]), wrong)


def _is_good(share: Share, commitments: Sequence[bytes]) -> bool:
    if not _in_range(share):
        return False
    try:
        points = [Point.from_bytes(raw) for raw in commitments]
    except NotAPoint:
        return False
    return times_base(share.value) == share_key(points, share.index)


def _in_range(share: Share) -> bool:
    return 1 <= share.index <= MOST_CUSTODIANS and 0 < share.value < ORDER
