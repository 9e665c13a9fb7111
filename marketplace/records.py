"""The folder of sealed records: ciphertext through fsspec, everything else in the database.

A record's box and, where it has one, its tally are two files of one name: the vault lane reads the first,
the homomorphic lane the second.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from marketplace.store import ERASED, Database, RecordRow
from marketplace.wire.ciphertexts import PART, CiphertextFolder, SeenTwice, StorageFault
from marketplace.wire.feldman import POINT_BYTES
from marketplace.wire.header import read_header
from marketplace.wire.http import to_hex
from marketplace.wire.tally import SealedTally, TallyHeader

LENGTH_BYTES: Final = 4
SWEEP_SECONDS: Final = 3600.0
"""Between two looks for what an upload that died left: none takes so long."""

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
    _folder: CiphertextFolder = field(init=False, repr=False)
    _unfinished: SeenTwice = field(default_factory=lambda: SeenTwice(SWEEP_SECONDS), repr=False)

    def __post_init__(self) -> None:
        folder = CiphertextFolder(self.url, "sealed records", "send the same records again")
        object.__setattr__(self, "_folder", folder)

    def put(self, commitment: bytes, box: bytes, tally: SealedTally | None = None) -> None:
        """Keeps a ciphertext, and the record's tally with it; whole or not at all (written aside, then moved
        into place), and on the disk when this returns.

        One that was erased is not kept, whoever sends it again.

        Raises:
            Refusal: `storage_full`, `storage_unavailable`.
        """
        parts = {} if tally is None else {_tally_file(commitment): _to_bytes(tally)}
        # The box last: a reader that finds it finds all.
        parts[_box_file(commitment)] = box
        try:
            self._folder.put(parts)
        except StorageFault:
            self._clear_away(commitment)
            raise
        # Afterwards: an erasure meanwhile marks the row before it deletes what it finds.
        if self._is_erased(commitment):
            self.delete(commitment)

    def _clear_away(self, commitment: bytes) -> None:
        """The tally of a record that did not fit, unless it is whole from another upload."""
        with contextlib.suppress(StorageFault):
            if not self._folder.holds(_box_file(commitment)):
                self._folder.remove(_tally_file(commitment))

    def sweep(self) -> int:
        """Deletes what uploads that died left half written; how many there were. Looks once in a while.

        Raises:
            Refusal: `storage_unavailable`.
        """
        left = self._unfinished.among(
            lambda: (each for each in self._folder.names(1) if each.endswith(PART))
        )
        return sum(self._folder.remove(each) for each in left)

    def get(self, commitment: bytes) -> bytes | None:
        """A ciphertext, or None where there is none."""
        return self._folder.read(_box_file(commitment))

    def tally(self, commitment: bytes) -> SealedTally | None:
        """A record's tally, the very one that was attested; None where it has none, was erased, or lies here
        damaged.
        """
        row = self._row(commitment)
        header = None if row is None or row.state == ERASED else _tally_header(row.header)
        raw = None if header is None else self._folder.read(_tally_file(commitment))
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
        return self._folder.holds(_box_file(commitment)), self._folder.holds(
            _tally_file(commitment)
        )

    def delete(self, commitment: bytes) -> bool:
        """Forgets a ciphertext and its tally; nothing happens where there is none. Returns whether there was
        any of it.

        Raises:
            Refusal: `storage_unavailable`; it may still be there.
        """
        had_box = self._folder.remove(_box_file(commitment))
        had_tally = self._folder.remove(_tally_file(commitment))
        return had_box or had_tally

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


def _box_file(commitment: bytes) -> str:
    return f"{commitment.hex()}.box"


def _tally_file(commitment: bytes) -> str:
    return f"{commitment.hex()}.tally"


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
