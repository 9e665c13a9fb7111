"""What a receipt of the homomorphic lane proves by itself, no node needed: that what the researcher was sent
is the decryption, by a quorum, of the sums that the settlement names.

Keys, commitments and the root over the records that counted are the chain's word: `tally_steps`.
"""

from __future__ import annotations

from marketplace.errors import BadParameter
from marketplace.receipts.format import Receipt, ReceiptInvalid, invalid
from marketplace.receipts.tally_part import TallyPart
from marketplace.wire.feldman import POINT_BYTES
from marketplace.wire.tallying import (
    MOST_SUMS,
    TallySession,
    encode_sealed,
    recipient,
    result_hash,
)
from ml.homomorphic.curve import NotAPoint, Point, points_from_bytes
from ml.homomorphic.threshold import (
    Partial,
    PartialInvalid,
    Sum,
    combine,
    share_key,
    sums_from_bytes,
    verify_partial,
)


def session_of(receipt: Receipt) -> TallySession:
    """What everything about the receipt's request is bound to."""
    deployment = receipt.deployment
    return TallySession(
        deployment.chain_id,
        deployment.market,
        receipt.request,
        receipt.cohort.root,
        receipt.epoch,
    )


def tally_of(receipt: Receipt) -> TallyPart:
    """Raises TypeError for a receipt of another lane, which has none of these steps."""
    if receipt.tally is None:
        raise TypeError("a receipt of the vault lane has no tally")
    return receipt.tally


def aggregate(receipt: Receipt) -> None:
    """The noised sums are those that the settlement names, with its records and its noise."""
    digest = result_hash(_aggregate_of(receipt))
    if digest != receipt.settlement.result_hash:
        raise invalid("aggregate", "tally.noised", "is not what the settlement's result hash is of")


def partials(receipt: Receipt) -> None:
    """A quorum's partial decryptions, each proven to be of these sums, for this researcher, by its share."""
    points, to, sums = _points(receipt), _recipient(receipt), noised_of(receipt)
    digest = _aggregate_of(receipt)
    for position, (index, partial) in enumerate(_read(receipt).items()):
        context = session_of(receipt).partial(index - 1, digest)
        try:
            verify_partial(partial, share_key(points, index), sums, to, context)
        except PartialInvalid as fault:
            raise _no_partial(position, fault) from None


def result(receipt: Receipt) -> None:
    """Combined, they are what was delivered."""
    quorum, sums = receipt.committee.quorum, noised_of(receipt)
    if encode_sealed(combine(_read(receipt), sums, quorum)) != receipt.sealed_result:
        raise invalid("result", "sealed_result", "is not what the partial decryptions combine to")


ALONE = (aggregate, partials, result)
"""All of the lane that need no node, in order; after `checks.ALONE`."""


def noised_of(receipt: Receipt) -> list[Sum]:
    """The sums with all noise. Raises ReceiptInvalid (aggregate) for what are none."""
    try:
        found = sums_from_bytes(tally_of(receipt).noised)
    except NotAPoint as fault:
        raise invalid("aggregate", f"tally.noised[{fault.position}]", "is no sum") from None
    if not 1 <= len(found) <= MOST_SUMS:
        raise invalid("aggregate", "tally.noised", f"is not of 1 to {MOST_SUMS} sums")
    return found


def _aggregate_of(receipt: Receipt) -> bytes:
    settled = receipt.settlement
    return session_of(receipt).aggregate(settled.ciphertext_root, settled.noise, noised_of(receipt))


def _read(receipt: Receipt) -> dict[int, Partial]:
    """By the index of its share, which counts from 1."""
    given, sums = tally_of(receipt).partials, len(noised_of(receipt))
    if len(given) != receipt.committee.quorum:
        raise invalid("partials", "tally.partials", "are not of exactly a quorum")
    found = {}
    for position, (place, raw) in enumerate(given):
        if place >= len(receipt.committee.signers):
            at = f"tally.partials[{position}].place"
            raise invalid("partials", at, "is no place of the committee")
        try:
            found[place + 1] = Partial.from_bytes(raw, sums)
        except PartialInvalid as fault:
            raise _no_partial(position, fault) from None
    return found


def _no_partial(position: int, fault: PartialInvalid) -> ReceiptInvalid:
    return invalid("partials", f"tally.partials[{position}].partial", f"does not count: {fault}")


def _points(receipt: Receipt) -> tuple[Point, ...]:
    """The commitments to the joint polynomial. Its degree is one below the quorum."""
    raw = tally_of(receipt).joint_key
    if len(raw) != POINT_BYTES * receipt.committee.quorum:
        raise invalid("partials", "tally.joint_key", "is not of as many points as the quorum")
    try:
        return points_from_bytes(raw)
    except NotAPoint:
        raise invalid("partials", "tally.joint_key", "is not of points of secp256k1") from None


def _recipient(receipt: Receipt) -> Point:
    try:
        return recipient(receipt.terms.delivery_key)
    except BadParameter:
        raise invalid("partials", "terms.delivery_key", "is no key of the lane") from None
