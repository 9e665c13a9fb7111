"""Builds a receipt from the chain alone: events, storage, and the call that settled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from marketplace.chain.adapter import Chain, Cohort, Event, PartialLogs, RequestStage, RequestView
from marketplace.errors import Refusal
from marketplace.receipts import tally_checks
from marketplace.receipts.calls import SettleCall, settle_call
from marketplace.receipts.evidence import Evidence, EvidenceMissing
from marketplace.receipts.format import (
    STEPS,
    CohortPart,
    CommitteePart,
    Contract,
    Deployment,
    Receipt,
    ReceiptInvalid,
    Shard,
    Step,
)
from marketplace.receipts.tally_part import TallyPart
from marketplace.receipts.tally_steps import committed_in, fixed_in
from marketplace.vocabulary import Address, Epoch
from marketplace.wire.roots import SealedShard
from marketplace.wire.structs import HOMOMORPHIC, Settlement

EVENTS = {name: f"Request{name.capitalize()}" for name in STEPS}
"""The market's event of each step."""


class NotSettled(Refusal):
    """A request that has no receipt (yet)."""

    CODE = "not_settled"


def build_receipt(
    chain: Chain,
    request: bytes,
    analysis: str,
    canonical_parameters: bytes,
    evidence: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The receipt of a settled request, as a document that `canonical` turns into its bytes.

    Args:
        analysis: the catalogue id; the chain has only its hash.
        canonical_parameters: what `terms.parameters` is the keccak256 of.
        evidence: in the homomorphic lane, what its operator kept of the answer, spelt as in the receipt:
            `{"ciphertext_root", "noised", "partials": [{"place", "partial"}], "reveals": [{"place",
            "reveal"}]}`.

    Raises:
        EvidenceMissing: in the homomorphic lane without evidence, or with that of another answer.
        NotSettled: not settled, or not any more after a reorganisation.
        StateUnavailable: the node lacks the settling transaction.
        PartialLogs, ForgedLogs, Reorganised, NodeUnreachable, NodeFault.
    """
    view = chain.request(request)
    if view.stage is not RequestStage.SETTLED:
        raise _not_settled(request, view.stage)
    events = life_of(chain, request, view)
    with chain.pinned(events["settled"].block):
        settled = Settlement.from_abi(events["settled"].args["settlement"])
        call = settle_call(chain, events["settled"].transaction, settled)
        if call is None:
            raise _no_call(request)
        receipt = _assemble(chain, view, events, call, analysis, canonical_parameters)
    if receipt.terms.lane == HOMOMORPHIC:
        receipt = _with_tally(chain, receipt, evidence)
    return receipt.to_json()


def _with_tally(chain: Chain, receipt: Receipt, evidence: Mapping[str, Any] | None) -> Receipt:
    if evidence is None:
        raise _no_evidence("is missing")
    kept = Evidence.from_json(evidence)
    request, sealed_in = receipt.request, receipt.cohort.seal_block
    committed, taken = committed_in(request, sealed_in, chain)
    fixed, step = fixed_in(request, sealed_in, chain)
    tally = TallyPart(
        places=fixed.places,
        commitments=tuple(committed.commitments.items()),
        committed=taken,
        fixed=step,
        joint_key=chain.joint_key(receipt.epoch)[0],
        noised=kept.noised,
        partials=kept.partials,
    )
    found = replace(receipt, tally=tally)
    if kept.ciphertext_root != receipt.settlement.ciphertext_root:
        raise _no_evidence("is of other records than were settled on")
    try:
        for check in tally_checks.ALONE:
            check(found)
    except ReceiptInvalid as fault:
        raise _no_evidence(f"is not of what was settled: {fault.message}") from None
    return found


def life_of(chain: Chain, request: bytes, view: RequestView) -> dict[str, Event]:
    """The event of every step of a settled request.

    Raises:
        PartialLogs: the node does not give one of them.
    """
    market, first = "ResearchMarket", chain.manifest.deployed_block
    found: dict[str, Event] = {}
    for step in ("opened", "frozen", "sealed"):
        before = chain.events_backwards(first, view.seal_block, market, EVENTS[step], [request])
        found[step] = _first(before, EVENTS[step], request)
    name = EVENTS["settled"]
    after = chain.events(view.seal_block, contracts=[market], names=[name], topics=[request])
    return found | {"settled": _first(after, name, request)}


def _first(events: Iterator[Event], name: str, request: bytes) -> Event:
    """The one event: a request is opened, frozen, sealed and settled once, and not again."""
    event = next(events, None)
    if event is None or event.args["request"] != request:
        raise PartialLogs(
            message=f"The node does not give the {name} event of this request.",
            remedy="Use a node that keeps the logs since the deployment.",
            facts={"request": "0x" + request.hex(), "event": name},
        )
    return event


def _assemble(
    chain: Chain,
    view: RequestView,
    events: dict[str, Event],
    call: SettleCall,
    analysis: str,
    parameters: bytes,
) -> Receipt:
    cohort = chain.sealed_cohort(call.settlement.request)
    committee = chain.committee(view.epoch)
    return Receipt(
        deployment=deployment_of(chain),
        request=call.settlement.request,
        researcher=Address(view.researcher),
        terms=chain.request_terms(call.settlement.request),
        analysis=analysis,
        parameters=parameters.decode("utf-8"),
        epoch=Epoch(view.epoch),
        committee=CommitteePart(
            tuple(Address(each.signer) for each in committee.members), committee.quorum
        ),
        gate=Address(view.gate),
        gate_key=view.gate_key,
        cohort=_cohort(chain, cohort),
        settlement=call.settlement,
        signatures=call.signatures,
        sealed_result=call.sealed_result,
        steps={name: step_of(event) for name, event in events.items()},
        cost=view.cost,
        price=view.price,
        fee=view.fee,
    )


def step_of(event: Event) -> Step:
    """Where an event lies."""
    return Step(event.block, event.block_hash, event.transaction)


def deployment_of(chain: Chain) -> Deployment:
    """The deployment that a chain was opened with."""
    manifest = chain.manifest
    return Deployment(
        chain_id=manifest.chain_id,
        genesis_hash=manifest.genesis_hash,
        deployed_block=manifest.deployed_block,
        contracts={
            name: Contract(each.address, each.code_hash)
            for name, each in manifest.contracts.items()
        },
    )


def _cohort(chain: Chain, cohort: Cohort) -> CohortPart:
    return CohortPart(
        members=len(cohort.members),
        seal_block=cohort.seal_block,
        seal_block_hash=cohort.seal_block_hash,
        root=cohort.root,
        shards=tuple(_shard(each) for each in chain.sealed_shards(cohort.request)),
    )


def _shard(sealed: SealedShard) -> Shard:
    return Shard(sealed, sealed.members, sealed.root())


def _not_settled(request: bytes, stage: RequestStage) -> NotSettled:
    return NotSettled(
        message=f"The request is {stage.name.lower()} and has no receipt.",
        remedy="Wait until it is settled; a request that ended otherwise never has one.",
        facts={"request": "0x" + request.hex(), "stage": stage.name.lower()},
    )


def _no_evidence(why: str) -> EvidenceMissing:
    return EvidenceMissing(
        message=f"What the operator kept of the answer {why}.",
        remedy="Ask the operator that settled the request for its receipt: the chain has only hashes of it.",
        field="evidence",
    )


def _no_call(request: bytes) -> Refusal:
    return Refusal(
        code="settle_call_unreadable",
        message="The transaction that settled the request does not hold the call of settle as it is.",
        remedy="Settle from an account, or a wallet that is handed the call itself, not packed otherwise.",
        facts={"request": "0x" + request.hex()},
    )
