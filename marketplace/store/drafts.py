"""Sealed records that wait for an issuer's word.

A draft moves only along `NEXT`, and only with its row in the log, in one transaction. What must happen once
(a code used, a state left) is one conditional write, so that of two requests one succeeds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, CursorResult, delete, exists, select, true, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from marketplace.errors import Refusal
from marketplace.store.desks import code_unusable
from marketplace.store.models import (
    DraftLogRow,
    DraftRow,
    InvitationRow,
    IssuerDeskRow,
)
from marketplace.store.shares import Shares, waiting
from marketplace.store.transactions import Transactions, changed_one, one_at_a_time


class DraftState(StrEnum):
    """Where a draft stands. Those that end it have no row among the drafts, only in the log."""

    WAITING = "waiting"
    OPENED = "opened"
    ATTESTED = "attested"
    DECLINED = "declined"
    STORED = "stored"
    REPLACED = "replaced"
    TAKEN_BACK = "taken_back"
    EXPIRED = "expired"


NEXT: Final[Mapping[DraftState, frozenset[DraftState]]] = {
    DraftState.WAITING: frozenset(
        {DraftState.OPENED, DraftState.REPLACED, DraftState.TAKEN_BACK, DraftState.EXPIRED}
    ),
    DraftState.OPENED: frozenset(
        {
            DraftState.ATTESTED,
            DraftState.DECLINED,
            DraftState.STORED,
            DraftState.TAKEN_BACK,
            DraftState.EXPIRED,
        }
    ),
    DraftState.ATTESTED: frozenset({DraftState.OPENED, DraftState.STORED, DraftState.EXPIRED}),
    DraftState.DECLINED: frozenset(
        {DraftState.REPLACED, DraftState.TAKEN_BACK, DraftState.EXPIRED}
    ),
}
"""Once the issuer has looked, nothing takes the draft's place until the issuer has decided. What is stored
straight from opened was attested past the draft, on the command line."""
REPLACEABLE: Final = tuple(state for state, to in NEXT.items() if DraftState.REPLACED in to)
MOST_LISTED: Final = 200
DRAFTS: Final = 0x64726674
"""Names the lock under which places are counted."""
WRONG_PERSON: Final = "wrong_person"
"""The issuer's reason that burns the code: whoever left a draft under it was never invited."""


class IssuerDrafts(Transactions):
    """What patients leave for issuers."""

    def keep_draft(self, row: DraftRow, *, now: int, because: str, shares: Shares) -> DraftRow:
        """Keeps a draft under its code, in place of the patient's earlier one that nobody looked at.

        Returns what is kept: where the very same draft is there already, that one, as far as it came. One
        in place of another for the same issuer takes no place, whatever the issuer's share is by now.

        Raises:
            Refusal: `code_unusable`, `draft_exists`, `draft_opened`, `too_many_drafts`.
        """
        try:
            with self.session() as session:
                one_at_a_time(session, DRAFTS)
                _use_code(session, row, now)
                known = session.get(DraftRow, row.commitment)
                if known is not None:
                    _require_same(known, row)
                    return known
                _require_new(session, row.commitment)
                earlier = _replace_earlier(session, row)
                if earlier is None or earlier.issuer != row.issuer:
                    shares.require_place(session, row.issuer)
                shares.count_use(session, row.code, row.issuer, now)
                session.add(row)
                session.flush()
                session.add(_log(row.commitment, None, DraftState(row.state), because))
        except IntegrityError:  # two drafts of one patient at one moment
            raise _draft_exists() from None
        return row

    def move_draft(
        self, commitment: str, after: DraftState, *, because: str, **changes: Any
    ) -> bool:
        """Moves a draft along `NEXT`, with its log row. Staying where it is only makes the changes.

        Returns False if it is gone, or where another request moved it meanwhile.

        Raises:
            Refusal: `wrong_draft_state`.
        """
        with self.session() as session:
            row = session.get(DraftRow, commitment, with_for_update=True)
            if row is None:
                return False
            before = DraftState(row.state)
            _require_step(before, after)
            here = (DraftRow.commitment == commitment) & (DraftRow.state == before)
            swap = update(DraftRow).where(here).values(state=after, **changes)
            if not changed_one(session, swap):
                return False
            if before != after:
                session.add(_log(commitment, before, after, because))
        return True

    def end_draft(self, commitment: str, after: DraftState, *, because: str) -> bool:
        """Deletes a draft, its record and its opening; the log keeps that it ended. False if it is gone.

        Raises:
            Refusal: `wrong_draft_state`.
        """
        with self.session() as session:
            row = session.get(DraftRow, commitment, with_for_update=True)
            if row is None:
                return False
            before = DraftState(row.state)
            _require_step(before, after)
            return _end(session, row, after, because)

    def draft(self, commitment: str) -> DraftRow | None:
        """The draft of a sealed record."""
        with self.session() as session:
            return session.get(DraftRow, commitment)

    def draft_of(self, dataset: str, patient: str) -> DraftRow | None:
        """A patient's draft in a dataset: there is never more than one."""
        of = (DraftRow.dataset == dataset) & (DraftRow.patient == patient)
        with self.session() as session:
            return session.scalars(select(DraftRow).where(of)).one_or_none()

    def drafts_for(self, dataset: str, issuer: str, states: Collection[str]) -> list[DraftRow]:
        """Drafts for an issuer's desk in these states, oldest first, at most 200."""
        of = (DraftRow.dataset == dataset) & (DraftRow.issuer == issuer)
        query = select(DraftRow).where(of, DraftRow.state.in_(states))
        with self.session() as session:
            ordered = query.order_by(DraftRow.made_at, DraftRow.commitment)
            return list(session.scalars(ordered.limit(MOST_LISTED)))

    def drafts_in(self, state: DraftState, most: int) -> list[str]:
        """Commitments of drafts in this state, oldest first."""
        query = select(DraftRow.commitment).where(DraftRow.state == state)
        with self.session() as session:
            return list(session.scalars(query.order_by(DraftRow.made_at).limit(most)))

    def number_of_drafts(self, issuer: str | None = None) -> int:
        """Of everybody, or for one issuer."""
        with self.session() as session:
            return waiting(session, true() if issuer is None else DraftRow.issuer == issuer)

    def draft_history(self, commitment: str) -> list[DraftLogRow]:
        """What became of a draft, in order; also of one that is gone."""
        query = select(DraftLogRow).where(DraftLogRow.commitment == commitment)
        with self.session() as session:
            return list(session.scalars(query.order_by(DraftLogRow.id)))

    def sweep_drafts(self, *, now: int, made_before: int) -> int:
        """Deletes drafts made before then, expired invitations and ended desks. Returns how many drafts."""
        with self.session() as session:
            session.execute(delete(InvitationRow).where(InvitationRow.expires_at <= now))
            session.execute(delete(IssuerDeskRow).where(IssuerDeskRow.until <= now))
            old = session.scalars(select(DraftRow).where(DraftRow.made_at < made_before))
            ended = [
                _end(session, row, DraftState.EXPIRED, "nobody decided in time")
                for row in old.all()
            ]
            return sum(ended)


