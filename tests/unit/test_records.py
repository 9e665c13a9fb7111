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
from marketplace.records import Kept, RecordStore
from marketplace.store import RecordRow
from marketplace.store.database import Database, open_database

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
