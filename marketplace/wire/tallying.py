"""What noise, partial decryptions and results of the homomorphic lane are bound to, and how they travel.

One request has one session: chain, market, request, cohort root and epoch. Noise proofs are bound to it, and
so are each custodian's word on the sums that it added up, and the aggregate: the noised sums over the records
that counted. Each partial decryption is bound to the aggregate and its custodian's place, and the settlement
names the aggregate's hash, so that a receipt leads from the cohort to the answer without anybody's word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from marketplace.errors import BadParameter, EnvelopeUnreadable
from marketplace.vocabulary import Address
from marketplace.wire.canonical import tagged_hash
from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.feldman import MOST_CUSTODIANS
from marketplace.wire.http import (
    binary_field,
    hash_field,
    hex_field,
    require_keys,
    to_base64,
    to_hex,
)
from ml.homomorphic.curve import ORDER, NotAPoint, Point, times_base
from ml.homomorphic.noise import Contribution, Contributor, Shares
from ml.homomorphic.threshold import PAIR_BYTES, Sum, sums_from_bytes, sums_to_bytes

RESULT_VERSION: Final = 1
HEAD_BYTES: Final = 3
MOST_SUMS: Final = 1_024
MOST_NOISE: Final = 2 * 1024 * 1024
"""Bytes of one contribution's proof: 1,024 sums of 57 bits each take 1.9 MB."""
_EVEN = b"\x02"


@dataclass(frozen=True)
class TallySession:
    """The one answer of one sealed request. `epoch` names the committee and its joint key."""

    chain_id: int
    market: Address
    request: bytes
    root: bytes
    epoch: int

    def name(self) -> bytes:
        """32 bytes: the `session` of `ml.homomorphic.noise.Contributor`."""
        types = ["uint256", "address", "bytes32", "bytes32", "uint32"]
        values = [self.chain_id, self.market, self.request, self.root, self.epoch]
        return tagged_hash("usufruct/tally-session/1", types, values)

    def contributor(self, place: int) -> Contributor:
        """The custodian at a place, as the maker of noise for this request."""
        return Contributor(self.name(), place)

    def sums(self, ciphertext_root: bytes, added: Sequence[Sum]) -> bytes:
        """The sums of the records that counted, before any noise, by their hash: 32 bytes.

        Args:
            ciphertext_root: as for `aggregate`.
            added: in the analysis' order.
        """
        pairs = bytes(keccak(sums_to_bytes(added)))
        return tagged_hash(
            "usufruct/sums/1",
            ["bytes32", "bytes32", "bytes32"],
            [self.name(), ciphertext_root, pairs],
        )

    def aggregate(self, ciphertext_root: bytes, noise: bytes, noised: Sequence[Sum]) -> bytes:
        """What custodians decrypt, by its hash: 32 bytes.

        Args:
            ciphertext_root: over the commitments of the records that were added up, in cohort order.
            noise: as the chain fixed it.
            noised: the sums with all of that noise, in the analysis' order.
        """
        types = ["bytes32", "bytes32", "bytes32", "bytes32"]
        pairs = bytes(keccak(sums_to_bytes(noised)))
        return tagged_hash(
            "usufruct/aggregate/1", types, [self.name(), ciphertext_root, noise, pairs]
        )

    def partial(self, place: int, aggregate: bytes) -> bytes:
        """What the proof of a partial decryption is bound to, 32 bytes."""
        return tagged_hash(
            "usufruct/partial/1", ["bytes32", "uint8", "bytes32"], [self.name(), place, aggregate]
        )

    def opened_sums(self, result: bytes) -> bytes:
        """What a researcher's proof of the opened sums is bound to, 32 bytes.

        Args:
            result: `result_hash`, as the chain keeps it; with it records, noise and noised sums.
        """
        types = ["bytes32", "bytes32"]
        return tagged_hash("usufruct/opened-sums/1", types, [self.name(), result])


@dataclass(frozen=True)
class Question:
    """What everybody who makes an answer, or verifies one, has to know of it. All of it follows from the
    chain and the dataset's dictionary.

    holders: how many custodians the epoch has.
    """

    session: TallySession
    shares: Shares
    recipient: Point
    holders: int

    @property
    def sizes(self) -> range:
        """How many contributors the noise can have: from the quorum to all."""
        return range(self.shares.quorum, self.holders + 1)


def result_hash(aggregate: bytes) -> bytes:
    """What custodians sign and the chain keeps, 32 bytes. It needs no salt: nobody can guess ciphertexts."""
    return tagged_hash("usufruct/tally-result/1", ["bytes32"], [aggregate])


def noised(sums: Sequence[Sum], contributions: Sequence[Contribution]) -> list[Sum]:
    """The sums with every contribution added. Raises ValueError for one of another number of sums."""
    found = list(sums)
    for each in contributions:
        added = sums_from_bytes(each.columns)
        found = [one + other for one, other in zip(found, added, strict=True)]
    return found


# --- the researcher's key


