"""The gate's own memory: the first answer to a request is the only one."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from marketplace.gate.models import ComputationRow
from marketplace.wire.sqlite import open_journal, transaction

MIGRATIONS = Path(__file__).parent / "migrations"
FILE_NAME = "gate.sqlite"


class Journal:
    """Answers by request. Safe for threads, processes and SIGKILL."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, data: Path, max_pages: int | None = None) -> Journal:
        """Opens or makes it. Raises `Refusal` (storage_full, storage_unavailable)."""
        return cls(open_journal(data / FILE_NAME, MIGRATIONS, max_pages))

    def find(self, request: bytes) -> ComputationRow | None:
        """The kept answer, `registered` or not; None where nothing was computed yet."""
        with transaction(self.engine) as session:
            return session.get(ComputationRow, request)

    def keep_first(self, row: ComputationRow) -> ComputationRow:
        """Keeps this answer unless there is one, and returns the one that is kept.

        Raises:
            Refusal: storage_full, storage_unavailable. The answer must not be sent then.
        """
        with transaction(self.engine) as session:
            kept = session.get(ComputationRow, row.request)
            if kept is None:
                session.add(row)
                kept = row
        return kept

    def mark_registered(self, request: bytes, signatures: str) -> ComputationRow:
        """A quorum has noted the kept answer, with these signatures: from now on it is given out."""
        with transaction(self.engine) as session:
            row = session.get_one(ComputationRow, request)
            row.registered, row.signatures = True, signatures
        return row
