"""`Chain`: the one door to the deployed contracts. Nothing else of ours reads them.

chain = Chain(url, Manifest.load(path), max_head_age=120, finality=Finality(use_tag=True))
chain.require_healthy()
cohort = chain.sealed_cohort(request)
chain.require_final(cohort.seal_block)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from marketplace.chain import cohort, history
from marketplace.chain.cohort import NotSealed
from marketplace.chain.core import ForgedLogs, PartialLogs
from marketplace.chain.faults import NodeFault, NodeUnreachable
from marketplace.chain.finality import Finality, NotYetFinal, Reorganised
from marketplace.chain.health import StaleHead
from marketplace.chain.manifest import Manifest, WrongChain, WrongCode
from marketplace.chain.reads import Reads
from marketplace.chain.reverts import ContractRefusal
from marketplace.chain.rpc import BlockName, Header, UnknownBlock
from marketplace.chain.views import (
    Cohort,
    CommitteeMember,
    CommitteeView,
    ConsentState,
    ConsentView,
    DatasetView,
    Event,
    Liabilities,
    MarketPolicy,
    Member,
    Record,
    RequestStage,
    RequestView,
    ShardRef,
    ShardView,
    Stored,
)
from marketplace.wire.roots import SealedShard

__all__ = [
    "Chain",
    "Cohort",
    "CommitteeMember",
    "CommitteeView",
    "ConsentState",
    "ConsentView",
    "ContractRefusal",
    "DatasetView",
    "Event",
    "Finality",
    "ForgedLogs",
    "Header",
    "Liabilities",
    "Manifest",
    "MarketPolicy",
    "Member",
    "NodeFault",
    "NodeUnreachable",
    "NotSealed",
    "NotYetFinal",
    "PartialLogs",
    "Record",
    "Reorganised",
    "RequestStage",
    "RequestView",
    "ShardRef",
    "ShardView",
    "StaleHead",
    "Stored",
    "UnknownBlock",
    "WrongChain",
    "WrongCode",
]


T = TypeVar("T")


class Chain(Reads):
    """Typed, checked reads of one deployment through one node; arguments as in `ChainCore`.

    Seats and records of an old block are read from the node's state of then; where it has pruned that,
    they are replayed from its logs (`history`), so that a seal of any age is served.
    """

    def patients_at(
        self, class_id: bytes, shard: int, places: Sequence[int], block: BlockName = "latest"
    ) -> tuple[str, ...]:
        """As in `ConsentReads`. Raises also PartialLogs, ForgedLogs, Reorganised."""
        return self._as_of(
            block,
            lambda: Reads.patients_at(self, class_id, shard, places, block),
            lambda number: history.patients_at(self, class_id, shard, places, number),
        )

    def commitments_of(
        self, dataset: bytes, patients: Sequence[str], block: BlockName = "latest"
    ) -> tuple[Stored, ...]:
        """As in `DatasetReads`. Raises also PartialLogs, ForgedLogs, Reorganised."""
        return self._as_of(
            block,
            lambda: Reads.commitments_of(self, dataset, patients, block),
            lambda number: history.commitments_of(self, dataset, patients, number),
        )

    def has_records(
        self, dataset: bytes, patients: Sequence[str], block: BlockName = "latest"
    ) -> tuple[bool, ...]:
        """As in `DatasetReads`. Raises also PartialLogs, ForgedLogs, Reorganised."""
        return self._as_of(
            block,
            lambda: Reads.has_records(self, dataset, patients, block),
            lambda number: history.has_records(self, dataset, patients, number),
        )

    def _as_of(self, block: BlockName, read: Callable[[], T], replay: Callable[[int], T]) -> T:
        try:
            return read()
        except (NodeFault, UnknownBlock):
            # Nodes have no common word for a pruned state. A block that is not there has none either.
            if not isinstance(block, int) or block > self.head().number:
                raise
            return replay(block)

    def sealed_cohort(self, request: bytes) -> Cohort:
        """The cohort of a sealed request, in cohort order, proved against the root on chain.

        Raises:
            NotSealed, PartialLogs, ForgedLogs, Reorganised; NodeUnreachable, NodeFault.
        """
        return cohort.sealed_cohort(self, request)

    def sealed_shards(self, request: bytes) -> tuple[SealedShard, ...]:
        """The bitmaps behind that root: what `wire.roots.prove_inclusion` takes."""
        return cohort.sealed_shards(self, request)
