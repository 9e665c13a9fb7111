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
from marketplace.store import Database
from marketplace.wire.private import make_folder


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

    def get(self, commitment: bytes) -> bytes | None:
        """A ciphertext, or None where there is none."""
        try:
            return bytes(self._files.cat_file(self._path(commitment)))
        except FileNotFoundError:
            return None

    def holds(self, commitment: bytes) -> bool:
        """Whether both ciphertext and row are here."""
        name = "0x" + commitment.hex()
        return name in self.database.records([name]) and self._files.exists(self._path(commitment))

    def delete(self, commitment: bytes) -> None:
        """Forgets a ciphertext; nothing happens where there is none."""
        path = self._path(commitment)
        if self._files.exists(path):
            self._files.rm_file(path)

    def fetch(self, commitments: Sequence[bytes]) -> dict[bytes, tuple[bytes, list[str]]]:
        """Box and key commitments (hex) of each record that is here."""
        rows = self.database.records(["0x" + each.hex() for each in commitments])
        found = {}
        for commitment in commitments:
            row = rows.get("0x" + commitment.hex())
            box = self.get(commitment) if row is not None else None
            if row is not None and box is not None:
                found[commitment] = (box, list(row.header["key_commitments"]))
        return found

    def _path(self, commitment: bytes) -> str:
        return f"{self._root}/{commitment.hex()}.box"


def _unwritten(fault: OSError) -> Refusal:
    full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
    return Refusal(
        code="storage_full" if full else "storage_unavailable",
        message="The folder of sealed records is full."
        if full
        else "The folder of sealed records cannot be written.",
        remedy="Free space or repair the folder, then send the same records again.",
    )
