"""What a process keeps, nobody else on its machine can read, from the first byte on."""

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from marketplace.chain.node.storage import ChainStore
from marketplace.errors import Refusal
from marketplace.records import RecordStore
from marketplace.store import open_database
from marketplace.wire import keyfiles
from marketplace.wire.private import make_database, make_folder
from marketplace.wire.sqlite import open_journal

JOURNALS = Path(__file__).parents[2] / "marketplace"


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The usual one, under which whatever says nothing is for all to read."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {
        str(each.relative_to(folder)): stat.S_IMODE(each.stat().st_mode)
        for each in folder.rglob("*")
    }


@contextmanager
def operator(folder: Path) -> Iterator[None]:
    database = open_database(f"sqlite:///{folder / 'operator.sqlite'}")
    RecordStore(str(folder / "records" / "boxes"), database).put(bytes(32), b"box")
    with database.session() as session:
        session.execute(text("DELETE FROM requests"))
        yield
    database.engine.dispose()


@contextmanager
def journal(folder: Path, kind: str) -> Iterator[None]:
    engine = open_journal(folder / f"{kind}.sqlite", JOURNALS / kind / "migrations")
    with engine.connect():
        yield
    engine.dispose()


Opener = Callable[[Path], AbstractContextManager[object]]
OPENERS: dict[str, Opener] = {
    "operator": operator,
    "custodian": lambda folder: journal(folder, "custodian"),
    "gate": lambda folder: journal(folder, "gate"),
    "chain": lambda folder: contextlib.closing(ChainStore(folder)),
}


@pytest.mark.parametrize("opened", OPENERS.values(), ids=OPENERS)
def test_a_database_its_log_and_its_folders_are_their_owners_only(
    tmp_path: Path, opened: Opener
) -> None:
    with opened(tmp_path / "above" / "data"):
        found = modes(tmp_path)
    assert any(name.endswith("-wal") for name in found)
    files = {name: mode for name, mode in found.items() if "sqlite" in name}
    assert {name: oct(mode) for name, mode in files.items()} == dict.fromkeys(files, "0o600")
    folders = [mode for name, mode in found.items() if (tmp_path / name).is_dir()]
    assert set(folders) == {0o700}


@pytest.mark.parametrize("opened", OPENERS.values(), ids=OPENERS)
def test_what_an_earlier_version_left_readable_is_closed_to_others(
    tmp_path: Path, opened: Opener
) -> None:
    with opened(tmp_path):
        pass
    (file,) = tmp_path.glob("*.sqlite*")
    file.chmod(0o644)
    with opened(tmp_path):
        found = {name: mode for name, mode in modes(tmp_path).items() if "sqlite" in name}
    assert len(found) == 3
    assert {name: oct(mode) for name, mode in found.items()} == dict.fromkeys(found, "0o600")


def test_folders_above_a_key_are_their_owners_only(tmp_path: Path) -> None:
    keyfiles.create(tmp_path / "a" / "b" / "own.key", bytes(31) + b"\x01")
    assert modes(tmp_path) == {"a": 0o700, "a/b": 0o700, "a/b/own.key": 0o600}


def test_a_folder_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    make_folder(tmp_path / "shared")
    assert modes(tmp_path) == {"shared": 0o755}


def test_a_database_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refusal) as refused:
        make_database(tmp_path / "file" / "journal.sqlite")
    assert refused.value.code == "storage_unavailable"


def test_a_database_in_use_keeps_its_locks(tmp_path: Path) -> None:
    """Closing any descriptor of the file would drop them: another process would then write beside us."""
    path = tmp_path / "used.sqlite"
    make_database(path)
    beside = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
    with contextlib.closing(sqlite3.connect(path)) as used:
        used.execute("BEGIN IMMEDIATE")
        make_database(path)
        other = subprocess.run([sys.executable, "-c", beside], capture_output=True, check=False)
    assert b"database is locked" in other.stderr
