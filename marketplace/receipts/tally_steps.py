"""What a receipt of the homomorphic lane says, held against the chain: key, noise, whose records counted."""

from __future__ import annotations

from typing import Final

from marketplace.chain.adapter import Chain, PartialLogs, Stored
from marketplace.chain.counted import (
    COMMITTED,
    FIXED,
    CommittedNoise,
    FixedNoise,
    committed_noise,
    counted,
    fixed_noise,
)
from marketplace.errors import BadParameter, RecordUnreadable
from marketplace.questions import Asked, asked
from marketplace.receipts.format import Receipt, invalid
from marketplace.receipts.on_chain import at_seal, equal
from marketplace.receipts.parts import Step
from marketplace.receipts.tally_checks import noised_of, tally_of
from marketplace.vocabulary import Commitment
from marketplace.wire.delivery import ciphertext_root
from marketplace.wire.dictionary import Dictionary

DICTIONARY: Final = "dictionary"
"""The field that is at fault where a dictionary is not the dataset's."""


def joint_key(receipt: Receipt, chain: Chain) -> None:
    """The key, and what partial decryptions are proven against, is what the pinned epoch recorded."""
    found, _ = chain.joint_key(receipt.epoch)
    equal("joint_key", "tally.joint_key", tally_of(receipt).joint_key, found)


def noise(receipt: Receipt, chain: Chain) -> None:
    """Commitments of all, whose counts, and where both came on chain: as events and storage have it."""
    tally, sealed_in = tally_of(receipt), receipt.cohort.seal_block
    committed, taken = committed_in(receipt.request, sealed_in, chain)
    equal("noise", "tally.commitments", tally.commitments, tuple(committed.commitments.items()))
    fixed, step = fixed_in(receipt.request, sealed_in, chain)
    equal("noise", "tally.places", tally.places, fixed.places)
    equal("noise", "settlement.noise", receipt.settlement.noise, fixed.noise)
    for name in ("block", "block_hash", "transaction"):
        found = getattr(taken, name)
        equal("noise", f"tally.committed.{name}", getattr(tally.committed, name), found)
        equal("noise", f"tally.fixed.{name}", getattr(tally.fixed, name), getattr(step, name))
    chain.require_same_block(taken.block, taken.block_hash)
    chain.require_same_block(step.block, step.block_hash)


def ciphertexts(receipt: Receipt, chain: Chain) -> None:
    """The records added up are those that the chain had for these members, as of the block with everybody's
    noise commitments.
    """
    root = ciphertext_root([Commitment(each.commitment) for each in records_of(receipt, chain)])
    found = receipt.settlement.ciphertext_root
    equal("ciphertexts", "settlement.ciphertext_root", found, root)


def question(receipt: Receipt, chain: Chain, dictionary: Dictionary) -> Asked:
    """What was asked, as it follows from terms, parameters and the dataset's dictionary.

    Raises:
        ReceiptInvalid: another dictionary than the dataset's, or a number of sums that does not follow.
    """
    view = chain.request(receipt.request)
    try:
        found = asked(chain, dictionary, view, receipt.request, receipt.parameters.encode("utf-8"))
    except (BadParameter, RecordUnreadable) as refusal:
        where = refusal.field or DICTIONARY
        raise invalid("question", where, f"does not lead here: {refusal.message}") from None
    if found.question.shares.sums != len(noised_of(receipt)):
        raise invalid("question", "tally.noised", "has another number of sums than was asked for")
    return found


def records_of(receipt: Receipt, chain: Chain) -> tuple[Stored, ...]:
    """Every member's record in cohort order, with zeros for one that does not count.

    Raises:
        StateUnavailable; what `Chain.sealed_cohort` and `counted` raise.
    """
    cohort = at_seal(lambda: chain.sealed_cohort(receipt.request))
    claimed = receipt.cohort.seal_block_hash
    equal("ciphertexts", "cohort.seal_block_hash", claimed, cohort.seal_block_hash)
    committed, _ = committed_in(receipt.request, cohort.seal_block, chain)
    with chain.pinned(committed.block):
        return at_seal(lambda: counted(chain, cohort, committed.block))


def committed_in(request: bytes, seal_block: int, chain: Chain) -> tuple[CommittedNoise, Step]:
    """The commitments of a settled request, and where the chain took them.

    Raises:
        ReceiptInvalid: there are none, so nothing was settled. PartialLogs, ForgedLogs; NodeFault.
    """
    found = committed_noise(chain, request, seal_block)
    if found is None:
        raise invalid("noise", "tally.committed", "is nowhere on chain")
    return found, _step(chain, request, found.block, COMMITTED)


def fixed_in(request: bytes, seal_block: int, chain: Chain) -> tuple[FixedNoise, Step]:
    """The noise of a settled request, and where the chain fixed it.

    Raises:
        ReceiptInvalid: it was never fixed, so nothing was settled. PartialLogs, ForgedLogs; NodeFault.
    """
    found = fixed_noise(chain, request, seal_block)
    if found is None:
        raise invalid("noise", "tally.fixed", "is nowhere on chain")
    return found, _step(chain, request, found.block, FIXED)


def _step(chain: Chain, request: bytes, block: int, name: str) -> Step:
    at = chain.events(block, block, contracts=["NoiseRegistry"], names=[name], topics=[request])
    event = next(at, None)
    if event is None:
        raise PartialLogs(
            message=f"The node does not give this request's {name} event twice.",
            remedy="Use a node that keeps the logs since the deployment.",
            facts={"event": name},
        )
    return Step(event.block, event.block_hash, event.transaction)
