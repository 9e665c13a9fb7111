"""A turn that was made: what it is held against when it is asked for again, and how it is answered."""

from __future__ import annotations

from typing import Any

from marketplace.chain.adapter import RequestView
from marketplace.custodian.checks import TurnRefused
from marketplace.custodian.models import TurnRow
from marketplace.errors import Refusal
from marketplace.wire.http import to_base64, to_hex


class Equivocation(Refusal):
    """A second, different turn or settlement for one request."""

    CODE = "equivocation"


def seal_of(row: TurnRow) -> tuple[int, bytes] | None:
    """Number and hash of the block that sealed what was turned for; None where they were not kept."""
    if row.seal_block is None or row.seal_block_hash is None:
        return None
    return row.seal_block, row.seal_block_hash


def require_same(row: TurnRow, view: RequestView) -> None:
    """Raises Equivocation unless the chain's root, gate key and epoch are those that were turned for."""
    if (row.root, row.gate_key, row.epoch) != (view.root, view.gate_key, view.epoch):
        raise Equivocation(
            message="This request was turned for another root or gate key.",
            remedy="A turn happens once per request; look for a reorganisation or a lying node.",
        )


def turn_document(row: TurnRow, place: int) -> dict[str, Any]:
    """What the gate is answered: the same bytes for ever. Raises TurnRefused (request_ended)."""
    if row.envelope is None:
        raise TurnRefused(
            code="request_ended",
            message="This request has ended, and its envelope was destroyed.",
            remedy="Nothing is left to turn.",
        )
    return {
        "place": place,
        "epoch": row.epoch,
        "envelope": to_base64(row.envelope),
        "signature": to_hex(row.signature),
        "journal": {
            "height": row.journal_height,
            "head": to_hex(row.journal_head),
            "signature": to_hex(row.journal_signature),
        },
    }
