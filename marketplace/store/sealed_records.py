"""The rows of sealed records: where each stands, and that an erased one never comes back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.exc import IntegrityError

from marketplace.store.models import ConfirmationRow, RecordLogRow, RecordRow
from marketplace.store.transactions import Transactions, changed_one

ERASED = "erased"
"""The state of a record whose ciphertext may never be here again."""


class SealedRecords(Transactions):
    """What the database knows of each ciphertext."""

    def keep_record(self, row: RecordRow) -> bool:
        """Adds a sealed record. Returns False if it was there already."""
        try:
            with self.session() as session:
                session.add(row)
        except IntegrityError:
            return False
        return True

    def keep_records(self, rows: Sequence[RecordRow]) -> list[RecordRow]:
        """Adds sealed records, all or none. Returns those that were not there already."""
        new = {row.commitment: row for row in rows}
        for known in self.records(list(new)):
            del new[known]
        try:
            with self.session() as session:
                session.add_all(new.values())
        except IntegrityError:  # another upload brought one of them meanwhile
            return [row for row in new.values() if self.keep_record(row)]
        return list(new.values())

    def set_record_state(self, commitment: str, state: str) -> None:
        """Notes how far a record came (received, attested, stored); an erased one stays so."""
        # In one write: the same record in another upload may be dropped meanwhile.
        here = (RecordRow.commitment == commitment) & (RecordRow.state != ERASED)
        with self.session() as session:
            changed_one(session, update(RecordRow).where(here).values(state=state))

    def erase_record(self, commitment: str, because: str) -> bool:
        """Drops what a record's row says of its ciphertext, for ever, and logs why, in one transaction.

        The row stays, so that the ciphertext is known never to come back. Returns False, and changes
        nothing, where there is no such row or it was erased before.
        """
        with self.session() as session:
            row = session.get(RecordRow, commitment, with_for_update=True)
            if row is None or row.state == ERASED:
                return False
            session.add(_erasure(row, because))
            row.state, row.header, row.attestation = ERASED, {}, {}
        return True

    def record_history(self, commitment: str) -> list[RecordLogRow]:
        """What became of a record's ciphertext, in order."""
        with self.session() as session:
            query = select(RecordLogRow).where(RecordLogRow.commitment == commitment)
            return list(session.scalars(query.order_by(RecordLogRow.id)))

    def forget_record(self, commitment: str, patient: str) -> bool:
        """Drops this patient's record, if it came no further than here. Returns whether it was there."""
        mine = (RecordRow.commitment == commitment) & (RecordRow.patient == patient)
        with self.session() as session:
            done = session.execute(delete(RecordRow).where(mine, RecordRow.state == "received"))
            return isinstance(done, CursorResult) and done.rowcount == 1

    def records(self, commitments: list[str]) -> dict[str, RecordRow]:
        """The records of these commitments; a missing one is left out."""
        found: dict[str, RecordRow] = {}
        with self.session() as session:
            for start in range(0, len(commitments), 500):
                part = commitments[start : start + 500]
                query = select(RecordRow).where(RecordRow.commitment.in_(part))
                found |= {row.commitment: row for row in session.scalars(query)}
        return found

    def confirm_part(self, commitment: str, epoch: int, place: int, at: int) -> None:
        """Notes that a custodian holds its part of a record; noting it again changes nothing."""
        try:
            with self.session() as session:
                session.add(ConfirmationRow(commitment=commitment, epoch=epoch, place=place, at=at))
        except IntegrityError:
            return

    def confirmed_places(self, commitment: str, epoch: int) -> list[int]:
        """The places of an epoch whose custodians hold their part of a record, in order."""
        of = (ConfirmationRow.commitment == commitment) & (ConfirmationRow.epoch == epoch)
        query = select(ConfirmationRow.place).where(of).order_by(ConfirmationRow.place)
        with self.session() as session:
            return list(session.scalars(query))


def _erasure(row: RecordRow, because: str) -> RecordLogRow:
    return RecordLogRow(
        commitment=row.commitment,
        before=row.state,
        after=ERASED,
        because=because,
        at=datetime.now(UTC),
    )
