"""How often wallets said yes in a rehearsal and failed on chain: in the journal's file, over restarts."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from sqlalchemy import delete

from marketplace.chain.allowance import WALLET_FAILURES, Key, day_now
from marketplace.custodian.journal import Journal
from marketplace.custodian.models import FailureRow
from marketplace.errors import Refusal
from marketplace.wire.sqlite import snapshot


@dataclass(frozen=True)
class Failures:
    """The count of the day; earlier days are forgotten. A file that fails holds nothing back."""

    journal: Journal

    def are_enough(self, key: Key) -> bool:
        """Whether no more is paid for today. A revocation waits for this: no writer holds it up."""
        with contextlib.suppress(Refusal), snapshot(self.journal.engine) as session:
            row = session.get(FailureRow, (day_now(), *key))
            return row is not None and row.number >= WALLET_FAILURES
        return False

    def add(self, key: Key) -> None:
        """Counts one more. The failure itself is to be told, counted or not."""
        day, (kind, dataset, patient) = day_now(), key
        with contextlib.suppress(Refusal), self.journal.writing() as session:
            session.execute(delete(FailureRow).where(FailureRow.day < day))
            row = session.get(FailureRow, (day, *key))
            if row is None:
                row = FailureRow(day=day, kind=kind, dataset=dataset, patient=patient, number=0)
                session.add(row)
            row.number += 1
