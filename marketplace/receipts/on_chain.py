"""Holding what a receipt says against the chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from marketplace.chain.adapter import NodeFault, UnknownBlock
from marketplace.receipts.calls import StateUnavailable
from marketplace.receipts.format import invalid

T = TypeVar("T")


def equal(step: str, field: str, claimed: object, found: object) -> None:
    """Raises ReceiptInvalid unless the receipt claims what the chain says."""
    if claimed != found:
        raise invalid(step, field, "is not what the chain says")


def at_seal(read: Callable[[], T]) -> T:
    """What only the state of old blocks holds, or the logs since the deployment. Raises StateUnavailable."""
    try:
        return read()
    except (NodeFault, UnknownBlock) as fault:
        raise StateUnavailable(
            message="The node does not give the chain's state as it was when the cohort was sealed.",
            remedy="Use an archive node, or one that keeps all logs. Without either the receipt is "
            "neither proved nor false.",
            field="settlement.ciphertext_root",
        ) from fault
