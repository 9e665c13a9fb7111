"""What a receipt's parts must be to each other: arithmetic and signatures, no node needed.

Passing these proves nothing about any chain; `verify` does. Every check raises `ReceiptInvalid`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from eth_utils.crypto import keccak

from marketplace.errors import Refusal
from marketplace.receipts.fields import require_shallow
from marketplace.receipts.format import CommitteePart, Receipt, ReceiptInvalid, Shard, invalid
from marketplace.receipts.tally_part import TallyPart
from marketplace.wire import delivery
from marketplace.wire.analysis import analysis_hash
from marketplace.wire.delivery import Opened
from marketplace.wire.eip712 import Domain, recover
from marketplace.wire.roots import cohort_root
from marketplace.wire.solidity import ZERO_ADDRESS, ZERO_HASH
from marketplace.wire.structs import (
    HOMOMORPHIC,
    SETTLEMENT_SCHEMA,
    VAULT,
    NoiseCommitment,
    NoiseSet,
    market_domain,
)

Alone = Callable[[Receipt], None]


def request(receipt: Receipt) -> None:
    """The id is the hash of chain, market, researcher and terms; the copies beside agree."""
    terms, deployment = receipt.terms, receipt.deployment
    expected = terms.request_id(deployment.chain_id, deployment.market, receipt.researcher)
    _equal("request", "request", receipt.request, expected, "is not the hash of the terms")
    for name in ("cost", "price", "fee"):
        _equal("request", name, getattr(receipt, name), getattr(terms, name), _DIFFERS)
    if receipt.cost == 0:
        raise invalid("request", "cost", "is 0, at which no request is opened")


def parameters(receipt: Receipt) -> None:
    """The parameters are those whose hash the terms carry."""
    digest = keccak(text=receipt.parameters)
    _equal("parameters", "parameters", digest, receipt.terms.parameters, _NOT_HASHED)


def analysis(receipt: Receipt) -> None:
    """The analysis is the one whose hash the terms carry."""
    digest = analysis_hash(receipt.analysis)
    _equal("analysis", "analysis", digest, receipt.terms.analysis, _NOT_HASHED)


def shards(receipt: Receipt) -> None:
    """Every shard's bitmaps have its members and root, and the members add up."""
    for position, shard in enumerate(receipt.cohort.shards):
        _shard(f"cohort.shards[{position}]", shard)
    total = sum(shard.members for shard in receipt.cohort.shards)
    _equal("shards", "cohort.members", receipt.cohort.members, total, "is not the shards' sum")


def cohort(receipt: Receipt) -> None:
    """The shards' roots lead to the root, which is the one that was settled."""
    deployment, part = receipt.deployment, receipt.cohort
    expected = cohort_root(
        deployment.chain_id,
        deployment.market,
        receipt.request,
        [shard.root for shard in part.shards],
    )
    _equal("cohort", "cohort.root", part.root, expected, "does not follow from the shards' roots")
    sealed = receipt.steps["sealed"]
    _equal("cohort", "cohort.seal_block", part.seal_block, sealed.block, _DIFFERS)
    _equal("cohort", "cohort.seal_block_hash", part.seal_block_hash, sealed.block_hash, _DIFFERS)


def settlement(receipt: Receipt) -> None:
    """What the custodians signed is of this request, cohort, epoch, noise and gate."""
    expected: dict[str, object] = {
        "request": receipt.request,
        "root": receipt.cohort.root,
        "epoch": receipt.epoch,
        "lane": receipt.terms.lane,
        "schema": SETTLEMENT_SCHEMA,
        "gate": receipt.gate,
    }
    for name, value in expected.items():
        found = getattr(receipt.settlement, name)
        _equal("settlement", f"settlement.{name}", found, value, _DIFFERS)
    _lane(receipt)
    _equal("settlement", "settlement.noise", receipt.settlement.noise, noise_of(receipt), _DIFFERS)
    if receipt.tally is not None:
        _counting(receipt.committee, receipt.tally)


def noise_of(receipt: Receipt) -> bytes:
    """The hash of the noise commitments that count, as the contract has it; zeros in the vault lane, whose
    gate draws its noise alone.
    """
    tally, deployment = receipt.tally, receipt.deployment
    if tally is None:
        return ZERO_HASH
    committed = dict(tally.commitments)
    counting = {place: committed.get(place, ZERO_HASH) for place in tally.places}
    sealed = NoiseCommitment(receipt.request, receipt.cohort.root, receipt.epoch, 0, ZERO_HASH)
    domain = market_domain(deployment.chain_id, deployment.market)
    return NoiseSet.of(domain, sealed, counting).noise


def _lane(receipt: Receipt) -> None:
    """Each lane has its own schema; where nobody opened records there is no gate."""
    if receipt.tally is None:
        _equal("settlement", "settlement.lane", receipt.settlement.lane, VAULT, _NOT_OF_LANE)
        return
    _equal("settlement", "settlement.lane", receipt.settlement.lane, HOMOMORPHIC, _NOT_OF_LANE)
    _equal("settlement", "gate", receipt.gate, ZERO_ADDRESS, _NOT_OF_LANE)
    _equal("settlement", "gate_key", receipt.gate_key, ZERO_HASH, _NOT_OF_LANE)


def _counting(committee: CommitteePart, tally: TallyPart) -> None:
    """Whose noise counts are custodians of the committee that committed to it, a quorum of them at least."""
    committed = [place for place, _ in tally.commitments]
    for name, places in (("commitments", committed), ("places", tally.places)):
        if any(place >= len(committee.signers) for place in places):
            raise invalid("settlement", f"tally.{name}", _NO_PLACE)
    if not set(tally.places) <= set(committed):
        raise invalid("settlement", "tally.places", "names who committed to no noise")
    if len(tally.places) < committee.quorum:
        raise invalid("settlement", "tally.places", "are fewer than the quorum")


