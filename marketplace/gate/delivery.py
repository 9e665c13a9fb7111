"""Did the operator send what it answers for? Asked before any custodian turns.

A record that does not open counts as null, since only its patient, or chance, can be at fault, and
failing would tell who. A ciphertext that is not there is another matter: no record is in use on chain
without an operator's signed word that it holds the ciphertext (custodians ask for it), so one that is
missing, or is another one, was withheld or lost by the operator. Counting it as null would let the
operator bend an answer. Whether the request fails here depends on what was sent, on no record's value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from marketplace.chain.adapter import Chain, Stored
from marketplace.chain.moves import moves_of, way
from marketplace.errors import Refusal
from marketplace.gate.opening import Ciphertext, Opener

MOST_NAMED = 20


class CiphertextWithheld(Refusal):
    """Usable members whose stored ciphertext the operator did not send."""

    CODE = "ciphertext_withheld"


def require_delivered(
    chain: Chain,
    opener: Opener,
    stored: Sequence[Stored],
    ciphertexts: Mapping[str, Ciphertext],
    sealed_in: int,
) -> None:
    """Every member whose record is in use came with the ciphertext that the chain's commitment names.

    Members whose record was erased or suspended since the seal may be missing: they are null. Not so those
    who moved to another address, where the record still is.

    Args:
        sealed_in: the block of the seal, as of which `stored` is.

    Raises:
        CiphertextWithheld: naming the first members concerned.
    """
    missing = [
        each.patient for each in stored if each.usable and not _came(opener, each, ciphertexts)
    ]
    withheld = _in_use(chain, opener.dataset, missing, sealed_in)
    if withheld:
        raise CiphertextWithheld(
            message=f"The stored ciphertexts of {len(withheld)} of {len(stored)} members did not come.",
            remedy="Send them as they were stored. What is lost, its clinic uploads again, unchanged.",
            field="records",
            facts={"members": len(stored), "withheld": withheld[:MOST_NAMED]},
        )


def _in_use(chain: Chain, dataset: bytes, patients: Sequence[str], sealed_in: int) -> list[str]:
    """Those whose record may still be opened, wherever it is by now.

    Who is not where the seal found them, and by no log anywhere else, counts as in use: a node that keeps
    a move to itself must not help to leave somebody out.
    """
    here = {each.patient: each.usable for each in chain.commitments_of(dataset, patients)}
    gone = [each for each in patients if not here[each] and _left(chain, dataset, each)]
    today = _followed(chain, dataset, gone, sealed_in)
    there = chain.commitments_of(dataset, list(today.values()))
    moved = {each for each, now in zip(today, there, strict=True) if now.usable}
    lost = set(gone) - today.keys()
    return [each for each in patients if here[each] or each in moved | lost]


def _left(chain: Chain, dataset: bytes, patient: str) -> bool:
    """Whether a record that was here went to another address: an erased one keeps its version."""
    return chain.record_of(dataset, patient).version == 0


def _followed(
    chain: Chain, dataset: bytes, patients: Sequence[str], sealed_in: int
) -> dict[str, str]:
    """Today's address of each who moved since the seal, maybe more than once. Raises ForgedLogs."""
    if not patients:
        return {}
    went = moves_of(chain, dataset, sealed_in)
    return {each: way(went, each)[-1] for each in patients if each in went}


def _came(opener: Opener, stored: Stored, ciphertexts: Mapping[str, Ciphertext]) -> bool:
    found = ciphertexts.get(stored.patient)
    return found is not None and opener.is_committed(stored, found)
