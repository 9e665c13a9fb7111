"""The folder of sealed records, on a disk and in an object store: whole files or none, also where it is
full; what was erased is gone for ever."""

import errno
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest

from marketplace.errors import Refusal
from marketplace.records import SWEEP_SECONDS, Kept, RecordStore
from marketplace.store import RecordRow
from marketplace.store.database import Database, open_database
from marketplace.vocabulary import Address, DatasetId, DictionaryHash, Epoch, PatientAddress
from marketplace.wire.header import RecordHeader
from marketplace.wire.record import RecordContext
from marketplace.wire.tally import SealedTally
from ml.homomorphic.curve import times_base
from tests.support.refusals import refused

BOX = bytes(range(256)) * 8
COMMITMENT = bytes([7]) * 32
POINTS = ["0x02", "0x03"]
BECAUSE = "erased on chain in block 9"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'operator.sqlite'}")
    yield opened
    opened.engine.dispose()


@dataclass(frozen=True)
class Folder:
    """A folder as its host sees it."""

    files: Any
    root: str

    def names(self) -> list[str]:
        return sorted(each.rsplit("/", 1)[1] for each in self.files.ls(self.root, detail=False))

    def restore(self, commitment: bytes) -> None:
        """As from a backup."""
        self.files.pipe_file(f"{self.root}/{commitment.hex()}.box", BOX)


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield (tmp_path / "records").as_uri()
        return
    there = f"memory://{tmp_path.name}/records"
    yield there
    files, root = fsspec.core.url_to_fs(there)
    files.rm(root, recursive=True)


@pytest.fixture
def store(url: str, database: Database) -> RecordStore:
    return RecordStore(url, database)


@pytest.fixture
def folder(store: RecordStore) -> Folder:
    files, root = fsspec.core.url_to_fs(store.url)
    return Folder(files, root.rstrip("/"))


@dataclass
class SmallDisk:
    """With so many bytes left: what is written beyond them fails as a full disk does, after a part of it
    was written."""

    write: Callable[..., Any]
    left: int
    fault: int = errno.ENOSPC

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        self.write(path, value[: self.left], **options)
        if len(value) > self.left:
            raise OSError(self.fault, "No space left on device", path)
        self.left -= len(value)


def small_disk(folder: Folder, monkeypatch: pytest.MonkeyPatch, **settings: int) -> SmallDisk:
    """From now on, for whoever writes there."""
    disk = SmallDisk(folder.files.pipe_file, **settings)
    monkeypatch.setattr(folder.files, "pipe_file", disk.pipe_file)
    return disk


def row(commitment: bytes = COMMITMENT, state: str = "stored") -> RecordRow:
    return RecordRow(
        commitment="0x" + commitment.hex(),
        dataset="0x" + "66" * 32,
        patient="0x" + "77" * 20,
        version=1,
        header={"key_commitments": POINTS},
        attestation={"version": 1},
        state=state,
        received_at=datetime.now(UTC),
    )


# --- whole or not at all


