"""Erased records leave the operator too: ciphertext, tally and what its database says of them.

Custodians destroy their shares as soon as an erasure is final, so that the ciphertext opens no more. It is
deleted here once nothing can ask for it again: a request that was frozen before the erasure may still count
the record (its gate asks for every ciphertext that the seal found in use, and one that the patient replaced
by a newer version would look withheld), so those requests end first, at the latest by their settle deadlines.

Nothing is kept but what was read: a restarted operator reads every erasure again, and deletes again what a
restored backup brought back. So does one whose node shows another chain than it followed.

A ciphertext that is gone does not come back, and logs are a node's word: the moves that it tells of are held
against the registry, and the records that it says were attested against the operator's own rows.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import structlog

from marketplace.chain.adapter import (
    Chain,
    Event,
    ForgedLogs,
    PartialLogs,
    Record,
    RequestStage,
    RequestView,
)
from marketplace.chain.following import Followed, Following
from marketplace.chain.moves import arrived, require_left, way
from marketplace.chain.reads import pages_of
from marketplace.records import RecordStore
from marketplace.store import ERASED, RecordRow

log = structlog.get_logger()

CONTRACTS: Final = ("DatasetRegistry", "ResearchMarket")
FOLLOWED: Final = ("RecordErased", "RecordMoved", "RequestFrozen")


class _Erased(NamedTuple):
    """When a record was erased (block and place in it), and whose it is, as the registry has it."""

    at: tuple[int, int]
    person: bytes


@dataclass
class Erasures:
    """The erasures of one market, as one operator follows them. Safe for threads."""

    chain: Chain
    records: RecordStore
    _followed: Followed | None = None
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
            NodeUnreachable, ForgedLogs, PartialLogs, ...; Refusal (storage_unavailable, storage_full): what
                was not deleted is tried again the next time.
        """
        with self._lock:
            self._follow()
            if self._followed is not None and self._waiting:
                self._delete(self._followed.block)
            self.records.sweep()

    def is_gone(self, dataset: bytes, patient: str) -> tuple[bool, bool]:
        """Whether the registry has nothing left of a patient's record: now, and in final blocks.

        Raises:
            NodeUnreachable, ...
        """
        now = self.chain.record_of(dataset, patient)
        final = self.chain.record_of(dataset, patient, self.chain.finalized())
        is_now, is_final = (not any(each.commitment + each.pending) for each in (now, final))
        return is_now, is_now and is_final

    def kept(self, commitment: bytes) -> tuple[RecordRow, bytes] | None:
        """Row and ciphertext of a record; None where it was erased, or never came here."""
        return self.records.kept(commitment)

    def is_deleted(self, commitment: bytes) -> bool:
        """Whether this operator has nothing to open of a record, or never had."""
        return not self.records.holds_any(commitment)

    def _follow(self) -> None:
        for page in Following(self.chain, CONTRACTS, FOLLOWED).pages(self._followed):
            if page.anew:
                self._forget()
            for event in page.events:
                self._take(event)
            self._followed = page.end

    def _forget(self) -> None:
        """Everything is read again: what a node said that lied must not outlive its lie."""
        self._followed = None
        for kept in (self._waiting, self._went, self._came, self._frozen):
            kept.clear()

    def _delete(self, final: int) -> None:
        due, fault = self._due(final), None
        for dataset in {each.args["dataset"] for each in due}:
            mine = [each for each in due if each.args["dataset"] == dataset]
            try:
                self._carry_out(dataset, mine, final)
            except (
                ForgedLogs,
                PartialLogs,
            ) as found:  # of one dataset; the others are not kept waiting
                fault = found
        if fault is not None:
            self._forget()
            raise fault
        self._waiting = [each for each in self._waiting if each not in due]

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

    def _carry_out(self, dataset: bytes, erasures: Sequence[Event], final: int) -> None:
        """Deletes every version that was attested before its erasure, under whatever address."""
        erased, used = dict[str, _Erased](), set[bytes]()
        for each in erasures:
            addresses, record = self._erased(dataset, each.args["patient"], final)
            # The latest erasure of an address comes last.
            erased |= dict.fromkeys(addresses, _Erased(_position(each), record.person))
            # Not deleted, whatever the node's logs say.
            used |= {record.commitment, record.pending}
        attested = self._attested(dataset, list(erased), erasures[-1].block)
        unused = (each for each in attested if each.args["commitment"] not in used)
        gone = sum(self._erase(each, erased[each.args["patient"]]) for each in unused)
        if gone:
            log.info("ciphertexts_erased", dataset="0x" + dataset.hex(), number=gone)

    def _erased(self, dataset: bytes, patient: str, final: int) -> tuple[list[str], Record]:
        """The address that a record had when it was erased and those left before; and what it is now.

        Raises:
            ForgedLogs, PartialLogs: moves that the registry knows nothing of, or that were withheld.
        """
        before, since = way(self._came[dataset], patient), way(self._went[dataset], patient)
        require_left(self.chain, dataset, before[1:])
        return before, arrived(self.chain, dataset, since, final)

    def _erase(self, attested: Event, erased: _Erased) -> bool:
        commitment = attested.args["commitment"]
        if _position(attested) >= erased.at or not self._is_of(commitment, erased.person):
            return False
        return self.records.erase(commitment, f"erased on chain in block {erased.at[0]}")

    def _is_of(self, commitment: bytes, person: bytes) -> bool:
        """Unless it is another person's, by the attestation that it came here with."""
        name = "0x" + commitment.hex()
        row = self.records.database.records([name]).get(name)
        if row is None or row.state == ERASED:
            return True  # nobody asks for what is left of it
        if row.attestation.get("person") == "0x" + person.hex():
            return True
        log.warning("erasure_of_another_person", commitment=name)
        return False

    def _attested(self, dataset: bytes, addresses: Sequence[str], last: int) -> Iterator[Event]:
        for page in pages_of(addresses):
            yield from self.chain.events(
                self.chain.manifest.deployed_block,
                last,
                contracts=["DatasetRegistry"],
                names=["RecordAttested"],
                topics=[dataset, [bytes.fromhex(each[2:]).rjust(32, b"\0") for each in page]],
            )


def _goes_on_until(view: RequestView) -> int:
    """The last second in which somebody may need the cohort's ciphertexts."""
    if view.stage is RequestStage.FROZEN:
        return view.frozen_until  # seals no more afterwards
    if view.stage is RequestStage.SEALED:
        return view.settle_deadline  # no key turns and no gate opens afterwards
    return -1  # it has ended


def _position(event: Event) -> tuple[int, int]:
    return event.block, event.log_index
