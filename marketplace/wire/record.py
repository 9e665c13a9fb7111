"""Sealed records (usufruct-record/1): AES-256-GCM under a key that only k custodians can rebuild; with a
tally for the homomorphic lane (usufruct-record/2), where the dictionary has an encoding.

The key is HKDF-SHA256 (RFC 5869) of the shared secret; the box is AES-256-GCM (NIST SP 800-38D);
both are bound to chain, registry, dataset, patient, dictionary, lane and version, so a copy under
another patient or on another chain does not open.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from eth_hash.auto import keccak

from marketplace.errors import BadParameter, EnvelopeUnreadable, RecordUnreadable, Refusal
from marketplace.vocabulary import (
    Address,
    Commitment,
    DatasetId,
    DictionaryHash,
    Epoch,
    Lane,
    PatientAddress,
    address,
    bytes32,
    patient_address,
    unsigned,
)
from marketplace.wire import feldman, hpke
from marketplace.wire.canonical import canonical, parse, tagged_hash
from marketplace.wire.feldman import Share
from marketplace.wire.tally import SealedTally, base64_field, require_tally

SCHEMA = "usufruct-record/1"
WITH_TALLY = "usufruct-record/2"
NONCE_BYTES = 12
TAG_BYTES = 16
LARGEST_BOX = 64 * 1024
LARGEST_RECORD = 128 * 1024  # the box in base64 and 16 envelopes
LARGEST_WITH_TALLY = 512 * 1024  # and the tally in base64
ENVELOPE_BYTES = hpke.OVERHEAD + feldman.SCALAR_BYTES
KEYS = {
    *("schema", "chain_id", "registry", "dataset", "patient", "record_version", "lane"),
    *("dictionary_hash", "epoch", "box", "key_commitments", "shares", "commitment"),
}
T = TypeVar("T")


@dataclass(frozen=True)
class RecordContext:
    """All that a record is bound to. `registry` is the DatasetRegistry contract."""

    chain_id: int
    registry: Address
    dataset: DatasetId
    patient: PatientAddress
    dictionary_hash: DictionaryHash
    record_version: int
    lane: Lane = Lane.VAULT

    def in_lane(self, lane: Lane) -> RecordContext:
        """The same record's part in another lane."""
        return replace(self, lane=lane)

    def aad(self) -> bytes:
        """The associated data of the box, and what a tally's proof is bound to in its lane; 32 bytes."""
        types = ["uint256", "address", "bytes32", "address", "bytes32", "uint8", "uint32"]
        where = [self.chain_id, self.registry, self.dataset, self.patient, self.dictionary_hash]
        return tagged_hash("usufruct/record/1", types, [*where, self.lane, self.record_version])


@dataclass(frozen=True)
class SealedShare:
    """One custodian's share, in an envelope to its key."""

    index: int
    envelope: bytes


@dataclass(frozen=True)
class SealedRecord:
    """A record as it leaves its owner's machine. Everything in it is ciphertext or public."""

    context: RecordContext
    epoch: Epoch
    box: bytes
    key_commitments: tuple[bytes, ...]
    shares: tuple[SealedShare, ...]
    tally: SealedTally | None = None

    @property
    def commitment(self) -> Commitment:
        """What the issuer attests and the chain keeps."""
        leaves = record_leaves(self.context, self.box, self.key_commitments, self.tally)
        return record_commitment(self.context.record_version, leaves)


def record_leaf(context: RecordContext, box: bytes, key_commitments: Sequence[bytes]) -> bytes:
    """The leaf of one lane: lane, dictionary, ciphertext and key commitments. 32 bytes."""
    return record_leaf_of_hash(context, keccak(box), key_commitments)


def record_leaf_of_hash(
    context: RecordContext, box_hash: bytes, key_commitments: Sequence[bytes]
) -> bytes:
    """As `record_leaf`, for whoever has keccak256 of the box only."""
    values = [context.lane, context.dictionary_hash, box_hash, keccak(b"".join(key_commitments))]
    return tagged_hash("usufruct/leaf/1", ["uint8", "bytes32", "bytes32", "bytes32"], values)


def record_leaves(
    context: RecordContext, box: bytes, key_commitments: Sequence[bytes], tally: SealedTally | None
) -> list[bytes]:
    """One leaf for each lane that the record has a part in, in ascending lane order."""
    vault = record_leaf(context, box, key_commitments)
    return [vault] if tally is None else [vault, tally.header.leaf(context.dictionary_hash)]


