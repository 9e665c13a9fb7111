"""The custodian's own memory: a hash chain of what it did, written before anything is answered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak
from sqlalchemy import Engine, delete, func, select, union, update
from sqlalchemy.orm import Session

from marketplace.custodian.models import (
    CursorRow,
    EntryRow,
    ErasedRow,
    RestoredRow,
    SettlementRow,
    ShareRow,
    TallyRow,
    TurnRow,
)
from marketplace.errors import Refusal
from marketplace.wire.canonical import canonical, tagged_hash
from marketplace.wire.sqlite import destroy_remains, open_journal, transaction

MIGRATIONS = Path(__file__).parent / "migrations"
FILE_NAME = "custodian.sqlite"
GENESIS = bytes(32)
EVENTS = "events"
DESTROYED = "share-destroyed"
WIPED = "shares-wiped"
NEWEST_VERSION = 2**32 - 1  # uint32 on chain
PART = 500  # of SQLite's limit on parameters of one statement
OF_PATIENTS = (ShareRow, RestoredRow)
"""What is kept of a patient's record, and moves and goes with it."""


class JournalBehind(Refusal):
    """This journal is older than what its custodian anchored on chain: a restored backup."""

    CODE = "journal_behind"


@dataclass(frozen=True)
class Head:
    """Height (number of entries) and hash of the last one."""

    height: int
    hash: bytes


def entry_hash(height: int, kind: str, body: bytes, prev: bytes) -> bytes:
    """The head after an entry, 32 bytes."""
    types = ["uint64", "string", "bytes32", "bytes32"]
    return tagged_hash("usufruct/journal/1", types, [height, kind, keccak(body), prev])


