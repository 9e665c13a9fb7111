"""Encrypted records that patients hand in to be scored, and the scores that they fetch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.dictionaries import Dictionaries
from marketplace.errors import Refusal
from marketplace.scoring.files import MATERIAL_FILE, RECORD_FILE, ScoreFiles
from marketplace.scoring.models import Models
from marketplace.scoring.taking_part import NoPart, require_takes_part
from marketplace.scoring.turns import Turns
from marketplace.store import SCORED, Database, ScoreRecordRow
from marketplace.vocabulary import Address
from marketplace.wire.http import binary_field, to_base64, to_hex
from marketplace.wire.score_layout import layout_of_dictionary
from ml.ckks.keys import EncryptedRecord, Material
from ml.ckks.packing import Unreadable


@dataclass(frozen=True)
class ScoreRecords:
    """What patients hand in and fetch. Whoever asks was proved by a signature: nobody acts for another."""

    chain: Chain
    database: Database
    dictionaries: Dictionaries
    files: ScoreFiles
    models: Models
    turns: Turns
    most: int

    def require_may_hand_in(self, dataset: bytes, patient: Address) -> int:
        """The block as of which this patient takes part, and there is room. Cheap: to be asked before 17 MB
        are read, of whoever says to be this patient.

        Raises:
            Refusal: `no_record`, `no_consent`; `too_many_score_records`.
        """
        block = require_takes_part(self.chain, dataset, patient)
        self._require_room(to_hex(dataset), patient)
        return block

    def hand_in(self, dataset: bytes, patient: Address, material: object, record: object) -> str:
        """Keeps a patient's encrypted record with its material, in the place of what was there; its hash.

        Args:
            material: base64 of `Material`. record: base64 of `EncryptedRecord`, in the dataset's layout.

        Raises:
            Refusal: as `require_may_hand_in`; `bad_score_record`, naming the field; `not_scorable`;
                `storage_unavailable`, `storage_full`: where the folder is at fault, what was there before
                is kept.
        """
        block = self.require_may_hand_in(dataset, patient)
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
        with self.turns.of(row.dataset, patient):
            # The file first: a disk that is full changes no row. A file that a crash left alone is swept.
            self.files.put_record(row.dataset, patient, owner.data, encrypted.data)
            self.database.keep_score_record(row)
            self._forget_if_ended(dataset, patient)
        return row.record

    def _forget_if_ended(self, dataset: bytes, patient: Address) -> None:
        """An end that was followed (`forgetting`) before there was anything to destroy is not again."""
        try:
            require_takes_part(self.chain, dataset, patient)
        except NoPart:
            self.files.forget(to_hex(dataset), patient)
            self.database.forget_scoring(to_hex(dataset), patient)
            raise

    def _require_room(self, dataset: str, patient: Address) -> None:
        """At 13 MB each, nobody fills the disk: a dataset's steward, who decides whose records are stored,
        has at most half of it.
        """
        inside, everywhere = self.database.score_records_beside(dataset, patient)
        if inside < max(1, self.most // 2) and everywhere < self.most:
            return
        raise Refusal(
            code="too_many_score_records",
            message="This operator keeps no more records to be scored"
            f"{'' if everywhere >= self.most else ' of this dataset'}.",
            remedy="Ask the operator to make room (most_scored); your consent and your record stay as they "
            "are.",
            field="dataset",
        )

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
        found = None
        if row is not None and row.state == SCORED:
            found = self.files.score(row.dataset, patient, request)
        if row is None or found is None:
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
            "score": to_base64(found.data),
        }


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
