"""Whose records an answer of the homomorphic lane is of: the same for every custodian and every auditor.

The seal is the cut-off for consent. Records that were erased, suspended or replaced after it, and before the
custodians committed to their noise on chain, count as null all the same; what happens to a record later comes
too late for this answer. So everybody who reads the chain adds up the same records, whenever that is, and
every custodian has its sums before anybody's noise is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from marketplace.chain.core import ForgedLogs, PartialLogs
from marketplace.chain.moves import moves_of, way
from marketplace.chain.reads import Reads
from marketplace.chain.views import Cohort, Event, Stored
from marketplace.wire.solidity import ZERO_HASH

COMMITTED = "NoiseCommitted"
FIXED = "NoiseFixed"


@dataclass(frozen=True)
class CommittedNoise:
    """Everybody's hash of its noise for a request, by place, and the block that has them: at its end the
    records in use are those that count.
    """

    commitments: Mapping[int, bytes]
    block: int
    block_hash: bytes


def committed_noise(chain: Reads, request: bytes, sealed_in: int) -> CommittedNoise | None:
    """The commitments of a request as the chain has them, for ever; None before that.

    Raises:
        PartialLogs, ForgedLogs; NodeUnreachable, NodeFault.
    """
    commitments = chain.noise_commitments(request)
    if not commitments:
        return None
    event = _event(chain, request, sealed_in, COMMITTED)
    bitmap = sum(1 << place for place in commitments)
    listed = [bytes(each) for each in event.args["commitments"]]
    if (event.args["places"], listed) != (bitmap, list(commitments.values())):
        raise _forged(COMMITTED)
    return CommittedNoise(commitments, event.block, event.block_hash)


@dataclass(frozen=True)
class FixedNoise:
    """Whose noise counts for a request, and the block that fixed it."""

    places: tuple[int, ...]
    noise: bytes
    block: int
    block_hash: bytes


def fixed_noise(chain: Reads, request: bytes, sealed_in: int) -> FixedNoise | None:
    """The noise of a request as the chain fixed it, for ever; None before that.

    Raises:
        PartialLogs, ForgedLogs; NodeUnreachable, NodeFault.
    """
    places, noise = chain.noise_set(request)
    if not places:
        return None
    event = _event(chain, request, sealed_in, FIXED)
    bitmap = sum(1 << place for place in places)
    if (event.args["places"], event.args["noise"]) != (bitmap, noise):
        raise _forged(FIXED)
    return FixedNoise(places, noise, event.block, event.block_hash)


def _event(chain: Reads, request: bytes, sealed_in: int, name: str) -> Event:
    found = chain.events(sealed_in, contracts=["NoiseRegistry"], names=[name], topics=[request])
    event = next(found, None)
    if event is None:
        raise PartialLogs(
            message=f"The node does not give this request's {name} event, and stores what it tells of.",
            remedy="Use a node that keeps the logs since the deployment.",
            facts={"event": name},
        )
    return event


def _forged(name: str) -> ForgedLogs:
    return ForgedLogs(
        message=f"This request's {name} event contradicts what the chain stores.",
        remedy="Use another node; nothing was decided on this one.",
        facts={"event": name},
    )


def counted(chain: Reads, cohort: Cohort, block: int) -> tuple[Stored, ...]:
    """The records of a sealed cohort that an answer is of, in cohort order: as they were at the seal, without
    what was not usable then, or is not the very record in use at the end of `block`.

    Raises:
        PartialLogs: moves that do not lead to where the registry has a record.
        ForgedLogs, Reorganised; NodeUnreachable, NodeFault.
    """
    at_seal = chain.commitments_of(cohort.dataset, cohort.patients, cohort.seal_block)
    went = moves_of(chain, cohort.dataset, cohort.seal_block + 1, block)
    addresses = [way(went, each.patient)[-1] for each in at_seal]
    then = chain.commitments_of(cohort.dataset, addresses, block)
    pairs = zip(at_seal, then, strict=True)
    gone = [after.patient for before, after in pairs if before.usable and not after.usable]
    _require_there(chain, cohort.dataset, gone, block)
    return tuple(
        replace(before, commitment=ZERO_HASH) if _is_lost(before, after) else before
        for before, after in zip(at_seal, then, strict=True)
    )


def _is_lost(before: Stored, after: Stored) -> bool:
    """Also where another version took its place: what was erased in between would seem to have stayed."""
    return before.usable and after.commitment != before.commitment


def _require_there(chain: Reads, dataset: bytes, patients: Sequence[str], block: int) -> None:
    """Erased or suspended, and not only gone to an address that the node's logs do not tell of."""
    if patients and not all(chain.has_records(dataset, patients, block)):
        raise PartialLogs(
            message="The node's logs do not lead to where the registry has a record.",
            remedy="Use a node that keeps the logs since the deployment.",
            facts={"event": "RecordMoved"},
        )
