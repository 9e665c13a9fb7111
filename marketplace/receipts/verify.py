"""Verifies a receipt against any node of its chain, with the operator down.

    verified = verify(Path("receipt.json").read_bytes(), Chain(url, manifest))

Whom this trusts: the manifest (which contracts count), the node's chain, and nothing that the
receipt says. Where the node itself lies consistently about storage, only a second node helps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from marketplace.chain.adapter import (
    Chain,
    Event,
    NodeFault,
    RequestStage,
    RequestView,
    UnknownBlock,
)
from marketplace.chain.wallets import accepts_signature
from marketplace.errors import BadParameter, Refusal
from marketplace.questions import Asked
from marketplace.receipts import checks, tally_checks, tally_steps
from marketplace.receipts.build import deployment_of, life_of, step_of
from marketplace.receipts.calls import StateUnavailable, settle_call
from marketplace.receipts.format import Deployment, Receipt, ReceiptInvalid, invalid, load
from marketplace.receipts.on_chain import at_seal, equal
from marketplace.receipts.opened_sums import STEP as OPENING
from marketplace.receipts.opened_sums import BadOpening, OpenedSums, answer_of
from marketplace.receipts.proofs import PROOFS
from marketplace.receipts.recount import STEPS as RECOUNTED
from marketplace.receipts.recount import recount
from marketplace.wire.delivery import Opened
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.roots import InclusionProof, ciphertext_root, prove_inclusion
from marketplace.wire.structs import Settlement
from marketplace.wire.terms import index_of

__all__ = [
    "STEPS",
    "TALLY_STEPS",
    "BadOpening",
    "NotCounted",
    "ReceiptInvalid",
    "StateUnavailable",
    "Verified",
    "prove_membership",
    "verify",
]


class NotCounted(Refusal):
    """A patient who is not in the receipt's cohort."""

    CODE = "not_counted"


@dataclass(frozen=True)
class Verified:
    """A receipt that holds, the names of the steps that it passed, and who signed.

    not_done: steps of the receipt's lane that what was given did not allow. answer: that which an opening's
    numbers make, as its researcher was shown it; None without an opening.
    """

    receipt: Receipt
    steps: tuple[str, ...]
    places: tuple[int, ...]
    not_done: tuple[str, ...] = ()
    answer: Mapping[str, Any] | None = field(default=None, repr=False)


def verify(
    receipt: Mapping[str, Any] | bytes,
    chain: Chain,
    opened: Opened | None = None,
    *,
    bundle: BinaryIO | None = None,
    dictionary: Dictionary | None = None,
    opening: OpenedSums | None = None,
) -> Verified:
    """Checks every statement of a receipt, step by step (`STEPS`; in the homomorphic lane `TALLY_STEPS`, then
    with a bundle `recount.STEPS`, and with an opening `opening`), and stops at the first false.

    Args:
        chain: any node of the chain, opened with the manifest that the verifier trusts.
        opened: the result as its researcher opened it, to be checked too; of the vault lane.
        bundle: the records that were added up and the noise, read once from where it stands; of the
            homomorphic lane. Without it the sums themselves are not recomputed; unless it shows the records
            whole, their proofs of validity are not verified (`recount.PROOFS`).
        dictionary: the dataset's, for what was asked; a bundle has it.
        opening: what the researcher published as the sealed sums, of the homomorphic lane. Needs a bundle or
            the dictionary: without the question sums mean nothing.

    Raises:
        ReceiptInvalid: `facts["step"]` and `field` say what is false.
        BadOpening: the opening is not this receipt's, which holds.
        StateUnavailable: the node has neither the state of the seal nor the logs to replay it from.
        NotYetFinal: the settlement could still be reorganised away.
        WrongChain, WrongCode, PartialLogs, ForgedLogs, Reorganised, NodeUnreachable, NodeFault:
        the node cannot be relied on; says nothing of the receipt.
        BadParameter: an input that a receipt of this lane has no use for; `dictionary_needed`,
            `wrong_dictionary`: what was given is not the dataset's, which says nothing of the receipt.
    """
    read = load(receipt)
    is_tally = read.tally is not None
    _require_of_lane(
        is_tally, opened, {"bundle": bundle, "dictionary": dictionary, OPENING: opening}
    )
    if opening is not None and bundle is None and dictionary is None:
        raise _dictionary_needed()
    done = ["format"]
    for name, step in _STEPS_OF_TALLY if is_tally else _STEPS:
        step(read, chain)
        done.append(name)
    if opened is not None:
        checks.opened(read, opened)
        done.append("opened")
    asked: Asked | None = None
    if dictionary is not None:
        _require_published(dictionary, read, chain)
        asked = tally_steps.question(read, chain, dictionary)
        done += () if bundle is not None else ("question",)
    if bundle is not None:
        recounted = recount(read, chain, bundle)
        asked = recounted.asked
        done += recounted.steps
    answer = None
    if opening is not None and asked is not None:
        answer = answer_of(opening, read, asked)
        done.append(OPENING)
    return Verified(
        receipt=read,
        steps=tuple(done),
        places=tuple(place for place, _ in read.signatures),
        not_done=tuple(name for name in (*RECOUNTED, PROOFS) if is_tally and name not in done),
        answer=answer,
    )


