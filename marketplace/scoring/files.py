"""The folder of what is scored and of scores: ciphertext through fsspec, everything else in the database.

A patient's file has material and record in one, 13 MB, so that neither is ever another's; a score has 82 KB.
That is too much for rows: a database is copied whole at each backup, and a file that is destroyed is gone.
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import fsspec

from marketplace.errors import Refusal
from marketplace.wire.private import make_folder
from ml.ckks.keys import MATERIAL_BYTES, RECORD_BYTES
from ml.ckks.packing import FRAME_BYTES

MATERIAL_FILE: Final = MATERIAL_BYTES + FRAME_BYTES
RECORD_FILE: Final = RECORD_BYTES + FRAME_BYTES


@dataclass(frozen=True)
class ScoreFiles:
    """Ciphertexts by whose they are. `url` is any fsspec folder."""

    url: str
    _files: Any = field(init=False, repr=False)
    _root: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        files, root = fsspec.core.url_to_fs(self.url)
        if "file" in files.protocol:
            make_folder(Path(root))
        files.makedirs(root, exist_ok=True)
        object.__setattr__(self, "_files", files)
        object.__setattr__(self, "_root", root.rstrip("/"))

    def put_record(self, dataset: str, patient: str, material: bytes, record: bytes) -> None:
        """Keeps both in the place of what was there. Raises Refusal (`storage_unavailable`)."""
        self._put(self._record(dataset, patient), material + record)

    def record(self, dataset: str, patient: str) -> tuple[bytes, bytes] | None:
        """Material and record; None where there is none."""
        raw = self._read(self._record(dataset, patient))
        if raw is None or len(raw) != MATERIAL_FILE + RECORD_FILE:
            return None
        return raw[:MATERIAL_FILE], raw[MATERIAL_FILE:]

    def keep_score(self, request: str, patient: str, score: bytes) -> bytes:
        """Keeps a score unless there is one; the one that is there. Raises as `put_record`."""
        path = self._score(request, patient)
        kept = self._read(path)
        if kept is not None:
            return kept
        self._put(path, score)
        return score

    def score(self, request: str, patient: str) -> bytes | None:
        """A score; None where there is none."""
        return self._read(self._score(request, patient))

    def forget_record(self, dataset: str, patient: str) -> None:
        """Destroys material and record. Raises Refusal (`storage_unavailable`); it may still be there."""
        self._remove(self._record(dataset, patient))

    def forget_score(self, request: str, patient: str) -> None:
        """Destroys a score. Raises as `forget_record`."""
        self._remove(self._score(request, patient))

    def _record(self, dataset: str, patient: str) -> str:
        return f"{self._root}/{dataset[2:].lower()}-{patient[2:].lower()}.record"

    def _score(self, request: str, patient: str) -> str:
        return f"{self._root}/{request[2:].lower()}-{patient[2:].lower()}.score"

    def _put(self, path: str, content: bytes) -> None:
        aside = f"{path}.{secrets.token_hex(8)}.part"
        try:
            self._files.pipe_file(aside, content)
            self._files.mv(aside, path)
        except OSError:
            with contextlib.suppress(OSError):
                self._files.rm_file(aside)
            raise _unavailable() from None

    def _read(self, path: str) -> bytes | None:
        try:
            return bytes(self._files.cat_file(path))
        except FileNotFoundError:
            return None

    def _remove(self, path: str) -> None:
        try:
            if self._files.exists(path):
                self._files.rm_file(path)
        except FileNotFoundError:  # another worker was faster
            return
        except OSError:
            raise _unavailable() from None


def _unavailable() -> Refusal:
    return Refusal(
        code="storage_unavailable",
        message="The folder of what is scored cannot be written.",
        remedy="Free space or repair the folder; then it is tried again.",
    )
