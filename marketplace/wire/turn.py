"""A turn: one custodian's shares for one sealed request, to the gate's per-request key.

Plaintext: 33 bytes for each cohort member in cohort order, presence (1 byte) and share (32).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from marketplace.errors import EnvelopeUnreadable
from marketplace.vocabulary import Address, CohortRoot, CustodianIndex, Epoch, RequestId
from marketplace.wire import hpke
from marketplace.wire.canonical import tagged_hash
from marketplace.wire.feldman import Share

ENTRY_BYTES = 33
ABSENT = bytes(ENTRY_BYTES)


@dataclass(frozen=True)
class TurnContext:
    """All that a turn is bound to. `gate_key` is the X25519 key that the chain recorded."""

    chain_id: int
    market: Address
    request: RequestId
    root: CohortRoot
    epoch: Epoch
    index: CustodianIndex
    gate_key: bytes

    def info(self) -> bytes:
        """The HPKE info of this turn, 32 bytes."""
        types = ["uint256", "address", "bytes32", "bytes32", "uint32", "uint8", "bytes32"]
        where = [self.chain_id, self.market, self.request, self.root]
        who = [self.epoch, self.index, self.gate_key]
        return tagged_hash("usufruct/turn/1", types, [*where, *who])


def seal_turn(shares: Sequence[Share | None], context: TurnContext) -> bytes:
    """The envelope for the gate; None where no share is held or it was erased.

    A fresh envelope each time: who must answer twice with the same bytes keeps the first.
    """
    return hpke.seal(encode_turn(shares), context.gate_key, context.info())


def open_turn(
    envelope: bytes, secret: hpke.SecretKey, context: TurnContext, members: int
) -> tuple[Share | None, ...]:
    """One share or None for each of `members` cohort members, in cohort order.

    Shares are unchecked here: `feldman.combine` holds them against each record's commitments, so
    one bad share costs one record and never the request. Raises EnvelopeUnreadable.
    """
    return decode_turn(hpke.open_envelope(envelope, secret, context.info()), context.index, members)


def encode_turn(shares: Sequence[Share | None]) -> bytes:
    """33 bytes a member."""
    return b"".join(ABSENT if share is None else b"\x01" + share.to_bytes() for share in shares)


def decode_turn(plaintext: bytes, index: int, members: int) -> tuple[Share | None, ...]:
    """Strict inverse of `encode_turn`. Raises EnvelopeUnreadable naming the member at fault."""
    if len(plaintext) != ENTRY_BYTES * members:
        raise _unreadable(f"Custodian {index}'s turn is not for {members} members.", index)
    entries = range(0, len(plaintext), ENTRY_BYTES)
    return tuple(_decode_entry(plaintext[at : at + ENTRY_BYTES], index, at) for at in entries)


def _decode_entry(entry: bytes, index: int, at: int) -> Share | None:
    if entry == ABSENT:
        return None
    if entry[0] != 1:
        member = at // ENTRY_BYTES
        raise _unreadable(f"Custodian {index}'s turn is malformed at member {member}.", index)
    return Share(index, int.from_bytes(entry[1:], "big"))


def _unreadable(message: str, index: int) -> EnvelopeUnreadable:
    return EnvelopeUnreadable(
        message=message,
        remedy="Ask that custodian to turn again for the sealed cohort, or use another one.",
        field="turn",
        facts={"custodian": index},
    )
