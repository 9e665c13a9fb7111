"""Attested drafts on their way into the market, and what is let go of."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from marketplace.drafts.desks import DAY
from marketplace.intake import Entry, Intake
from marketplace.store import Database, DraftRow, DraftState

KEPT_DAYS: Final = 14
"""A draft is not an archive: until it is gone, its issuer's desk key opens it."""
CARRIED_AT_ONCE: Final = 20
LOOKED_AT: Final = 1_000


@dataclass(frozen=True)
class Onward:
    """What becomes of drafts by itself. Every step may be repeated."""

    database: Database
    intake: Intake

    def sweep(self) -> None:
        """Carries attested records on, lets go of what came in another way, and of what is too old.

        Raises:
            Refusal: of the database or the chain; whatever is left, the next sweep finds.
        """
        now = int(time.time())
        self.database.sweep_drafts(now=now, made_before=now - KEPT_DAYS * DAY)
        self._let_go()
        attested = self.database.drafts_in(DraftState.ATTESTED, CARRIED_AT_ONCE)
        rows = [row for each in attested if (row := self.database.draft(each)) is not None]
        if rows:
            self.carry_on(rows)

    def _let_go(self) -> None:
        """Of drafts whose record the issuer sent in past them."""
        opened = self.database.drafts_in(DraftState.OPENED, LOOKED_AT)
        for commitment, record in self.database.records(opened).items():
            if record.state == "stored":
                because = "its record came in another way"
                self.database.end_draft(commitment, DraftState.STORED, because=because)

    def carry_on(self, rows: Sequence[DraftRow]) -> list[Entry]:
        """Hands attested drafts to the intake, and notes of each how far it came."""
        entries = self.intake.receive(
            [upload_of(row, row.attestation, row.signature) for row in rows]
        )
        for row, entry in zip(rows, entries, strict=True):
            self._note(row.commitment, entry)
        return entries

    def _note(self, commitment: str, entry: Entry) -> None:
        if entry.refusal is None and entry.state == "stored":
            self.database.end_draft(commitment, DraftState.STORED, because="it is stored")
            return
        reason = None if entry.refusal is None else entry.refusal.reason()
        is_on_chain = entry.state != "received"
        after = DraftState.ATTESTED if is_on_chain else DraftState.OPENED
        because = "the chain has it" if is_on_chain else "the attestation was refused"
        self.database.move_draft(commitment, after, because=because, reason=reason)


def upload_of(row: DraftRow, attestation: object, signature: object) -> dict[str, Any]:
    """As `usufruct upload` would send it: there is one way into the market."""
    return {
        "record": json.loads(row.record),
        "attestation": attestation,
        "issuer_signature": signature,
    }