def recipient(delivery_key: bytes) -> Point:
    """The point behind a request's `deliveryKey`: its x coordinate, and the even y (BIP 340).

    Raises:
        BadParameter: no point has this x coordinate, so nobody could open the answer.
    """
    try:
        return Point.from_bytes(_EVEN + delivery_key)
    except NotAPoint:
        raise BadParameter(
            message="The delivery key is not the x coordinate of a point of secp256k1.",
            remedy="Ask again with a delivery key made for the homomorphic lane.",
            field="delivery_key",
        ) from None


def own_recipient(secret: int) -> tuple[int, bytes]:
    """The secret whose point has the even y, and the delivery key of a request: p or n - p, and 32 bytes."""
    raw = times_base(secret).to_bytes()
    return (secret if raw[:1] == _EVEN else ORDER - secret), raw[1:]


# --- the sealed result


def encode_sealed(delivered: Sequence[Sum]) -> bytes:
    """Sums that only the recipient can open, as a settlement carries them: version, number, 66 bytes each."""
    if not 1 <= len(delivered) <= MOST_SUMS:
        raise ValueError(f"an answer has 1 to {MOST_SUMS} sums")
    head = bytes([RESULT_VERSION]) + len(delivered).to_bytes(2, "big")
    return head + sums_to_bytes(delivered)


def decode_sealed(raw: bytes) -> list[Sum]:
    """Inverse of `encode_sealed`. Raises EnvelopeUnreadable."""
    count = int.from_bytes(raw[1:HEAD_BYTES], "big")
    if len(raw) < HEAD_BYTES or raw[0] != RESULT_VERSION or not 1 <= count <= MOST_SUMS:
        raise _unreadable("has no head that is known here")
    if len(raw) != HEAD_BYTES + PAIR_BYTES * count:
        raise _unreadable(f"is not of {count} sums")
    try:
        return sums_from_bytes(raw[HEAD_BYTES:])
    except NotAPoint as fault:
        raise _unreadable(f"is damaged at sum {fault.position}") from None


# --- revealed noise


@dataclass(frozen=True)
class Reveal:
    """A contribution to a set of `size`, with the digests of its maker's contributions to every size.

    digests: for each size from the quorum up, ascending.
    """

    size: int
    contribution: Contribution
    digests: tuple[bytes, ...]

    def commitment(self, by: Contributor, quorum: int) -> bytes:
        """What its maker must have put on chain, if this is what it drew; 32 bytes.

        Raises:
            BadParameter: this contribution is not among the digests.
        """
        at = self.size - quorum
        if not 0 <= at < len(self.digests) or self.digests[at] != self.contribution.digest:
            raise _bad_reveal("digests", "does not list this contribution under its size")
        listed = {quorum + i: digest for i, digest in enumerate(self.digests)}
        return by.commitment(listed, quorum)

    def to_json(self) -> dict[str, Any]:
        """The document that `from_json` reads."""
        return {
            "size": self.size,
            "columns": to_base64(self.contribution.columns),
            "proof": to_base64(self.contribution.proof),
            "digests": [to_hex(each) for each in self.digests],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any], at: str = "reveal") -> Reveal:
        """From hostile JSON; whether its proof holds, `verify_contribution` says. Raises BadParameter."""
        require_keys(document, {"size", "columns", "proof", "digests"}, at=at)
        size, digests = document["size"], document["digests"]
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST_CUSTODIANS:
            raise _bad_reveal("size", "is not a number of custodians")
        if not isinstance(digests, list) or not 1 <= len(digests) <= MOST_CUSTODIANS:
            raise _bad_reveal("digests", f"is not a list of 1 to {MOST_CUSTODIANS}")
        columns = binary_field(document["columns"], f"{at}.columns", PAIR_BYTES * MOST_SUMS)
        proof = binary_field(document["proof"], f"{at}.proof", MOST_NOISE)
        read = tuple(hash_field(each, f"{at}.digests[{i}]") for i, each in enumerate(digests))
        return cls(size, Contribution(columns, proof), read)


@dataclass(frozen=True)
class SumsWord:
    """What a custodian added up, by `TallySession.sums`, and its signature of `CountedSums`."""

    digest: bytes
    signature: bytes

    def to_json(self) -> dict[str, str]:
        """The document that `from_json` reads."""
        return {"digest": to_hex(self.digest), "signature": to_hex(self.signature)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any], at: str = "sums") -> SumsWord:
        """From hostile JSON; whose signature it is, `require_signed` says. Raises BadParameter."""
        require_keys(document, {"digest", "signature"}, at=at)
        signature = hex_field(document["signature"], f"{at}.signature", MOST_SIGNATURE)
        return cls(hash_field(document["digest"], f"{at}.digest"), signature)


def _bad_reveal(field: str, why: str) -> BadParameter:
    return BadParameter(
        message=f"The revealed noise's {field} {why}.",
        remedy="Send what that custodian answered, unchanged.",
        field=f"reveal.{field}",
    )


def _unreadable(why: str) -> EnvelopeUnreadable:
    return EnvelopeUnreadable(
        message=f"The sealed result {why}.",
        remedy="Take it from the settlement on chain.",
        field="sealed_result",
    )
