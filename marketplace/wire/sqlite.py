"""The SQLite file of a custodian's or gate's journal: durable, migrated, wiped on delete."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from marketplace.errors import Refusal
from marketplace.wire.private import make_database

BUSY_MILLISECONDS = 30_000
CHECKPOINTS = 5
CHECKPOINT_MILLISECONDS = 1_000
"""So often, and each time so long, a log is tried to be emptied while somebody reads."""
TEMPORARY = ("/var/tmp", "/usr/tmp", "/tmp")  # noqa: S108 - where SQLite goes; nothing is opened here
SPARE_BYTES = 4 * 1024 * 1024
"""Left to others on a disk on which a file is rewritten."""
BEGIN = "usufruct_begin"
"""The engine option that says how a transaction begins."""


def open_journal(path: Path, migrations: Path, max_pages: int | None = None) -> Engine:
    """Opens the file, made if absent, and brings its schema up to date.

    WAL with synchronous=FULL: what was committed survives SIGKILL and power loss. secure_delete:
    deleted rows are overwritten with zeros, which is what destroying a share means.

    Args:
        max_pages: SQLite's `max_page_count`, to bound the file's size.

    Raises:
        Refusal: `storage_full`, `storage_unavailable`.
    """
    make_database(path)
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _pragmas(max_pages))
    event.listen(engine, "begin", _begin)
    config = Config()
    config.set_main_option("script_location", str(migrations))
    with refusing(), engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return engine


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """One transaction, all or nothing; writers wait for each other.

    Raises:
        Refusal: `storage_full`, `storage_unavailable`; nothing was written then.
    """
    with refusing(), Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def snapshot(engine: Engine) -> Iterator[Session]:
    """What was committed last, read without waiting for a writer, however long that one takes (WAL).

    Raises:
        Refusal: `storage_unavailable`.
    """
    reader = engine.execution_options(**{BEGIN: "DEFERRED"})
    with refusing(), Session(reader, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def refusing() -> Iterator[None]:
    """Turns a failing disk into a refusal that carries nothing of the statement."""
    try:
        yield
    except (DatabaseError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DatabaseError) else error
        full = "full" in str(cause).lower()
        raise Refusal(
            code="storage_full" if full else "storage_unavailable",
            message="This process's journal is full." if full else "The journal cannot be written.",
            remedy="Free disk space and try again; nothing was written and nothing released.",
            field="disk" if full else None,
        ) from None


class NotYetDestroyed(Refusal):
    """Deleted rows whose pages may still be in the file or its log."""

    CODE = "not_yet_destroyed"


def destroy_remains(engine: Engine) -> None:
    """Rewrites the file and empties its log, so that no deleted page is left in either.

    A reader keeps the log from being emptied as long as it looks at what was there before; it is waited for.
    The file is rewritten into an empty log only: repeated while somebody reads, it makes that no longer.

    Raises:
        NotYetDestroyed: somebody read, or wrote, all that time. Refusal: `storage_full`,
            `storage_unavailable`. What was deleted stays deleted, and may still lie on the disk.
    """
    with refusing(), engine.connect() as connection:
        raw = connection.connection.driver_connection
        if raw is None:
            raise _remaining()
        connection.rollback()
        raw.execute(f"PRAGMA busy_timeout={CHECKPOINT_MILLISECONDS}")
        try:
            _empty_log(raw)
            _require_room(raw)
            raw.execute("VACUUM")
            _empty_log(raw)
        finally:
            raw.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")


def _require_room(raw: Any) -> None:
    """VACUUM writes the file's size twice: a temporary file, and the log. Where there is no room for that, it
    would fill the disk for everybody there, and fail at the end.
    """
    path = Path(raw.execute("PRAGMA database_list").fetchone()[2])
    pages, size = (
        raw.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
    )
    needed = dict[int, int]()
    for folder in (path.parent, _temporary()):
        device = folder.stat().st_dev
        needed[device] = needed.get(device, SPARE_BYTES) + pages * size
        if shutil.disk_usage(folder).free < needed[device]:
            raise sqlite3.OperationalError("database or disk is full")


def _temporary() -> Path:
    """Where SQLite keeps temporary files (https://www.sqlite.org/tempfiles.html, section 5)."""
    named = [os.environ[each] for each in ("SQLITE_TMPDIR", "TMPDIR") if os.environ.get(each)]
    usable = (Path(each) for each in (*named, *TEMPORARY) if os.access(each, os.W_OK))
    return next(usable, Path.cwd())


def _empty_log(raw: Any) -> None:
    if not any(_is_emptied(raw) for _ in range(CHECKPOINTS)):
        raise _remaining()


def _is_emptied(raw: Any) -> bool:
    """Whether a checkpoint went through to the end: SQLite says 1 first where it was kept from it."""
    (busy, _, _) = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def _remaining() -> NotYetDestroyed:
    return NotYetDestroyed(
        message="What was deleted from the journal may still lie in its log: somebody reads the file.",
        remedy="Nothing has to be done: it is tried again. If it goes on, end what else has the file open.",
    )


def _pragmas(max_pages: int | None) -> Any:
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun by `_begin`, not by the driver
        connection.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        if max_pages is not None:
            connection.execute(f"PRAGMA max_page_count={int(max_pages)}")

    return prepare


def _begin(connection: Any) -> None:
    # IMMEDIATE: a journal entry is computed from the one before it, so no writer may come between.
    how = connection.get_execution_options().get(BEGIN, "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {how}")
