"""How often wallets said yes in a rehearsal and failed on chain: in the journal's file, over restarts."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from sqlalchemy import delete

from marketplace.chain.allowance import DAY_SECONDS, WALLET_FAILURES, Key
from marketplace.custodian.journal import Journal
from marketplace.custodian.models import FailureRow
from marketplace.errors import Refusal


@dataclass(frozen=True)
class Failures:
    """The count of the day; earlier days are forgotten. A file that fails holds nothing back."""

    journal: Journal

    def are_enough(self, key: Key) -> bool:
        """Whether no more is paid for today."""
        with contextlib.suppress(Refusal), self.journal.reading() as session:
            row = session.get(FailureRow, (_today(), *key))
            return row is not None and row.number >= WALLET_FAILURES
        return False

    def add(self, key: Key) -> None:
        """Counts one more. The failure itself is to be told, counted or not."""
        today, (kind, dataset, patient) = _today(), key
        with contextlib.suppress(Refusal), self.journal.writing() as session:
            session.execute(delete(FailureRow).where(FailureRow.day < today))
            row = session.get(FailureRow, (today, *key))
            if row is None:
                row = FailureRow(day=today, kind=kind, dataset=dataset, patient=patient, number=0)
                session.add(row)
            row.number += 1


def _today() -> int:
    return int(time.time()) // DAY_SECONDS