class NeedsNode(ReceiptInvalid):
    """A signature that only a node of the chain can judge: it may be a contract wallet's."""

    CODE = "receipt_needs_node"


Accepts = Callable[[str, bytes, bytes], bool]
"""(address, digest, signature): whether a contract wallet at that address signed (ERC-1271)."""


def signatures(receipt: Receipt, accepts: Accepts | None = None) -> None:
    """A quorum of the committee signed the settlement, each custodian once, in order of place.

    Raises:
        NeedsNode: no key signed and, with no `accepts` given, nobody can say whether a wallet did.
    """
    _committee(receipt.committee)
    places = [place for place, _ in receipt.signatures]
    if places != sorted(set(places)):
        raise invalid("signatures", "signatures", "do not ascend by place, each place once")
    if len(places) < receipt.committee.quorum:
        raise invalid("signatures", "signatures", "are fewer than the quorum")
    for position in range(len(places)):
        _signature(receipt, position, accepts)


def delivered(receipt: Receipt) -> None:
    """The sealed result is the one that the custodians signed."""
    digest = delivery.delivery_hash(receipt.sealed_result)
    expected = receipt.settlement.delivery_hash
    _equal("delivery", "sealed_result", digest, expected, _NOT_HASHED)


def opened(receipt: Receipt, result: Opened) -> None:
    """What the researcher opened is the result that the custodians signed, to this question."""
    digest = delivery.result_hash(result.salt, result.result)
    _equal("opened", "result", digest, receipt.settlement.result_hash, _NOT_HASHED)
    document = _document(result.result)
    expected: dict[str, object] = {
        "schema": delivery.SCHEMA,
        "request": "0x" + receipt.request.hex(),
        "analysis": receipt.analysis,
        "parameters": _document(receipt.parameters.encode("utf-8")),
        "cohort_size": receipt.cohort.members,
    }
    for name, value in expected.items():
        _equal("opened", f"result.{name}", document.get(name), value, "is not the receipt's")
    if not 0 < cost_of(document) <= receipt.cost:
        raise invalid("opened", "result.noised.cost_nano_rho", "is not within the receipt's cost")


def cost_of(document: Mapping[str, object]) -> int:
    """Nano-rho that a result says it spent; 0, which is nobody's, where it does not say."""
    noised = document.get("noised")
    said = noised.get("cost_nano_rho") if isinstance(noised, dict) else None
    return said if isinstance(said, int) and not isinstance(said, bool) else 0


ALONE: tuple[Alone, ...] = (
    request,
    parameters,
    analysis,
    shards,
    cohort,
    settlement,
    delivered,
    signatures,
)
"""All that need no node, in order."""

_DIFFERS = "differs from its other mention in the receipt"
_NOT_OF_LANE = "is not of the lane that the receipt's schema is for"
_NOT_HASHED = "does not have the hash that was agreed on"
_NO_PLACE = "is no place of the committee"


def _committee(committee: CommitteePart) -> None:
    """One that `CustodianCommittee.openEpoch` takes: different members, and more than half of them act."""
    signers, quorum = committee.signers, committee.quorum
    if len(set(signers)) != len(signers):
        raise invalid("signatures", "committee.signers", "names a custodian twice")
    if not len(signers) < 2 * quorum <= 2 * len(signers):
        raise invalid("signatures", "committee.quorum", "is not of more than half of the signers")


def _shard(where: str, shard: Shard) -> None:
    try:
        members, root = shard.sealed.members, shard.sealed.root()
    except Refusal as refusal:
        raise invalid("shards", f"{where}.bitmaps", "are not whole words") from refusal
    _equal("shards", f"{where}.members", shard.members, members, "is not what the bitmaps count")
    _equal("shards", f"{where}.root", shard.root, root, "is not the bitmaps' root")


def _signature(receipt: Receipt, position: int, accepts: Accepts | None) -> None:
    """As the contracts judge it: the address's own key first, then a wallet at that address."""
    place, signature = receipt.signatures[position]
    where = f"signatures[{position}]"
    if place >= len(receipt.committee.signers):
        raise invalid("signatures", f"{where}.place", _NO_PLACE)
    domain = market_domain(receipt.deployment.chain_id, receipt.deployment.market)
    expected = receipt.committee.signers[place]
    if _recovered(receipt, domain, signature) == expected:
        return
    if accepts is None:
        raise _needs_node(f"{where}.signature")
    if not accepts(expected, receipt.settlement.digest(domain), signature):
        raise invalid("signatures", f"{where}.signature", "is not that custodian's")


def _needs_node(field: str) -> NeedsNode:
    return NeedsNode(
        message=f"{field} is not by the key of the custodian's address. Where that is a contract wallet, "
        "only a node can tell whether it signed (step signatures).",
        remedy="Verify the receipt against a node of its chain; until then, do not rely on it.",
        field=field,
        facts={"step": "signatures"},
    )


def _recovered(receipt: Receipt, domain: Domain, signature: bytes) -> str | None:
    try:
        return recover(receipt.settlement, domain, signature)
    except Refusal:
        return None


def _document(raw: bytes) -> dict[str, object]:
    try:
        require_shallow(raw)
        found = json.loads(raw)
    except (Refusal, ValueError):
        found = None
    if not isinstance(found, dict):
        raise invalid("opened", "result", "is no JSON object") from None
    return found


def _equal(step: str, field: str, found: object, expected: object, problem: str) -> None:
    if found != expected:
        raise invalid(step, field, problem)
