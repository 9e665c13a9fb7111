"""Sealed records arriving: kept, registered on chain, held by custodians, confirmed.

The operator forwards each custodian's share envelope and keeps none: it could not open it, and what it
does not keep it cannot lose. Each record goes its way alone; a bad one does not sink the rest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from eth_utils.crypto import keccak

from marketplace.chain.adapter import Chain, CommitteeView, Record
from marketplace.chain.sender import Sender
from marketplace.errors import Refusal
from marketplace.peers import Peer
from marketplace.records import RecordStore
from marketplace.store import RecordRow
from marketplace.wire.canonical import canonical
from marketplace.wire.http import hex_field
from marketplace.wire.record import SealedRecord, dump, load
from marketplace.wire.structs import RecordAttestation, StorageReceipt, require_signed

MOST_RECORDS = 500
"""In one upload."""
FORWARDING_THREADS = 4
MOST_SIGNATURE = 4_096
"""Bytes; wallet contracts have longer ones than keys."""


@dataclass
class Entry:
    """One record on its way in. `refusal` says why it went no further."""

    record: SealedRecord | None = None
    attestation: RecordAttestation | None = None
    signature: bytes = b""
    receipts: list[tuple[int, bytes]] = field(default_factory=list)
    state: str = "received"
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Intake:
    """What takes records in."""

    chain: Chain
    sender: Sender
    records: RecordStore
    custodians: tuple[Peer, ...]

    def receive(self, uploads: Sequence[Any]) -> list[Entry]:
        """Takes a batch of `{record, attestation, issuer_signature}`; returns each one's outcome.

        Repeating an upload is harmless: what was done is seen on chain and not done again.
        """
        self.chain.require_healthy()
        entries = [self._parsed(raw) for raw in uploads]
        self._keep(entries)
        self._register(entries)
        self._forward(entries)
        self._confirm(entries)
        return entries

    # --- parse and keep

    def _parsed(self, raw: Any) -> Entry:
        entry = Entry()
        try:
            self._parse_into(entry, raw)
        except Refusal as refusal:
            entry.refusal = refusal
        return entry

    def _parse_into(self, entry: Entry, raw: Any) -> None:
        if not isinstance(raw, dict) or set(raw) != {"record", "attestation", "issuer_signature"}:
            raise Refusal(
                code="malformed_message",
                message="An upload needs exactly record, attestation and issuer_signature.",
                remedy="Send what `usufruct seal` writes.",
                field="entries",
            )
        entry.record = load(canonical(raw["record"]))
        entry.attestation = RecordAttestation.from_json(raw["attestation"], "attestation.")
        entry.signature = hex_field(raw["issuer_signature"], "issuer_signature", MOST_SIGNATURE)
        self._require_matching(entry.record, entry.attestation)
        domain = self.chain.domain("DatasetRegistry")
        require_signed(entry.attestation, domain, entry.signature, entry.attestation.issuer)

    def _require_matching(self, record: SealedRecord, attestation: RecordAttestation) -> None:
        registry = self.chain.manifest.address("DatasetRegistry")
        context = record.context
        pairs = {
            "chain_id": (context.chain_id, self.chain.chain_id),
            "registry": (context.registry, registry),
            "dataset": (context.dataset, attestation.dataset),
            "patient": (context.patient, attestation.patient),
            "record_version": (context.record_version, attestation.version),
            "commitment": (record.commitment, attestation.commitment),
        }
        for name, (given, expected) in pairs.items():
            if given != expected:
                raise Refusal(
                    code="attestation_mismatch",
                    message=f"The record's {name} is not the attestation's.",
                    remedy="Have the issuer attest this very record, for this chain.",
                    field=f"record.{name}",
                )

    def _keep(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.refusal is not None or entry.record is None or entry.attestation is None:
                continue
            self.records.put(entry.record.commitment, entry.record.box)
            self.records.database.keep_record(_row(entry.record, entry.attestation))

    # --- register

    def _register(self, entries: Sequence[Entry]) -> None:
        """Puts attestations on chain, many to a transaction; those that are there already are not sent."""
        waiting = [entry for entry in entries if entry.refusal is None and not self._known(entry)]
        calls = [
            ("registerRecord", (_att(entry).abi_tuple(), entry.signature)) for entry in waiting
        ]
        refused = self.sender.batch("DatasetRegistry", calls).refused if calls else {}
        for position, entry in enumerate(waiting):
            entry.refusal = refused.get(position)
        for entry in entries:
            if entry.refusal is None and entry.state == "received":
                self._mark(entry, "attested")

    def _known(self, entry: Entry) -> bool:
        attestation = _att(entry)
        found: Record = self.chain.record_of(attestation.dataset, attestation.patient)
        if found.commitment == attestation.commitment:
            self._mark(entry, "stored")
        return attestation.commitment in (found.commitment, found.pending)

    # --- custodians

    def _forward(self, entries: Sequence[Entry]) -> None:
        committee = self.chain.committee()
        waiting = [
            entry for entry in entries if entry.refusal is None and entry.state == "attested"
        ]
        with ThreadPoolExecutor(FORWARDING_THREADS) as pool:
            list(pool.map(lambda entry: self._forward_one(entry, committee), waiting))

    def _forward_one(self, entry: Entry, committee: CommitteeView) -> None:
        refusals: list[str] = []
        for place, peer in enumerate(self.custodians):
            try:
                entry.receipts.append((place, self._deposit(entry, committee, place, peer)))
            except Refusal as refusal:
                refusals.append(f"{peer.name}: {refusal.message}")
        if len(entry.receipts) < committee.quorum:
            entry.refusal = Refusal(
                code="custodians_missing",
                message=f"{len(entry.receipts)} of {committee.quorum} custodians needed hold their part. "
                + " ".join(refusals),
                remedy="Send the same record again once they answer; nothing is lost.",
            )

    def _deposit(self, entry: Entry, committee: CommitteeView, place: int, peer: Peer) -> bytes:
        record, attestation = _rec(entry), _att(entry)
        answer = peer.post("/shares", deposit(record, place))
        signature = hex_field(answer.get("signature"), "signature", MOST_SIGNATURE)
        receipt = _receipt(attestation, committee.epoch)
        signer = committee.members[place].signer
        require_signed(receipt, self.chain.domain("DatasetRegistry"), signature, signer)
        return signature

    def _confirm(self, entries: Sequence[Entry]) -> None:
        epoch = self.chain.current_epoch()
        waiting = [entry for entry in entries if entry.refusal is None and entry.receipts]
        calls = [
            (
                "confirmStorage",
                (
                    _receipt(_att(entry), epoch).abi_tuple(),
                    [(place, signature) for place, signature in entry.receipts],
                ),
            )
            for entry in waiting
        ]
        refused = self.sender.batch("DatasetRegistry", calls).refused if calls else {}
        for position, entry in enumerate(waiting):
            entry.refusal = refused.get(position)
            if entry.refusal is None:
                self._mark(entry, "stored")

    def _mark(self, entry: Entry, state: str) -> None:
        entry.state = state
        self.records.database.set_record_state("0x" + _att(entry).commitment.hex(), state)


def _att(entry: Entry) -> RecordAttestation:
    if entry.attestation is None:
        raise TypeError("an entry without a refusal has an attestation")
    return entry.attestation


def _rec(entry: Entry) -> SealedRecord:
    if entry.record is None:
        raise TypeError("an entry without a refusal has a record")
    return entry.record


def _receipt(attestation: RecordAttestation, epoch: int) -> StorageReceipt:
    return StorageReceipt(
        attestation.dataset,
        attestation.patient,
        attestation.commitment,
        attestation.version,
        epoch,
    )


def _row(record: SealedRecord, attestation: RecordAttestation) -> RecordRow:
    return RecordRow(
        commitment="0x" + record.commitment.hex(),
        dataset="0x" + attestation.dataset.hex(),
        patient=attestation.patient,
        version=attestation.version,
        header=header(record),
        attestation=attestation.to_json(),
        state="received",
        received_at=datetime.now(UTC),
    )


def header(record: SealedRecord) -> dict[str, Any]:
    """The sealed record without ciphertext and shares, with the hash of its box instead."""
    document = json.loads(dump(record))
    del document["box"], document["shares"]
    return document | {"box_hash": "0x" + keccak(record.box).hex()}


def deposit(record: SealedRecord, place: int) -> dict[str, Any]:
    """What the custodian at a place is sent: the header, and its own share envelope."""
    shares = json.loads(dump(record))["shares"]
    return {"record": header(record), "share": shares[place]}