@pytest.mark.parametrize(
    ("fault", "code", "word"),
    [
        (errno.ENOSPC, "storage_full", "is full"),
        (errno.EDQUOT, "storage_full", "is full"),
        (errno.EIO, "storage_unavailable", "cannot be written"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_leaves_nothing_and_fits_later(
    store: RecordStore,
    folder: Folder,
    monkeypatch: pytest.MonkeyPatch,
    fault: int,
    code: str,
    word: str,
) -> None:
    disk = small_disk(folder, monkeypatch, left=len(BOX) + 1, fault=fault)
    store.put(bytes(32), BOX)
    before = folder.names()
    with pytest.raises(Refusal) as refused:
        store.put(COMMITMENT, BOX)
    assert (refused.value.code, refused.value.field) == (
        code,
        "disk" if code == "storage_full" else None,
    )
    assert word in refused.value.message
    assert "send the same records again" in refused.value.remedy
    assert folder.names() == before
    assert store.get(COMMITMENT) is None
    disk.left = len(BOX)
    store.put(COMMITMENT, BOX)
    assert (store.get(COMMITMENT), store.get(bytes(32))) == (BOX, BOX)


def test_the_same_record_from_two_uploads_at_once_is_kept_whole(
    store: RecordStore, folder: Folder
) -> None:
    together = threading.Barrier(8)

    def upload(_: int) -> None:
        together.wait(timeout=60)
        for _ in range(50):
            store.put(COMMITMENT, BOX)
            assert store.get(COMMITMENT) == BOX

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(upload, range(8)))
    assert folder.names() == [f"{COMMITMENT.hex()}.box"]


def test_a_record_is_found_where_both_its_ciphertext_and_its_row_are_here(
    store: RecordStore, database: Database
) -> None:
    only_file, only_row = bytes([1]) * 32, bytes([2]) * 32
    for commitment in (COMMITMENT, only_file):
        store.put(commitment, BOX)
    for commitment in (COMMITMENT, only_row):
        database.keep_record(row(commitment))
    asked = [only_row, COMMITMENT, only_file]
    assert store.fetch(asked) == {COMMITMENT: Kept(BOX, POINTS, [])}
    assert [store.holds(each) for each in asked] == [False, True, False]


def test_a_ciphertext_is_deleted_once(store: RecordStore, folder: Folder) -> None:
    store.put(COMMITMENT, BOX)
    assert store.delete(COMMITMENT)
    assert not store.delete(COMMITMENT)
    assert store.get(COMMITMENT) is None
    assert folder.names() == []


# --- tallies

TALLY = SealedTally(times_base(7).to_bytes(), bytes(range(132)), b"proof" * 9)


@pytest.fixture
def tallied(database: Database) -> bytes:
    """The commitment of a record with TALLY, whose row is there."""
    context = RecordContext(
        1,
        Address("0x" + "11" * 20),
        DatasetId(bytes(32)),
        PatientAddress(Address("0x" + "22" * 20)),
        DictionaryHash(bytes(32)),
        1,
    )
    header = RecordHeader(context, Epoch(1), bytes(32), (TALLY.public_key,), TALLY.header)
    kept = row(header.commitment)
    kept.header = header.to_json()
    database.keep_record(kept)
    return bytes(header.commitment)


def test_a_tally_is_kept_beside_the_box_and_given_back_as_it_was(
    store: RecordStore, folder: Folder, tallied: bytes
) -> None:
    assert store.tally(tallied) is None
    store.put(tallied, BOX, TALLY)
    assert (store.get(tallied), store.tally(tallied)) == (BOX, TALLY)
    assert folder.names() == [f"{tallied.hex()}.box", f"{tallied.hex()}.tally"]
    assert store.holds(tallied)
    assert list(store.fetch([tallied])) == [tallied]


def test_a_record_is_not_held_without_the_tally_that_its_header_names(
    store: RecordStore, tallied: bytes
) -> None:
    assert not store.holds_any(tallied)
    store.put(tallied, BOX)
    assert not store.holds(tallied)
    assert store.holds_any(tallied)  # so nobody says that it was deleted
    store.put(tallied, BOX, TALLY)
    assert store.holds(tallied)
    store.erase(tallied, BECAUSE)
    assert not store.holds_any(tallied)


def test_a_record_without_a_tally_has_none(store: RecordStore, database: Database) -> None:
    database.keep_record(row())
    store.put(COMMITMENT, BOX)
    assert store.tally(COMMITMENT) is None
    assert store.tally(bytes(32)) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0",
        lambda raw: raw[:20],
        lambda raw: b"",
        lambda raw: raw[:40] + bytes([raw[40] ^ 1]) + raw[41:],
        lambda raw: raw[:36] + b"\xff" + raw[37:],
        lambda raw: raw[:36] + bytes([131]) + raw[37:],
    ],
)
def test_a_damaged_tally_is_none(
    store: RecordStore, folder: Folder, tallied: bytes, spoil: Callable[[bytes], bytes]
) -> None:
    store.put(tallied, BOX, TALLY)
    path = f"{folder.root}/{tallied.hex()}.tally"
    folder.files.pipe_file(path, spoil(folder.files.cat_file(path)))
    assert store.tally(tallied) is None


@pytest.mark.parametrize("left", [0, 100, 37 + 132 + 45, 37 + 132 + 45 + len(BOX) - 1])
def test_a_record_whose_tally_or_box_does_not_fit_leaves_neither(
    store: RecordStore,
    folder: Folder,
    tallied: bytes,
    monkeypatch: pytest.MonkeyPatch,
    left: int,
) -> None:
    with monkeypatch.context() as patch:
        small_disk(folder, patch, left=left)
        refused("storage_full", store.put, tallied, BOX, TALLY)
    assert folder.names() == []
    store.put(tallied, BOX, TALLY)
    assert store.tally(tallied) == TALLY


