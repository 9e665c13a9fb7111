"""Challenges and sessions of the pages. Tokens and cookies come in here only as their SHA-256.

Both cost nothing to make, so their number is bounded; but nobody is refused because others hold them. Whoever
comes is let in: a row of the same network makes room where that has its share, and one of the network that
holds the most where there are too many in all. So whoever signs in with many accounts signs its own out, and
leaves another network no less than an even share.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    SQLColumnExpression,
    delete,
    func,
    select,
    true,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from marketplace.store.models import WebChallengeRow, WebSessionRow
from marketplace.store.transactions import Transactions, one_at_a_time

MOST_CHALLENGES: Final = 10_000
MOST_SESSIONS: Final = 20_000
"""Rows in all, whoever makes them, so that a flood fills no disk."""
CHALLENGES_OF_NETWORK: Final = 6_000
"""All that an address is let have in the ten minutes of a challenge (600 a minute): nobody behind the largest
NAT loses one that could still be signed. It bounds what counters in memory forget at a restart. Ten /64 of
one /48 of IPv6 can make more of them together: then the oldest of that network go, at its cost alone."""
SESSIONS_OF_NETWORK: Final = 1_000
"""People signed in at once behind one hospital's address: of 10,000 employees one in ten. It takes twenty
networks to fill what there is; and of the thousand no more than 450 are young (300 sign-ins a minute for
`YOUNG_SECONDS`), so that newcomers leave room for whoever is at work: those of one address, or of one /64 of
IPv6. Of IPv6 a network is a /48, where several /64 together have more, at the cost of that network alone."""
YOUNG_SECONDS: Final = 90
"""So long a session counts as used though nobody looked at another page yet: else, where all others are used,
the next sign-in would end the one of just now."""
CHALLENGES_OF_BROWSER: Final = 5
SESSIONS_OF_ACCOUNT: Final = 8
"""Somebody's own oldest go first: a telephone, a desk and a few forgotten ones."""
SIGN_INS: Final = 0x7765625F
"""Names the lock under which challenges and sessions are counted."""

Row = WebChallengeRow | WebSessionRow


class WebSessions(Transactions):
    """Who is signing in, and who is signed in."""

    def keep_challenge(self, row: WebChallengeRow) -> None:
        """Keeps a challenge, and drops what is over the bounds: the oldest first.

        Raises:
            Refusal: `storage_full`, `storage_unavailable`.
        """
        kept = WebChallengeRow
        with self.session() as session:
            one_at_a_time(session, SIGN_INS)
            session.add(row)
            session.flush()
            oldest = kept.expires_at
            browsers, networks = kept.browser == row.browser, kept.network == row.network
            _bound(session, row, browsers, CHALLENGES_OF_BROWSER, oldest)
            _bound(session, row, networks, CHALLENGES_OF_NETWORK, oldest)
            _make_room(session, row, MOST_CHALLENGES, oldest)

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

        First go those that nobody used, the oldest first; then those that nobody used for the longest.

        Raises:
            Refusal: `storage_full`, `storage_unavailable`.
        """
        kept = WebSessionRow
        with self.session() as session:
            one_at_a_time(session, SIGN_INS)
            if instead_of is not None:
                session.execute(delete(kept).where(kept.token == instead_of))
            session.add(row)
            session.flush()
            young = kept.started_at > row.started_at - YOUNG_SECONDS
            worst = ((kept.seen_at > kept.started_at) | young, kept.seen_at)
            accounts, networks = kept.account == row.account, kept.network == row.network
            _bound(session, row, accounts, SESSIONS_OF_ACCOUNT, *worst)
            _bound(session, row, networks, SESSIONS_OF_NETWORK, *worst)
            _make_room(session, row, MOST_SESSIONS, *worst)

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
            one_at_a_time(session, SIGN_INS)
            session.execute(delete(WebChallengeRow).where(WebChallengeRow.expires_at <= now))
            session.execute(delete(WebSessionRow).where(session_over))


def _bound(
    session: Session,
    row: Row,
    among: ColumnElement[bool],
    most: int,
    *worst: SQLColumnExpression[Any],
) -> None:
    """Leaves `most` of these, the row that was just added in any case."""
    _drop(session, row, among, _number(session, row, among) - most, *worst)


def _make_room(session: Session, row: Row, most: int, *worst: SQLColumnExpression[Any]) -> None:
    """Leaves `most` in all: for each too many, one of the network that holds the most."""
    table = type(row)
    for _ in range(_number(session, row, true()) - most):
        _drop(session, row, table.network == _largest(session, row), 1, *worst)


def _largest(session: Session, row: Row) -> str:
    """The network with the most rows; of several, the row's own."""
    table = type(row)
    others = select(table.network).where(_key(row) != _name(row)).group_by(table.network)
    own = (table.network == row.network).desc()
    return session.scalars(others.order_by(func.count().desc(), own).limit(1)).one()


def _drop(
    session: Session,
    row: Row,
    among: ColumnElement[bool],
    number: int,
    *worst: SQLColumnExpression[Any],
) -> None:
    key = _key(row)
    dropped = select(key).where(among, key != _name(row)).order_by(*worst).limit(max(0, number))
    gone = delete(type(row)).where(key.in_(dropped))
    session.execute(gone.execution_options(synchronize_session=False))


def _number(session: Session, row: Row, among: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(type(row)).where(among)) or 0


def _key(row: Row) -> InstrumentedAttribute[str]:
    return WebSessionRow.token if isinstance(row, WebSessionRow) else WebChallengeRow.nonce


def _name(row: Row) -> str:
    return row.token if isinstance(row, WebSessionRow) else row.nonce
