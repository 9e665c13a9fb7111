"""What an operator keeps of a record that it took in, without the API in between."""

from datetime import UTC, datetime

from eth_utils.crypto import keccak

from marketplace.records import RecordStore
from marketplace.store import RecordRow
from marketplace.wire.header import RecordHeader
from marketplace.wire.http import to_hex
from marketplace.wire.structs import RecordAttestation
from tests.support.custody_world import CustodyWorld


def keep_record(world: CustodyWorld, records: RecordStore, patient: str, version: int = 1) -> None:
    """The newest that was sealed for this address: its row, and its ciphertext in the folder."""
    sealed = world.records[patient]
    attestation = RecordAttestation(
        world.dataset,
        patient,
        keccak(text="person" + patient),
        sealed.commitment,
        version,
        world.issuer.address,
        world.later(),
    )
    row = RecordRow(
        commitment=to_hex(sealed.commitment),
        dataset=to_hex(world.dataset),
        patient=patient,
        version=version,
        header=RecordHeader.of(sealed).to_json(),
        attestation=attestation.to_json(),
        state="stored",
        received_at=datetime.now(UTC),
    )
    records.database.keep_record(row)
    records.put(sealed.commitment, sealed.box)