def record_commitment(record_version: int, leaves: Sequence[bytes]) -> Commitment:
    """The root over the leaves, in ascending lane order. 32 bytes."""
    values = [record_version, list(leaves)]
    return Commitment(tagged_hash("usufruct/commitment/1", ["uint32", "bytes32[]"], values))


def close_box(secret: int, context: RecordContext, plaintext: bytes, *, nonce: bytes) -> bytes:
    """nonce || ciphertext || tag. Never use a secret for two boxes."""
    if len(nonce) != NONCE_BYTES:
        raise BadParameter(message="The nonce is not 12 bytes.", remedy="Draw 12.", field="nonce")
    aad = context.aad()
    return nonce + AESGCM(_record_key(secret, aad)).encrypt(nonce, plaintext, aad)


def open_box(secret: int, context: RecordContext, box: bytes) -> bytes:
    """The row bytes. Raises RecordUnreadable for another key, another context or changed bytes."""
    aad = context.aad()
    try:
        return AESGCM(_record_key(secret, aad)).decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], aad)
    except (InvalidTag, ValueError):
        raise RecordUnreadable(
            message="The record does not open for this patient, dataset and chain.",
            remedy="Count it as null; its patient can seal and attest it again.",
            field="box",
        ) from None


def share_info(context: RecordContext, commitment: Commitment, epoch: Epoch, index: int) -> bytes:
    """The HPKE info of one share envelope, 32 bytes."""
    types = ["uint256", "address", "bytes32", "address", "bytes32", "uint32", "uint8"]
    where = [context.chain_id, context.registry, context.dataset, context.patient]
    return tagged_hash("usufruct/share/1", types, [*where, commitment, epoch, index])


def seal_share(
    share: Share, public_key: bytes, context: RecordContext, commitment: Commitment, epoch: Epoch
) -> SealedShare:
    """`share` for the holder of `public_key` in `epoch`; also how shares are rewrapped."""
    info = share_info(context, commitment, epoch, share.index)
    return SealedShare(share.index, hpke.seal(share.to_bytes(), public_key, info))


def open_share(record: SealedRecord, index: int, secret: hpke.SecretKey) -> Share:
    """Custodian `index`'s share, checked against the key commitments.

    Raises EnvelopeUnreadable (no such envelope, or it does not open) or WrongShare.
    """
    sealed = next((s for s in record.shares if s.index == index), None)
    if sealed is None:
        raise EnvelopeUnreadable(
            message=f"The record holds no share for custodian {index}.",
            remedy="Ask the patient to seal it for the current committee.",
            field="shares",
            facts={"custodian": index},
        )
    info = share_info(record.context, record.commitment, record.epoch, index)
    raw = hpke.open_envelope(sealed.envelope, secret, info)
    share = Share(index, int.from_bytes(raw, "big"))
    feldman.verify_share(share, record.key_commitments)
    return share


def dump(record: SealedRecord) -> bytes:
    """Canonical JSON."""
    c = record.context
    tally = {} if record.tally is None else {"tally": record.tally.to_json()}
    return canonical(
        {
            "schema": SCHEMA if record.tally is None else WITH_TALLY,
            "chain_id": c.chain_id,
            "registry": c.registry,
            "dataset": _hex(c.dataset),
            "patient": c.patient,
            "record_version": c.record_version,
            "lane": int(c.lane),
            "dictionary_hash": _hex(c.dictionary_hash),
            "epoch": record.epoch,
            "box": base64.b64encode(record.box).decode(),
            "key_commitments": [_hex(point) for point in record.key_commitments],
            "shares": [
                {"index": s.index, "envelope": base64.b64encode(s.envelope).decode()}
                for s in record.shares
            ],
            "commitment": _hex(record.commitment),
            **tally,
        }
    )


def load(data: bytes, expected: RecordContext | None = None) -> SealedRecord:
    """A record from hostile bytes; its commitment is recomputed, its context compared.

    That a tally's proof holds, it does not say (`wire.tally.require_valid`).

    Raises RecordUnreadable naming the field at fault.
    """
    has_tally = f'"schema":"{WITH_TALLY}"'.encode() in data
    limit = LARGEST_WITH_TALLY if has_tally else LARGEST_RECORD
    document = parse(data, limit=limit, refusal=RecordUnreadable)
    _require_keys(document)
    record = _read_checked(document)
    if document["commitment"] != _hex(record.commitment):
        raise _unreadable("commitment", "The commitment does not match box and key commitments.")
    if expected is not None:
        require_context(record, expected)
    return record


