"""Where drafts for an issuer are sealed to, and whom it has invited to leave one."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from marketplace.errors import Refusal
from marketplace.store.models import InvitationRow, IssuerDeskRow
from marketplace.store.transactions import Transactions, changed_one


class IssuerDesks(Transactions):
    """Desks and invitations of issuers."""

    # --- desks

    def keep_desk(self, row: IssuerDeskRow) -> bool:
        """Keeps an issuer's desk in place of one that ends earlier. Returns False if none did.

        So an older statement, which anybody may send again, never comes back.
        """
        mine = (IssuerDeskRow.dataset == row.dataset) & (IssuerDeskRow.issuer == row.issuer)
        later = update(IssuerDeskRow).where(mine, IssuerDeskRow.until < row.until)
        changed = later.values(key=row.key, until=row.until, signature=row.signature)
        try:
            with self.session() as session:
                if not changed_one(session, changed):
                    session.add(row)
        except IntegrityError:
            return False
        return True

    def desks(self, dataset: str, issuer: str | None = None) -> list[IssuerDeskRow]:
        """The desks of a dataset's issuers, or of one of them; also those that have ended."""
        query = select(IssuerDeskRow).where(IssuerDeskRow.dataset == dataset)
        if issuer is not None:
            query = query.where(IssuerDeskRow.issuer == issuer)
        with self.session() as session:
            return list(session.scalars(query.order_by(IssuerDeskRow.issuer)))

    # --- invitations

    def keep_invitations(self, rows: Sequence[InvitationRow], *, now: int, most: int) -> None:
        """Keeps invitations of one issuer for one dataset, all or none. Expired ones are dropped.

        Raises:
            Refusal: `code_known`; `too_many_invitations`, more than `most` would be kept, used ones too.
        """
        dataset, issuer = rows[0].dataset, rows[0].issuer
        try:
            with self.session() as session:
                # A write first: on SQLite it is the lock that keeps others from counting.
                session.execute(delete(InvitationRow).where(InvitationRow.expires_at <= now))
                session.add_all(rows)
                session.flush()
                if _number(session, dataset, issuer) > most:
                    raise _too_many(most)
        except IntegrityError:
            raise _code_known() from None

    def invitation(self, code: str) -> InvitationRow | None:
        """The invitation with this hash, used, expired or neither."""
        with self.session() as session:
            return session.get(InvitationRow, code)

    def invitations(self, dataset: str, issuer: str) -> list[InvitationRow]:
        """An issuer's invitations that are kept, oldest first."""
        of = (InvitationRow.dataset == dataset) & (InvitationRow.issuer == issuer)
        query = select(InvitationRow).where(of).order_by(InvitationRow.made_at, InvitationRow.code)
        with self.session() as session:
            return list(session.scalars(query))


def _number(session: Session, dataset: str, issuer: str) -> int:
    mine = (InvitationRow.dataset == dataset) & (InvitationRow.issuer == issuer)
    return session.scalar(select(func.count()).select_from(InvitationRow).where(mine)) or 0


def _code_known() -> Refusal:
    return Refusal(
        code="code_known",
        message="One of these invitations exists already.",
        remedy="Make new codes: each is for one person.",
        field="codes",
    )


def _too_many(most: int) -> Refusal:
    return Refusal(
        code="too_many_invitations",
        message=f"More than {most} invitations would be kept at once.",
        remedy="Wait until some have expired.",
        field="codes",
    )


def code_unusable() -> Refusal:
    """The same words for a code that was never made, is another dataset's, has expired or was used."""
    return Refusal(
        code="code_unusable",
        message="This invitation is unknown, has expired, or was used by somebody else.",
        remedy="Check it, or ask the clinic for another one.",
        field="code",
    )
