"""Encrypted records that patients hand in to be scored, and the scores that they fetch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from marketplace.chain.adapter import Chain, Record
from marketplace.chain.views import ConsentState
from marketplace.dictionaries import Dictionaries
from marketplace.errors import Refusal
from marketplace.scoring.files import MATERIAL_FILE, RECORD_FILE, ScoreFiles
from marketplace.scoring.models import Models
from marketplace.store import SCORED, Database, ScoreRecordRow
from marketplace.vocabulary import Address
from marketplace.wire.http import binary_field, to_base64, to_hex
from marketplace.wire.score_layout import layout_of_dictionary
from ml.ckks.keys import EncryptedRecord, Material
from ml.ckks.packing import Unreadable

ENDED: Final = (ConsentState.NONE, ConsentState.MOVED)


@dataclass(frozen=True)
class ScoreRecords:
    """What patients hand in and fetch. Whoever asks was proved by a signature: nobody acts for another."""

    chain: Chain
    database: Database
    dictionaries: Dictionaries
    files: ScoreFiles
    models: Models

    def hand_in(self, dataset: bytes, patient: Address, material: object, record: object) -> str:
        """Keeps a patient's encrypted record with its material, in the place of what was there; its hash.

        Args:
            material: base64 of `Material`. record: base64 of `EncryptedRecord`, in the dataset's layout.

        Raises:
            Refusal: `no_record`, `no_consent`: only who takes part is scored; `bad_score_record`, naming
                the field; `not_scorable`; `storage_unavailable`, `storage_full`.
        """
        # The cheap questions first: parsing 13 MB is dear, and anybody can sign.
        block = self._require_takes_part(dataset, patient)
        layout = layout_of_dictionary(self.dictionaries.of(dataset))
        owner, encrypted = _read(material, record)
        if encrypted.layout != layout.hash:
            raise _bad("record", "is not in this dataset's layout")
        if encrypted.material != owner.hash:
            raise _bad("record", "is not encrypted to the key of this material")
        row = ScoreRecordRow(
            dataset=to_hex(dataset),
            patient=patient,
            record=to_hex(encrypted.hash),
            block=block,
            handed_in_at=datetime.now(UTC),
        )
        # The row first: a crash then leaves a row without a file, and no file that nobody destroys.
        self.database.keep_score_record(row)
        self.files.put_record(row.dataset, patient, owner.data, encrypted.data)
        if self.database.score_record(row.dataset, patient) is None:  # it was destroyed meanwhile
            self.files.forget_record(row.dataset, patient)
        return row.record

    def _require_takes_part(self, dataset: bytes, patient: Address) -> int:
        """The block as of which this patient has a record in use, and a consent. Raises Refusal."""
        # Before the answers: what ends afterwards ends in a later block, and destroys what is kept now.
        block = self.chain.head().number
        if not is_in_use(self.chain.record_of(dataset, patient)):
            raise Refusal(
                code="no_record",
                message=f"{patient} has no record in use in this dataset.",
                remedy="Have your record stored, and consent, first.",
                field="dataset",
            )
        if self.chain.consent_of(dataset, patient).state in ENDED:
            raise Refusal(
                code="no_consent",
                message=f"{patient} consents to nothing in this dataset.",
                remedy="Consent first (`usufruct grant`), to a class that allows personal scores.",
                field="dataset",
            )
        return block

    # --- what its patient fetches

    def told(self, dataset: bytes, patient: Address) -> dict[str, Any]:
        """What is here of one patient: what was handed in, and the scores that are ready."""
        name = to_hex(dataset)
        row = self.database.score_record(name, patient)
        scores = self.database.scores_of(name, patient)
        return {
            "record": None if row is None else row.record,
            "scores": [
                {
                    "request": each.request,
                    "model": each.model,
                    "record": each.record,
                    "state": each.state,
                    "title": self.models.title(each.model),
                }
                for each in scores
            ],
        }

    def score(self, request: str, patient: Address) -> dict[str, Any]:
        """One score, encrypted to its patient. Raises Refusal (`no_score`)."""
        row = self.database.score(request, patient)
        raw = None
        if row is not None and row.state == SCORED:
            raw = self.files.score(request, patient)
        if row is None or raw is None:
            raise Refusal(
                code="no_score",
                message="There is no score of yours for this request.",
                remedy="It is made after the seal, of whoever was counted and had handed in a record. "
                "`usufruct scores` lists those that there are.",
                field="request",
            )
        return {
            "request": row.request,
            "model": row.model,
            "record": row.record,
            "score": to_base64(raw),
        }


def is_in_use(record: Record) -> bool:
    """Whether the registry has a version of it that may be computed on."""
    return any(record.commitment) and not record.suspended and not record.erased


def _read(material: object, record: object) -> tuple[Material, EncryptedRecord]:
    """Judged in Python, number by number, before SEAL sees any of it."""
    with _readable("record"):
        encrypted = EncryptedRecord.from_bytes(binary_field(record, "record", RECORD_FILE))
    with _readable("material"):
        owner = Material.from_bytes(binary_field(material, "material", MATERIAL_FILE))
    return owner, encrypted


@contextmanager
def _readable(field: str) -> Iterator[None]:
    try:
        yield
    except Unreadable as bad:
        raise _bad(field, f"cannot be used: {bad}") from None


def _bad(field: str, problem: str) -> Refusal:
    return Refusal(
        code="bad_score_record",
        message=f"The {field} {problem}.",
        remedy="Send what `usufruct score-record` makes, with this dataset's dictionary.",
        field=field,
    )
