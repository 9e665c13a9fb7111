"""What an upload is held against before anything of it is kept."""

from __future__ import annotations

from typing import Any

from marketplace.chain.adapter import Chain, CommitteeView, Record
from marketplace.errors import Refusal
from marketplace.intake.entries import Entry
from marketplace.wire.canonical import canonical
from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.http import hex_field
from marketplace.wire.record import SealedRecord, load
from marketplace.wire.structs import RecordAttestation, require_signed


def parsed(raw: Any, chain: Chain) -> Entry:
    """An upload `{record, attestation, issuer_signature}` as an entry, with the refusal if it is none."""
    entry = Entry()
    try:
        _parse_into(entry, raw, chain)
    except Refusal as refusal:
        entry.refusal = refusal
    return entry


def _parse_into(entry: Entry, raw: Any, chain: Chain) -> None:
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
    _require_matching(entry.record, entry.attestation, chain)
    domain = chain.domain("DatasetRegistry")
    require_signed(entry.attestation, domain, entry.signature, entry.attestation.issuer)


def _require_matching(record: SealedRecord, attestation: RecordAttestation, chain: Chain) -> None:
    registry = chain.manifest.address("DatasetRegistry")
    context = record.context
    pairs = {
        "chain_id": (context.chain_id, chain.chain_id),
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


def untrusted(attestation: RecordAttestation, trusted: bool, now: int) -> Refusal | None:
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


def misfit(record: SealedRecord, committee: CommitteeView) -> Refusal | None:
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


def out_of_turn(attestation: RecordAttestation, record: Record) -> Refusal | None:
    """Why the chain, where this is the patient's record now, would not take this version next."""
    expected = max(record.version, record.pending_version) + 1
    if attestation.version == expected:
        return None
    return Refusal(
        code="wrong_record_version",
        message=f"The attestation carries version {attestation.version}; the next one is {expected}.",
        remedy="Attest the record under the next version.",
        field="attestation.version",
    )


def as_sent(refusal: Refusal | None) -> Refusal | None:
    """The chain's refusal of an attestation, its field named as it was uploaded."""
    if refusal is not None and refusal.field not in (None, "signature"):
        refusal.field = f"attestation.{refusal.field}"
    return refusal
