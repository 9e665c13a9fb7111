"""Verifiable secret sharing of record keys.

P. Feldman, "A practical scheme for non-interactive verifiable secret sharing", FOCS 1987, over
secp256k1. The dealer picks f of degree k - 1 with f(0) = s, hands f(i) to custodian i and publishes
A_j = a_j G, so that every custodian and the gate check f(i) G = sum_j i^j A_j.

Fewer than k shares leave s hidden computationally: A_0 = s G is public, so secrecy rests on the
discrete logarithm and needs s uniform, never a low-entropy value. Curve operations are
libsecp256k1's (through coincurve): those on secrets are constant-time there.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from coincurve import PublicKey

from marketplace.errors import BadParameter, TooFewShares, WrongShare

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # SEC 2, secp256k1 n
MOST_CUSTODIANS = 16
SCALAR_BYTES = 32
POINT_BYTES = 33


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


def random_scalar() -> int:
    """Uniform in [1, n - 1], from the operating system's generator."""
    return 1 + secrets.randbelow(ORDER - 1)


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
    shares = tuple(Share(i, _evaluate(coefficients, i)) for i in range(1, custodians + 1))
    return Dealing(commitments, shares)


def times_generator(scalar: int) -> bytes:
    """scalar * G, compressed, 33 bytes. Raises BadParameter outside [1, n - 1]."""
    if not 0 < scalar < ORDER:
        raise BadParameter(
            message="A scalar lies outside [1, n - 1].",
            remedy="Draw it with random_scalar().",
            field="scalar",
        )
    return PublicKey.from_valid_secret(scalar.to_bytes(SCALAR_BYTES, "big")).format()


def require_points(commitments: Sequence[bytes]) -> None:
    """Every commitment is a compressed point on the curve. Raises BadParameter naming the first."""
    for j, raw in enumerate(commitments):
        if len(raw) != POINT_BYTES or not _is_point(raw):
            raise BadParameter(
                message=f"Key commitment {j} is not a point of secp256k1.",
                remedy=f"Give {POINT_BYTES} bytes, compressed.",
                field=f"key_commitments[{j}]",
            )


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
    """f(0) mod n of the polynomial through `shares` (distinct indices)."""
    total = 0
    for share in shares:
        numerator, denominator = 1, 1
        for other in shares:
            if other.index != share.index:
                numerator = numerator * other.index % ORDER
                denominator = denominator * (other.index - share.index) % ORDER
        total += share.value * numerator * pow(denominator, -1, ORDER)
    return total % ORDER


def _combine_checked(shares: Sequence[Share], commitments: Sequence[bytes]) -> Combined:
    good = {s.index: s for s in shares if _is_good(s, commitments)}
    wrong = tuple(sorted({s.index for s in shares if not _is_good(s, commitments)}))
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
    return times_generator(share.value) == _committed(commitments, share.index)


def _committed(commitments: Sequence[bytes], index: int) -> bytes | None:
    """sum_j index^j A_j; None for what is no finite sum of points: no share matches that."""
    try:
        terms = [
            PublicKey(raw).multiply(pow(index, j).to_bytes(SCALAR_BYTES, "big"))
            for j, raw in enumerate(commitments)
        ]
        return PublicKey.combine_keys(terms).format()
    except ValueError:
        return None


def _in_range(share: Share) -> bool:
    return 1 <= share.index <= MOST_CUSTODIANS and 0 < share.value < ORDER


def _evaluate(coefficients: Sequence[int], at: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * at + coefficient) % ORDER
    return value


def _is_point(raw: bytes) -> bool:
    try:
        PublicKey(raw)
    except ValueError:
        return False
    return True
