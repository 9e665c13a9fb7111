"""The files of what is scored and of scores: one folder for each patient of a dataset, destroyed whole.

A patient's file has material and record in one, 13 MB, so that neither is ever another's; a score has 82 KB.
That is too much for rows: a database is copied whole at each backup, and a file that is destroyed is gone.

    MARKET-OPERATOR / DATASET-PATIENT / record
                                        REQUEST.score

Operators may share storage: each has a folder of its own in it, and destroys nothing of another's. One that
takes another account starts with an empty one: patients hand in again, and its host deletes the old folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from marketplace.wire.ciphertexts import PART, CiphertextFolder, StorageFault
from ml.ckks.keys import MATERIAL_BYTES, RECORD_BYTES
from ml.ckks.packing import FRAME_BYTES, Unreadable
from ml.ckks.score import EncryptedScore

MATERIAL_FILE: Final = MATERIAL_BYTES + FRAME_BYTES
RECORD_FILE: Final = RECORD_BYTES + FRAME_BYTES
RECORD: Final = "record"
SCORE: Final = ".score"


class Owned(NamedTuple):
    """A file and whose it is, in hex; `request` is None of what is scored. Half written: `whole` is false."""

    file: str
    dataset: str
    patient: str
    request: str | None
    whole: bool


@dataclass(frozen=True)
class ScoreFiles:
    """Ciphertexts by whose they are. `url` is any fsspec folder.

    Args:
        owner: the market and the operator, as a folder may be called: nobody else's files are below it.
    """

    url: str
    owner: str
    _folder: CiphertextFolder = field(init=False, repr=False)

    def __post_init__(self) -> None:
        url = f"{self.url.rstrip('/')}/{self.owner}"
        object.__setattr__(self, "_folder", CiphertextFolder(url, "what is scored", "try again"))

    def put_record(self, dataset: str, patient: str, material: bytes, record: bytes) -> None:
        """Keeps both in the place of what was there. Raises StorageFault."""
        self._folder.put({_file(dataset, patient, RECORD): material + record})

    def record(self, dataset: str, patient: str) -> tuple[bytes, bytes] | None:
        """Material and record; None where there is none, or not a whole one. Raises StorageFault."""
        raw = self._folder.read(_file(dataset, patient, RECORD))
        if raw is None or len(raw) != MATERIAL_FILE + RECORD_FILE:
            return None
        return raw[:MATERIAL_FILE], raw[MATERIAL_FILE:]

    def keep_score(
        self, dataset: str, patient: str, request: str, made: EncryptedScore
    ) -> EncryptedScore:
        """Keeps a score unless there is one; the one that is there. One that nobody can read is none, and
        the new one takes its place. Raises StorageFault.
        """
        try:
            kept = self.score(dataset, patient, request)
        except StorageFault:  # of this file, or of the whole disk: then it cannot be written either
            kept = None
        if kept is not None:
            return kept
        self._folder.put({_score(dataset, patient, request): made.data})
        return made

    def score(self, dataset: str, patient: str, request: str) -> EncryptedScore | None:
        """A score; None where there is none that can be read. Raises StorageFault."""
        raw = self._folder.read(_score(dataset, patient, request))
        try:
            return None if raw is None else EncryptedScore.from_bytes(raw)
        except Unreadable:
            return None

    def forget(self, dataset: str, patient: str) -> bool:
        """Destroys all that is here of a patient in a dataset, known to rows or not; whether there was any.

        Raises:
            StorageFault: some of it may still be there.
        """
        return self._folder.remove_folder(_owner(dataset, patient))

    def forget_score(self, dataset: str, patient: str, request: str) -> None:
        """Destroys one score. Raises StorageFault; it may still be there."""
        self._folder.remove(_score(dataset, patient, request))

    def remove(self, file: str) -> bool:
        """Destroys a file that `owned` named. Raises StorageFault."""
        return self._folder.remove(file)

    def owned(self) -> Iterator[Owned]:
        """Every file here, and whose it is. Raises StorageFault."""
        for file in self._folder.names(2):
            owner, _, name = file.partition("/")
            dataset, _, patient = owner.partition("-")
            request = None if name.startswith(RECORD) else "0x" + name.partition(".")[0]
            yield Owned(file, "0x" + dataset, "0x" + patient, request, not name.endswith(PART))


def _owner(dataset: str, patient: str) -> str:
    return f"{dataset[2:].lower()}-{patient[2:].lower()}"


def _file(dataset: str, patient: str, name: str) -> str:
    return f"{_owner(dataset, patient)}/{name}"


def _score(dataset: str, patient: str, request: str) -> str:
    return _file(dataset, patient, request[2:].lower() + SCORE)
