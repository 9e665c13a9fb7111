"""Opening the database, and its only writers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    CursorResult,
    create_engine,
    delete,
    event,
    func,
    make_url,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from marketplace.errors import Refusal
from marketplace.stages import LIVE, NEXT, TERMINAL, Settled, Stage
from marketplace.store.carried import Carried
from marketplace.store.desks import IssuerDesks
from marketplace.store.drafts import IssuerDrafts
from marketplace.store.looks import Looks
from marketplace.store.models import (
    ApiNonceRow,
    ComputedRow,
    ReceiptRow,
    RequestRow,
    StageLogRow,
)
from marketplace.store.scores import Scores
from marketplace.store.sealed_records import SealedRecords
from marketplace.store.web import WebSessions
from marketplace.wire.private import make_database

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_MILLISECONDS = 30_000
POOL = 20
"""Connections kept, and as many more at need: beyond the threads that answer and work at once, so that none
waits for a connection while it could be given one."""


@dataclass(frozen=True)
class Database(SealedRecords, Carried, WebSessions, Looks, IssuerDesks, IssuerDrafts, Scores):
    """The operator's store. Every change of stage goes through `move`, which writes the log with it."""

    # --- requests

    def submit(self, row: RequestRow, because: str) -> bool:
        """Adds a request, with its first log row. Returns False if it was there already."""
        try:
            with self.session() as session:
                session.add(row)
                session.flush()
                session.add(_log(row.id, None, Stage(row.stage), because))
        except IntegrityError:
            return False
        return True

    def move(
        self, request: str, after: Stage, because: str, reason: dict[str, Any] | None = None
    ) -> None:
        """Moves a request along the transition table and logs why, in one transaction.

        Moving to where it already is does nothing, so that every step can be repeated.

        Raises:
            Refusal: `wrong_stage`, if the table does not lead there.
        """
        with self.session() as session:
            row = self._locked(session, request)
            before = Stage(row.stage)
            if before == after:
                return
            if after not in NEXT[before] or not _swap(session, row, after, reason):
                raise Refusal(
                    code="wrong_stage",
                    message=f"A request that is {before} cannot become {after}, or no longer is.",
                    remedy="Look at its stage log; run `usufruct resume` to finish what was left.",
                )
            session.add(_log(request, before, after, because))

    def fall_back(self, request: str, to: Stage, because: str) -> bool:
        """Puts a request back to an earlier stage, since what it stood on is lost; logs why.

        What was computed for it stays kept. Returns False, and changes nothing, unless `to` is earlier.
        """
        with self.session() as session:
            row = self._locked(session, request)
            before = Stage(row.stage)
            if before not in LIVE or to not in LIVE[: LIVE.index(before)]:
                return False
            if not _swap(session, row, to, row.reason):
                return False
            session.add(_log(request, before, to, because))
        return True

    def _locked(self, session: Session, request: str) -> RequestRow:
        row = session.get(RequestRow, request, with_for_update=True)
        if row is None:
            raise unknown_request(request)
        return row

    def request(self, request: str) -> RequestRow:
        """The request. Raises `Refusal` (unknown_request)."""
        with self.session() as session:
            row = session.get(RequestRow, request)
        if row is None:
            raise unknown_request(request)
        return row

    def requests(self, limit: int = 200) -> list[RequestRow]:
        """The latest requests, newest first."""
        with self.session() as session:
            query = select(RequestRow).order_by(RequestRow.submitted_at.desc()).limit(limit)
            return list(session.scalars(query))

    def requests_of(self, researcher: str, limit: int = 200) -> list[RequestRow]:
        """The latest of one researcher, newest first."""
        mine = func.lower(RequestRow.researcher) == researcher.lower()
        with self.session() as session:
            query = select(RequestRow).where(mine)
            query = query.order_by(RequestRow.submitted_at.desc()).limit(limit)
            return list(session.scalars(query))

    def unfinished(self) -> list[str]:
        """Ids of the requests for which there is something left to do, oldest first."""
        open_stages = [stage for stage in Stage if stage not in TERMINAL]
        with self.session() as session:
            query = (
                select(RequestRow.id)
                .where(RequestRow.stage.in_(open_stages))
                .order_by(RequestRow.submitted_at)
            )
            return list(session.scalars(query))

    def unpaid(self, since: datetime) -> tuple[list[str], list[str]]:
        """Ids of the requests that were handed in and not yet seen on chain: since then, and before."""
        newer = RequestRow.submitted_at >= since
        with self.session() as session:
            query = select(RequestRow.id, newer).where(RequestRow.stage == Stage.SUBMITTED)
            found = session.execute(query.order_by(RequestRow.submitted_at)).all()
        return [each for each, new in found if new], [each for each, new in found if not new]

    def unpaid_of(self, researcher: str, since: datetime) -> set[str]:
        """Of these, the ones that one researcher handed in since then."""
        mine = func.lower(RequestRow.researcher) == researcher.lower()
        new = RequestRow.submitted_at >= since
        with self.session() as session:
            query = select(RequestRow.id).where(RequestRow.stage == Stage.SUBMITTED, mine, new)
            return set(session.scalars(query))

    def refused(self, but: str) -> list[str]:
        """Ids of the requests that were refused for another reason than `but` (a code)."""
        code = func.coalesce(RequestRow.reason["code"].as_string(), "")
        with self.session() as session:
            query = select(RequestRow.id).where(RequestRow.stage == Stage.REFUSED, code != but)
            return list(session.scalars(query))

    def log(self, request: str) -> list[StageLogRow]:
        """The request's transitions, in order."""
        with self.session() as session:
            query = (
                select(StageLogRow).where(StageLogRow.request == request).order_by(StageLogRow.id)
            )
            return list(session.scalars(query))

    # --- answers

    def keep_computed(self, row: ComputedRow) -> ComputedRow:
        """Keeps the first answer for a request, and returns whichever was first."""
        try:
            with self.session() as session:
                session.add(row)
        except IntegrityError:
            pass
        kept = self.computed(row.request)
        if kept is None:
            raise unknown_request(row.request)
        return kept

    def computed(self, request: str) -> ComputedRow | None:
        """The noised answer kept for a request."""
        with self.session() as session:
            return session.get(ComputedRow, request)

    def keep_signatures(self, request: str, signatures: list[dict[str, Any]]) -> None:
        """Keeps the custodians' signatures under the settlement."""
        with self.session() as session:
            row = session.get(ComputedRow, request)
            if row is None:
                raise unknown_request(request)
            row.signatures = signatures

    def keep_receipt(self, settled: Settled) -> None:
        """Keeps the receipt of a settled request; the first one stays."""
        row = ReceiptRow(request=settled.request, block=settled.block, receipt=settled.receipt)
        try:
            with self.session() as session:
                session.add(row)
        except IntegrityError:
            return

    def receipt(self, request: str) -> Settled | None:
        """What was kept of a request once it was settled."""
        with self.session() as session:
            row = session.get(ReceiptRow, request)
            return None if row is None else Settled(row.request, row.block, dict(row.receipt))

    # --- signed API requests

    def use_nonce(self, address: str, nonce: str, deadline: int) -> bool:
        """Notes that a signed API request was used, and forgets those too old to be used again.

        Returns False if it had been.
        """
        try:
            with self.session() as session:
                session.execute(delete(ApiNonceRow).where(ApiNonceRow.deadline < int(time.time())))
                session.add(ApiNonceRow(address=address, nonce=nonce, deadline=deadline))
        except IntegrityError:
            return False
        return True

    def forget_nonce(self, address: str, nonce: str) -> None:
        """Gives a nonce back, since what it was used for was refused."""
        mine = (ApiNonceRow.address == address) & (ApiNonceRow.nonce == nonce)
        with self.session() as session:
            session.execute(delete(ApiNonceRow).where(mine))


