"""Following the chain: erasures destroy shares, moves rename holders, ended requests drop envelopes."""

from __future__ import annotations

import threading
import time

import structlog

from marketplace.chain.adapter import Chain, Event, RequestStage
from marketplace.custodian.journal import NEWEST_VERSION, Journal
from marketplace.errors import Refusal

SWEEP_SECONDS = 3_600.0
"""Between two looks at every share: one call for 200 of them."""

log = structlog.get_logger()


class Watch:
    """Takes in RecordErased and RecordMoved of final blocks, in order, exactly once."""

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
            NodeUnreachable, ...: nothing was skipped; the next call goes on from where this was.
        """
        with self._lock:
            followed = self._journal.followed()
            first = self._chain.manifest.deployed_block if followed is None else followed + 1
            final = self._chain.finalized()
            if final >= first:
                self._take(first, final)

    def _take(self, first: int, last: int) -> None:
        names = ["RecordErased", "RecordMoved"]
        events = list(self._chain.events(first, last, contracts=["DatasetRegistry"], names=names))
        erased = {self._key(e): self._newest_erased(e) for e in events if e.name == "RecordErased"}
        destroyed = 0
        with self._journal.writing() as session:
            for event in events:
                if event.name == "RecordMoved":
                    self._journal.move(session, *_moved(event))
                else:
                    key = self._key(event)
                    destroyed += self._journal.destroy(session, *key, erased[key])
            self._journal.set_followed(session, last)
        if destroyed:
            self._journal.wipe()

    def _newest_erased(self, event: Event) -> int:
        """The newest version that must go: a patient may have come back with a newer one since.

        Read from the head, since a pruning node no longer has the state of the event's block.
        """
        record = self._chain.record_of(*self._key(event))
        if record.version == 0:  # moved to another address since, as a newer version is too
            return NEWEST_VERSION
        return record.version if record.erased else record.version - 1

    def sweep(self) -> int:
        """Destroys every share whose record the registry itself has as erased. Returns how many.

        No node proves that it gave all events, and one that kept an erasure to itself would have it
        passed over for ever. What the registry stores, as of a final block, makes up for that.

        Raises:
            NodeUnreachable, ...: what was destroyed until then stays destroyed.
        """
        final, destroyed = self._chain.finalized(), 0
        for dataset, holders in self._journal.holders().items():
            for stored in self._chain.commitments_of(dataset, holders, final):
                if not stored.usable:
                    destroyed += self._destroy_erased(dataset, stored.patient, final)
        if destroyed:
            self._journal.wipe()
        return destroyed

    def _destroy_erased(self, dataset: bytes, holder: str, final: int) -> int:
        """Suspended or pending records stay: only an erasure is for ever."""
        record = self._chain.record_of(dataset, holder, final)
        if not record.erased:
            return 0
        with self._journal.writing() as session:
            return self._journal.destroy(session, dataset, holder, record.version)

    @staticmethod
    def _key(event: Event) -> tuple[bytes, str]:
        return event.args["dataset"], event.args["patient"]

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
                log.warning("chain_not_followed", code=refusal.code)
            if self._stop.wait(interval):
                return


def _moved(event: Event) -> tuple[bytes, str, str]:
    return event.args["dataset"], event.args["from"], event.args["to"]
