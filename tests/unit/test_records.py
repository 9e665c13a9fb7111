"""The folder of sealed records: whole files or none, also where it is full."""

import errno
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from marketplace.errors import Refusal
from marketplace.records import RecordStore
from marketplace.store.database import Database, open_database

BOX = bytes(range(256)) * 8
COMMITMENT = bytes([7]) * 32


class SmallDisk(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A folder on a disk with so many bytes left: what is written beyond them fails as a full one does,
    after a part of it was written."""

    protocol = "small"
    cachable = False
    left = 0
    fault = errno.ENOSPC

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        super().pipe_file(path, value[: self.left], mode, **options)
        if len(value) > self.left:
            raise OSError(self.fault, "No space left on device", path)
        type(self).left -= len(value)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'operator.sqlite'}")
    yield opened
    opened.engine.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "records"


@pytest.fixture
def small(folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> RecordStore:
    fsspec.register_implementation("small", SmallDisk, clobber=True)
    monkeypatch.setattr(SmallDisk, "left", 0)
    return RecordStore(f"small://{folder}", database)


@pytest.mark.parametrize(
    ("fault", "code", "word"),
    [
        (errno.ENOSPC, "storage_full", "is full"),
        (errno.EDQUOT, "storage_full", "is full"),
        (errno.EIO, "storage_unavailable", "cannot be written"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_leaves_nothing_and_fits_later(
    small: RecordStore,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: int,
    code: str,
    word: str,
) -> None:
    monkeypatch.setattr(SmallDisk, "left", len(BOX) + 1)
    monkeypatch.setattr(SmallDisk, "fault", fault)
    small.put(bytes(32), BOX)
    before = sorted(folder.iterdir())
    with pytest.raises(Refusal) as refused:
        small.put(COMMITMENT, BOX)
    assert refused.value.code == code
    assert word in refused.value.message
    assert "send the same records again" in refused.value.remedy
    assert sorted(folder.iterdir()) == before
    assert small.get(COMMITMENT) is None
    monkeypatch.setattr(SmallDisk, "left", len(BOX))
    small.put(COMMITMENT, BOX)
    assert (small.get(COMMITMENT), small.get(bytes(32))) == (BOX, BOX)


def test_the_same_record_from_two_uploads_at_once_is_kept_whole(
    folder: Path, database: Database
) -> None:
    store = RecordStore(folder.as_uri(), database)
    together = threading.Barrier(8)

    def upload(_: int) -> None:
        together.wait(timeout=60)
        for _ in range(50):
            store.put(COMMITMENT, BOX)
            assert store.get(COMMITMENT) == BOX

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(upload, range(8)))
    assert [each.name for each in folder.iterdir()] == [f"{COMMITMENT.hex()}.box"]
