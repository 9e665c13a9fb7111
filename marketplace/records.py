"""The folder of sealed records: ciphertext through fsspec, everything else in the database."""

from __future__ import annotations

import contextlib
import errno
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec

from marketplace.errors import Refusal
from marketplace.store import ERASED, Database, RecordRow
from marketplace.wire.header import read_header
from marketplace.wire.http import to_hex
from marketplace.wire.private import make_folder


@dataclass(frozen=True)
class Kept:
    """A record's ciphertext of the vault lane, and what its commitment is made of beside it (hex)."""

    box: bytes
    key_commitments: list[str]
    others: list[str]


@dataclass(frozen=True)
class RecordStore:
    """Ciphertexts by commitment. `url` is any fsspec folder."""

    url: str
    database: Database
    _files: Any = field(init=False, repr=False)
    _root: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        files, root = fsspec.core.url_to_fs(self.url)
        if "file" in files.protocol:
            make_folder(Path(root))
        files.makedirs(root, exist_ok=True)
        object.__setattr__(self, "_files", files)
        object.__setattr__(self, "_root", root.rstrip("/"))

    def put(self, commitment: bytes, box: bytes) -> None:
        """Keeps a ciphertext; whole or not at all (written aside, then moved into place).

        One that was erased is not kept, whoever sends it again.

        Raises:
            Refusal: `storage_full`, `storage_unavailable`.
        """
        path = self._path(commitment)
        # A name of its own, so that the same record in two uploads is not moved while it is written.
        aside = f"{path}.{secrets.token_hex(8)}.part"
        try:
            self._files.pipe_file(aside, box)
            self._files.mv(aside, path)
        except OSError as fault:
            with contextlib.suppress(OSError):
                self._files.rm_file(aside)
            raise _unwritten(fault) from None
        # Afterwards: an erasure meanwhile marks the row before it deletes what it finds.
        if self._is_erased(commitment):
            self.delete(commitment)

    def get(self, commitment: bytes) -> bytes | None:
        """A ciphertext, or None where there is none."""
        try:
            return bytes(self._files.cat_file(self._path(commitment)))
        except FileNotFoundError:
            return None

    def holds(self, commitment: bytes) -> bool:
        """Whether both ciphertext and row are here."""
        row = self._row(commitment)
        is_kept = row is not None and row.state != ERASED
        return is_kept and bool(self._files.exists(self._path(commitment)))

    def delete(self, commitment: bytes) -> bool:
        """Forgets a ciphertext; nothing happens where there is none. Returns whether there was one.

        Raises:
            Refusal: `storage_unavailable`; it may still be there.
        """
        path = self._path(commitment)
        try:
            if not self._files.exists(path):
                return False
            self._files.rm_file(path)
        except FileNotFoundError:  # another worker was faster
            return False
        except OSError:
            raise _undeleted() from None
        return True

    def erase(self, commitment: bytes, because: str) -> bool:
        """Deletes a ciphertext and what its row says of it, for ever; the row's log says why.

        May be repeated, after a crash or on what a backup brought back. Returns whether anything was left.

        Raises:
            Refusal: `storage_full`, `storage_unavailable`.
        """
        was_known = self.database.erase_record(_name(commitment), because)
        was_here = self.delete(commitment)
        return was_known or was_here

    def fetch(self, commitments: Sequence[bytes]) -> dict[bytes, Kept]:
        """Box, key commitments and leaves of other lanes (hex) of each record that is here."""
        rows = self.database.records([_name(each) for each in commitments])
        found = {}
        for commitment in commitments:
            row = rows.get(_name(commitment))
            if row is None or row.state == ERASED:
                continue
            box = self.get(commitment)
            if box is not None:
                found[commitment] = _kept(box, row.header)
        return found

    def kept(self, commitment: bytes) -> tuple[RecordRow, bytes] | None:
        """Row and box of a record; None where it was erased, or never came here."""
        row = self._row(commitment)
        box = None if row is None or row.state == ERASED else self.get(commitment)
        return None if row is None or box is None else (row, box)

    def _is_erased(self, commitment: bytes) -> bool:
        row = self._row(commitment)
        return row is not None and row.state == ERASED

    def _row(self, commitment: bytes) -> RecordRow | None:
        name = _name(commitment)
        return self.database.records([name]).get(name)

    def _path(self, commitment: bytes) -> str:
        return f"{self._root}/{commitment.hex()}.box"


def _kept(box: bytes, header: dict[str, Any]) -> Kept:
    others = (
        [to_hex(leaf) for leaf in read_header(header).leaves()[1:]] if "tally" in header else []
    )
    return Kept(box, list(header["key_commitments"]), others)


def _name(commitment: bytes) -> str:
    return "0x" + commitment.hex()


def _undeleted() -> Refusal:
    return Refusal(
        code="storage_unavailable",
        message="A ciphertext in the folder of sealed records cannot be deleted.",
        remedy="Repair the folder, or its permissions; it is tried again.",
    )


def _unwritten(fault: OSError) -> Refusal:
    full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
    return Refusal(
        code="storage_full" if full else "storage_unavailable",
        message="The folder of sealed records is full."
        if full
        else "The folder of sealed records cannot be written.",
        remedy="Free space or repair the folder, then send the same records again.",
        field="disk" if full else None,
    )
