"""What a custodian remembers of a session of key generation; its polynomial under the storage key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marketplace.custodian.journal import Journal
from marketplace.custodian.keygen_seats import Seats, refused
from marketplace.custodian.keys import Keys
from marketplace.custodian.models import KeygenRow
from marketplace.wire.http import to_hex
from ml.homomorphic.keygen import Polynomial
from ml.homomorphic.scalars import scalars_from_bytes, scalars_to_bytes


class KeygenRows:
    """Rows by session. Callers see to it that one thread works on them."""

    def __init__(self, journal: Journal, keys: Keys) -> None:
        self._journal = journal
        self._keys = keys

    def of(self, seats: Seats) -> KeygenRow:
        """The session's row, or a new one that is not kept yet."""
        session = seats.session
        with self._journal.reading() as reading:
            row = reading.get(KeygenRow, session.id)
        return row or KeygenRow(session=session.id, epoch=session.epoch, origin=session.origin)

    def keep(self, row: KeygenRow, kind: str, body: Mapping[str, Any]) -> None:
        """The row with its journal entry, before what it says leaves."""
        with self._journal.writing() as session:
            session.merge(row)
            self._journal.append(session, kind, {"session": to_hex(row.session), **body})

    def locked(self, seats: Seats, polynomial: Polynomial) -> bytes:
        """As it lies in the journal."""
        return self._keys.lock(scalars_to_bytes(polynomial.coefficients), seats.session.id)

    def unlocked(self, seats: Seats, row: KeygenRow) -> Polynomial:
        """What this custodian dealt in the session. Raises KeygenRefused: nothing, or no more."""
        if row.polynomial is None:
            raise refused("This custodian has dealt nothing in this session.", "session")
        raw = self._keys.unlock(row.polynomial, seats.session.id)
        return Polynomial(scalars_from_bytes(raw, ValueError))