def _require_of_lane(
    is_tally: bool, opened: Opened | None, of_tally: Mapping[str, object | None]
) -> None:
    useless = {"opened": opened} if is_tally else of_tally
    for name, given in useless.items():
        if given is not None:
            raise BadParameter(
                message=f"The receipt is of another lane than what was given as {name}.",
                remedy="Give it with a receipt of its own lane, or leave it out.",
                field=name,
            )


def _require_published(dictionary: Dictionary, receipt: Receipt, chain: Chain) -> None:
    if chain.dictionary_of(receipt.terms.dataset) != dictionary.hash():
        raise BadParameter(
            code="wrong_dictionary",
            message="The dictionary that was given is not the one that the request's dataset has on chain.",
            remedy="Give that one (`usufruct datasets --dataset ID --dictionary-out FILE`). The receipt's "
            "own steps before this one hold.",
            field="dictionary",
        )


def _dictionary_needed() -> BadParameter:
    return BadParameter(
        code="dictionary_needed",
        message="An opening is of sums: without the question, which the dataset's dictionary is part of, "
        "they mean nothing.",
        remedy="Give the dataset's dictionary with it, or the bundle, which has it.",
        field="dictionary",
    )


def prove_membership(
    receipt: Mapping[str, Any] | bytes, chain: Chain, patient: str
) -> InclusionProof:
    """The proof that a patient was counted; `InclusionProof.verify` checks it against the root.

    Raises:
        NotCounted: the patient is not in the cohort. ReceiptInvalid; as `Chain.sealed_cohort`.
    """
    read = load(receipt)
    checks.shards(read)
    checks.cohort(read)
    sealed = [shard.sealed for shard in read.cohort.shards]
    refs = chain.request_shards(read.request)
    for member in at_seal(lambda: chain.sealed_cohort(read.request)).members:
        if member.patient.lower() == patient.lower():
            return prove_inclusion(sealed, refs.index(member.shard), member.place)
    raise NotCounted(
        message="This patient was not counted for this request.",
        remedy="Check the address: a patient has another one in each dataset.",
        field="patient",
    )


# --- the steps that ask the chain


def _deployment(receipt: Receipt, chain: Chain) -> None:
    """Chain, contracts and code are the manifest's, and the node's."""
    # First: a manifest of another chain says nothing of the receipt.
    chain.manifest.check(chain.node)
    _same_deployment(receipt.deployment, deployment_of(chain))


def _same_deployment(found: Deployment, trusted: Deployment) -> None:
    for name in ("chain_id", "genesis_hash", "deployed_block"):
        equal("deployment", name, getattr(found, name), getattr(trusted, name))
    for name in sorted({*found.contracts, *trusted.contracts}):
        mine, theirs = found.contracts.get(name), trusted.contracts.get(name)
        equal("deployment", f"contracts.{name}", mine, theirs)


def _storage(receipt: Receipt, chain: Chain) -> None:
    """The market's own record of the request says the same."""
    view = chain.request(receipt.request)
    if view.stage is not RequestStage.SETTLED:
        raise invalid("storage", "request", f"is {view.stage.name.lower()} on chain, not settled")
    for name, value in _stored(receipt).items():
        equal("storage", name, value, _stored_value(view, name))
    refs = [(each.class_, each.shard) for each in chain.request_shards(receipt.request)]
    equal("storage", "cohort.shards", _refs(receipt), refs)


def _stored(receipt: Receipt) -> dict[str, object]:
    return {
        "researcher": receipt.researcher,
        "terms.lane": receipt.terms.lane,
        "terms.dataset": receipt.terms.dataset,
        "cost": receipt.cost,
        "price": receipt.price,
        "fee": receipt.fee,
        "epoch": receipt.epoch,
        "gate": receipt.gate,
        "gate_key": receipt.gate_key,
        "cohort.root": receipt.cohort.root,
        "cohort.members": receipt.cohort.members,
        "cohort.seal_block": receipt.cohort.seal_block,
        "settlement.result_hash": receipt.settlement.result_hash,
    }


def _stored_value(view: RequestView, name: str) -> object:
    return getattr(view, name.rpartition(".")[2])


def _refs(receipt: Receipt) -> list[tuple[int, int]]:
    shards = [shard.sealed for shard in receipt.cohort.shards]
    return [(index_of(each.class_id), each.shard) for each in shards]


def _committee(receipt: Receipt, chain: Chain) -> None:
    """Signers and quorum are those of the pinned epoch, on chain."""
    found = chain.committee(receipt.epoch)
    signers = tuple(member.signer for member in found.members)
    equal("committee", "committee.signers", receipt.committee.signers, signers)
    equal("committee", "committee.quorum", receipt.committee.quorum, found.quorum)