def _use_code(session: Session, row: DraftRow, now: int) -> None:
    """One code, one person: it is this draft's from now on, or nothing is kept."""
    earlier = _draft_under(session, row)
    if earlier is not None and (earlier.reason or {}).get("code") == WRONG_PERSON:
        raise code_unusable()
    good = (InvitationRow.code == row.code) & (InvitationRow.expires_at > now)
    good &= (InvitationRow.dataset == row.dataset) & (InvitationRow.issuer == row.issuer)
    mine = select(DraftRow.commitment).where(
        DraftRow.patient == row.patient, DraftRow.state.in_(REPLACEABLE), DraftRow.code == row.code
    )
    free: ColumnElement[bool] = InvitationRow.used_by.is_(None)
    free |= (InvitationRow.used_by == row.commitment) | InvitationRow.used_by.in_(mine)
    if changed_one(session, update(InvitationRow).where(good, free).values(used_by=row.commitment)):
        return
    is_decided_on = earlier is not None and DraftState(earlier.state) not in REPLACEABLE
    raise _opened() if is_decided_on else code_unusable()


def _draft_under(session: Session, row: DraftRow) -> DraftRow | None:
    """The patient's own draft under the same code, where there is one."""
    of = (DraftRow.dataset == row.dataset) & (DraftRow.patient == row.patient)
    query = select(DraftRow).where(of, DraftRow.code == row.code).with_for_update()
    return session.scalars(query).one_or_none()


def _require_same(known: DraftRow, row: DraftRow) -> None:
    names = ("dataset", "patient", "issuer", "code", "record")
    if any(getattr(known, name) != getattr(row, name) for name in names):
        raise _draft_exists()


def _require_new(session: Session, commitment: str) -> None:
    """A commitment comes once: what was stored, declined or let expire never waits again."""
    if session.scalar(select(exists().where(DraftLogRow.commitment == commitment))):
        raise _draft_exists()


def _replace_earlier(session: Session, row: DraftRow) -> DraftRow | None:
    """Ends the patient's earlier draft and returns it; None where there is none."""
    of = (DraftRow.dataset == row.dataset) & (DraftRow.patient == row.patient)
    earlier = session.scalars(select(DraftRow).where(of).with_for_update()).one_or_none()
    if earlier is None:
        return None
    if DraftState(earlier.state) not in REPLACEABLE or not _end(
        session, earlier, DraftState.REPLACED, "the patient left another"
    ):
        raise _opened()
    return earlier


def _end(session: Session, row: DraftRow, after: DraftState, because: str) -> bool:
    here = (DraftRow.commitment == row.commitment) & (DraftRow.state == row.state)
    before = DraftState(row.state)
    done = session.execute(
        delete(DraftRow).where(here).execution_options(synchronize_session=False)
    )
    if not isinstance(done, CursorResult) or done.rowcount != 1:
        return False
    session.expunge(row)
    session.add(_log(row.commitment, before, after, because))
    return True


def _require_step(before: DraftState, after: DraftState) -> None:
    if before != after and after not in NEXT[before]:
        raise Refusal(
            code="wrong_draft_state",
            message=f"A draft that is {before} cannot become {after}.",
            remedy="Look at the list of drafts again: somebody was faster, or it has to be opened first.",
            field="draft",
        )


def _log(
    commitment: str, before: DraftState | None, after: DraftState, because: str
) -> DraftLogRow:
    return DraftLogRow(
        commitment=commitment, before=before, after=after, because=because, at=datetime.now(UTC)
    )


def _draft_exists() -> Refusal:
    return Refusal(
        code="draft_exists",
        message="This very record was left before, or another one at this moment.",
        remedy="Look at where your record stands. To leave another, seal the values again.",
        field="record",
    )


def _opened() -> Refusal:
    return Refusal(
        code="draft_opened",
        message="The clinic has opened the record that you left before, and may be about to attest it.",
        remedy="Wait until it has decided, or ask it to decline that one.",
        field="record",
    )