def unknown_request(request: str) -> Refusal:
    """The refusal of an id that this database does not have; on chain it may exist."""
    return Refusal(
        code="unknown_request",
        message=f"There is no request {request} here.",
        remedy="Check the id; submit the request first (POST /api/v1/requests).",
        field="request",
    )


def _swap(session: Session, row: RequestRow, after: Stage, reason: dict[str, Any] | None) -> bool:
    """Sets the stage if it still is what was read: of two workers on one database, one succeeds."""
    here = (RequestRow.id == row.id) & (RequestRow.stage == row.stage)
    change = update(RequestRow).where(here).values(stage=after, reason=reason)
    done = session.execute(change.execution_options(synchronize_session=False))
    return isinstance(done, CursorResult) and done.rowcount == 1


def _log(request: str, before: Stage | None, after: Stage, because: str) -> StageLogRow:
    return StageLogRow(
        request=request, before=before, after=after, because=because, at=datetime.now(UTC)
    )


def open_database(url: str, *, max_pages: int | None = None) -> Database:
    """Opens the database and brings its schema up to date.

    Args:
        url: an SQLAlchemy URL; `sqlite:///path` or `postgresql+psycopg://...`.
        max_pages: SQLite's `max_page_count`, to bound the file's size.
    """
    sqlite = url.startswith("sqlite")
    if sqlite and (path := make_url(url).database):
        make_database(Path(path))
    engine = create_engine(url, pool_pre_ping=not sqlite, pool_size=POOL, max_overflow=POOL)
    if sqlite:
        event.listen(engine, "connect", _sqlite_pragmas(max_pages))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return Database(engine)


def _sqlite_pragmas(max_pages: int | None) -> Any:
    def prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        # What is deleted is gone from the file: an erased record's row, an opening to a desk's key.
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
        if max_pages is not None:
            cursor.execute(f"PRAGMA max_page_count={int(max_pages)}")
        cursor.close()

    return prepare
