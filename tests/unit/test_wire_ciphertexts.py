"""Folders of ciphertexts, on a disk and in an object store: flushed before they count, nothing left aside,
and an empty file is none."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from marketplace.wire.ciphertexts import PART, CiphertextFolder, SeenTwice, StorageFault

BOX = bytes(range(256)) * 8


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield (tmp_path / "boxes").as_uri()
        return
    there = f"memory://{tmp_path.name}/boxes"
    yield there
    files, root = fsspec.core.url_to_fs(there)
    files.rm(root, recursive=True)


@pytest.fixture
def folder(url: str) -> CiphertextFolder:
    return CiphertextFolder(url, "boxes", "send it again")


def local(tmp_path: Path) -> CiphertextFolder:
    return CiphertextFolder((tmp_path / "boxes").as_uri(), "boxes", "send it again")


def failing(number: int) -> Any:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_file_is_kept_replaced_and_destroyed_and_so_is_a_folder(folder: CiphertextFolder) -> None:
    folder.put({"a": BOX, "p/b": BOX, "p/c": b"c"})
    folder.put({"a": b"another"})
    assert [folder.read(each) for each in ("a", "p/b", "none")] == [b"another", BOX, None]
    assert (sorted(folder.names(1)), sorted(folder.names(2))) == (["a"], ["p/b", "p/c"])
    assert (folder.remove("a"), folder.remove("a")) == (True, False)
    assert (folder.remove_folder("p"), folder.remove_folder("p")) == (True, False)
    assert [*folder.names(1), *folder.names(2)] == []


def test_an_empty_file_is_none(folder: CiphertextFolder) -> None:
    """As a power cut leaves one that was never flushed."""
    folder.put({"a": b""})
    assert folder.read("a") is None
    assert not folder.holds("a")
    folder.put({"a": BOX})
    assert folder.holds("a")


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (errno.ENOSPC, "storage_full", "is full"),
        (errno.EDQUOT, "storage_full", "is full"),
        (errno.EIO, "storage_unavailable", "cannot be written"),
    ],
)
@pytest.mark.parametrize("act", ["pipe_file", "mv"])
def test_what_does_not_fit_is_refused_and_leaves_nothing_aside(
    folder: CiphertextFolder,
    monkeypatch: pytest.MonkeyPatch,
    act: str,
    number: int,
    code: str,
    word: str,
) -> None:
    folder.put({"a": b"before"})
    with monkeypatch.context() as patch:
        patch.setattr(folder._files, act, failing(number))
        with pytest.raises(StorageFault, match=f"folder of boxes {word}") as refused:
            folder.put({"a": BOX})
    assert refused.value.code == code
    assert "send it again" in refused.value.remedy
    assert (folder.read("a"), list(folder.names(1))) == (b"before", ["a"])


def test_whatever_ends_the_writing_nothing_is_left_aside(
    folder: CiphertextFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(folder._files, "mv", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            folder.put({"a": BOX})
    assert list(folder.names(1)) == []


def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_name_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, done = local(tmp_path), list[str]()
    flush, move = os.fsync, folder._files.mv

    def flushed(handle: int) -> None:
        name = Path(f"/proc/self/fd/{handle}").readlink().name
        done.append("flush " + name.partition(".")[0])
        flush(handle)

    def moved(before: str, after: str) -> None:
        done.append("move " + Path(after).name)
        move(before, after)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(folder._files, "mv", moved)
    folder.put({"p/a": BOX})
    assert done == ["flush boxes", "flush a", "move a", "flush p"]


def test_nobody_else_looks_into_the_folders(tmp_path: Path) -> None:
    local(tmp_path).put({"p/a": BOX})
    for each in (tmp_path / "boxes", tmp_path / "boxes" / "p"):
        assert each.stat().st_mode & 0o077 == 0


def test_what_the_disk_does_not_give_is_a_refusal_and_not_an_absence(
    folder: CiphertextFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.put({"a": BOX, "p/b": BOX})
    acts: dict[str, Callable[[], object]] = {
        "cat_file": lambda: folder.read("a"),
        "info": lambda: folder.holds("a"),
        "find": lambda: list(folder.names(1)),
        "rm_file": lambda: folder.remove("a"),
        "rm": lambda: folder.remove_folder("p"),
    }
    for name, act in acts.items():
        with monkeypatch.context() as patch:
            patch.setattr(folder._files, "exists", lambda _: True)
            patch.setattr(folder._files, name, failing(errno.EIO))
            with pytest.raises(StorageFault, match="folder of boxes cannot be") as refused:
                act()
        assert refused.value.code == "storage_unavailable", name
    assert (folder.read("a"), folder.read("p/b")) == (BOX, BOX)


def test_a_folder_that_cannot_be_made_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "boxes").write_text("a file")
    with pytest.raises(StorageFault, match="cannot be written"):
        CiphertextFolder((tmp_path / "boxes" / "in it").as_uri(), "boxes", "try again")


def test_half_written_files_are_named_and_go_with_their_folder(folder: CiphertextFolder) -> None:
    folder.put({f"p/a.0123{PART}": BOX, "p/a": BOX})
    assert sorted(folder.names(2)) == ["p/a", f"p/a.0123{PART}"]
    folder.remove_folder("p")
    assert list(folder.names(2)) == []


def test_what_two_looks_find_is_told_and_no_look_comes_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("marketplace.wire.ciphertexts.time.monotonic", lambda: now[0])
    twice, looks = SeenTwice(60.0), list[float]()

    def finding(*names: str) -> list[str]:
        def find() -> list[str]:
            looks.append(now[0])
            return list(names)

        return twice.among(find)

    assert finding("a", "b") == []
    now[0] += 59
    assert finding("a", "b") == []
    assert looks == [100.0]
    now[0] += 1
    assert finding("b", "c") == ["b"]
    now[0] += 60
    assert finding("c", "a") == ["c"]  # `a` was finished in between, and is a new one