@pytest.mark.parametrize("moves", [0, 1])
def test_a_record_that_cannot_be_moved_into_place_leaves_neither_but_what_was_whole_before(
    store: RecordStore,
    folder: Folder,
    tallied: bytes,
    monkeypatch: pytest.MonkeyPatch,
    moves: int,
) -> None:
    """An object store copies, so a full one may refuse a move, too."""
    move, done = folder.files.mv, list[str]()

    def failing(source: str, target: str, **options: Any) -> None:
        done.append(target)
        if len(done) > moves:
            raise OSError(errno.ENOSPC, "No space left on device", target)
        move(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(folder.files, "mv", failing)
        refused("storage_full", store.put, tallied, BOX, TALLY)
    assert folder.names() == []
    store.put(tallied, BOX, TALLY)
    done.clear()
    with monkeypatch.context() as patch:
        patch.setattr(folder.files, "mv", failing)
        refused("storage_full", store.put, tallied, BOX, TALLY)
    assert (store.get(tallied), store.tally(tallied)) == (BOX, TALLY)
    assert len(folder.names()) == 2


def test_an_erased_record_takes_its_tally_with_it_also_one_that_a_backup_brings_back(
    store: RecordStore, folder: Folder, tallied: bytes
) -> None:
    store.put(tallied, BOX, TALLY)
    path = f"{folder.root}/{tallied.hex()}.tally"
    backup = folder.files.cat_file(path)
    assert store.erase(tallied, BECAUSE)
    assert folder.names() == []
    store.put(tallied, BOX, TALLY)
    assert folder.names() == []
    folder.files.pipe_file(path, backup)
    assert store.tally(tallied) is None
    assert store.erase(tallied, "again")  # although the box is gone
    assert folder.names() == []


# --- erased


def test_an_erased_record_leaves_its_row_without_contents_and_one_line_of_its_log(
    store: RecordStore, database: Database, folder: Folder
) -> None:
    store.put(COMMITMENT, BOX)
    database.keep_record(row())
    assert store.erase(COMMITMENT, BECAUSE)
    for _ in range(2):
        assert not store.erase(COMMITMENT, "again")
    assert folder.names() == []
    left = database.records([row().commitment])[row().commitment]
    assert (left.state, left.header, left.attestation) == ("erased", {}, {})
    [entry] = database.record_history(left.commitment)
    assert (entry.before, entry.after, entry.because) == ("stored", "erased", BECAUSE)


def test_an_erased_record_is_not_kept_again_whoever_sends_it(
    store: RecordStore, database: Database, folder: Folder
) -> None:
    database.keep_record(row())
    store.erase(COMMITMENT, BECAUSE)
    database.keep_record(row())
    store.put(COMMITMENT, BOX)
    assert folder.names() == []
    assert not store.holds(COMMITMENT)
    for state in ("attested", "stored"):
        database.set_record_state(row().commitment, state)
        assert database.records([row().commitment])[row().commitment].state == "erased"


def test_what_a_backup_brings_back_of_an_erased_record_is_not_served_and_deleted_again(
    store: RecordStore, database: Database, folder: Folder
) -> None:
    store.put(COMMITMENT, BOX)
    database.keep_record(row())
    store.erase(COMMITMENT, BECAUSE)
    folder.restore(COMMITMENT)
    assert store.fetch([COMMITMENT]) == {}
    assert not store.holds(COMMITMENT)
    assert store.erase(COMMITMENT, "again")
    assert folder.names() == []
    assert len(database.record_history(row().commitment)) == 1


def test_a_ciphertext_that_no_row_knows_is_erased_all_the_same(
    store: RecordStore, folder: Folder
) -> None:
    store.put(COMMITMENT, BOX)
    assert store.erase(COMMITMENT, BECAUSE)
    assert folder.names() == []


def test_a_ciphertext_that_cannot_be_deleted_is_a_refusal_and_deleted_later(
    store: RecordStore, database: Database, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(COMMITMENT, BOX)
    database.keep_record(row())

    def denied(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr(folder.files, "rm_file", denied)
        with pytest.raises(Refusal) as refused:
            store.erase(COMMITMENT, BECAUSE)
    assert refused.value.code == "storage_unavailable"
    assert "tried again" in refused.value.remedy
    assert store.fetch([COMMITMENT]) == {}
    assert store.erase(COMMITMENT, BECAUSE)
    assert folder.names() == []


def test_an_empty_file_is_no_ciphertext(
    store: RecordStore, database: Database, folder: Folder
) -> None:
    """As a power cut leaves one: it is not held, so whoever attested it may send it again."""
    database.keep_record(row())
    folder.files.pipe_file(f"{folder.root}/{COMMITMENT.hex()}.box", b"")
    assert store.get(COMMITMENT) is None
    assert not store.holds(COMMITMENT)
    assert not store.holds_any(COMMITMENT)
    store.put(COMMITMENT, BOX)
    assert store.holds(COMMITMENT)


def test_what_an_upload_that_died_left_is_deleted_at_the_second_look(
    store: RecordStore, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("marketplace.wire.ciphertexts.time.monotonic", lambda: now[0])
    store.put(COMMITMENT, BOX)
    left = f"{COMMITMENT.hex()}.box.0011.part"
    folder.files.pipe_file(f"{folder.root}/{left}", BOX[:100])
    others = f"{folder.root}/scores/mine/a"  # somebody else's
    folder.files.makedirs(others)
    folder.files.pipe_file(f"{others}/record.0011.part", BOX)
    swept = []
    for _ in range(4):
        swept.append(store.sweep())
        now[0] += SWEEP_SECONDS / 2 + 1
    assert swept == [0, 0, 1, 0]
    assert store.get(COMMITMENT) == BOX
    assert [each for each in folder.names() if each != "scores"] == [f"{COMMITMENT.hex()}.box"]
    assert folder.files.exists(f"{others}/record.0011.part")


def test_an_upload_beside_an_erasure_leaves_nothing(
    store: RecordStore, database: Database, folder: Folder
) -> None:
    commitments = [bytes([number]) * 32 for number in range(40)]
    for each in commitments:
        database.keep_record(row(each))
    together = threading.Barrier(2)

    def act(what: Callable[[bytes], object]) -> None:
        for each in commitments:
            together.wait(timeout=60)
            what(each)

    with ThreadPoolExecutor(2) as pool:
        acts = [lambda each: store.put(each, BOX), lambda each: store.erase(each, BECAUSE)]
        list(pool.map(act, acts))
    assert folder.names() == []
