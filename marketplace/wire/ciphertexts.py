"""A folder of ciphertexts through fsspec: each file whole or not at all, and on the disk before it counts.

What a disk does is told apart by `StorageFault`, a refusal: one file that cannot be read or written need not
stop what is done with the others.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import fsspec

from marketplace.errors import Refusal
from marketplace.wire.private import make_folder

PART: Final = ".part"
"""What a file ends in while it is written."""
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


class StorageFault(Refusal):
    """A file could not be read, written or deleted: `storage_full`, `storage_unavailable`."""

    CODE = "storage_unavailable"


@dataclass(frozen=True)
class CiphertextFolder:
    """Files by name; a name may begin with a folder and a slash. `url` is any fsspec folder.

    Args:
        what: what refusals call it: "sealed records".
        again: what a refusal asks for once there is room: "send the same records again".
    """

    url: str
    what: str
    again: str
    _files: Any = field(init=False, repr=False)
    _root: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        files, root = fsspec.core.url_to_fs(self.url)
        object.__setattr__(self, "_files", files)
        object.__setattr__(self, "_root", root.rstrip("/"))
        try:
            self._make(self._root)
        except OSError as fault:
            raise self._unwritten(fault) from None

    # --- keeping

    def put(self, contents: Mapping[str, bytes]) -> None:
        """Keeps files, one after the other, each in the place of what was there, and flushed to the disk.

        A power cut leaves the file before or the new one, never a part. What was written of a file that did
        not fit is gone again.

        Raises:
            StorageFault: the files before the one at fault are kept.
        """
        paths = {self._path(name): content for name, content in contents.items()}
        # Names of their own, so that the same file from two uploads is not moved while it is written.
        aside = {path: f"{path}.{secrets.token_hex(8)}{PART}" for path in paths}
        try:
            for path, content in paths.items():
                self._make(_parent(path))
                self._files.pipe_file(aside[path], content)
                self._flush(aside[path])
            for path in paths:
                self._files.mv(aside[path], path)
                del aside[path]
            for folder in dict.fromkeys(map(_parent, paths)):
                self._flush(folder)
        except OSError as fault:
            raise self._unwritten(fault) from None
        finally:
            for left in aside.values():
                with contextlib.suppress(OSError):
                    self._files.rm_file(left)

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None where there is none, or an empty one, which nobody ever kept. Raises
        StorageFault.
        """
        try:
            return bytes(self._files.cat_file(self._path(name))) or None
        except FileNotFoundError:
            return None
        except OSError:
            raise self._fault("cannot be read") from None

    def holds(self, name: str) -> bool:
        """Whether `read` would give something. Raises StorageFault."""
        try:
            return bool(self._files.info(self._path(name))["size"])
        except FileNotFoundError:
            return False
        except OSError:
            raise self._fault("cannot be read") from None

    def names(self, depth: int) -> Iterator[str]:
        """Every file so many folders down (1: none), in no order, those that are being written among them.
        Raises StorageFault.
        """
        self._files.invalidate_cache()
        try:
            found = self._files.find(self._root, maxdepth=depth)
        except OSError:
            raise self._fault("cannot be read") from None
        start = len(self._root) + 1
        return (path[start:] for path in map(str, found) if path.count("/", start) == depth - 1)

    # --- destroying

    def remove(self, name: str) -> bool:
        """Destroys a file; returns whether there was one. Raises StorageFault: it may still be there."""
        return self._destroy(name, self._files.rm_file)

    def remove_folder(self, name: str) -> bool:
        """Destroys a folder with all in it, half written files too. Returns and raises as `remove`."""
        return self._destroy(name, lambda path: self._files.rm(path, recursive=True))

    def _destroy(self, name: str, act: Callable[[str], object]) -> bool:
        path = self._path(name)
        try:
            if not self._files.exists(path):
                return False
            act(path)
        except FileNotFoundError:  # another worker was faster
            return False
        except OSError:
            raise self._fault("cannot be emptied") from None
        return True

    # --- the disk

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @property
    def _is_local(self) -> bool:
        return "file" in self._files.protocol

    def _make(self, folder: str) -> None:
        if not self._is_local:
            self._files.makedirs(folder, exist_ok=True)
        elif not Path(folder).is_dir():
            make_folder(Path(folder))
            self._flush(_parent(folder))

    def _flush(self, path: str) -> None:
        """A file's bytes, or a folder's names; object stores have kept both when they answer."""
        if not self._is_local:
            return
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _unwritten(self, fault: OSError) -> StorageFault:
        if fault.errno not in NO_ROOM:
            return self._fault("cannot be written")
        return StorageFault(
            code="storage_full",
            message=f"The folder of {self.what} is full.",
            remedy=f"Free space or repair the folder, then {self.again}.",
            field="disk",
        )

    def _fault(self, problem: str) -> StorageFault:
        return StorageFault(
            message=f"The folder of {self.what} {problem}.",
            remedy=f"Repair the folder, or its permissions, then {self.again}; what the operator does by "
            "itself is tried again.",
        )


@dataclass
class SeenTwice:
    """Names that a look finds and found the last time, so long before: nobody is about to finish those."""

    seconds: float
    _before: frozenset[str] = frozenset()
    _looked: float | None = None

    def among(self, find: Callable[[], Iterable[str]]) -> list[str]:
        """Looks where it is time to; else none."""
        now = time.monotonic()
        if self._looked is not None and now < self._looked + self.seconds:
            return []
        found = frozenset(find())
        again = sorted(found & self._before)
        self._before, self._looked = found, now
        return again


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
