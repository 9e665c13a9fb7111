"""One patient's consent as a document: what the operator's API shows, and what a node of one's own shows."""

from __future__ import annotations

from typing import Any

from marketplace.chain.reads import Reads
from marketplace.chain.views import ConsentState
from marketplace.errors import Refusal
from marketplace.wire.solidity import ZERO_ADDRESS
from marketplace.wire.structs import Erasure, Guardianship, Revocation
from marketplace.wire.terms import index_of


def consent_document(chain: Reads, dataset: bytes, patient: str) -> dict[str, Any]:
    """Consent, budget (nano-rho), earnings (token units, as text), record and guardian; all public.

    `class_index` is 0 where there never was a consent; `guardian` is null where none is appointed.
    """
    view = chain.consent_of(dataset, patient)
    return {
        "state": view.state.name.lower(),
        "class": "0x" + view.class_.hex(),
        "class_index": index_of(view.class_),
        "sequence": view.sequence,
        "expiry": view.expiry,
        "cap": view.cap,
        "spent": view.spent,
        "owed": str(view.owed),
        "record": record_document(chain, dataset, patient),
        "guardian": _guardian(chain, dataset, patient),
    }


def nothing_to_revoke(chain: Reads, revocation: Revocation) -> Refusal | None:
    """Why nobody need carry a revocation: its account never had a record, so that it could grant nothing.

    With a record it is carried, consent or not: it also ends grants that somebody may still hold back.
    """
    if _is_known(chain, revocation.dataset, revocation.patient):
        return None
    return Refusal(
        code="nothing_to_revoke",
        message="This address has no record in this dataset, and so no consent.",
        remedy="Check dataset and key. To revoke all the same, send it from a wallet of your own.",
        field="revocation.patient",
    )


def nothing_to_guard(chain: Reads, guardianship: Guardianship) -> Refusal | None:
    """Why nobody need carry an appointment: as `nothing_to_revoke`."""
    if _is_known(chain, guardianship.dataset, guardianship.patient):
        return None
    return Refusal(
        code="nothing_to_guard",
        message="This address has no record in this dataset, so there is nothing to guard.",
        remedy="Have the record stored first, or send it from a wallet of your own.",
        field="guardianship.patient",
    )


def nothing_to_erase(chain: Reads, erasure: Erasure) -> Refusal | None:
    """Why nobody need carry an erasure: there is neither record nor consent, or they are gone already.

    An erasure's signature stays good until a newer version is attested, and anybody can read it on chain.
    """
    record = chain.record_of(erasure.dataset, erasure.patient)
    if any(record.commitment) or any(record.pending):
        return None
    if stands(chain.consent_of(erasure.dataset, erasure.patient).state):
        return None
    return Refusal(
        code="nothing_to_erase",
        message="This address has neither record nor consent in this dataset: never had, or not any more.",
        remedy="Check dataset and address. What was erased stays erased; nothing is left to do.",
        field="erasure.patient",
    )


def stands(state: ConsentState) -> bool:
    """Whether a revocation would end something: live, or resting for whatever reason."""
    return state not in (ConsentState.NONE, ConsentState.MOVED)


def _is_known(chain: Reads, dataset: bytes, patient: str) -> bool:
    record = chain.record_of(dataset, patient)
    if record.version or record.pending_version:
        return True
    return chain.consent_of(dataset, patient).state is not ConsentState.NONE


def record_document(chain: Reads, dataset: bytes, patient: str) -> dict[str, Any]:
    """Commitments (zeros where there is none), versions and state of a patient's record; all public."""
    record = chain.record_of(dataset, patient)
    return {
        "commitment": "0x" + record.commitment.hex(),
        "pending": "0x" + record.pending.hex(),
        "version": record.version,
        "pending_version": record.pending_version,
        "erased": record.erased,
        "suspended": record.suspended,
    }


def _guardian(chain: Reads, dataset: bytes, patient: str) -> dict[str, Any] | None:
    guardian, expiry, may_grant = chain.guardian_of(dataset, patient)
    if guardian == ZERO_ADDRESS:
        return None
    return {"address": guardian, "expiry": expiry, "may_grant": may_grant}
