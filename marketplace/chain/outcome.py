"""What becomes of a transaction: a receipt, or that nobody knows yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from marketplace.chain import fees, offers
from marketplace.chain.core import decode_log
from marketplace.chain.manifest import Manifest
from marketplace.chain.reverts import ContractRefusal
from marketplace.chain.rpc import Node, read_log
from marketplace.chain.views import Event
from marketplace.errors import Refusal

OUT_OF_GAS: Final = "out_of_gas"
LARGEST_DATA: Final = 120_000
"""Bytes of call data; nodes' pools take at most 128 KB a transaction."""


class OutcomeUnknown(Refusal):
    """A transaction that was handed over and not seen in a block in time. It may still count."""

    CODE = "outcome_unknown"


@dataclass(frozen=True)
class Receipt:
    """A transaction that took effect."""

    transaction: bytes
    block: int
    block_hash: bytes
    gas_used: int
    events: tuple[Event, ...]
    created: str | None = None

    def event(self, name: str) -> Event:
        """The first event of this name. Raises KeyError."""
        for event in self.events:
            if event.name == name:
                return event
        raise KeyError(name)


def receipt_of(found: Mapping[str, Any], manifest: Manifest | None) -> Receipt:
    """What web3 says of a mined transaction; events of contracts outside the manifest are left out."""
    contracts = {} if manifest is None else manifest.contracts
    names = {str(each.address): name for name, each in contracts.items()}
    logs = [read_log(log) for log in found["logs"]]
    events = [decode_log(names[log.address], log) for log in logs if log.address in names]
    created = found.get("contractAddress")
    return Receipt(
        transaction=bytes(found["transactionHash"]),
        block=int(found["blockNumber"]),
        block_hash=bytes(found["blockHash"]),
        gas_used=int(found["gasUsed"]),
        events=tuple(event for event in events if event is not None),
        created=None if created is None else str(created),
    )


def outcome_unknown(offer: offers.Offer) -> OutcomeUnknown:
    """The refusal for an offer that nobody has seen in a block in time."""
    latest, held = "0x" + offer.transactions[-1].hex(), ""
    if offer.held_at is not None:
        ceiling = fees.shown(offer.held_at)
        held = f" Its fee cannot rise above the ceiling of {ceiling} gwei a gas (max_fee_gwei)."
    return OutcomeUnknown(
        message=f"The transaction {latest} is in no block yet; it may get there.{held}",
        remedy="Look at the chain's state before sending it again; `usufruct resume` does.",
        facts={"transaction": latest, "nonce": offer.nonce},
    )


def why_failed(
    node: Node, sender: str, to: str | None, data: bytes, found: Mapping[str, Any], limit: int
) -> ContractRefusal:
    """Replays a failed call in its block, and in the one before, to hear the reason.

    Args:
        found: the transaction's receipt, with web3's names.
        limit: the gas that it was allowed.
    """
    if to is not None:
        for block in (int(found["blockNumber"]), int(found["blockNumber"]) - 1):
            try:
                node.call(to, data, block, sender)
            except ContractRefusal as refusal:
                return refusal
            except Refusal:
                continue  # a call that burns all its gas is no revert to every node
    spent = int(found["gasUsed"]) * 64 >= limit * 63  # EIP-150 keeps a 64th back
    return ContractRefusal(
        code=OUT_OF_GAS if spent else "reverted_without_reason",
        message="The transaction ran out of gas."
        if spent
        else "The transaction failed, and its call no longer does.",
        remedy="Send it again with more gas." if spent else "Read the state, then try again.",
        facts={"transaction": "0x" + bytes(found["transactionHash"]).hex()},
    )


def too_large(size: int) -> Refusal:
    """The refusal for a call of `size` bytes."""
    return Refusal(
        code="transaction_too_large",
        message=f"The call has {size} bytes; a transaction may carry {LARGEST_DATA}.",
        remedy="Split it; a sealed result must be smaller.",
        facts={"bytes": size, "limit": LARGEST_DATA},
    )
