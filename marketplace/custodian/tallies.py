"""This custodian's own copy of every record's encrypted columns, each proven valid before it is acknowledged.

The journal holds columns and proofs; the folders of columns beside it are made from them, and made again
where they lack a row. So a sum needs nobody's word: every custodian adds up what it has checked itself.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from eth_hash.auto import keccak
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session as Transaction

from marketplace.chain.adapter import Chain
from marketplace.chain.joint_keys import joint_key_of, joint_keys_until
from marketplace.custodian.column_folders import ColumnFolders
from marketplace.custodian.journal import PART, Journal
from marketplace.custodian.models import DictionaryRow, TallyRow
from marketplace.errors import Refusal
from marketplace.vocabulary import Lane
from marketplace.wire import dictionary as dictionaries
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.encoding import Encoding
from marketplace.wire.header import RecordHeader
from marketplace.wire.http import to_hex
from marketplace.wire.tally import SealedTally, encoding_of, require_valid
from ml.homomorphic.threshold import Sum

FOLDER = "columns"


class TallyRefused(Refusal):
    """A record whose part in the homomorphic lane this custodian does not take."""

    CODE = "tally_refused"


@dataclass(frozen=True, kw_only=True)
class OfferedTally:
    """A tally with the header of the record that it came with; `holder` is the patient's address of today."""

    header: RecordHeader
    holder: str
    tally: SealedTally | None = None  # of a record whose header names one


