"""Sealed records arriving: kept, registered on chain, held by custodians, confirmed.

The operator forwards each custodian's share envelope and keeps none: it could not open it, and what it
does not keep it cannot lose. Each record goes its way alone; a bad one does not sink the rest.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from marketplace.chain.adapter import Chain, CommitteeView, Record
from marketplace.chain.sender import Sender
from marketplace.errors import Refusal
from marketplace.peers import Peer, ask_all
from marketplace.records import RecordStore
from marketplace.store import RecordRow
from marketplace.wire.canonical import canonical
from marketplace.wire.custody import Holding
from marketplace.wire.header import RecordHeader
from marketplace.wire.http import hex_field
from marketplace.wire.http_client import SMALL_ANSWER
from marketplace.wire.record import SealedRecord, dump, load
from marketplace.wire.structs import RecordAttestation, StorageReceipt, require_signed, sign

MOST_RECORDS = 500
"""In one upload."""
MOST_SIGNATURE = 4_096
"""Bytes; wallet contracts have longer ones than keys."""
MOST_OUTCOME = 16 * 1024
"""Bytes of a custodian's word on one deposit: a signature in hexadecimal, or a refusal."""
GRACE_SECONDS = 10.0
"""Once a quorum holds every record of an upload, the other custodians have this long to say that they do."""


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
    key: bytes = field(repr=False)  # of `sender`'s account

    def receive(self, uploads: Sequence[Any]) -> list[Entry]:
        """Takes a batch of `{record, attestation, issuer_signature}`; returns each one's outcome.

        Repeating an upload is harmless: what was done is seen on chain and not done again.
        """
        self.chain.require_healthy()
        committee = self.chain.committee()
        entries = [self._parsed(raw) for raw in uploads]
        self._require_trusted(entries)
        self._require_sealed_for(committee, entries)
        self._keep(entries)
        self._register(entries)
        self._forward(entries, committee)
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

    def _require_sealed_for(self, committee: CommitteeView, entries: Sequence[Entry]) -> None:
        """Refuses before anything is kept what this committee could never confirm.

        The attestation covers neither shares nor epoch, so whoever carries a record could change them.
        """
        for entry in entries:
            if entry.refusal is None:
                misfit = _misfit(_rec(entry), committee)
                entry.refusal = misfit if misfit and not self._in_use(entry) else None

    def _in_use(self, entry: Entry) -> bool:
        attestation = _att(entry)
        found = self.chain.record_of(attestation.dataset, attestation.patient)
        return found.commitment == attestation.commitment

    def _keep(self, entries: Sequence[Entry]) -> None:
        """Keeps all or none: what a full disk refuses leaves nothing of its batch behind."""
        kept = [entry for entry in entries if entry.refusal is None]
        # The rows first: where the database is full, no file is left behind.
        new = self.records.database.keep_records([_row(_rec(each), _att(each)) for each in kept])
        try:
            for entry in kept:
                self.records.put(_rec(entry).commitment, _rec(entry).box)
        except Refusal:
            self._forget(new)
            raise

    def _forget(self, rows: Sequence[RecordRow]) -> None:
        for row in rows:
            if self.records.database.forget_record(row.commitment, row.patient):
                self.records.delete(bytes.fromhex(row.commitment[2:]))

    def _keep_one(self, entry: Entry) -> None:
        record = _rec(entry)
        # The row first: where the database is full, no file is left behind.
        self.records.database.keep_record(_row(record, _att(entry)))
        self.records.put(record.commitment, record.box)

    # --- register

    def _register(self, entries: Sequence[Entry]) -> None:
        """Puts attestations on chain, many to a transaction; those that are there already are not sent."""
        waiting = [entry for entry in entries if entry.refusal is None and not self._known(entry)]
        calls = [
            ("registerRecord", (_att(entry).abi_tuple(), entry.signature)) for entry in waiting
        ]
        refused = self.sender.batch("DatasetRegistry", calls).refused if calls else {}
        for position, entry in enumerate(waiting):
            entry.refusal = _as_sent(refused.get(position))
            if entry.refusal is not None:
                self._drop(entry)
            elif not self.records.holds(_att(entry).commitment):
                self._keep_one(entry)  # the same upload beside this one was refused, and dropped it
        for entry in entries:
            if entry.refusal is None and entry.state == "received":
                self._mark(entry, "attested")

    def _drop(self, entry: Entry) -> None:
        """Leaves nothing of a record that the chain refused, so that nobody can fill the disk with them.

        The chain is asked afterwards: the same record may have been taken from another upload
        meanwhile, and then it is kept again, whichever of the two comes last.
        """
        record, patient = _rec(entry), _att(entry).patient
        if self.records.database.forget_record("0x" + record.commitment.hex(), patient):
            self.records.delete(record.commitment)
        if self._known(entry):
            entry.refusal = None
            self._keep_one(entry)

    def _known(self, entry: Entry) -> bool:
        attestation = _att(entry)
        found: Record = self.chain.record_of(attestation.dataset, attestation.patient)
        if found.commitment == attestation.commitment:
            self._mark(entry, "stored")
        return attestation.commitment in (found.commitment, found.pending)

    # --- custodians

    def _forward(self, entries: Sequence[Entry], committee: CommitteeView) -> None:
        """Sends each custodian its own envelopes, all custodians at once."""
        waiting = [
            entry for entry in entries if entry.refusal is None and entry.state == "attested"
        ]
        if not waiting:
            return
        said = ask_all(
            min(len(self.custodians), len(committee.members)),
            lambda place: self._deposit(waiting, committee, place),
            lambda answers: _are_enough(answers.values(), committee.quorum),
            grace=GRACE_SECONDS,
        )
        for number, entry in enumerate(waiting):
            answers = {
                place: each if isinstance(each, Refusal) else each[number]
                for place, each in said.items()
            }
            self._take_receipts(entry, answers, committee.quorum)

    def _take_receipts(
        self, entry: Entry, answers: Mapping[int, bytes | Refusal], quorum: int
    ) -> None:
        places = sorted(answers)
        entry.receipts = [(i, each) for i in places if isinstance(each := answers[i], bytes)]
        if len(entry.receipts) >= quorum:
            return
        refusals = [
            f"{self.custodians[i].name}: {each.message}"
            for i in places
            if isinstance(each := answers[i], Refusal)
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
        body = {"deposits": [deposit(_rec(e), place, self._held(e)) for e in entries]}
        most = SMALL_ANSWER + len(entries) * MOST_OUTCOME
        outcomes = self.custodians[place].post("/deposits", body, most=most).get("outcomes")
        if not isinstance(outcomes, list) or len(outcomes) != len(entries):
            raise _unreadable(self.custodians[place])
        signer = committee.members[place].signer
        return [
            self._receipt(entry, outcome, committee.epoch, signer)
            for entry, outcome in zip(entries, outcomes, strict=True)
        ]

    def _held(self, entry: Entry) -> dict[str, str]:
        """This operator's signed word that it has the ciphertext: from now on it answers for it."""
        attestation = _att(entry)
        holding = Holding(attestation.dataset, attestation.patient, attestation.commitment)
        signature = sign(holding, self.chain.domain("ResearchMarket"), self.key)
        return {"operator": self.sender.address, "signature": "0x" + signature.hex()}

    def _receipt(self, entry: Entry, outcome: Any, epoch: int, signer: str) -> bytes | Refusal:
        try:
            if not isinstance(outcome, dict) or "signature" not in outcome:
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
            elif self._known(entry) and entry.state == "stored":
                entry.refusal = None  # the same upload beside this one confirmed it first

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


def _are_enough(said: Collection[Sequence[bytes | Refusal]], quorum: int) -> bool:
    """Whether a quorum of custodians signed for each record."""
    signed = [sum(isinstance(each, bytes) for each in of_one) for of_one in zip(*said, strict=True)]
    return bool(signed) and min(signed) >= quorum


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


def _as_sent(refusal: Refusal | None) -> Refusal | None:
    """The chain's refusal of an attestation, its field named as it was uploaded."""
    if refusal is not None and refusal.field not in (None, "signature"):
        refusal.field = f"attestation.{refusal.field}"
    return refusal


def _misfit(record: SealedRecord, committee: CommitteeView) -> Refusal | None:
    """What of a record is not made for this committee."""
    seats, quorum = len(committee.members), committee.quorum
    checks = (
        ("epoch", "is sealed for epoch", record.epoch, committee.epoch),
        ("shares", "has this number of shares:", len(record.shares), seats),
        ("key_commitments", "can be opened by", len(record.key_commitments), quorum),
    )
    for name, words, given, expected in checks:
        if given != expected:
            return Refusal(
                code="wrong_committee",
                message=f"The record {words} {given}; the current committee asks for {expected} "
                f"(epoch {committee.epoch}, {quorum} of {seats} custodians).",
                remedy="Send the record as `usufruct seal` wrote it. If the committee has changed "
                "since, seal the values again and have the issuer attest that record.",
                field=f"record.{name}",
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


def deposit(record: SealedRecord, place: int, held: dict[str, str]) -> dict[str, Any]:
    """What the custodian at a place is sent: the header, its own share envelope, the operator's word."""
    shares = json.loads(dump(record))["shares"]
    return {"record": RecordHeader.of(record).to_json(), "share": shares[place], "held": held}
