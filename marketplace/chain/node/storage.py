"""The chain's store: py-evm's key-value pairs, and an index of logs, in one SQLite file.

py-evm writes a block as hundreds of separate keys. Here they gather in memory and reach SQLite as
*one* transaction when the JSON-RPC write ends (WAL, ``synchronous=FULL``: a commit is on disk
before it is acknowledged), so SIGKILL at any moment leaves the old head or the whole new block.
Outside a write nothing can be set: a call that tried to would be a fault, and fails.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from eth.db.backends.base import BaseDB

from marketplace.chain.node.errors import InternalError, StartRefused, StoreFull
from marketplace.errors import Refusal
from marketplace.wire.private import make_database, make_folder

STORE_VERSION = 1
FILE_NAME = "chain.sqlite3"
LOCK_NAME = "chain.lock"

_SCHEMA = """
CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE log (
    block INTEGER NOT NULL, position INTEGER NOT NULL, block_hash BLOB NOT NULL,
    transaction_index INTEGER NOT NULL, transaction_hash BLOB NOT NULL, address BLOB NOT NULL,
    topic0 BLOB, topic1 BLOB, topic2 BLOB, topic3 BLOB, data BLOB NOT NULL,
    PRIMARY KEY (block, position)
) WITHOUT ROWID;
CREATE INDEX log_by_address ON log (address, block);
"""


@dataclass(frozen=True)
class LogRow:
    """One event of one canonical block. Topics: at most four, 32 bytes each."""

    block: int
    position: int
    block_hash: bytes
    transaction_index: int
    transaction_hash: bytes
    address: bytes
    topics: tuple[bytes, ...]
    data: bytes

    def columns(self) -> tuple[object, ...]:
        """Values in the order of table ``log``; absent topics are NULL."""
        padded = (*self.topics, None, None, None, None)[:4]
        head = (self.block, self.position, self.block_hash, self.transaction_index)
        return (*head, self.transaction_hash, self.address, *padded, self.data)

    @classmethod
    def from_columns(cls, row: Sequence[Any]) -> LogRow:
        """The inverse of ``columns``."""
        topics = tuple(topic for topic in row[6:10] if topic is not None)
        block, position, block_hash, index, digest, address = row[:6]
        return cls(block, position, block_hash, index, digest, address, topics, row[10])


@dataclass(frozen=True)
class LogQuery:
    """Blocks ``first`` to ``last`` inclusive; empty alternatives match anything (EIP-1474)."""

    first: int
    last: int
    addresses: tuple[bytes, ...] = ()
    topics: tuple[tuple[bytes, ...], ...] = ()

    def where(self) -> tuple[str, list[object]]:
        """SQL condition with its parameters. No value is ever part of the text."""
        clauses, values = ["block BETWEEN ? AND ?"], [self.first, self.last]
        columns = [("address", self.addresses)]
        columns += [(f"topic{place}", wanted) for place, wanted in enumerate(self.topics)]
        parameters: list[object] = list(values)
        for column, wanted in columns:
            if wanted:
                clauses.append(f"{column} IN ({', '.join('?' * len(wanted))})")
                parameters.extend(wanted)
        if self.topics:  # a pattern of n places matches only logs with at least n topics
            clauses.append(f"topic{len(self.topics) - 1} IS NOT NULL")
        return " AND ".join(clauses), parameters


class ChainStore(BaseDB):
    """The key-value store behind py-evm. Not safe for threads: the node holds a lock around it.

    Raises ``StartRefused`` when another process has the store open, or another version wrote it.
    """

    def __init__(self, folder: Path, max_pages: int | None = None) -> None:
        make_folder(folder)
        self._lock = _lock_folder(folder)
        self._buffer: dict[bytes, bytes | None] | None = None
        self._logs: list[LogRow] = []
        self._meta: dict[str, str] = {}
        try:
            self._db = _open(folder / FILE_NAME, max_pages)
        except StartRefused:
            self._lock.close()
            raise

    def __getitem__(self, key: bytes) -> bytes:
        buffered = self._buffer or {}
        value = buffered[key] if key in buffered else self._stored(key)
        if value is None:
            raise KeyError(key)
        return value

    def _stored(self, key: bytes) -> bytes | None:
        row = self._db.execute("SELECT value FROM kv WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._writable()[key] = value

    def __delitem__(self, key: bytes) -> None:
        if key not in self:
            raise KeyError(key)
        self._writable()[key] = None

    def _exists(self, key: bytes) -> bool:
        try:
            self[key]
        except KeyError:
            return False
        return True

    def _writable(self) -> dict[bytes, bytes | None]:
        if self._buffer is None:
            raise InternalError("a read tried to write to the chain store; nothing was written")
        return self._buffer

    @contextmanager
    def write(self) -> Iterator[None]:
        """Gather everything set inside, and commit it at the end: all of it, or none.

        Raises ``StoreFull`` when SQLite may not grow, ``InternalError`` on other write failures.
        """
        self._buffer = {}
        try:
            yield
            self._commit(self._buffer)
        finally:
            self._buffer = None
            self._logs, self._meta = [], {}

    def _commit(self, buffer: dict[bytes, bytes | None]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._flush(buffer)
            self._db.execute("COMMIT")
        except sqlite3.Error as failure:
            if self._db.in_transaction:  # SQLite rolls back by itself on some failures
                self._db.execute("ROLLBACK")
            raise _write_failure(failure) from failure

    def _flush(self, buffer: dict[bytes, bytes | None]) -> None:
        gone = [(key,) for key, value in buffer.items() if value is None]
        kept = [(key, value) for key, value in buffer.items() if value is not None]
        self._db.executemany("DELETE FROM kv WHERE key = ?", gone)
        self._db.executemany("INSERT OR REPLACE INTO kv VALUES (?, ?)", kept)
        rows = [log.columns() for log in self._logs]
        self._db.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", self._meta.items())

    def add_log(self, log: LogRow) -> None:
        """Index one event, with the block it belongs to."""
        self._writable()
        self._logs.append(log)

    def find_logs(self, query: LogQuery, limit: int) -> list[LogRow]:
        """At most ``limit`` matching events, in the order of the chain."""
        condition, parameters = query.where()
        sql = f"SELECT * FROM log WHERE {condition} ORDER BY block, position LIMIT ?"  # noqa: S608
        return [LogRow.from_columns(row) for row in self._db.execute(sql, [*parameters, limit])]

    def set_meta(self, name: str, value: str) -> None:
        """Keep a fact about the store itself."""
        self._writable()
        self._meta[name] = value

    def get_meta(self, name: str) -> str | None:
        """A fact kept by an earlier write, or None."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def close(self) -> None:
        """Close SQLite and let another process open the store."""
        self._db.close()
        self._lock.close()


