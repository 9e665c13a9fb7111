"""What only a transaction's call data holds: the custodians' signatures of a settlement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from eth_abi.exceptions import DecodingError

from marketplace.chain.adapter import Chain
from marketplace.chain.artifacts import Entry, load
from marketplace.errors import Refusal
from marketplace.wire.structs import Settlement

MARKET = "ResearchMarket"


class StateUnavailable(Refusal):
    """The node no longer has what a receipt is checked against. An archive node does."""

    CODE = "state_unavailable"


@dataclass(frozen=True)
class SettleCall:
    """One `settle` call, as it was sent."""

    settlement: Settlement
    sealed_result: bytes = field(repr=False)
    signatures: tuple[tuple[int, bytes], ...]


def settle_call(chain: Chain, transaction: bytes, request: bytes) -> SettleCall | None:
    """The call that settled a request in a transaction, alone or within a batch; None if none did.

    Raises:
        StateUnavailable: the node does not have the transaction (any more).
        NodeUnreachable, NodeFault.
    """
    data = chain.node.transaction_input(transaction)
    if data is None:
        raise StateUnavailable(
            message="The node does not have the transaction that settled the request.",
            remedy="Use an archive node, or one that indexes transactions since the deployment.",
            field="transactions.settled",
        )
    found = [_read(call) for call in _calls(data)]
    return next((each for each in found if each and each.settlement.request == request), None)


def _calls(data: bytes) -> tuple[bytes, ...]:
    """The calls of a batch; otherwise the one call itself."""
    arguments = _arguments(load(MARKET).functions["batch"], data)
    return (data,) if arguments is None else arguments[0]


def _read(data: bytes) -> SettleCall | None:
    arguments = _arguments(load(MARKET).functions["settle"], data)
    if arguments is None:
        return None
    settlement, sealed_result, signatures = arguments
    return SettleCall(Settlement.from_abi(settlement), sealed_result, signatures)


def _arguments(entry: Entry, data: bytes) -> tuple[Any, ...] | None:
    if data[:4] != entry.selector:
        return None
    try:
        return tuple(entry.decode_arguments(data[4:]).values())
    except DecodingError:
        return None
