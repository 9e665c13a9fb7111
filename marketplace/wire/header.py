"""A record without its ciphertext: all that a custodian needs to check its share.

The header is the SealedRecord JSON with `box_hash` (keccak256 of the box) instead of `box` and
without `shares`, and a tally's `column_root` and `proof_hash` instead of its columns and proof. It
leads to the very commitment that the issuer attested.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

from marketplace.errors import RecordUnreadable, Refusal
from marketplace.vocabulary import (
    Commitment,
    DatasetId,
    DictionaryHash,
    Epoch,
    Lane,
    address,
    patient_address,
    unsigned,
)
from marketplace.wire import feldman
from marketplace.wire.http import hash_field, hex_field, require_keys, to_hex
from marketplace.wire.record import (
    SCHEMA,
    WITH_TALLY,
    RecordContext,
    SealedRecord,
    record_commitment,
    record_leaf_of_hash,
)
from marketplace.wire.tally import TallyHeader
from ml.homomorphic.curve import POINT_BYTES

KEYS = {
    *("schema", "chain_id", "registry", "dataset", "patient", "record_version", "lane"),
    *("dictionary_hash", "epoch", "box_hash", "key_commitments", "commitment"),
}

TALLY_KEYS = {"public_key", "column_root", "proof_hash"}


@dataclass(frozen=True)
class RecordHeader:
    """Public parts of one sealed record; `commitment` has been recomputed from the others."""

    context: RecordContext
    epoch: Epoch
    box_hash: bytes
    key_commitments: tuple[bytes, ...]
    tally: TallyHeader | None = None

    @property
    def commitment(self) -> Commitment:
        """What the issuer attests and the chain keeps."""
        return record_commitment(self.context.record_version, self.leaves())

    def leaves(self) -> list[bytes]:
        """One for each lane that the record has a part in, in ascending lane order."""
        leaf = record_leaf_of_hash(self.context, self.box_hash, self.key_commitments)
        if self.tally is None:
            return [leaf]
        return [leaf, self.tally.leaf(self.context.dictionary_hash)]

    @classmethod
    def of(cls, record: SealedRecord) -> RecordHeader:
        """The header of a whole record."""
        tally = None if record.tally is None else record.tally.header
        return cls(record.context, record.epoch, keccak(record.box), record.key_commitments, tally)

    def to_json(self) -> dict[str, Any]:
        """What `read_header` reads back: public, the commitment included."""
        c = self.context
        return {
            "schema": SCHEMA if self.tally is None else WITH_TALLY,
            "chain_id": c.chain_id,
            "registry": c.registry,
            "dataset": to_hex(c.dataset),
            "patient": c.patient,
            "record_version": c.record_version,
            "lane": int(c.lane),
            "dictionary_hash": to_hex(c.dictionary_hash),
            "epoch": int(self.epoch),
            "box_hash": to_hex(self.box_hash),
            "key_commitments": [to_hex(point) for point in self.key_commitments],
            "commitment": to_hex(self.commitment),
            **({} if self.tally is None else {"tally": _tally_to_json(self.tally)}),
        }


def read_header(document: object) -> RecordHeader:
    """A header from hostile JSON.

    Raises:
        RecordUnreadable: naming the field that is wrong, or a commitment that does not match.
    """
    with_tally = isinstance(document, dict) and document.get("schema") == WITH_TALLY
    fields = require_keys(document, KEYS | {"tally"} if with_tally else KEYS, at="record")
    try:
        header = _read(fields)
        feldman.require_points(header.key_commitments)
    except RecordUnreadable:
        raise
    except Refusal as refusal:
        raise _unreadable(refusal.field or "record", refusal.message) from None
    if fields["commitment"] != to_hex(header.commitment):
        raise _unreadable("commitment", "The commitment does not match the record's parts.")
    return header


def _read(document: dict[str, Any]) -> RecordHeader:
    if document["schema"] not in (SCHEMA, WITH_TALLY):
        raise _unreadable("schema", f"The schema is not {SCHEMA}.")
    points = document["key_commitments"]
    if not isinstance(points, list) or not 1 <= len(points) <= feldman.MOST_CUSTODIANS:
        raise _unreadable("key_commitments", "key_commitments is not a list of 1 to 16.")
    return RecordHeader(
        context=_context(document),
        epoch=Epoch(unsigned(document["epoch"], 32, "epoch")),
        box_hash=hash_field(document["box_hash"], "box_hash"),
        key_commitments=tuple(
            hex_field(point, f"key_commitments[{i}]", feldman.POINT_BYTES)
            for i, point in enumerate(points)
        ),
        tally=_tally(document["tally"]) if "tally" in document else None,
    )


def _tally(document: object) -> TallyHeader:
    fields = require_keys(document, TALLY_KEYS, at="tally")
    return TallyHeader(
        hex_field(fields["public_key"], "tally.public_key", POINT_BYTES),
        hash_field(fields["column_root"], "tally.column_root"),
        hash_field(fields["proof_hash"], "tally.proof_hash"),
    )


def _tally_to_json(tally: TallyHeader) -> dict[str, str]:
    return {
        "public_key": to_hex(tally.public_key),
        "column_root": to_hex(tally.column_root),
        "proof_hash": to_hex(tally.proof_hash),
    }


def _context(document: dict[str, Any]) -> RecordContext:
    if document["lane"] is True or document["lane"] != Lane.VAULT:
        raise _unreadable("lane", "The lane is unknown.")
    return RecordContext(
        chain_id=unsigned(document["chain_id"], 53, "chain_id"),
        registry=address(document["registry"], "registry"),
        dataset=DatasetId(hash_field(document["dataset"], "dataset")),
        patient=patient_address(document["patient"]),
        dictionary_hash=DictionaryHash(hash_field(document["dictionary_hash"], "dictionary_hash")),
        record_version=unsigned(document["record_version"], 32, "record_version"),
        lane=Lane.VAULT,
    )


def _unreadable(field: str, message: str) -> RecordUnreadable:
    return RecordUnreadable(
        message=message, remedy="Seal the record again and send it unchanged.", field=field
    )