class Journal:
    """The journal file of one custodian. Safe for threads and for SIGKILL."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, data: Path, max_pages: int | None = None) -> Journal:
        """Opens or makes it. Raises `Refusal` (storage_full, storage_unavailable)."""
        return cls(open_journal(data / FILE_NAME, MIGRATIONS, max_pages))

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction. Raises `Refusal` where it cannot be kept; nothing is written then."""
        with transaction(self.engine) as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A consistent look. Raises `Refusal` (storage_unavailable)."""
        with transaction(self.engine) as session:
            yield session

    def append(self, session: Session, kind: str, body: Mapping[str, Any]) -> Head:
        """Adds an entry within the caller's transaction, so that no act is without its entry."""
        last = head_of(session)
        raw = canonical(dict(body))
        head = entry_hash(last.height + 1, kind, raw, last.hash)
        session.add(
            EntryRow(height=last.height + 1, kind=kind, body=raw, prev=last.hash, head=head)
        )
        session.flush()
        return Head(last.height + 1, head)

    def append_once(self, session: Session, kind: str, body: Mapping[str, Any]) -> None:
        """As `append`, unless this very entry is there already."""
        same = (EntryRow.kind == kind) & (EntryRow.body == canonical(dict(body)))
        if session.scalar(select(EntryRow.height).where(same)) is None:
            self.append(session, kind, body)

    def head(self) -> Head:
        """Height and hash of the last entry on disk; 0 and 32 zero bytes before the first."""
        with self.reading() as session:
            return head_of(session)

    def require_reaches(self, height: int, head: bytes) -> None:
        """Raises JournalBehind unless this journal contains what was anchored on chain."""
        if height == 0:
            return
        with self.reading() as session:
            entry = session.get(EntryRow, height)
            own = head_of(session).height
        if entry is None or entry.head != head:
            raise JournalBehind(
                message=f"This journal ends at {own}, or differs from what was anchored at {height}.",
                remedy="Restore the newest copy. Where there is none, this identity never works again: "
                "take the place in a new epoch with a new one (`custodian init` in a new folder) and "
                "hand the shares over with `usufruct custodian rewrap`.",
                facts={"own": own, "anchored": height},
            )

    def require_intact(self) -> None:
        """Recomputes the whole hash chain. Raises `Refusal` (journal_damaged)."""
        prev = GENESIS
        with self.reading() as session:
            for entry in session.scalars(select(EntryRow).order_by(EntryRow.height)):
                expected = entry_hash(entry.height, entry.kind, entry.body, prev)
                if entry.prev != prev or entry.head != expected:
                    raise Refusal(
                        code="journal_damaged",
                        message=f"Journal entry {entry.height} does not hash to its head.",
                        remedy="Restore the newest good copy of the journal.",
                        facts={"height": entry.height},
                    )
                prev = entry.head

    # --- shares

    def share(self, commitment: bytes) -> ShareRow | None:
        """The share of one record version, sealed; None if it never came or was destroyed."""
        with self.reading() as session:
            return session.get(ShareRow, commitment)

    def shares(self, commitments: Sequence[bytes]) -> dict[bytes, ShareRow]:
        """The shares held of these commitments."""
        found: dict[bytes, ShareRow] = {}
        with self.reading() as session:
            for start in range(0, len(commitments), PART):
                part = commitments[start : start + PART]
                query = select(ShareRow).where(ShareRow.commitment.in_(part))
                found |= {row.commitment: row for row in session.scalars(query)}
        return found

    def headers(self, commitments: Sequence[bytes]) -> dict[bytes, str]:
        """The headers (JSON) of those records that are known here, with a share or without."""
        found: dict[bytes, str] = {}
        with self.reading() as session:
            for start in range(0, len(commitments), PART):
                part = commitments[start : start + PART]
                for kind in OF_PATIENTS:
                    query = select(kind.commitment, kind.header).where(kind.commitment.in_(part))
                    found |= {row.commitment: row.header for row in session.execute(query)}
        return found

    def holders(self) -> dict[bytes, list[str]]:
        """By dataset, everybody of whose record anything is held."""
        kinds = [select(each.dataset, each.holder.label("holder")) for each in OF_PATIENTS]
        found: dict[bytes, list[str]] = {}
        with self.reading() as session:
            for dataset, holder in session.execute(union(*kinds).order_by("holder")):
                found.setdefault(dataset, []).append(holder)
        return found

    def sealed_for(self, dataset: bytes, holder: str) -> dict[str, list[bytes]]:
        """Commitments of what is held under an address, by the patient's address that its header names: the
        first of the addresses that this patient had with it."""
        found: dict[str, list[bytes]] = {}
        with self.reading() as session:
            for kind in OF_PATIENTS:
                held = (kind.dataset == dataset) & (kind.holder == holder)
                for row in session.execute(select(kind.commitment, kind.header).where(held)):
                    patient = str(json.loads(row.header)["patient"])
                    found.setdefault(patient, []).append(row.commitment)
        return found

    def is_erased(self, commitment: bytes) -> bool:
        """Whether its share was destroyed: from then on nobody can hand it in again."""
        with self.reading() as session:
            return session.get(ErasedRow, commitment) is not None

    def destroy(
        self, session: Session, dataset: bytes, holder: str, newest: int = NEWEST_VERSION
    ) -> int:
        """Deletes what is here of this patient's record up to a version, for ever. Returns of how many."""
        found: set[bytes] = set()
        for kind in OF_PATIENTS:
            held = (kind.dataset == dataset) & (kind.holder == holder) & (kind.version <= newest)
            found |= set(session.scalars(select(kind.commitment).where(held)))
            session.execute(delete(kind).where(held))
        gone = sorted(found)
        if gone:
            session.add_all(ErasedRow(commitment=each) for each in gone)
            for start in range(0, len(gone), PART):
                tallies = TallyRow.commitment.in_(gone[start : start + PART])
                session.execute(update(TallyRow).where(tallies).values(columns=None, proof=None))
            body = {
                "dataset": "0x" + dataset.hex(),
                "holder": holder,
                "commitments": ["0x" + each.hex() for each in gone],
            }
            self.append(session, DESTROYED, body)
        return len(gone)

    def move(self, session: Session, dataset: bytes, before: str, after: str) -> None:
        """The patient has a new address; what is held follows."""
        for kind in OF_PATIENTS:
            held = (kind.dataset == dataset) & (kind.holder == before)
            session.execute(update(kind).where(held).values(holder=after))

    def put_under(self, session: Session, commitments: Sequence[bytes], holder: str) -> None:
        """These records are this address's."""
        for kind in OF_PATIENTS:
            for start in range(0, len(commitments), PART):
                mine = kind.commitment.in_(commitments[start : start + PART])
                session.execute(update(kind).where(mine).values(holder=holder))

    def wipe(self) -> None:
        """After deletions: no page of the file or its log keeps what was deleted. Raises NotYetDestroyed."""
        destroy_remains(self.engine)

    def wipe_destroyed(self) -> None:
        """Wipes, if anything was destroyed since that was last done, and notes it. Raises NotYetDestroyed."""
        with self.reading() as session:
            destroyed, wiped = last_of(session, DESTROYED), _wiped_up_to(session)
        if destroyed > wiped:
            self.wipe()
            with self.writing() as session:
                self.append(session, WIPED, {"destroyed": destroyed})

    # --- turns and settlements

    def turn(self, request: bytes) -> TurnRow | None:
        """As it was answered, and will be again, to the byte; None if no key was turned."""
        with self.reading() as session:
            return session.get(TurnRow, request)

    def keep_seal(self, request: bytes, block: int, block_hash: bytes) -> None:
        """Notes the block of a turn's seal where the turn has none."""
        missing = (TurnRow.request == request) & TurnRow.seal_block_hash.is_(None)
        with self.writing() as session:
            values = {"seal_block": block, "seal_block_hash": block_hash}
            session.execute(update(TurnRow).where(missing).values(values))

    def open_turns(self) -> list[bytes]:
        """Requests whose envelopes are still kept."""
        with self.reading() as session:
            query = select(TurnRow.request).where(TurnRow.envelope.is_not(None))
            return list(session.scalars(query))

    def drop_envelope(self, request: bytes) -> None:
        """The request has ended: nobody may need the envelope, and erased shares may be in it."""
        with self.writing() as session:
            session.execute(update(TurnRow).where(TurnRow.request == request).values(envelope=None))

    def settlement(self, request: bytes) -> SettlementRow | None:
        """What was signed for a request, after which no other is; None if nothing was."""
        with self.reading() as session:
            return session.get(SettlementRow, request)

    # --- events

    def followed(self) -> tuple[int, bytes | None] | None:
        """Number and hash of the last final block whose events were taken in; None at the beginning."""
        with self.reading() as session:
            row = session.get(CursorRow, EVENTS)
            return None if row is None else (row.block, row.block_hash)

    def set_followed(self, session: Session, block: int, block_hash: bytes) -> None:
        """In the caller's transaction, with what the events changed: neither is kept alone."""
        session.merge(CursorRow(name=EVENTS, block=block, block_hash=block_hash))


def _wiped_up_to(session: Session) -> int:
    """Height of the last destruction that was wiped: what was destroyed meanwhile was not."""
    row = session.get(EntryRow, last_of(session, WIPED))
    return 0 if row is None else int(json.loads(row.body)["destroyed"])


def last_of(session: Session, kind: str) -> int:
    """Height of the newest entry of this kind; 0 if there is none."""
    return session.scalar(select(func.max(EntryRow.height)).where(EntryRow.kind == kind)) or 0


def head_of(session: Session) -> Head:
    """Height and head within a transaction."""
    height = session.scalar(select(func.max(EntryRow.height)))
    if height is None:
        return Head(0, GENESIS)
    row = session.get_one(EntryRow, height)
    return Head(height, row.head)