def _events(receipt: Receipt, chain: Chain) -> None:
    """Every step's event lies in its block and transaction, and says what the receipt says."""
    events = life_of(chain, receipt.request, chain.request(receipt.request))
    for name, event in events.items():
        claimed, found = receipt.steps[name], step_of(event)
        equal("events", f"blocks.{name}", claimed.block, found.block)
        equal("events", f"block_hashes.{name}", claimed.block_hash, found.block_hash)
        equal("events", f"transactions.{name}", claimed.transaction, found.transaction)
        chain.require_same_block(claimed.block, claimed.block_hash)
    _event_says(receipt, events)


def _event_says(receipt: Receipt, events: Mapping[str, Event]) -> None:
    settled, sealed = events["settled"].args, events["sealed"].args
    equal("events", "cohort.root", receipt.cohort.root, sealed["root"])
    equal("events", "cohort.members", receipt.cohort.members, sealed["members"])
    equal("events", "epoch", receipt.epoch, events["frozen"].args["epoch"])
    signed = Settlement.from_abi(settled["settlement"])
    equal("events", "settlement", receipt.settlement, signed)
    equal("events", "sealed_result", receipt.sealed_result, settled["sealedResult"])


def _final(receipt: Receipt, chain: Chain) -> None:
    """The settlement, and with it all before, cannot be reorganised away."""
    chain.require_final(receipt.steps["settled"].block)


def _ciphertexts(receipt: Receipt, chain: Chain) -> None:
    """The records computed on are those that the chain had for exactly these members."""
    cohort = at_seal(lambda: chain.sealed_cohort(receipt.request))
    equal(
        "ciphertexts",
        "cohort.seal_block_hash",
        receipt.cohort.seal_block_hash,
        cohort.seal_block_hash,
    )
    stored = at_seal(
        lambda: chain.commitments_of(cohort.dataset, cohort.patients, cohort.seal_block)
    )
    root = ciphertext_root([each.commitment for each in stored])
    equal("ciphertexts", "settlement.ciphertext_root", receipt.settlement.ciphertext_root, root)


def _signatures(receipt: Receipt, chain: Chain) -> None:
    """A quorum signed. A wallet is asked in the block that settled: its owners may change since."""
    block = receipt.steps["settled"].block

    def accepts(signer: str, digest: bytes, signature: bytes) -> bool:
        try:
            return accepts_signature(chain.node, signer, digest, signature, block)
        except (NodeFault, UnknownBlock) as fault:
            if accepts_signature(chain.node, signer, digest, signature):
                return True
            raise StateUnavailable(
                message="The node does not give a custodian's wallet as it was at the settlement.",
                remedy="Use an archive node: by today's owners the wallet did not sign.",
                field="signatures",
            ) from fault

    checks.signatures(receipt, accepts)


def _settle_call(receipt: Receipt, chain: Chain) -> None:
    """The signatures are the ones that the settlement was sent with, all of them."""
    call = settle_call(chain, receipt.steps["settled"].transaction, receipt.settlement)
    if call is None:
        raise invalid("settle_call", "transactions.settled", "did not settle this request")
    equal("settle_call", "signatures", receipt.signatures, call.signatures)


Step = Callable[[Receipt, Chain], None]


def _alone(check: checks.Alone) -> Step:
    return lambda receipt, _: check(receipt)


_STEPS: tuple[tuple[str, Step], ...] = (
    ("deployment", _deployment),
    ("request", _alone(checks.request)),
    ("parameters", _alone(checks.parameters)),
    ("analysis", _alone(checks.analysis)),
    ("shards", _alone(checks.shards)),
    ("cohort", _alone(checks.cohort)),
    ("settlement", _alone(checks.settlement)),
    ("delivery", _alone(checks.delivered)),
    ("storage", _storage),
    ("committee", _committee),
    ("events", _events),
    ("final", _final),
    ("ciphertexts", _ciphertexts),
    ("signatures", _signatures),
    ("settle_call", _settle_call),
)
STEPS = ("format", *(name for name, _ in _STEPS))
"""Every step by name, in order; `opened` follows where an opened result was given."""
_OTHERWISE: Mapping[str, Step] = {"ciphertexts": tally_steps.ciphertexts}
_STEPS_OF_TALLY: tuple[tuple[str, Step], ...] = (
    *((name, _OTHERWISE.get(name, step)) for name, step in _STEPS),
    ("joint_key", tally_steps.joint_key),
    ("noise", tally_steps.noise),
    *((check.__name__, _alone(check)) for check in tally_checks.ALONE),
)
TALLY_STEPS = ("format", *(name for name, _ in _STEPS_OF_TALLY))
"""Those of the homomorphic lane; `recount.STEPS` follow where a bundle was given."""
