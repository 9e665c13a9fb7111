"""What a chain keeps of a request, in the words of a receipt: what a receipt is held against, part by part.

All that `usufruct verify-receipt` compares but the records of the cohort, every one of which it reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marketplace.chain.adapter import (
    Chain,
    Event,
    NodeFault,
    PartialLogs,
    RequestStage,
    RequestView,
)
from marketplace.receipts.build import deployment_of, life_of, step_of
from marketplace.receipts.calls import StateUnavailable, settle_call
from marketplace.receipts.parts import Step
from marketplace.receipts.tally_steps import committed_in, fixed_in
from marketplace.vocabulary import Lane
from marketplace.wire.http import to_hex
from marketplace.wire.structs import Settlement


def anchors_of(chain: Chain, request: bytes) -> dict[str, Any]:
    """`{"request", "stage", "final", "receipt"}`, whoever operates the request.

    `stage` is `none` for an id that nobody opened; `receipt` is None for what is not settled, and else has
    every part of a receipt that no hash inside it covers, spelt as there. What the node's logs do not give
    is left out, and of a `tally` what no chain keeps: the noised sums and their partial decryptions.

    Raises:
        ForgedLogs, Reorganised, NodeUnreachable, NodeFault.
    """
    view = chain.request(request)
    found = {"request": to_hex(request), "stage": view.stage.name.lower()}
    if view.stage is not RequestStage.SETTLED:
        return {**found, "final": False, "receipt": None}
    stored = _stored(chain, request, view)
    try:
        events = life_of(chain, request, view)
        happened = _happened(chain, events) | _tallied(chain, request, view)
    except (PartialLogs, StateUnavailable, NodeFault):
        return {**found, "final": False, "receipt": stored}
    final = events["settled"].block <= chain.finalized()
    return {**found, "final": final, "receipt": {**stored, **happened}}


def _stored(chain: Chain, request: bytes, view: RequestView) -> dict[str, Any]:
    """By the manifest, and by the contracts' storage."""
    deployment, committee = deployment_of(chain), chain.committee(view.epoch)
    return {
        "chain_id": deployment.chain_id,
        "genesis_hash": to_hex(deployment.genesis_hash),
        "deployed_block": deployment.deployed_block,
        "contracts": {
            name: {"address": each.address, "code_hash": to_hex(each.code_hash)}
            for name, each in deployment.contracts.items()
        },
        "request": to_hex(request),
        "researcher": view.researcher,
        "cost": str(view.cost),
        "price": str(view.price),
        "fee": str(view.fee),
        "epoch": view.epoch,
        "committee": {
            "signers": [each.signer for each in committee.members],
            "quorum": committee.quorum,
        },
        "gate": view.gate,
        "gate_key": to_hex(view.gate_key),
        "cohort": {
            "members": view.members,
            "root": to_hex(view.root),
            "seal_block": view.seal_block,
            "seal_block_hash": to_hex(chain.block_hash(view.seal_block)),
        },
    }


def _happened(chain: Chain, events: Mapping[str, Event]) -> dict[str, Any]:
    """By the events, and by the call that settled."""
    with chain.pinned(events["settled"].block):
        settled = Settlement.from_abi(events["settled"].args["settlement"])
        call = settle_call(chain, events["settled"].transaction, settled)
    steps = {name: step_of(event) for name, event in events.items()}
    told = {
        "blocks": {name: step.block for name, step in steps.items()},
        "block_hashes": {name: to_hex(step.block_hash) for name, step in steps.items()},
        "transactions": {name: to_hex(step.transaction) for name, step in steps.items()},
        "settlement": settled.to_json(),
    }
    if call is None:
        return told
    signed = [{"place": place, "signature": to_hex(raw)} for place, raw in call.signatures]
    return {**told, "signatures": signed}


def _tallied(chain: Chain, request: bytes, view: RequestView) -> dict[str, Any]:
    """In the homomorphic lane whose noise was committed to and counts, where, and the joint key."""
    if view.lane != Lane.HOMOMORPHIC:
        return {}
    committed, taken = committed_in(request, view.seal_block, chain)
    fixed, step = fixed_in(request, view.seal_block, chain)
    listed = [[place, to_hex(each)] for place, each in committed.commitments.items()]
    return {
        "tally": {
            "places": list(fixed.places),
            "commitments": listed,
            "committed": _step_json(taken),
            "fixed": _step_json(step),
            "joint_key": to_hex(chain.joint_key(view.epoch)[0]),
        }
    }


def _step_json(of: Step) -> dict[str, Any]:
    return {
        "block": of.block,
        "block_hash": to_hex(of.block_hash),
        "transaction": to_hex(of.transaction),
    }
