"""A request that was settled on a real chain, and the receipt that it must have."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from eth_utils.crypto import keccak

from marketplace.chain.adapter import Chain, Finality
from marketplace.receipts.build import build_receipt
from marketplace.vocabulary import Address, Commitment, RequestId
from marketplace.wire import delivery, hpke
from marketplace.wire.analysis import analysis_hash
from marketplace.wire.structs import SETTLEMENT_SCHEMA, VAULT, GateKey, Settlement, sign
from tests.support.chain_world import CAP, World, account, world_on
from tests.support.nodes import RunningNode

ANALYSIS = "mean.v1"
DOCUMENT = {"filters": [], "lower": "80", "upper": "200", "variable": "systolic"}
PARAMETERS = json.dumps(DOCUMENT, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Settled:
    """One settled request and what its researcher opened."""

    world: World
    request: bytes
    opened: delivery.Opened

    @property
    def chain(self) -> Chain:
        return self.world.chain

    def receipt(self) -> dict[str, Any]:
        return build_receipt(self.chain, self.request, ANALYSIS, PARAMETERS)


def settled_on(node: RunningNode, finality: Finality | None = None) -> tuple[World, Settled]:
    """Six patients in two classes, one request over both, signed by two custodians of three."""
    world = world_on(node, finality=finality)
    world.cap = 3 * CAP  # for tests that settle more requests
    world.enrol([f"patient {number}" for number in range(4)])
    world.enrol([f"other patient {number}" for number in range(2)], 1)
    return world, settle_one(world, "receipt", (0, 2))


def settle_one(
    world: World,
    salt: str,
    places: tuple[int, ...],
    *,
    ciphertexts: bytes | None = None,
    batched: bool = False,
    claims: Mapping[str, Any] | None = None,
) -> Settled:
    """Opens, freezes, seals, draws the gate, and settles with the signatures of these places.

    `ciphertexts` is a false root, `claims` what a result says wrongly of itself: the custodians sign either
    together. `batched` settles in a batch.
    """
    request = _sealed(world, salt)
    settlement, sealed, opened = _answer(world, request, claims or {})
    if ciphertexts is not None:
        settlement = replace(settlement, ciphertext_root=ciphertexts)
    domain = world.chain.domain("ResearchMarket")
    signed = [(place, sign(settlement, domain, world.custodians[place])) for place in places]
    arguments = [settlement, sealed, signed]
    if batched:
        assert not world.sender.batch("ResearchMarket", [("settle", arguments)]).refused
    else:
        world.sender.send("ResearchMarket", "settle", *arguments)
    return Settled(world, request, opened)


def _sealed(world: World, salt: str) -> bytes:
    terms = replace(
        world.terms(salt, (1, 2)),
        analysis=analysis_hash(ANALYSIS),
        parameters=keccak(PARAMETERS),
    )
    request = world.open(terms)
    world.freeze(terms)
    for _ in world.chain.request_shards(request):
        world.sender.send("ResearchMarket", "seal", request)
    _record_gate_key(world, request)
    return request


def _record_gate_key(world: World, request: bytes) -> None:
    for _ in range(2):
        world.chain.node.mine()
    world.sender.send("ResearchMarket", "drawGate", request)
    key = GateKey(request, world.chain.request(request).root, keccak(text="gate key"))
    signature = sign(key, world.chain.domain("ResearchMarket"), account("gate"))
    world.sender.send("ResearchMarket", "recordGateKey", request, key.key, signature)


def _answer(
    world: World, request: bytes, claims: Mapping[str, Any]
) -> tuple[Settlement, bytes, delivery.Opened]:
    chain, view = world.chain, world.chain.request(request)
    cohort = chain.sealed_cohort(request)
    stored = chain.commitments_of(cohort.dataset, cohort.patients, cohort.seal_block)
    said: dict[str, Any] = {
        "analysis": ANALYSIS,
        "parameters": DOCUMENT,
        "cohort_size": len(cohort.members),
        "noised": {"value": "129.4", "cost_nano_rho": view.cost},
    }
    result = delivery.encode_result(RequestId(request), **{**said, **claims})
    salt, secret = delivery.new_salt(), hpke.generate()
    context = delivery.DeliveryContext(chain.chain_id, Address(chain.market), RequestId(request))
    sealed = delivery.seal_result(salt, result, secret.public, context)
    settlement = Settlement(
        request=request,
        root=view.root,
        epoch=view.epoch,
        lane=VAULT,
        schema=SETTLEMENT_SCHEMA,
        ciphertext_root=delivery.ciphertext_root([Commitment(s.commitment) for s in stored]),
        noise=bytes(32),
        result_hash=delivery.result_hash(salt, result),
        delivery_hash=delivery.delivery_hash(sealed),
        gate=view.gate,
    )
    return settlement, sealed, delivery.open_result(sealed, secret, context)
