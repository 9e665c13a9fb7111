"""Following the chain: erasures destroy shares, moves rename holders, ended requests drop envelopes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import structlog

from marketplace.chain.adapter import (
    Chain,
    Event,
    ForgedLogs,
    PartialLogs,
    Record,
    RequestStage,
    UnknownBlock,
)
from marketplace.chain.moves import moves_of, way
from marketplace.custodian.journal import Journal
from marketplace.errors import Refusal

SWEEP_SECONDS = 3_600.0
"""Between two looks at every share: one call for 200 of them."""

log = structlog.get_logger()

_Patient = tuple[bytes, str]
"""Dataset and address."""


class Watch:
    """Takes in RecordErased and RecordMoved of final blocks, in order; repeating that changes nothing."""

    def __init__(self, chain: Chain, journal: Journal) -> None:
        self._chain = chain
        self._journal = journal
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def catch_up(self) -> None:
        """Up to the newest final block, so that nothing is answered before an erasure it should know.

        A destroyed share cannot come back, hence final blocks only; what is erased but not final is
        not turned either, because a turn reads the records of the head.

        Raises:
            WrongChain, WrongCode, ForgedLogs, PartialLogs, Reorganised, NodeUnreachable, ...: nothing was
                skipped; the next call goes on from where this was.
        """
        with self._lock:
            first = self._first()
            # Asked anew for each page: a node that named a block too high is not followed up to there.
            while first <= (final := self._chain.finalized()):
                last = min(final, first + self._chain.page_blocks - 1)
                self._take(first, last)
                first = last + 1

    def _first(self) -> int:
        """Where to go on: at the beginning, unless what was followed is the chain that the node shows now."""
        followed = self._journal.followed()
        if followed is not None and self._is_on_chain(*followed):
            return followed[0] + 1
        if followed is not None:
            log.warning("chain_read_again", followed=followed[0])
        return self._chain.manifest.deployed_block

    def _is_on_chain(self, block: int, block_hash: bytes | None) -> bool:
        try:
            return self._chain.block_hash(block) == block_hash
        except UnknownBlock:
            return False

    def _take(self, first: int, last: int) -> None:
        self._chain.manifest.check(self._chain.node)
        names = ["RecordErased", "RecordMoved"]
        with self._chain.pinned(last) as end:
            events = list(
                self._chain.events(first, last, contracts=["DatasetRegistry"], names=names)
            )
        self._require_left(events)
        erased = {_key(e): self._erased(_key(e), first) for e in events if e.name == "RecordErased"}
        destroyed = 0
        with self._journal.writing() as session:
            for event in events:
                if event.name == "RecordMoved":
                    self._journal.move(session, *_moved(event))
                    continue
                addresses, newest = erased[_key(event)]
                for address in addresses:
                    dataset = event.args["dataset"]
                    destroyed += self._journal.destroy(session, dataset, address, newest)
            self._journal.set_followed(session, last, end.hash)
        if destroyed:
            self._journal.wipe()

    def _require_left(self, events: Sequence[Event]) -> None:
        """No address that was left has a record again. A made-up move would hide a share from its erasure."""
        moves = [_moved(event) for event in events if event.name == "RecordMoved"]
        for dataset, before, _ in moves:
            if self._chain.record_of(dataset, before).is_there:
                raise ForgedLogs(
                    message="The node's logs have a record move away from where the registry still has it.",
                    remedy="Use another node; nothing was decided on these.",
                )

    def _erased(self, patient: _Patient, first: int) -> tuple[list[str], int]:
        """All addresses of a patient since block `first`, and the newest version that must go.

        A patient may have come back with a newer one since. Read from the head, since a pruning node no
        longer has the state of the event's block.
        """
        dataset, address = patient
        record, addresses = self._chain.record_of(dataset, address), [address]
        if not record.is_there:
            addresses = way(moves_of(self._chain, dataset, first), address)
            record = self._chain.record_of(dataset, addresses[-1])
        if not record.is_there:
            raise PartialLogs(
                message="The node does not give the move of a record that was erased.",
                remedy="Use a node that keeps the logs since the deployment.",
                facts={"event": "RecordMoved"},
            )
        return addresses, record.version if record.erased else record.version - 1

    def sweep(self) -> int:
        """Destroys every share whose record the registry itself has as erased. Returns how many.

        No node proves that it gave all events, and one that kept an erasure, or a move before it, to itself
        would have it passed over for ever. What the registry stores, as of a final block, makes up for that.

        Raises:
            WrongChain, WrongCode, ForgedLogs, NodeUnreachable, ...: what was destroyed until then stays so.
        """
        self._chain.manifest.check(self._chain.node)
        final, destroyed = self._chain.finalized(), 0
        for dataset, holders in self._journal.holders().items():
            for holder, record in self._unusable(dataset, holders, final).items():
                destroyed += self._destroy_erased(dataset, holder, record)
        if destroyed:
            self._journal.wipe()
        return destroyed

    def _unusable(self, dataset: bytes, holders: Sequence[str], final: int) -> dict[str, Record]:
        """Of these holders, each whose record is not in use, by today's address."""
        stored = self._chain.commitments_of(dataset, holders, final)
        unused = [each.patient for each in stored if not each.usable]
        found = {each: self._chain.record_of(dataset, each, final) for each in unused}
        gone = [holder for holder, record in found.items() if not record.is_there]
        after = self._rename(dataset, gone, final)
        return found | {each: self._chain.record_of(dataset, each, final) for each in after}

    def _rename(self, dataset: bytes, gone: Sequence[str], final: int) -> list[str]:
        """Makes up for moves that were passed over. Returns the new addresses.

        There is none of a record that was attested after the final block.
        """
        if not gone:
            return []
        went = moves_of(self._chain, dataset, self._chain.manifest.deployed_block, final)
        moved = {before: way(went, before)[-1] for before in gone if before in went}
        with self._journal.writing() as session:
            for before, after in moved.items():
                self._journal.move(session, dataset, before, after)
        return list(moved.values())

    def _destroy_erased(self, dataset: bytes, holder: str, record: Record) -> int:
        """Suspended or pending records stay: only an erasure is for ever."""
        if not record.erased:
            return 0
        with self._journal.writing() as session:
            return self._journal.destroy(session, dataset, holder, record.version)

    def drop_ended(self) -> None:
        """Forgets the envelopes of requests that ended, since shares erased later may be in them."""
        for request in self._journal.open_turns():
            view = self._chain.request(request)
            over = view.stage is not RequestStage.SEALED or self._chain.now() > view.settle_deadline
            if over and self._is_final(request):
                self._journal.drop_envelope(request)

    def _is_final(self, request: bytes) -> bool:
        view = self._chain.request(request, self._chain.finalized())
        return view.stage is not RequestStage.SEALED or self._chain.now() > view.settle_deadline

    def run(self, interval: float) -> threading.Thread:
        """Catches up at once and every `interval` seconds, in a thread, until `stop`; sweeps every hour.

        At once, and whatever else is wrong: a restored backup holds shares erased since.
        """
        thread = threading.Thread(target=self._loop, args=(interval,), daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Ends the thread once it has finished what it is at; does not wait for that."""
        self._stop.set()

    def _loop(self, interval: float) -> None:
        swept = float("-inf")
        while True:
            try:
                self.catch_up()
                self.drop_ended()
                if time.monotonic() - swept >= SWEEP_SECONDS:
                    self.sweep()
                    swept = time.monotonic()
            except Refusal as refusal:
                log.warning("chain_not_followed", code=refusal.code, message=str(refusal))
            except Exception as fault:  # nobody else follows erasures, whatever a node may say
                # Only its kind: an unknown exception's text may quote what was being handled.
                log.error("chain_not_followed", kind=type(fault).__name__)  # noqa: TRY400
            if self._stop.wait(interval):
                return


def _key(event: Event) -> _Patient:
    return event.args["dataset"], event.args["patient"]


def _moved(event: Event) -> tuple[bytes, str, str]:
    return event.args["dataset"], event.args["from"], event.args["to"]
