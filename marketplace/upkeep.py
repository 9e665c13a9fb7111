"""Between requests: whoever rested while a cohort was counted is woken, and a record that cannot be used
any more leaves the cohorts.

The chain says where there is something to do. A shard can hold resting consents only since somebody froze
it, so the freezes are followed; a record stops being usable by an erasure, which ends the consent itself, or
by its steward's suspension, after which it takes somebody to expel the consent. Both are open to anyone and
may be repeated. Nothing is kept but what was read: a restarted operator reads it again, and so does one
whose node shows another chain than the one it followed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import structlog

from marketplace import consent
from marketplace.chain.adapter import Chain, ConsentState, ContractRefusal, Event, ShardRef
from marketplace.chain.following import Followed, Following
from marketplace.chain.sender import Sender
from marketplace.wire.terms import dataset_of, index_of

log = structlog.get_logger()

CONTRACTS: Final = ("ConsentRegistry", "DatasetRegistry")
FOLLOWED: Final = ("ShardFrozen", "RecordSuspended", "RecordMoved")
COUNTED: Final = (ConsentState.LIVE, ConsentState.RESTING)
"""What a cohort counts, or may count again without its patient: a wake by hand asks for the record."""


@dataclass
class Upkeep:
    """What one operator does for the consents of its market. Safe for threads."""

    chain: Chain
    sender: Sender
    _followed: Followed | None = None
    _frozen: set[tuple[bytes, int]] = field(default_factory=set)  # (class, shard)
    _suspended: set[tuple[bytes, str]] = field(default_factory=set)  # (dataset, patient)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tend(self, dataset: bytes | None = None) -> None:
        """Expels, then wakes, in one dataset or in all: nobody comes back only to be expelled.

        What the contracts refuse now (a pause, a freeze that still runs) is tried again the next time.

        Raises:
            NodeUnreachable, NodeFault, ...: what is not a contract's refusal.
        """
        with self._lock:
            self._follow()
            self._expel([each for each in sorted(self._suspended) if dataset in (None, each[0])])
            for shard in sorted(self._frozen):
                if dataset in (None, dataset_of(shard[0])):
                    self._wake(*shard)

    def _follow(self) -> None:
        """Takes in what happened in final blocks once, and what is not final yet each time anew."""
        for page in Following(self.chain, CONTRACTS, FOLLOWED).pages(self._followed):
            if page.anew:
                self._forget()
            for event in page.events:
                self._take(event)
            self._followed = page.end
        for event in self._newer():
            self._take(event)

    def _newer(self) -> Iterator[Event]:
        """No further than a page, whatever height a node says it is at: the rest waits until it is final."""
        deployed = self.chain.manifest.deployed_block
        first = deployed if self._followed is None else self._followed.block + 1
        last = min(self.chain.head().number, first + self.chain.page_blocks - 1)
        return self.chain.events(first, last, contracts=CONTRACTS, names=FOLLOWED)

    def _forget(self) -> None:
        self._frozen.clear()
        self._suspended.clear()

    def _take(self, event: Event) -> None:
        args = event.args
        if event.name == "ShardFrozen":
            self._frozen.add((args["class"], args["shard"]))
        elif event.name == "RecordSuspended":
            self._suspended.add((args["dataset"], args["patient"]))
        elif (args["dataset"], args["from"]) in self._suspended:
            self._suspended.add((args["dataset"], args["to"]))

    def _expel(self, suspended: list[tuple[bytes, str]]) -> None:
        due = [each for each in suspended if self.chain.consent_of(*each).state in COUNTED]
        if due:
            outcome = self.sender.batch("ConsentRegistry", [("expel", each) for each in due])
            for refusal in outcome.refused.values():  # usable again meanwhile
                log.info("expulsion_waits", code=refusal.code)
        final = self.chain.finalized()
        self._suspended -= {each for each in suspended if self._is_done(*each, final)}

    def _is_done(self, dataset: bytes, patient: str, final: int) -> bool:
        """Whether no cohort can count it any more, for good; or may again, by a new version of the record."""
        usable = self.chain.commitments_of(dataset, [patient], final)[0].usable
        return usable or self.chain.consent_of(dataset, patient, final).state not in COUNTED

    def _wake(self, class_: bytes, shard: int) -> None:
        """Until nobody waits there in a final block after the freeze: then nobody can before the next."""
        if (
            self.chain.shard(class_, shard).frozen_until <= self.chain.now()
        ):  # over by the next block
            self._try_waking(class_, shard)
        final = self.chain.finalized()
        thawed = self.chain.shard(class_, shard, final).frozen_until < self._time_of(final)
        if thawed and not consent.waiting_words(self.chain, class_, shard, final):
            self._frozen.discard((class_, shard))

    def _try_waking(self, class_: bytes, shard: int) -> None:
        refs = [ShardRef(index_of(class_), shard)]
        try:
            consent.wake(self.chain, self.sender, dataset_of(class_), refs)
        except ContractRefusal as refusal:
            log.info("wake_waits", code=refusal.code)

    def _time_of(self, block: int) -> int:
        return self.chain.node.header(block).timestamp