def _lock_folder(folder: Path) -> IO[str]:
    """Hold ``chain.lock`` for as long as this process lives; the kernel frees it on SIGKILL."""
    handle = (folder / LOCK_NAME).open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as taken:
        handle.close()
        raise StartRefused(
            f"another process already serves the chain in {folder}. "
            "Stop it first, or start this one with another --data folder."
        ) from taken
    return handle


def _open(path: Path, max_pages: int | None) -> sqlite3.Connection:
    try:
        make_database(path)
    except Refusal as refusal:
        raise StartRefused(f"the chain store {path}: {refusal}") from refusal
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        _configure(db, max_pages)
        _prepare(db)
    except (sqlite3.Error, StartRefused) as failure:
        db.close()
        raise StartRefused(f"the chain store {path} can not be opened: {failure}") from failure
    return db


def _configure(db: sqlite3.Connection, max_pages: int | None) -> None:
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    if max_pages is not None:
        db.execute(f"PRAGMA max_page_count={int(max_pages)}")


def _prepare(db: sqlite3.Connection) -> None:
    """Create the tables of a new file; refuse a file of another version."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={STORE_VERSION};COMMIT;")
    elif version != STORE_VERSION:
        raise StartRefused(
            f"it has format {version}, this program reads format {STORE_VERSION}. "
            "Use the program version that wrote it."
        )


def _write_failure(failure: sqlite3.Error) -> StoreFull | InternalError:
    if getattr(failure, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return StoreFull(
            "the chain store is full; nothing was written and the chain stays at its head. "
            "Free disk space (or raise --max-pages) and send again; reads go on meanwhile."
        )
    return InternalError(f"the chain store could not be written: {failure}")