def _require_keys(document: Any) -> None:
    schema = document.get("schema") if isinstance(document, dict) else None
    keys = KEYS | {"tally"} if schema == WITH_TALLY else KEYS
    if schema not in (SCHEMA, WITH_TALLY) or set(document) != keys:
        raise _unreadable("schema", f"The document is not a {SCHEMA} with exactly its keys.")


def require_context(record: SealedRecord, expected: RecordContext) -> None:
    """The record says it belongs where it was found. Raises RecordUnreadable naming the field."""
    for item in fields(RecordContext):
        if getattr(record.context, item.name) != getattr(expected, item.name):
            raise _unreadable(item.name, f"The record is for another {item.name}.")


def _read_checked(document: dict[str, Any]) -> SealedRecord:
    try:
        record = _read(document)
        feldman.require_points(record.key_commitments)
    except RecordUnreadable:
        raise
    except Refusal as refusal:
        raise _unreadable(refusal.field or "record", refusal.message) from None
    return record


def _read(document: dict[str, Any]) -> SealedRecord:
    box = base64_field(document["box"], "box", _unreadable)
    if not NONCE_BYTES + TAG_BYTES <= len(box) <= LARGEST_BOX:
        raise _unreadable(
            "box", f"The box has {len(box)} bytes; at most {LARGEST_BOX} are allowed."
        )
    points = _list(document["key_commitments"], "key_commitments", _point)
    shares = _list(document["shares"], "shares", _share)
    _require_shares(shares, len(points))
    epoch = Epoch(unsigned(document["epoch"], 32, "epoch"))
    tally = require_tally(document["tally"]) if document["schema"] == WITH_TALLY else None
    return SealedRecord(_context(document), epoch, box, points, shares, tally)


def _context(document: dict[str, Any]) -> RecordContext:
    if document["lane"] is True or document["lane"] != Lane.VAULT:
        raise _unreadable("lane", "The lane is unknown.")
    return RecordContext(
        chain_id=unsigned(document["chain_id"], 53, "chain_id"),
        registry=address(document["registry"], "registry"),
        dataset=DatasetId(bytes32(document["dataset"], "dataset")),
        patient=patient_address(document["patient"]),
        dictionary_hash=DictionaryHash(bytes32(document["dictionary_hash"], "dictionary_hash")),
        record_version=unsigned(document["record_version"], 32, "record_version"),
        lane=Lane(document["lane"]),
    )


def _require_shares(shares: Sequence[SealedShare], quorum: int) -> None:
    indices = [s.index for s in shares]
    if indices != list(range(1, len(shares) + 1)) or not 1 <= quorum <= len(shares):
        raise _unreadable(
            "shares", "Shares are not those of custodians 1..n, n at least the quorum."
        )


def _list(value: Any, field: str, read: Callable[[Any, str], T]) -> tuple[T, ...]:
    if not isinstance(value, list) or len(value) > feldman.MOST_CUSTODIANS:
        raise _unreadable(field, f"{field} is not a list of at most {feldman.MOST_CUSTODIANS}.")
    return tuple(read(item, f"{field}[{i}]") for i, item in enumerate(value))


def _share(entry: Any, field: str) -> SealedShare:
    if not isinstance(entry, dict) or set(entry) != {"index", "envelope"}:
        raise _unreadable(field, "A share has exactly index and envelope.")
    envelope = base64_field(entry["envelope"], f"{field}.envelope", _unreadable)
    if len(envelope) != ENVELOPE_BYTES:
        raise _unreadable(f"{field}.envelope", f"An envelope has {ENVELOPE_BYTES} bytes.")
    return SealedShare(unsigned(entry["index"], 8, f"{field}.index"), envelope)


def _point(text: Any, field: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except (ValueError, AttributeError):
        raise _unreadable(field, f"{field} is not hexadecimal.") from None


def _record_key(secret: int, aad: bytes) -> bytes:
    info = b"usufruct/record-key/1" + aad
    ikm = secret.to_bytes(feldman.SCALAR_BYTES, "big")
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(ikm)


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()


def _unreadable(field: str, message: str) -> RecordUnreadable:
    return RecordUnreadable(
        message=message, remedy="Seal the record again and send it unchanged.", field=field
    )
