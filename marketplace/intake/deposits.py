"""Share envelopes and tallies on their way to the custodians, and the storage receipts that come back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from marketplace.chain.adapter import Chain, CommitteeView
from marketplace.errors import Refusal
from marketplace.intake.entries import Entry, attestation_of, record_of
from marketplace.intake.tallies import Published
from marketplace.peers import Peer, ask_all
from marketplace.wire.canonical import JSON_LIMIT, parse
from marketplace.wire.custody import Holding
from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.header import RecordHeader
from marketplace.wire.http import hex_field, to_base64
from marketplace.wire.http_client import SMALL_ANSWER, declined
from marketplace.wire.paging import LARGEST_DEPOSITS, MOST_DEPOSITS, pages, sent_bytes
from marketplace.wire.structs import RecordAttestation, StorageReceipt, require_signed, sign

MOST_OUTCOME = 16 * 1024
"""Bytes of a custodian's word on one deposit: a signature in hexadecimal, or a refusal."""
GRACE_SECONDS = 10.0
"""Once a quorum holds every record of an upload, the other custodians have this long to say that they do."""


@dataclass(frozen=True)
class Parcel:
    """What of a record every custodian gets; and its envelopes, of which each gets one."""

    entry: Entry
    common: Mapping[str, Any]
    size: int  # bytes of what one custodian gets

    @classmethod
    def of(cls, entry: Entry, held: Mapping[str, str]) -> Parcel:
        """`held` is the operator's signed word that it has the ciphertext."""
        record = record_of(entry)
        tally = {} if record.tally is None else {"tally": record.tally.to_json()}
        common = {"record": RecordHeader.of(record).to_json(), "held": dict(held), **tally}
        parcel = cls(entry, common, 0)
        return replace(parcel, size=sent_bytes(parcel.to(0)))

    def to(self, place: int) -> dict[str, Any]:
        """The deposit of the custodian at a place."""
        share = record_of(self.entry).shares[place]
        envelope = {"index": share.index, "envelope": to_base64(share.envelope)}
        return {**self.common, "share": envelope}


@dataclass(frozen=True)
class Deposits:
    """Brings each custodian its own part of each record."""

    chain: Chain
    custodians: tuple[Peer, ...]
    operator: str  # the address that vouches for the ciphertexts
    key: bytes = field(repr=False)  # of that account
    confirmed: Callable[[bytes, int, int], None]  # commitment, epoch, place; as each answers
    published: Published

    def collect(self, entries: Sequence[Entry], committee: CommitteeView) -> None:
        """Sends each custodian its own envelopes, all custodians at once."""
        waiting = [
            entry for entry in entries if entry.refusal is None and entry.state == "attested"
        ]
        if not waiting:
            return
        parcels = [Parcel.of(entry, self._held(entry)) for entry in waiting]
        said = ask_all(
            min(len(self.custodians), len(committee.members)),
            lambda place: self._deposit(parcels, committee, place),
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
        self, parcels: Sequence[Parcel], committee: CommitteeView, place: int
    ) -> list[bytes | Refusal]:
        """One custodian's receipt signatures for these records, or why there is none.

        What it takes counts, although an upload after that fails.
        """
        found: list[bytes | Refusal] = []
        try:
            for page in pages(
                parcels, lambda each: each.size, most=MOST_DEPOSITS, largest=LARGEST_DEPOSITS
            ):
                found += self._send(page, committee, place)
        except Refusal as refusal:
            found += [refusal] * (len(parcels) - len(found))
        return found

    def _send(
        self, page: Sequence[Parcel], committee: CommitteeView, place: int
    ) -> list[bytes | Refusal]:
        """One upload; and once more, after its dictionary, what a custodian could not verify without."""
        outcomes = self._outcomes(page, place)
        lacking = [at for at, outcome in enumerate(outcomes) if _lacks_dictionary(outcome)]
        if lacking:
            again = self._sent_again([page[at] for at in lacking], place)
            for at, outcome in zip(lacking, again, strict=True):
                outcomes[at] = outcome
        signer = committee.members[place].signer
        receipts = [
            self._receipt(parcel.entry, outcome, committee.epoch, signer)
            for parcel, outcome in zip(page, outcomes, strict=True)
        ]
        for parcel, receipt in zip(page, receipts, strict=True):
            if isinstance(receipt, bytes):
                self.confirmed(attestation_of(parcel.entry).commitment, committee.epoch, place)
        return receipts

    def _outcomes(self, page: Sequence[Parcel], place: int) -> list[Any]:
        body = {"deposits": [each.to(place) for each in page]}
        most = SMALL_ANSWER + len(page) * MOST_OUTCOME
        outcomes = self.custodians[place].post("/deposits", body, most=most).get("outcomes")
        if not isinstance(outcomes, list) or len(outcomes) != len(page):
            raise _unreadable(self.custodians[place])
        return outcomes

    def _sent_again(self, page: Sequence[Parcel], place: int) -> list[Any]:
        """The custodian's word on each after it got their dictionaries, or why it did not get them."""
        try:
            self._hand_over(page, place)
            return self._outcomes(page, place)
        except Refusal as refusal:
            return [refusal] * len(page)

    def _hand_over(self, page: Sequence[Parcel], place: int) -> None:
        """The dictionaries that a custodian asks for: it keeps those that a dataset on chain has."""
        for dataset in {attestation_of(each.entry).dataset for each in page}:
            document = parse(self.published(dataset).to_bytes(), limit=JSON_LIMIT)
            body = {"dictionary": document}
            self.custodians[place].post("/dictionaries", body, most=SMALL_ANSWER)

    def _held(self, entry: Entry) -> dict[str, str]:
        """This operator's signed word that it has the ciphertext: from now on it answers for it."""
        attestation = attestation_of(entry)
        holding = Holding(attestation.dataset, attestation.patient, attestation.commitment)
        signature = sign(holding, self.chain.domain("ResearchMarket"), self.key)
        return {"operator": self.operator, "signature": "0x" + signature.hex()}

    def _receipt(self, entry: Entry, outcome: Any, epoch: int, signer: str) -> bytes | Refusal:
        if isinstance(outcome, Refusal):
            return outcome
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


def _lacks_dictionary(outcome: Any) -> bool:
    """A custodian that was set up anew, or never heard of the dataset, cannot verify its tallies."""
    return isinstance(outcome, dict) and outcome.get("code") == "dictionary_missing"


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
