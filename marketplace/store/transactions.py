"""One transaction of the operator's database, and what a write that failed is called."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import CursorResult, Engine, Update, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from marketplace.errors import Refusal

DISK_FULL = "53100"
"""The SQLSTATE of a full disk (PostgreSQL, appendix A)."""


def storage_refusal(error: OperationalError) -> Refusal:
    """A write that the database refused, in words (never the statement: it could carry what it stores)."""
    full = getattr(error.orig, "sqlstate", None) == DISK_FULL
    full = full or getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return Refusal(
        code="storage_full" if full else "storage_unavailable",
        message="The operator's database is full."
        if full
        else "The operator's database did not answer.",
        remedy="Free disk space, then run `usufruct resume`; nothing was changed.",
        field="disk" if full else None,
    )


@dataclass(frozen=True)
class Transactions:
    """The engine, and the one way to use it."""

    engine: Engine

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction. Raises `Refusal` (storage_full, storage_unavailable) where it cannot be kept."""
        try:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                yield session
        except OperationalError as error:
            raise storage_refusal(error) from None


def changed_one(session: Session, statement: Update) -> bool:
    """Whether exactly one row still was what the statement asks for, and was changed."""
    done = session.execute(statement.execution_options(synchronize_session=False))
    return isinstance(done, CursorResult) and done.rowcount == 1


def one_at_a_time(session: Session, what: int) -> None:
    """Until it ends, no other transaction that asked for the same number: what it counts stays true.

    On SQLite there is one writer anyway: its first write is the lock. PostgreSQL, 9.28.10 (advisory locks).
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(what)))
