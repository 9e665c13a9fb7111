"""How many drafts wait, and come in a day: bounded by clinic and by code, where no restart forgets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, case, func, select, true, update
from sqlalchemy.orm import Session

from marketplace.errors import Refusal
from marketplace.store.models import DraftRow, InvitationRow
from marketplace.store.transactions import changed_one

DAY: Final = 86_400
TOMORROW: Final = "Try again tomorrow, with the same invitation."


@dataclass(frozen=True)
class Shares:
    """What each may have.

    Args:
        most: drafts that wait, of everybody.
        shared: of these, what any issuer may take; the rest is for issuers that have `few` or less.
        of_issuer: drafts that wait for one issuer, in all its datasets.
        few: what an issuer finds room for though others have taken all that is shared.
        codes_a_day: codes of one issuer with which anything is left on a day (UTC).
        uses_a_day: drafts that one code lets in on a day, each in place of the one before.
    """

    most: int
    shared: int
    of_issuer: int
    few: int
    codes_a_day: int
    uses_a_day: int

    def require_place(self, session: Session, issuer: str) -> None:
        """Raises Refusal (too_many_drafts) unless one more draft may wait for this issuer."""
        held = waiting(session, DraftRow.issuer == issuer)
        if held >= self.of_issuer:
            raise too_many(
                f"{held} records wait for this clinic, as many as for any.",
                "Ask it to decide on those that wait, then use the same invitation.",
            )
        if waiting(session, true()) >= (self.most if held < self.few else self.shared):
            raise too_many("The operator keeps as many records that wait for clinics as it can.")

    def count_use(self, session: Session, code: str, issuer: str, now: int) -> None:
        """Counts a draft that a code lets in. Raises Refusal (too_many_drafts): enough for today."""
        row, today = InvitationRow, now // DAY
        is_first = row.used_on.is_(None) | (row.used_on != today)
        seldom = update(row).where(row.code == code, is_first | (row.uses < self.uses_a_day))
        counted = seldom.values(used_on=today, uses=case((is_first, 1), else_=row.uses + 1))
        if not changed_one(session, counted):
            raise too_many(f"With this invitation {self.uses_a_day} records were left today.")
        used = select(func.count()).where(row.issuer == issuer, row.used_on == today)
        if (session.scalar(used) or 0) > self.codes_a_day:
            raise too_many("As many records were left for this clinic today as on any day.")


def waiting(session: Session, of: ColumnElement[bool]) -> int:
    """The number of these drafts."""
    return session.scalar(select(func.count()).select_from(DraftRow).where(of)) or 0


def too_many(message: str, remedy: str = TOMORROW) -> Refusal:
    """The refusal of a draft for which there is no place now."""
    return Refusal(code="too_many_drafts", message=message, remedy=remedy)
