"""What a draft is held against before it is kept, and an attestation before it is believed."""

from __future__ import annotations

from typing import Any, Final

from marketplace.chain.adapter import Chain
from marketplace.chain.joint_keys import joint_key_of
from marketplace.errors import RecordUnreadable, Refusal
from marketplace.intake.checks import misfit, parsed, untrusted
from marketplace.intake.entries import attestation_of
from marketplace.intake.tallies import Published, misfits
from marketplace.store import DraftRow
from marketplace.vocabulary import PatientAddress
from marketplace.wire.canonical import canonical
from marketplace.wire.opening import OPENING_BYTES
from marketplace.wire.record import SealedRecord, load

LARGEST_DRAFT: Final = 24 * 1024
"""Bytes of a record in a draft, without its tally: 64 variables and 16 custodians make about 7 KB. How large
a tally is, its dataset's dictionary says (`require_tally`); none is larger than any record may be."""


def left_record(document: object, opening: bytes) -> SealedRecord:
    """The record that somebody leaves. Raises Refusal at `record...` or `opening`."""
    if len(opening) != OPENING_BYTES:
        raise Refusal(
            code="opening_unreadable",
            message=f"An opening has {OPENING_BYTES} bytes; this one has {len(opening)}.",
            remedy="Seal the values again with the page that the clinic's link leads to.",
            field="opening",
        )
    try:
        text = canonical(document)
        tally = document.get("tally") if isinstance(document, dict) else None
        size = len(text) - len(canonical(tally))
        if size > LARGEST_DRAFT:
            raise RecordUnreadable(
                message=f"The record has {size} bytes; the limit is {LARGEST_DRAFT}.",
                remedy="Seal a record of this dataset.",
            )
        return load(text)
    except Refusal as refusal:
        inside = "" if refusal.field in (None, "$") else f".{refusal.field}"
        refusal.field = f"record{inside}"
        raise


def require_fit(
    chain: Chain, record: SealedRecord, dataset: bytes, patient: PatientAddress
) -> None:
    """The record is this account's own, next in turn, sealed for this dataset and for its custodians.

    Raises:
        Refusal: draft_mismatch, dataset_retired, wrong_committee, wrong_record_version, record_erased.
    """
    context = record.context
    pairs = {
        "chain_id": (context.chain_id, chain.chain_id),
        "registry": (context.registry, chain.manifest.address("DatasetRegistry")),
        "dataset": (context.dataset, dataset),
        "patient": (context.patient, patient),
        "dictionary_hash": (context.dictionary_hash, chain.dictionary_of(dataset)),
    }
    for name, (given, expected) in pairs.items():
        if given != expected:
            raise Refusal(
                code="draft_mismatch",
                message=f"The record is sealed for another {name}.",
                remedy="Seal the values again, signed in as the address that the record is to belong to.",
                field=f"record.{name}",
            )
    if chain.call("DatasetRegistry", "isRetired", dataset):
        raise Refusal(
            code="dataset_retired",
            message="The dataset is retired: it takes no more records.",
            remedy="Nothing was kept.",
            field="record.dataset",
        )
    wrong = misfit(record, chain.committee())
    if wrong is not None:
        raise wrong
    _require_next(chain, record)


def require_tally(chain: Chain, record: SealedRecord, published: Published) -> None:
    """What a record has for the homomorphic lane is what custodians will take: they cannot ask its patient to
    mend it, once its issuer has signed.

    Raises:
        RecordUnreadable: a tally of another length, under another key, or whose proof does not hold.
        Refusal: no_joint_key, unknown_dataset, dictionary_missing.
    """
    if record.tally is None:
        return
    joint_key = joint_key_of(chain, int(chain.current_epoch()))
    wrong = misfits({0: record}, joint_key, published).get(0)
    if wrong is not None:
        raise wrong


def _require_next(chain: Chain, record: SealedRecord) -> None:
    context = record.context
    found = chain.record_of(context.dataset, context.patient)
    expected = max(found.version, found.pending_version) + 1
    if context.record_version != expected:
        raise Refusal(
            code="wrong_record_version",
            message=f"The record carries version {context.record_version}; the next is {expected}.",
            remedy="Look at your record, then seal the values again.",
            field="record.record_version",
        )


def require_attested(chain: Chain, upload: dict[str, Any], draft: DraftRow) -> None:
    """An upload made of a draft and its issuer's word for this very record.

    Raises:
        Refusal: malformed_message, attestation_mismatch, bad_signature, not_this_issuer, unknown_issuer,
            attestation_expired.
    """
    entry = parsed(upload, chain)
    if entry.refusal is not None:
        raise entry.refusal
    attestation = attestation_of(entry)
    if attestation.issuer != draft.issuer:
        raise Refusal(
            code="not_this_issuer",
            message="The attestation is not that of the issuer for whom the record was left.",
            remedy="Attest it with the key of the account that is signed in.",
            field="attestation.issuer",
        )
    trusted = chain.is_issuer(attestation.dataset, attestation.issuer)
    refusal = untrusted(attestation, trusted, chain.now())
    if refusal is not None:
        raise refusal
