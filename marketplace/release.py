"""The last check before an answer leaves: only what passes here can be settled."""

from __future__ import annotations

from marketplace.chain.adapter import RequestView
from marketplace.errors import Refusal
from marketplace.stages import Computed
from marketplace.wire.delivery import delivery_hash
from marketplace.wire.solidity import ZERO_HASH
from marketplace.wire.structs import (
    SETTLEMENT_SCHEMA,
    Domain,
    Settlement,
    require_signed,
)


class ReleaseRefused(Refusal):
    """An answer that does not belong to what was sealed."""

    CODE = "release_refused"


def require_releasable(computed: Computed, view: RequestView, domain: Domain) -> Settlement:
    """The settlement of a computed answer, if it is exactly of what the chain sealed.

    Checks that root, epoch, lane and gate are the chain's, that the sealed result is the one that is
    named, and that the drawn gate signed it.

    Raises:
        ReleaseRefused: naming the field that differs.
        BadSignature: the drawn gate did not sign this settlement.
    """
    settlement = Settlement.from_json(computed.settlement)
    expected = {
        "request": computed.sealed.request,
        "root": view.root,
        "epoch": view.epoch,
        "lane": view.lane,
        "schema": SETTLEMENT_SCHEMA,
        "noise": ZERO_HASH,
        "gate": view.gate,
        "delivery_hash": delivery_hash(computed.sealed_result),
    }
    for field, value in expected.items():
        if getattr(settlement, field) != value:
            raise ReleaseRefused(
                message=f"The answer's {field} is not the sealed request's.",
                remedy="Nothing was released. Ask the gate's host; the request can still default.",
                field=field,
            )
    require_signed(settlement, domain, computed.gate_signature, view.gate)
    return settlement
