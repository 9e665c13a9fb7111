"""How much was carried for each patient today: counted in the database, so that a restart forgets nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeVar

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from marketplace.store.models import CarriedRow
from marketplace.store.transactions import Transactions

T = TypeVar("T")
Key = tuple[str, str, str]
"""Kind of message, dataset, patient."""

KEPT_DAYS: Final = 2
"""Yesterday's too: another worker's clock may be a little behind."""
ATTEMPTS: Final = 20
"""Of several workers that count one patient for the first time, one is first; the others count again."""


class Carried(Transactions):
    """The counts of the day. Those of earlier days are deleted."""

    def count(self, day: int, keys: Collection[Key], decide: Callable[[dict[Key, int]], T]) -> T:
        """Hands the counts of these keys to `decide`, keeps what it makes of them, returns what it returns.

        One transaction: nobody else counts the same keys meanwhile. `decide` may be called again.

        Raises:
            Refusal: `storage_full`, `storage_unavailable`; nothing was counted then.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return self._count(day, keys, decide)
            except IntegrityError:
                continue
        return self._count(day, keys, decide)

    def _count(self, day: int, keys: Collection[Key], decide: Callable[[dict[Key, int]], T]) -> T:
        with self.session() as session:
            # A write first: on SQLite it is the lock that keeps others from counting.
            session.execute(delete(CarriedRow).where(CarriedRow.day <= day - KEPT_DAYS))
            rows = {
                key: _row(session, day, key) for key in sorted(set(keys))
            }  # sorted: no deadlock
            counts = {key: 0 if row is None else row.number for key, row in rows.items()}
            decided = decide(counts)
            for key, row in rows.items():
                _keep(session, day, key, row, counts[key])
            session.flush()
        return decided

    def reached(self, day: int, kinds: Collection[str], number: int) -> set[Key]:
        """What of these kinds was counted so often on a day, or more often.

        Raises:
            Refusal: `storage_unavailable`.
        """
        row = CarriedRow
        asked = select(row.kind, row.dataset, row.patient)
        asked = asked.where(row.day == day, row.kind.in_(kinds), row.number >= number)
        with self.session() as session:
            return {(kind, dataset, patient) for kind, dataset, patient in session.execute(asked)}

    def give_back(self, day: int, spent: Mapping[Key, int]) -> None:
        """Takes counts back, since nothing was sent after all."""

        def less(counts: dict[Key, int]) -> None:
            for key, number in spent.items():
                counts[key] = max(0, counts[key] - number)

        self.count(day, spent, less)


def _row(session: Session, day: int, key: Key) -> CarriedRow | None:
    return session.get(CarriedRow, (day, *key), with_for_update=True)


def _keep(session: Session, day: int, key: Key, row: CarriedRow | None, number: int) -> None:
    if row is not None:
        row.number = number
    elif number:
        kind, dataset, patient = key
        session.add(CarriedRow(day=day, kind=kind, dataset=dataset, patient=patient, number=number))
