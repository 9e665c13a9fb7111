"""Whether a patient takes part in a dataset: a record in use, and a consent that stands."""

from __future__ import annotations

from typing import Final

from marketplace.chain.adapter import Chain, Record
from marketplace.chain.rpc import BlockName
from marketplace.chain.views import ConsentState, ConsentView
from marketplace.errors import Refusal
from marketplace.vocabulary import Address

ENDED: Final = (ConsentState.NONE, ConsentState.MOVED)


class NoPart(Refusal):
    """Who takes no part is not scored: `no_record`, `no_consent`."""

    CODE = "no_consent"


def require_takes_part(chain: Chain, dataset: bytes, patient: Address) -> int:
    """The block as of which this patient takes part: what ends afterwards ends in a later one. Raises NoPart;
    NodeUnreachable, ...
    """
    block = chain.head().number  # before the answers
    if not is_in_use(chain.record_of(dataset, patient)):
        raise NoPart(
            code="no_record",
            message=f"{patient} has no record in use in this dataset.",
            remedy="Have your record stored, and consent, first.",
            field="dataset",
        )
    if not _stands(chain.consent_of(dataset, patient)):
        raise NoPart(
            message=f"{patient} consents to nothing in this dataset.",
            remedy="Consent first (`usufruct grant`), to a class that allows personal scores.",
            field="dataset",
        )
    return block


def takes_part(chain: Chain, dataset: bytes, patient: str, block: BlockName) -> bool:
    """Whether a patient took part in a block. Raises NodeUnreachable, ..."""
    if not is_in_use(chain.record_of(dataset, patient, block)):
        return False
    return _stands(chain.consent_of(dataset, patient, block))


def may_be_scored(chain: Chain, dataset: bytes, patient: str) -> bool:
    """Whether a patient takes part in the newest block. Expired by the clock, too, is expired: the chain says
    so only once somebody freezes or tidies. Raises NodeUnreachable, ...
    """
    if not is_in_use(chain.record_of(dataset, patient)):
        return False
    consent = chain.consent_of(dataset, patient)
    return _stands(consent) and consent.expiry > chain.now()


def is_in_use(record: Record) -> bool:
    """Whether the registry has a version of it that may be computed on."""
    return any(record.commitment) and not record.suspended and not record.erased


def _stands(consent: ConsentView) -> bool:
    return consent.state not in ENDED
