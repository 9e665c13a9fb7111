"""Small documents kept as files: each written whole or not at all, and proved by the hash that names it."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from eth_hash.auto import keccak

from marketplace.errors import Refusal
from marketplace.wire.private import make_folder


class Document(Protocol):
    """Of canonical bytes, whose keccak256 is what the chain keeps of it."""

    def hash(self) -> bytes:
        """32 bytes."""
        ...

    def to_bytes(self) -> bytes:
        """What the hash is of."""
        ...


D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class Documents(Generic[D]):
    """A folder of documents, one file each, named by hash.

    Args:
        load: reads one from its bytes.
        what: what a refusal calls them.
    """

    folder: Path
    load: Callable[[bytes], D]
    what: str

    def keep(self, document: D) -> None:
        """Keeps it. Twice changes nothing. Raises Refusal: `storage_full`, `storage_unavailable`."""
        keep(self.path(document.hash()), document.to_bytes(), self.what)

    def find(self, digest: bytes) -> D | None:
        """The one with this hash; a file that is not there, or was altered, is none."""
        try:
            content = self.path(digest).read_bytes()
        except FileNotFoundError:
            return None
        return self.load(content) if keccak(content) == digest else None

    def path(self, digest: bytes) -> Path:
        """The file of the document with this hash."""
        return self.folder / name_of(digest)


def name_of(digest: bytes) -> str:
    """What the file of a document with this hash is called."""
    return f"{digest.hex()}.json"


def keep(path: Path, content: bytes, folder: str) -> None:
    """Writes a file, whatever was there; `folder` is what a refusal calls the place that it lies in.

    Raises:
        Refusal: `storage_full`, `storage_unavailable`.
    """
    try:
        _write(path, content)
    except OSError as fault:
        raise unwritten(fault, folder) from None


def _write(path: Path, content: bytes) -> None:
    make_folder(path.parent)
    if path.exists() and path.read_bytes() == content:
        return
    # A name of its own: two that write the same must not move each other's away.
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def unwritten(fault: OSError, folder: str) -> Refusal:
    """What a folder that could not be written is refused with: storage_full or storage_unavailable."""
    full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
    return Refusal(
        code="storage_full" if full else "storage_unavailable",
        message=f"The folder of {folder} is full."
        if full
        else f"The folder of {folder} cannot be written.",
        remedy="Free disk space or repair the folder, then send it again.",
        field="disk" if full else None,
    )
