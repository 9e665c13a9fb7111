"""The proof that keys were turned: what a researcher shows the market when no answer came."""

from __future__ import annotations

from typing import Any

from marketplace.custodian.checks import TurnRefused
from marketplace.custodian.journal import Journal
from marketplace.wire.http import to_hex


def certificate(journal: Journal, place: int, request: bytes) -> dict[str, Any]:
    """Place, epoch, root and signature of this custodian's turn for a request. No share is in it.

    From the journal alone, and for ever: operator, gate and node could all have an interest in hiding
    that keys were turned, and a signature that was given once binds nobody further.

    Raises:
        TurnRefused: `not_turned`.
    """
    row = journal.turn(request)
    if row is None:
        raise TurnRefused(
            code="not_turned",
            message="This custodian did not turn its key for this request.",
            remedy="Ask the others: a quorum of certificates repays the researcher from the bond.",
        )
    return {
        "place": place,
        "epoch": row.epoch,
        "root": to_hex(row.root),
        "signature": to_hex(row.signature),
    }
