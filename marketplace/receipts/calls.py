"""What only a transaction's call data holds: the custodians' signatures of a settlement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from eth_abi.exceptions import DecodingError

from marketplace.chain.adapter import Chain
from marketplace.chain.artifacts import Entry, load
from marketplace.errors import Refusal
from marketplace.wire.structs import Settlement

MARKET = "ResearchMarket"
MOST_CALLS = 256
"""Places in one transaction that are looked at: a batch settles fewer requests."""


class StateUnavailable(Refusal):
    """The node no longer has what a receipt is checked against. An archive node does."""

    CODE = "state_unavailable"


@dataclass(frozen=True)
class SettleCall:
    """One `settle` call, as it was sent."""

    settlement: Settlement
    sealed_result: bytes = field(repr=False)
    signatures: tuple[tuple[int, bytes], ...]


def settle_call(chain: Chain, transaction: bytes, settled: Settlement) -> SettleCall | None:
    """The call that made a settlement in a transaction; None where no such call can be read in it.

    It may stand alone, in a batch, or anywhere in what a wallet was told to do: what was settled is the
    event's word, and whoever called, signatures are what they are.

    Args:
        settled: as the market's event of that transaction has it.

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
    found = (_read(call) for call in islice(_calls(data), MOST_CALLS))
    return next((each for each in found if each and each.settlement == settled), None)


def _calls(data: bytes) -> Iterator[bytes]:
    """Wherever a call of `settle` may begin."""
    selector = load(MARKET).functions["settle"].selector
    at = data.find(selector)
    while at >= 0:
        yield data[at:]
        at = data.find(selector, at + 1)


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