class Tallies:
    """The tallies of one custodian. Safe for threads."""

    def __init__(self, chain: Chain, journal: Journal, data: Path) -> None:
        self._chain = chain
        self._journal = journal
        self._data = data / FOLDER
        self._columns = ColumnFolders(journal, self._data)
        self._locked: int | None = None
        self._owned = False

    def _lock_file(self, how: int) -> None:
        """Between processes over one data folder. Raises BlockingIOError."""
        if self._locked is None:
            self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._locked = os.open(self._data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._locked, how)

    # --- dictionaries

    def keep_dictionary(self, raw: bytes) -> bytes:
        """Keeps a dictionary that some dataset on chain has; its hash. Raises BadDictionary, TallyRefused."""
        read = dictionaries.load(raw)
        digest = read.hash()
        if digest not in {self._chain.dictionary_of(each) for each in self._chain.datasets()}:
            raise _refused("unknown_dictionary", "No dataset on chain has this dictionary.")
        with self._journal.writing() as session:
            session.merge(DictionaryRow(hash=digest, document=read.to_bytes()))
        return digest

    def dictionary(self, digest: bytes) -> Dictionary:
        """A dictionary that is kept, by its hash. Raises TallyRefused (dictionary_missing)."""
        with self._journal.reading() as session:
            row = session.get(DictionaryRow, digest)
        if row is None:
            raise _refused("dictionary_missing", "This custodian lacks the dataset's dictionary.")
        return dictionaries.load(row.document)

    def encoding(self, dictionary: bytes) -> Encoding:
        """The encoding of a dictionary that is kept, by its hash. Raises TallyRefused, RecordUnreadable."""
        return encoding_of(self.dictionary(dictionary))

    # --- taking in

    def faults(self, offered: Sequence[OfferedTally]) -> list[Refusal | None]:
        """For each record, in order, None, or why its tally is not taken; all proofs of an upload at once.

        A record may have none: it counts as null in this lane. One that is new has to be under the current
        joint key. One that is in use may be under that of an earlier epoch: a predecessor hands it over as it
        was attested, and its share is not to be lost for the tally's sake; under the current key it counts as
        null.
        """
        found = [self._misfit(each) for each in offered]
        tallied = {
            at: each
            for at, each in enumerate(offered)
            if found[at] is None and each.tally is not None
        }
        groups: dict[tuple[bytes, bytes | None], list[int]] = {}
        for at, key in self._expected_keys(tallied).items():
            digest = tallied[at].header.context.dictionary_hash
            groups.setdefault((digest, key), []).append(at)
        for (dictionary, key), positions in groups.items():
            refusals = self._invalid([offered[at] for at in positions], dictionary, key)
            for at, why in zip(positions, refusals, strict=True):
                found[at] = why
        return found

    def _expected_keys(self, tallied: Mapping[int, OfferedTally]) -> dict[int, bytes | None]:
        """By the caller's number, the joint key that a tally has to be under; None where there is none."""
        if not tallied:
            return {}
        epoch = int(self._chain.current_epoch())
        current = joint_key_of(self._chain, epoch)
        expected: dict[int, bytes | None] = dict.fromkeys(tallied, current)
        others = {at: each for at, each in tallied.items() if _key_of(each) != current}
        if others:
            known = joint_keys_until(self._chain, epoch)
            in_use = self._in_use(list(others.values()))
            for at, each in others.items():
                if _key_of(each) in known and each.header.commitment in in_use:
                    expected[at] = _key_of(each)
        return expected

    def _in_use(self, offered: Sequence[OfferedTally]) -> set[bytes]:
        """The commitments that the chain has in use, of these."""
        found: set[bytes] = set()
        for dataset in {each.header.context.dataset for each in offered}:
            holders = [each.holder for each in offered if each.header.context.dataset == dataset]
            found |= {each.commitment for each in self._chain.commitments_of(dataset, holders)}
        return found

    def _invalid(
        self, offered: Sequence[OfferedTally], dictionary: bytes, key: bytes | None
    ) -> Sequence[Refusal | None]:
        try:
            if key is None:
                raise _refused("no_joint_key", "The current committee has no joint key on chain.")
            pairs = [_with_context(each) for each in offered]
            return require_valid(pairs, self.encoding(dictionary), key)
        except Refusal as refusal:
            return [refusal] * len(offered)

    def _misfit(self, offered: OfferedTally) -> Refusal | None:
        stated = offered.header.tally
        given = None if offered.tally is None else offered.tally.header
        if stated != given:
            return _refused(
                "wrong_tally", "The tally is not the one that the record's header names."
            )
        return None

    def keep(self, session: Transaction, header: RecordHeader, tally: SealedTally) -> None:
        """Keeps a tally that `faults` let pass, in the caller's transaction; `spread` lays it out."""
        commitment = header.commitment
        if session.get(TallyRow, commitment) is not None:
            return
        folder = folder_of(header.context.dataset, tally.public_key)
        last = session.scalar(select(func.max(TallyRow.row)).where(TallyRow.folder == folder))
        session.add(
            TallyRow(
                commitment=commitment,
                folder=folder,
                row=0 if last is None else last + 1,
                public_key=tally.public_key,
                columns=tally.columns,
                proof=tally.proof,
            )
        )

    def of(self, commitment: bytes) -> SealedTally | None:
        """The tally of a record; None where there is none, or it was erased."""
        with self._journal.reading() as session:
            row = session.get(TallyRow, commitment)
        if row is None or row.columns is None or row.proof is None:
            return None
        return SealedTally(row.public_key, row.columns, row.proof)

    # --- sums

    def sums(
        self,
        dataset: bytes,
        public_key: bytes,
        commitments: Sequence[bytes],
        forms: Sequence[Mapping[int, int]],
    ) -> list[Sum]:
        """For each form (column -> coefficient), the weighed sum of these records' columns.

        Records without a tally under this key count as null: they add nothing.

        Raises:
            Refusal: storage_full, storage_unavailable.
        """
        used = sorted({column for form in forms for column in form})
        added = self._columns.sums(folder_of(dataset, public_key), commitments, used)
        found = dict(zip(used, added, strict=True))
        return [_weighed(form, found) for form in forms]

    def spread(self, until: float = float("inf")) -> bool:
        """Lays out for sums what came in since it last did. Returns whether that was all, or the time
        (`time.monotonic`) was over.

        Raises:
            Refusal: record_erased, storage_full, storage_unavailable; OSError: what was spread stays so.
        """
        return self._columns.spread(until)

    def missing(self, commitments: Sequence[bytes], public_key: bytes) -> list[bytes]:
        """Of these records, those that never came here, or whose tally under this key is not here.

        A record that is here without a tally under this key is not missing: it counts as null.
        """
        found: list[bytes] = []
        for start in range(0, len(commitments), PART):
            found += self._missing(commitments[start : start + PART], public_key)
        return found

    def _missing(self, commitments: Sequence[bytes], public_key: bytes) -> list[bytes]:
        """Of a page of them: their headers are many times as large as what is said of them."""
        named = f'"public_key":"{to_hex(public_key)}"'
        headers = self._journal.headers(commitments)
        absent = [each for each in commitments if each not in headers]
        tallied = [each for each, header in headers.items() if named in header]
        held = self._held(tallied)
        return absent + [each for each in tallied if each not in held]

    def holds(self, commitment: bytes) -> bool:
        """Whether the tally of a record is here."""
        return bool(self._held([commitment]))

    def _held(self, commitments: Sequence[bytes]) -> set[bytes]:
        found: set[bytes] = set()
        with self._journal.reading() as session:
            for start in range(0, len(commitments), PART):
                part = commitments[start : start + PART]
                here = TallyRow.columns.is_not(None) & TallyRow.commitment.in_(part)
                found |= set(session.scalars(select(TallyRow.commitment).where(here)))
        return found

    # --- erasing

    def own(self) -> None:
        """This process serves: from now on no other one wipes cells under its feet, as a command might."""
        with suppress(BlockingIOError):
            self._lock_file(fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._owned = True

    def wipe(self) -> None:
        """Overwrites the cells of what `Journal.destroy` forgot. Repeated after a crash, it goes on.

        Left to the process that serves, where it is another: it does so at its next sweep.
        """
        if not self._owned:
            try:
                self._lock_file(fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
        try:
            self._wipe()
        finally:
            if not self._owned:
                self._lock_file(fcntl.LOCK_UN)

    def _wipe(self) -> None:
        with self._journal.reading() as session:
            gone = list(session.scalars(select(TallyRow).where(TallyRow.columns.is_(None))))
        for row in gone:
            with self._columns.lock:
                self._columns.erase(row.folder, row.row)
                with self._journal.writing() as session:
                    # The last row stays, as zeros: numbers of rows are never given twice.
                    last = select(func.max(TallyRow.row)).where(TallyRow.folder == row.folder)
                    if row.row != session.scalar(last):
                        mine = TallyRow.commitment == row.commitment
                        session.execute(delete(TallyRow).where(mine))


def _key_of(offered: OfferedTally) -> bytes | None:
    return None if offered.tally is None else offered.tally.public_key


def _with_context(offered: OfferedTally) -> tuple[SealedTally, bytes]:
    if offered.tally is None:
        raise TypeError("only records with a tally are verified")
    return offered.tally, offered.header.context.in_lane(Lane.HOMOMORPHIC).aad()


def _weighed(form: Mapping[int, int], sums: Mapping[int, Sum]) -> Sum:
    whole = Sum.zero()
    for column, coefficient in form.items():
        whole = whole + sums[column] * coefficient
    return whole


def folder_of(dataset: bytes, public_key: bytes) -> str:
    """The name of the folder of a dataset's columns under a joint key."""
    return bytes(keccak(dataset + public_key)).hex()[:32]


def _refused(code: str, message: str) -> TallyRefused:
    return TallyRefused(
        code=code,
        message=message,
        remedy="Seal the record again with the dataset's dictionary, for the current committee's joint key.",
        field="tally",
    )
