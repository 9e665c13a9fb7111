"""Erased records leave the operator too: ciphertext and what its database says of it.

Custodians destroy their shares as soon as an erasure is final, so that the ciphertext opens no more. It is
deleted here once nothing can ask for it again: a request that was frozen before the erasure may still count
the record (its gate asks for every ciphertext that the seal found in use, and one that the patient replaced
by a newer version would look withheld), so those requests end first, at the latest by their settle deadlines.

Nothing is kept but what was read: a restarted operator reads every erasure again, and deletes again what a
restored backup brought back.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from marketplace.chain.adapter import Chain, Event, ForgedLogs, RequestStage, RequestView
from marketplace.chain.moves import way
from marketplace.chain.reads import pages_of
from marketplace.records import RecordStore

log = structlog.get_logger()

CONTRACTS: Final = ("DatasetRegistry", "ResearchMarket")
FOLLOWED: Final = ("RecordErased", "RecordMoved", "RequestFrozen")


@dataclass
class Erasures:
    """The erasures of one market, as one operator follows them. Safe for threads."""

    chain: Chain
    records: RecordStore
    _followed: int = -1
    _waiting: list[Event] = field(default_factory=list)  # RecordErased, not carried out yet
    # By dataset, from an address to the next; and back.
    _went: defaultdict[bytes, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    _came: defaultdict[bytes, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    _frozen: dict[bytes, int] = field(
        default_factory=dict
    )  # requests that may go on, and since when
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def catch_up(self) -> None:
        """Deletes what was erased in final blocks, where no request that was frozen before it goes on.

        Raises:
            NodeUnreachable, ForgedLogs, ...; Refusal (storage_unavailable, storage_full): what was not
                deleted is tried again the next time.
        """
        with self._lock:
            final = self.chain.finalized()
            self._follow(final)
            due = self._due(final) if self._waiting else []
            for dataset in {each.args["dataset"] for each in due}:
                self._carry_out(dataset, [each for each in due if each.args["dataset"] == dataset])
            self._waiting = [each for each in self._waiting if each not in due]

    def _forget(self) -> None:
        """Everything is read again: what a node said that lied must not outlive its lie."""
        self._followed = -1
        for kept in (self._waiting, self._went, self._came, self._frozen):
            kept.clear()

    def _follow(self, final: int) -> None:
        first = max(self._followed + 1, self.chain.manifest.deployed_block)
        events = self.chain.events(first, final, contracts=CONTRACTS, names=FOLLOWED)
        for event in list(
            events
        ):  # all, or none: a page that fails is read again with those before
            self._take(event)
        self._followed = max(self._followed, final)

    def _take(self, event: Event) -> None:
        args = event.args
        if event.name == "RequestFrozen":
            self._frozen[args["request"]] = event.block
        elif event.name == "RecordErased":
            self._waiting.append(event)
        else:
            self._went[args["dataset"]][args["from"]] = args["to"]
            self._came[args["dataset"]][args["to"]] = args["from"]

    def _due(self, final: int) -> list[Event]:
        """The erasures that nothing has to wait for any more."""
        going_on = self._going_on(final)
        return [
            each
            for each in self._waiting
            if going_on.get(each.args["dataset"], each.block + 1) > each.block
        ]

    def _going_on(self, final: int) -> dict[bytes, int]:
        """By dataset, the block of the oldest freeze whose request may still ask for ciphertexts.

        Of every operator's requests: a folder may be shared. Those that ended are not asked about again.
        """
        now, oldest = self.chain.node.header(final).timestamp, dict[bytes, int]()
        for request, block in list(self._frozen.items()):
            view = self.chain.request(request, final)
            if now > _goes_on_until(view):
                del self._frozen[request]
            else:
                oldest[view.dataset] = min(block, oldest.get(view.dataset, block))
        return oldest

    def _carry_out(self, dataset: bytes, erasures: Sequence[Event]) -> None:
        """Deletes every version that was attested before its erasure, under whatever address."""
        erased_at = {
            address: _position(each)  # the latest erasure of an address comes last
            for each in erasures
            # The one it had then, and those left before.
            for address in self._way(self._came[dataset], each.args["patient"])
        }
        used = self._in_use(dataset, erasures)
        gone = 0
        for attested in self._attested(dataset, list(erased_at), erasures[-1].block):
            commitment, at = attested.args["commitment"], erased_at[attested.args["patient"]]
            if _position(attested) < at and commitment not in used:
                gone += self.records.erase(commitment, f"erased on chain in block {at[0]}")
        if gone:
            log.info("ciphertexts_erased", dataset="0x" + dataset.hex(), number=gone)

    def _attested(self, dataset: bytes, addresses: Sequence[str], last: int) -> Iterator[Event]:
        for page in pages_of(addresses):
            yield from self.chain.events(
                self.chain.manifest.deployed_block,
                last,
                contracts=["DatasetRegistry"],
                names=["RecordAttested"],
                topics=[dataset, [bytes.fromhex(each[2:]).rjust(32, b"\0") for each in page]],
            )

    def _in_use(self, dataset: bytes, erasures: Sequence[Event]) -> set[bytes]:
        """What these patients' records are in the contract now: not deleted, whatever the node's logs say."""
        went = self._went[dataset]
        patients = {self._way(went, each.args["patient"])[-1] for each in erasures}
        records = [self.chain.record_of(dataset, patient) for patient in sorted(patients)]
        return {each for record in records for each in (record.commitment, record.pending)}

    def _way(self, moves: Mapping[str, str], patient: str) -> list[str]:
        try:
            return way(moves, patient)
        except ForgedLogs:
            self._forget()
            raise


def _goes_on_until(view: RequestView) -> int:
    """The last second in which somebody may need the cohort's ciphertexts."""
    if view.stage is RequestStage.FROZEN:
        return view.frozen_until  # seals no more afterwards
    if view.stage is RequestStage.SEALED:
        return view.settle_deadline  # no key turns and no gate opens afterwards
    return -1  # it has ended


def _position(event: Event) -> tuple[int, int]:
    return event.block, event.log_index
