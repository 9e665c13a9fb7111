"""A patient's folder for personal scores: the key that alone opens them, and what it was used on.

owner.key      the secret (mode 0600); it never leaves this machine. Whoever has it opens every record and
               score that was ever encrypted to it; without it nobody opens any
material       what operators compute with; public. The same under two addresses would show that they are
               one person's, so a folder serves one dataset
dataset        which: written when the first record is handed in
HASH.record    each encrypted record that was handed in, by its hash: its scores are opened beside it
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from marketplace.errors import Refusal
from marketplace.wire.private import OWNER_ONLY, make_folder
from ml.ckks.keys import EncryptedRecord, Material, OwnerKey
from ml.ckks.packing import Unreadable

SECRET: Final = "owner.key"  # noqa: S105  # a file's name
MATERIAL: Final = "material"
DATASET: Final = "dataset"


@dataclass(frozen=True)
class ScoreFolder:
    """One patient's folder. Nothing in it is ever overwritten."""

    path: Path

    def make(self) -> bool:
        """Makes key and material, once. Returns False, and changes nothing, where there is a key."""
        if (self.path / SECRET).exists():
            return False
        make_folder(self.path)
        key, material = OwnerKey.generate()
        # The material first: a key without it could do nothing, and would stand in the way of another.
        _write(self.path / MATERIAL, material.data)
        _write(self.path / SECRET, key.to_bytes(), new=True)
        return True

    def require_there(self) -> None:
        """Raises Refusal (`score_key`) where there is no such folder."""
        if not self.path.is_dir():
            raise Refusal(
                code="score_key",
                message=f"There is no folder {self.path}.",
                remedy="Check the path. `usufruct score-key` makes a folder with a new key, which opens no "
                "score of before.",
                field="score_key",
            )

    @property
    def handed_in(self) -> bool:
        """Whether a record was ever made here to be handed in."""
        return any(self.path.glob("*.record"))

    def key(self) -> OwnerKey:
        """The secret. Raises Refusal (`score_key`), which shows nothing of it."""
        self.require_there()
        path = self.path / SECRET
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise _bad(SECRET, "can be read by others", "Run `chmod 600` on it.")
            return OwnerKey.from_bytes(path.read_bytes())
        except FileNotFoundError:
            raise _bad(SECRET, "is missing", "Make it with `usufruct score-key`.") from None
        except Unreadable:
            raise _bad(SECRET, "is no such key", "Restore it from your backup.") from None

    def material(self) -> Material:
        """What belongs to the key. Raises Refusal (`score_key`)."""
        try:
            found = Material.from_bytes((self.path / MATERIAL).read_bytes())
        except FileNotFoundError:
            raise _bad(MATERIAL, "is missing", "Restore the folder from your backup.") from None
        except Unreadable:
            raise _bad(MATERIAL, "is damaged", "Restore the folder from your backup.") from None
        if found.hash != self.key().material:
            raise _bad(MATERIAL, "belongs to another key", "Restore the folder from your backup.")
        return found

    def bind(self, dataset: bytes) -> None:
        """Makes this the folder of a dataset, and of no other: for good. Raises Refusal
        (`score_key_of_another_dataset`).
        """
        with contextlib.suppress(FileExistsError):
            _write(self.path / DATASET, dataset.hex().encode(), new=True)
        if (self.path / DATASET).read_bytes() != dataset.hex().encode():
            raise Refusal(
                code="score_key_of_another_dataset",
                message=f"{self.path} is used in another dataset: with one key in both, whoever sees both "
                "knows that your two addresses are one person's.",
                remedy="Make another folder for this dataset with `usufruct score-key`.",
                field="score_key",
            )

    def keep_record(self, record: EncryptedRecord) -> None:
        """Keeps what is about to be handed in."""
        _write(self._record(record.hash), record.data)

    def record(self, digest: bytes) -> EncryptedRecord:
        """What was handed in under this hash. Raises Refusal (`no_score_record`; `score_key`)."""
        self.require_there()
        try:
            found = EncryptedRecord.from_bytes(self._record(digest).read_bytes())
        except (FileNotFoundError, Unreadable):
            raise self._no_record() from None
        if found.hash != digest:
            raise self._no_record()
        return found

    def _record(self, digest: bytes) -> Path:
        return self.path / f"{digest.hex()}.record"

    def _no_record(self) -> Refusal:
        return Refusal(
            code="no_score_record",
            message=f"{self.path} has no such record that was handed in.",
            remedy="Restore the folder from your backup, or hand your record in again with `usufruct "
            "score-record` and wait for the next score.",
            field="score_key",
        )


def _write(path: Path, content: bytes, new: bool = False) -> None:
    """Whole or not at all, for its owner only; `new`: never in the place of another."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if new:
            os.link(part, path)
        else:
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _bad(name: str, problem: str, remedy: str) -> Refusal:
    return Refusal(
        code="score_key",
        message=f"{name} in the folder of your score key {problem}.",
        remedy=remedy,
        field="score_key",
    )
