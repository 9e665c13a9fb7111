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
from marketplace.errors import Refusal
from marketplace.gate.opening import Ciphertext, Opener

MOST_NAMED = 20


class CiphertextWithheld(Refusal):
    """Usable members whose stored ciphertext the operator did not send."""

    CODE = "ciphertext_withheld"


def require_delivered(
    chain: Chain, opener: Opener, stored: Sequence[Stored], ciphertexts: Mapping[str, Ciphertext]
) -> None:
    """Every member whose record is in use came with the ciphertext that the chain's commitment names.

    Members whose record was erased, suspended or moved since the seal may be missing: they are null.

    Raises:
        CiphertextWithheld: naming the first members concerned.
    """
    missing = [each for each in stored if each.usable and not _came(opener, each, ciphertexts)]
    now = chain.commitments_of(opener.dataset, [each.patient for each in missing])
    withheld = [each.patient for each in now if each.usable]
    if withheld:
        raise CiphertextWithheld(
            message=f"The stored ciphertexts of {len(withheld)} of {len(stored)} members did not come.",
            remedy="Send them as they were stored. What is lost, its clinic uploads again, unchanged.",
            field="records",
            facts={"members": len(stored), "withheld": withheld[:MOST_NAMED]},
        )


def _came(opener: Opener, stored: Stored, ciphertexts: Mapping[str, Ciphertext]) -> bool:
    found = ciphertexts.get(stored.patient)
    return found is not None and opener.is_committed(stored, found)
