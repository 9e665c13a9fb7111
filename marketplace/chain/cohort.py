"""Who was sealed: derived from the chain's own events, and proved against the root in its storage.

Nothing here believes a log. The bitmaps of `ShardSealed` are hashed to the root that the market
stores; logs that are missing, doubled or altered cannot lead to it. The patients of a shard are
read as of the block of that shard's own seal: from the next on, its places may change hands. Nothing else
is read of an old state, and `Chain` replays that from the logs where the node has pruned it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from marketplace.chain.core import ForgedLogs, PartialLogs
from marketplace.chain.finality import reorganised
from marketplace.chain.reads import Reads
from marketplace.chain.rpc import Header
from marketplace.chain.views import Cohort, Event, Member, RequestView, ShardRef
from marketplace.errors import Refusal
from marketplace.vocabulary import Address, CohortRoot, Epoch, PatientAddress, RequestId
from marketplace.wire import roots
from marketplace.wire.solidity import ZERO_ADDRESS
from marketplace.wire.terms import class_id


class NotSealed(Refusal):
    """A request that has no cohort (yet)."""

    CODE = "not_sealed"


@dataclass(frozen=True)
class ShardLog:
    """One shard of a sealed request, and the block that sealed it."""

    ref: ShardRef
    sealed: roots.SealedShard
    block: int
    block_hash: bytes


def sealed_cohort(chain: Reads, request: bytes) -> Cohort:
    """The cohort of a sealed request, in cohort order.

    Raises:
        NotSealed: no seal yet, or none ever.
        PartialLogs, ForgedLogs: events that do not lead to the stored root.
        Reorganised: a block was replaced while it was read.
    """
    view = chain.request(request)
    require_sealed(request, view)
    with chain.pinned(view.seal_block) as seal:
        if (
            chain.request(request) != view
        ):  # `view` may be of a block that was replaced before the pin
            raise reorganised(seal.number)
        shards = _shard_logs(chain, request, view, seal)
        members = _members(chain, request, view, shards)
    return Cohort(
        request=RequestId(request),
        root=CohortRoot(view.root),
        epoch=Epoch(view.epoch),
        dataset=view.dataset,
        members=members,
        seal_block=seal.number,
        seal_block_hash=seal.hash,
    )


def require_sealed(request: bytes, view: RequestView) -> None:
    """Raises NotSealed where there is no cohort: to be asked before one is looked for."""
    if not view.was_sealed:
        raise NotSealed(
            message=f"The request is {view.stage.name.lower()} and has no cohort.",
            remedy="Wait until the operator has sealed it, and the seal is final.",
            facts={"request": "0x" + request.hex(), "stage": view.stage.name.lower()},
        )


def require_same_seal(view: RequestView, cohort: Cohort) -> None:
    """A request read after its cohort is of the same seal: whoever acts on both acts on one.

    Raises:
        Reorganised.
    """
    read = (view.root, view.epoch, view.dataset, view.members, view.seal_block)
    known = (cohort.root, cohort.epoch, cohort.dataset, len(cohort.members), cohort.seal_block)
    if read != known:
        raise reorganised(cohort.seal_block)


def sealed_shards(chain: Reads, request: bytes) -> tuple[roots.SealedShard, ...]:
    """The bitmaps of a sealed request, verified, in order: what inclusion proofs are made of.

    Raises:
        As `sealed_cohort`.
    """
    view = chain.request(request)
    require_sealed(request, view)
    with chain.pinned(view.seal_block) as seal:
        return tuple(log.sealed for log in _shard_logs(chain, request, view, seal))


def _shard_logs(chain: Reads, request: bytes, view: RequestView, seal: Header) -> list[ShardLog]:
    """Every shard's event, in the request's order, hashing to the stored root."""
    refs = chain.request_shards(request)
    found = _find_logs(chain, request, seal, len(refs))
    shards = []
    for ref in refs:
        owner = class_id(view.dataset, ref.class_)
        event = found.get((owner, ref.shard))
        if event is None:
            raise PartialLogs(
                message="The node does not give every seal event of this request.",
                remedy="Use a node that keeps the logs since the deployment.",
                facts={"request": "0x" + request.hex(), "shards": len(refs), "found": len(found)},
            )
        sealed = roots.SealedShard(owner, ref.shard, event.args["bitmaps"])
        shards.append(ShardLog(ref, sealed, event.block, event.block_hash))
    _require_root(chain, request, view, shards)
    return shards


def _find_logs(
    chain: Reads, request: bytes, seal: Header, wanted: int
) -> dict[tuple[bytes, int], Event]:
    """Looks back from the seal until all are found, or the deployment is reached."""
    found: dict[tuple[bytes, int], Event] = {}
    pages = chain.events_backwards(
        chain.manifest.deployed_block, seal.number, "ConsentRegistry", "ShardSealed", [request]
    )
    for event in pages:
        key = (event.args["class"], event.args["shard"])
        if event.args["request"] != request or key in found:
            raise _forged(request)
        found[key] = event
        if len(found) == wanted:
            break
    return found


def _require_root(
    chain: Reads, request: bytes, view: RequestView, shards: Sequence[ShardLog]
) -> None:
    try:
        shard_roots = [shard.sealed.root() for shard in shards]
    except roots.RootMismatch as fault:
        raise _forged(request) from fault
    root = roots.cohort_root(chain.chain_id, chain.market, request, shard_roots)
    if root != view.root or sum(shard.sealed.members for shard in shards) != view.members:
        raise _forged(request)


def _members(
    chain: Reads, request: bytes, view: RequestView, shards: Sequence[ShardLog]
) -> tuple[Member, ...]:
    members: list[Member] = []
    with ExitStack() as pins:
        for shard in shards:
            if pins.enter_context(chain.pinned(shard.block)).hash != shard.block_hash:
                raise reorganised(shard.block)
            places = list(roots.places_of(shard.sealed.bitmaps))
            patients = chain.patients_at(
                shard.sealed.class_id, shard.ref.shard, places, shard.block
            )
            members += [
                Member(shard.ref, place, PatientAddress(Address(patient)))
                for place, patient in zip(places, patients, strict=True)
            ]
    everyone = {member.patient for member in members}
    if ZERO_ADDRESS in everyone or len(everyone) != view.members:
        raise _forged(request)
    return tuple(members)


def _forged(request: bytes) -> ForgedLogs:
    return ForgedLogs(
        message="The seal events that the node gives do not lead to the root on chain.",
        remedy="Use another node; no key is turned on this one.",
        facts={"request": "0x" + request.hex()},
    )
