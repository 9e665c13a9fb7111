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

from marketplace.chain.adapter import Chain, CommitteeView, Record
from marketplace.chain.sender import Sender
from marketplace.errors import Refusal
from marketplace.peers import Peer
from marketplace.records import RecordStore
from marketplace.store import RecordRow
from marketplace.wire.canonical import canonical
from marketplace.wire.header import RecordHeader
from marketplace.wire.http import hex_field
from marketplace.wire.record import SealedRecord, dump, load
from marketplace.wire.structs import RecordAttestation, StorageReceipt, require_signed

MOST_RECORDS = 500
"""In one upload."""
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
        self._require_trusted(entries)
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

    def _require_trusted(self, entries: Sequence[Entry]) -> None:
        """Refuses before anything is kept what strangers signed, so that they cannot fill the disk."""
        now, trusted = self.chain.now(), {}
        for entry in entries:
            if entry.refusal is not None:
                continue
            attestation = _att(entry)
            pair = (attestation.dataset, attestation.issuer)
            if pair not in trusted:
                trusted[pair] = self.chain.is_issuer(*pair)
            entry.refusal = _untrusted(attestation, trusted[pair], now)

    def _keep(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.refusal is not None or entry.record is None or entry.attestation is None:
                continue
            # The row first: where the database is full, no file is left behind.
            self.records.database.keep_record(_row(entry.record, entry.attestation))
            self.records.put(entry.record.commitment, entry.record.box)

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
        """Sends each custodian its own envelopes, all custodians at once."""
        committee = self.chain.committee()
        waiting = [
            entry for entry in entries if entry.refusal is None and entry.state == "attested"
        ]
        if not waiting:
            return
        with ThreadPoolExecutor(len(self.custodians)) as pool:
            places = range(len(self.custodians))
            said = list(pool.map(lambda place: self._deposit(waiting, committee, place), places))
        for entry, answers in zip(waiting, zip(*said, strict=True), strict=True):
            self._take_receipts(entry, answers, committee.quorum)

    def _take_receipts(self, entry: Entry, answers: Sequence[bytes | Refusal], quorum: int) -> None:
        entry.receipts = [(i, each) for i, each in enumerate(answers) if isinstance(each, bytes)]
        if len(entry.receipts) >= quorum:
            return
        refusals = [
            f"{self.custodians[i].name}: {each.message}"
            for i, each in enumerate(answers)
            if isinstance(each, Refusal)
        ]
        entry.refusal = Refusal(
            code="custodians_missing",
            message=f"{len(entry.receipts)} of {quorum} custodians needed hold their part. "
            + " ".join(refusals),
            remedy="Send the same record again once they answer; nothing is lost.",
        )

    def _deposit(
        self, entries: Sequence[Entry], committee: CommitteeView, place: int
    ) -> list[bytes | Refusal]:
        """One custodian's receipt signatures for these records, or why there is none."""
        body = {"deposits": [deposit(_rec(entry), place) for entry in entries]}
        try:
            outcomes = self.custodians[place].post("/deposits", body).get("outcomes")
        except Refusal as refusal:
            return [refusal] * len(entries)
        if not isinstance(outcomes, list) or len(outcomes) != len(entries):
            return [_unreadable(self.custodians[place])] * len(entries)
        signer = committee.members[place].signer
        return [
            self._receipt(entry, outcome, committee.epoch, signer)
            for entry, outcome in zip(entries, outcomes, strict=True)
        ]

    def _receipt(self, entry: Entry, outcome: Any, epoch: int, signer: str) -> bytes | Refusal:
        try:
            if "signature" not in outcome:
                return _declined(outcome)
            signature = hex_field(outcome["signature"], "signature", MOST_SIGNATURE)
            domain = self.chain.domain("DatasetRegistry")
            require_signed(_receipt(_att(entry), epoch), domain, signature, signer)
        except Refusal as refusal:
            return refusal
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


def _untrusted(attestation: RecordAttestation, trusted: bool, now: int) -> Refusal | None:
    """Why the chain would refuse this attestation, in the codes that it uses."""
    if not trusted:
        return Refusal(
            code="unknown_issuer",
            message=f"{attestation.issuer} is not an issuer of this dataset.",
            remedy="Let the steward add the issuer, or let a known one attest.",
            field="attestation.issuer",
        )
    if attestation.deadline < now:
        return Refusal(
            code="attestation_expired",
            message=f"The attestation had to be on chain by {attestation.deadline}.",
            remedy="Let the issuer attest again.",
            field="attestation.deadline",
        )
    return None


def _declined(outcome: Any) -> Refusal:
    document = outcome if isinstance(outcome, dict) else {}
    return Refusal(
        code=str(document.get("code", "unknown"))[:60],
        message=str(document.get("detail", "it gave no reason"))[:400],
        remedy=str(document.get("remedy", "Ask its host."))[:400],
    )


def _unreadable(peer: Peer) -> Refusal:
    return Refusal(
        code="peer_unreadable",
        message=f"{peer.name} did not answer for every deposit.",
        remedy="Check that it runs this version, then send the records again.",
    )


def _row(record: SealedRecord, attestation: RecordAttestation) -> RecordRow:
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


def deposit(record: SealedRecord, place: int) -> dict[str, Any]:
    """What the custodian at a place is sent: the header, and its own share envelope."""
    shares = json.loads(dump(record))["shares"]
    return {"record": RecordHeader.of(record).to_json(), "share": shares[place]}
