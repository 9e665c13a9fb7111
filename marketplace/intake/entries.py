"""One record on its way in, and how it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from marketplace.errors import Refusal
from marketplace.store import RecordRow
from marketplace.wire.header import RecordHeader
from marketplace.wire.record import SealedRecord
from marketplace.wire.structs import RecordAttestation


@dataclass
class Entry:
    """One record on its way in. `refusal` says why it went no further."""

    record: SealedRecord | None = None
    attestation: RecordAttestation | None = None
    signature: bytes = b""
    receipts: list[tuple[int, bytes]] = field(default_factory=list)
    state: str = "received"
    refusal: Refusal | None = None


def attestation_of(entry: Entry) -> RecordAttestation:
    """The attestation of an entry that was not refused."""
    if entry.attestation is None:
        raise TypeError("an entry without a refusal has an attestation")
    return entry.attestation


def record_of(entry: Entry) -> SealedRecord:
    """The record of an entry that was not refused."""
    if entry.record is None:
        raise TypeError("an entry without a refusal has a record")
    return entry.record


def row_of(record: SealedRecord, attestation: RecordAttestation) -> RecordRow:
    """What the database keeps of a record: nothing that could open it."""
    return RecordRow(
        commitment="0x" + record.commitment.hex(),
        dataset="0x" + attestation.dataset.hex(),
        patient=attestation.patient,
        version=attestation.version,
        header=RecordHeader.of(record).to_json(),
        attestation=attestation.to_json(),
        state="received",
        received_at=datetime.now(UTC),
    )
