"""Share envelopes on their way to the custodians, and the storage receipts that come back."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from marketplace.chain.adapter import Chain, CommitteeView
from marketplace.errors import Refusal
from marketplace.intake.entries import Entry, attestation_of, record_of
from marketplace.peers import Peer, ask_all
from marketplace.wire.custody import Holding
from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.header import RecordHeader
from marketplace.wire.http import hex_field
from marketplace.wire.http_client import SMALL_ANSWER, declined
from marketplace.wire.record import SealedRecord, dump
from marketplace.wire.structs import RecordAttestation, StorageReceipt, require_signed, sign

MOST_OUTCOME = 16 * 1024
"""Bytes of a custodian's word on one deposit: a signature in hexadecimal, or a refusal."""
GRACE_SECONDS = 10.0
"""Once a quorum holds every record of an upload, the other custodians have this long to say that they do."""


@dataclass(frozen=True)
class Deposits:
    """Brings each custodian its own part of each record."""

    chain: Chain
    custodians: tuple[Peer, ...]
    operator: str  # the address that vouches for the ciphertexts
    key: bytes = field(repr=False)  # of that account
    confirmed: Callable[[bytes, int, int], None]  # commitment, epoch, place; as each answers

    def collect(self, entries: Sequence[Entry], committee: CommitteeView) -> None:
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
            field="custodians",
        )

    def _deposit(
        self, entries: Sequence[Entry], committee: CommitteeView, place: int
    ) -> list[bytes | Refusal]:
        """One custodian's receipt signatures for these records, or why there is none."""
        body = {"deposits": [deposit(record_of(e), place, self._held(e)) for e in entries]}
        most = SMALL_ANSWER + len(entries) * MOST_OUTCOME
        outcomes = self.custodians[place].post("/deposits", body, most=most).get("outcomes")
        if not isinstance(outcomes, list) or len(outcomes) != len(entries):
            raise _unreadable(self.custodians[place])
        signer = committee.members[place].signer
        receipts = [
            self._receipt(entry, outcome, committee.epoch, signer)
            for entry, outcome in zip(entries, outcomes, strict=True)
        ]
        for entry, receipt in zip(entries, receipts, strict=True):
            if isinstance(receipt, bytes):
                self.confirmed(attestation_of(entry).commitment, committee.epoch, place)
        return receipts

    def _held(self, entry: Entry) -> dict[str, str]:
        """This operator's signed word that it has the ciphertext: from now on it answers for it."""
        attestation = attestation_of(entry)
        holding = Holding(attestation.dataset, attestation.patient, attestation.commitment)
        signature = sign(holding, self.chain.domain("ResearchMarket"), self.key)
        return {"operator": self.operator, "signature": "0x" + signature.hex()}

    def _receipt(self, entry: Entry, outcome: Any, epoch: int, signer: str) -> bytes | Refusal:
        try:
            if not isinstance(outcome, dict) or "signature" not in outcome:
                return declined(outcome if isinstance(outcome, dict) else {})
            signature = hex_field(outcome["signature"], "signature", MOST_SIGNATURE)
            domain = self.chain.domain("DatasetRegistry")
            require_signed(storage_receipt(attestation_of(entry), epoch), domain, signature, signer)
        except Refusal as refusal:
            return refusal
        return signature


def _are_enough(said: Collection[Sequence[bytes | Refusal]], quorum: int) -> bool:
    """Whether a quorum of custodians signed for each record."""
    signed = [sum(isinstance(each, bytes) for each in of_one) for of_one in zip(*said, strict=True)]
    return bool(signed) and min(signed) >= quorum


def storage_receipt(attestation: RecordAttestation, epoch: int) -> StorageReceipt:
    """What each custodian of an epoch signs for an attested record that it holds its part of."""
    return StorageReceipt(
        attestation.dataset,
        attestation.patient,
        attestation.commitment,
        attestation.version,
        epoch,
    )


def _unreadable(peer: Peer) -> Refusal:
    return Refusal(
        code="peer_unreadable",
        message=f"{peer.name} did not answer for every deposit.",
        remedy="Check that it runs this version, then send the records again.",
    )


def deposit(record: SealedRecord, place: int, held: dict[str, str]) -> dict[str, Any]:
    """What the custodian at a place is sent: the header, its own share envelope, the operator's word."""
    shares = json.loads(dump(record))["shares"]
    return {"record": RecordHeader.of(record).to_json(), "share": shares[place], "held": held}
