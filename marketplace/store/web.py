"""Challenges and sessions of the pages. Tokens and cookies come in here only as their SHA-256."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, CursorResult, delete, select, update
from sqlalchemy.orm import Session

from marketplace.store.models import WebChallengeRow, WebSessionRow
from marketplace.store.transactions import Transactions

MOST_CHALLENGES: Final = 10_000
MOST_SESSIONS: Final = 20_000
"""Rows in all, whoever makes them, so that a flood fills no disk. Beyond that the oldest challenges go, and
of sessions first those that nobody used after the first minute."""
CHALLENGES_OF_BROWSER: Final = 5
SESSIONS_OF_ACCOUNT: Final = 8
"""Somebody's own oldest go first: a telephone, a desk and a few forgotten ones."""


class WebSessions(Transactions):
    """Who is signing in, and who is signed in."""

    def keep_challenge(self, row: WebChallengeRow) -> None:
        """Keeps a challenge, and drops what is over the bounds.

        Raises:
            Refusal: `storage_full`, `storage_unavailable`.
        """
        kept = WebChallengeRow
        with self.session() as session:
            session.add(row)
            session.flush()
            others = kept.nonce != row.nonce
            _drop_challenges(session, others & (kept.browser == row.browser), CHALLENGES_OF_BROWSER)
            _drop_challenges(session, others, MOST_CHALLENGES)

    def take_challenge(self, nonce: str) -> WebChallengeRow | None:
        """The challenge with this nonce, which is gone with it: of two that take it, one gets it.

        Raises:
            Refusal: `storage_unavailable`.
        """
        taken = delete(WebChallengeRow).where(WebChallengeRow.nonce == nonce)
        with self.session() as session:
            return session.scalars(taken.returning(WebChallengeRow)).one_or_none()

    def start_session(self, row: WebSessionRow, *, instead_of: str | None) -> None:
        """Keeps a session, ends the one it comes in place of, and drops what is over the bounds.

        Raises:
            Refusal: `storage_full`, `storage_unavailable`.
        """
        kept = WebSessionRow
        with self.session() as session:
            if instead_of is not None:
                session.execute(delete(kept).where(kept.token == instead_of))
            session.add(row)
            session.flush()
            others = kept.token != row.token
            newest = kept.seen_at.desc()
            mine = others & (kept.account == row.account)
            _drop_sessions(session, mine, SESSIONS_OF_ACCOUNT, newest)
            used = (kept.seen_at > kept.started_at).desc()
            _drop_sessions(session, others, MOST_SESSIONS, used, newest)

    def web_session(self, token: str) -> WebSessionRow | None:
        """The session whose token has this hash, expired or not."""
        with self.session() as session:
            return session.get(WebSessionRow, token)

    def see_session(self, token: str, *, before: int, now: int, half: str) -> bool:
        """Notes that it is in use, if it was last seen `before`. False if another request was first."""
        here = (WebSessionRow.token == token) & (WebSessionRow.seen_at == before)
        seen = update(WebSessionRow).where(here).values(seen_at=now, half=half)
        with self.session() as session:
            done = session.execute(seen.execution_options(synchronize_session=False))
            return isinstance(done, CursorResult) and done.rowcount == 1

    def end_session(self, token: str) -> None:
        """The row is deleted, and with it what opens the tab's keys. Ending twice changes nothing."""
        with self.session() as session:
            session.execute(delete(WebSessionRow).where(WebSessionRow.token == token))

    def sweep_web(self, *, now: int, unseen_since: int) -> None:
        """Drops challenges and sessions that expired, and sessions last seen before `unseen_since`."""
        session_over = (WebSessionRow.expires_at <= now) | (WebSessionRow.seen_at < unseen_since)
        with self.session() as session:
            session.execute(delete(WebChallengeRow).where(WebChallengeRow.expires_at <= now))
            session.execute(delete(WebSessionRow).where(session_over))


def _drop_challenges(session: Session, others: ColumnElement[bool], most: int) -> None:
    """Leaves, with the one that was just added, `most`: within one second all are equally old."""
    newest = select(WebChallengeRow.nonce).where(others)
    newest = newest.order_by(WebChallengeRow.expires_at.desc()).offset(most - 1)
    session.execute(delete(WebChallengeRow).where(WebChallengeRow.nonce.in_(newest)))


def _drop_sessions(
    session: Session, others: ColumnElement[bool], most: int, *best: ColumnElement[Any]
) -> None:
    dropped = select(WebSessionRow.token).where(others).order_by(*best).offset(most - 1)
    session.execute(delete(WebSessionRow).where(WebSessionRow.token.in_(dropped)))
