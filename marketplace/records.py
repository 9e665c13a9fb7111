"""The folder of sealed records: ciphertext through fsspec, everything else in the database.

A record's box and, where it has one, its tally are two files of one name: the vault lane reads the first,
the homomorphic lane the second.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import fsspec
import structlog

from marketplace.errors import Refusal
from marketplace.store import ERASED, Database, RecordRow
from marketplace.wire.feldman import POINT_BYTES
from marketplace.wire.header import read_header
from marketplace.wire.http import to_hex
from marketplace.wire.private import make_folder
from marketplace.wire.tally import SealedTally, TallyHeader

LENGTH_BYTES: Final = 4

log = structlog.get_logger()


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

    def put(self, commitment: bytes, box: bytes, tally: SealedTally | None = None) -> None:
        """Keeps a ciphertext, and the record's tally with it; whole or not at all (written aside, then moved
        into place).

        One that was erased is not kept, whoever sends it again.

        Raises:
            Refusal: `storage_full`, `storage_unavailable`.
        """
        parts = {} if tally is None else {self._tally_path(commitment): _to_bytes(tally)}
        # The box last: a reader that finds it finds all.
        parts[self._path(commitment)] = box
        # Names of their own, so that the same record in two uploads is not moved while it is written.
        aside = {path: f"{path}.{secrets.token_hex(8)}.part" for path in parts}
        try:
            for path, content in parts.items():
                self._files.pipe_file(aside[path], content)
            for path in parts:
                self._files.mv(aside[path], path)
        except OSError as fault:
            self._clear_away(commitment, list(aside.values()))
            raise _unwritten(fault) from None
        # Afterwards: an erasure meanwhile marks the row before it deletes what it finds.
        if self._is_erased(commitment):
            self.delete(commitment)

    def _clear_away(self, commitment: bytes, aside: Sequence[str]) -> None:
        """What was written of a record that did not fit."""
        with contextlib.suppress(OSError):
            is_whole = self._files.exists(self._path(commitment))  # from another upload
            for path in aside if is_whole else [*aside, self._tally_path(commitment)]:
                with contextlib.suppress(OSError):
                    self._files.rm_file(path)

    def get(self, commitment: bytes) -> bytes | None:
        """A ciphertext, or None where there is none."""
        return self._read(self._path(commitment))

    def tally(self, commitment: bytes) -> SealedTally | None:
        """A record's tally, the very one that was attested; None where it has none, was erased, or lies here
        damaged.
        """
        row = self._row(commitment)
        header = None if row is None or row.state == ERASED else _tally_header(row.header)
        raw = None if header is None else self._read(self._tally_path(commitment))
        if header is None or raw is None:
            return None
        found = _from_bytes(raw)
        if not _is_it(found, header):
            log.warning("tally_damaged", commitment=_name(commitment))
            return None
        return found

    def holds(self, commitment: bytes) -> bool:
        """Whether row and ciphertext are here, and the tally where the record has one."""
        row = self._row(commitment)
        if row is None or row.state == ERASED:
            return False
        has_tally = _tally_header(row.header) is not None
        box, tally = self._files_here(commitment)
        return box and (tally or not has_tally)

    def holds_any(self, commitment: bytes) -> bool:
        """Whether the row is here and anything of the ciphertext."""
        row = self._row(commitment)
        return row is not None and row.state != ERASED and any(self._files_here(commitment))

    def _files_here(self, commitment: bytes) -> tuple[bool, bool]:
        """Box and tally."""
        paths = (self._path(commitment), self._tally_path(commitment))
        box, tally = (bool(self._files.exists(path)) for path in paths)
        return box, tally

    def delete(self, commitment: bytes) -> bool:
        """Forgets a ciphertext and its tally; nothing happens where there is none. Returns whether there was
        any of it.

        Raises:
            Refusal: `storage_unavailable`; it may still be there.
        """
        had_box = self._remove(self._path(commitment))
        had_tally = self._remove(self._tally_path(commitment))
        return had_box or had_tally

    def _read(self, path: str) -> bytes | None:
        try:
            return bytes(self._files.cat_file(path))
        except FileNotFoundError:
            return None

    def _remove(self, path: str) -> bool:
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
        """Deletes a ciphertext, its tally and what its row says of it, for ever; the row's log says why.

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

    def _tally_path(self, commitment: bytes) -> str:
        return f"{self._root}/{commitment.hex()}.tally"


def _to_bytes(tally: SealedTally) -> bytes:
    """Public key, bytes of columns (4 bytes, big endian), columns, proof."""
    length = len(tally.columns).to_bytes(LENGTH_BYTES, "big")
    return tally.public_key + length + tally.columns + tally.proof


def _from_bytes(raw: bytes) -> SealedTally:
    start = POINT_BYTES + LENGTH_BYTES
    end = start + int.from_bytes(raw[POINT_BYTES:start], "big")
    return SealedTally(raw[:POINT_BYTES], raw[start:end], raw[end:])


def _is_it(found: SealedTally, header: TallyHeader) -> bool:
    try:
        return found.header == header
    except ValueError:  # a part of a column
        return False


def _tally_header(header: dict[str, Any]) -> TallyHeader | None:
    return read_header(header).tally if "tally" in header else None


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
