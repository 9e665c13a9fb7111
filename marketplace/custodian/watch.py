"""Following the chain: erasures destroy shares, moves rename holders, ended requests drop envelopes."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from marketplace.chain.adapter import (
    Chain,
    Event,
    Record,
    RequestStage,
)
from marketplace.chain.following import Followed, Following, Page
from marketplace.chain.moves import arrived, moves_of, require_left, way
from marketplace.custodian.decrypting import Decrypting
from marketplace.custodian.journal import Journal
from marketplace.custodian.keygen import Keygen
from marketplace.custodian.tallies import Tallies
from marketplace.errors import Refusal

CONTRACTS: Final = ("DatasetRegistry",)
FOLLOWED: Final = ("RecordErased", "RecordMoved")
SWEEP_SECONDS = 3_600.0
"""Between two looks at every share: one call for 200 of them."""
REST_SECONDS = 30.0
"""After a wipe that did not succeed: it rewrites a whole file, on a disk that may be nearly full."""
SPREAD_SECONDS: Final = 2.0
"""Of each round, at most, in which columns are laid out for sums: erasures do not wait for more."""

log = structlog.get_logger()

_Patient = tuple[bytes, str]
"""Dataset and address."""


class Watch:
    """Takes in RecordErased and RecordMoved of final blocks, in order; repeating that changes nothing."""

    def __init__(
        self,
        chain: Chain,
        journal: Journal,
        tallies: Tallies,
        decrypting: Decrypting,
        keygen: Keygen,
    ) -> None:
        self._chain = chain
        self._journal = journal
        self._tallies = tallies
        self._decrypting = decrypting
        self._keygen = keygen
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._has_remains = True
        """On the disk, of what was destroyed. At first the journal knows: a crash may have left some."""
        self._wipe_at = float("-inf")  # time.monotonic()

    def catch_up(self) -> None:
        """Up to the newest final block, so that nothing is answered before an erasure it should know.

        A destroyed share cannot come back, hence final blocks only; what is erased but not final is
        not turned either, because a turn reads the records of the head.

        Raises:
            WrongChain, WrongCode, ForgedLogs, PartialLogs, Reorganised, NodeUnreachable, ...: nothing was
                skipped; the next call goes on from where this was.
        """
        with self._lock:
            known = self._journal.followed()
            followed = None if known is None else Followed(*known)
            for page in Following(self._chain, CONTRACTS, FOLLOWED).pages(followed):
                self._take(page)

    def _take(self, page: Page) -> None:
        self._require_left(page.events)
        erased = {
            _key(each): self._erased(_key(each), page.first)
            for each in page.events
            if each.name == "RecordErased"
        }
        destroyed = 0
        if erased:
            self._decrypting.counting.keep()
        with self._journal.writing() as session:
            for event in page.events:
                if event.name == "RecordMoved":
                    self._journal.move(session, *_moved(event))
                    continue
                addresses, newest = erased[_key(event)]
                for address in addresses:
                    dataset = event.args["dataset"]
                    destroyed += self._journal.destroy(session, dataset, address, newest)
            self._journal.set_followed(session, page.last, page.last_hash)
        if destroyed:
            self._has_remains = True
            self.destroy_remains()

    def destroy_remains(self) -> None:
        """Wipes what was destroyed from the disk. What a reader of the file, or the disk, prevents is told,
        and tried again after REST_SECONDS: nothing is answered from it any more in either case, and the next
        erasure has to be followed whatever became of the last.
        """
        if not self._has_remains or time.monotonic() < self._wipe_at:
            return
        self._has_remains = False  # first: what is destroyed meanwhile is wiped the next time
        for wipe in (
            self._journal.wipe_destroyed,
            self._tallies.wipe,
        ):  # none waits for the other's disk
            try:
                wipe()
            except Exception as fault:  # of whatever kind: the next erasure has to be followed
                why = str(fault) if isinstance(fault, Refusal) else type(fault).__name__
                log.warning("shares_not_yet_destroyed", message=why)
                self._has_remains = True
                self._wipe_at = time.monotonic() + REST_SECONDS

    def spread(self) -> None:
        """Lays out the columns that came in, before any request is sealed over them. What prevents it is
        told: the next round goes on, and a sum that lacks a row lays it out itself, or is refused.
        """
        try:
            self._tallies.spread(time.monotonic() + SPREAD_SECONDS)
        except Refusal as refusal:
            log.warning("columns_not_spread", code=refusal.code)

    def _require_left(self, events: Sequence[Event]) -> None:
        """A made-up move would hide a share from its erasure."""
        moves = [_moved(event) for event in events if event.name == "RecordMoved"]
        for dataset, before, _ in moves:
            require_left(self._chain, dataset, [before])

    def _erased(self, patient: _Patient, first: int) -> tuple[list[str], int]:
        """All addresses of a patient since block `first`, and the newest version that must go.

        A patient may have come back with a newer one since. Read from the head, since a pruning node no
        longer has the state of the event's block.
        """
        dataset, address = patient
        record, addresses = self._chain.record_of(dataset, address), [address]
        if not record.is_there:
            addresses = way(moves_of(self._chain, dataset, first), address)
            record = arrived(self._chain, dataset, addresses)
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
        # Also of what a crash left over, or another process destroyed here.
        self._has_remains = True
        self.destroy_remains()
        return destroyed

    def _unusable(self, dataset: bytes, holders: Sequence[str], final: int) -> dict[str, Record]:
        """Of these holders, each whose record is not in use, by today's address."""
        stored = self._chain.commitments_of(dataset, holders, final)
        unused = [each.patient for each in stored if not each.usable]
        found = {each: self._chain.record_of(dataset, each, final) for each in unused}
        gone = [holder for holder, record in found.items() if not record.is_there]
        return found | self._rename(dataset, gone, final)

    def _rename(self, dataset: bytes, gone: Sequence[str], final: int) -> dict[str, Record]:
        """Makes up for moves that were passed over. Returns the records by their new addresses.

        There is none of a record that was attested after the final block.
        """
        if not gone:
            return {}
        went = moves_of(self._chain, dataset, self._chain.manifest.deployed_block, final)
        ways = {before: way(went, before) for before in gone if before in went}
        found = {each[-1]: arrived(self._chain, dataset, each, final) for each in ways.values()}
        with self._journal.writing() as session:
            for before, addresses in ways.items():
                self._journal.move(session, dataset, before, addresses[-1])
        strays = [each for each in gone if each not in ways]
        return found | self._bring_back(dataset, strays, went, final)

    def _bring_back(
        self, dataset: bytes, strays: Sequence[str], went: Mapping[str, str], final: int
    ) -> dict[str, Record]:
        """Puts what came under an address whose record is not there, and never left it, where it belongs.

        It came by a move at the head that a reorganisation took back. The record is where it went to by final
        blocks from the address that its header names. Returns the records by that address.
        """
        found: dict[str, Record] = {}
        for stray in strays:
            for patient, commitments in self._journal.sealed_for(dataset, stray).items():
                addresses = way(went, patient)
                if not self._chain.record_of(dataset, addresses[-1], final).is_there:
                    continue  # attested after the final block
                found[addresses[-1]] = arrived(self._chain, dataset, addresses, final)
                with self._journal.writing() as session:
                    self._journal.put_under(session, commitments, addresses[-1])
        return found

    def _destroy_erased(self, dataset: bytes, holder: str, record: Record) -> int:
        """Suspended or pending records stay: only an erasure is for ever."""
        if not record.erased:
            return 0
        self._decrypting.counting.keep()
        with self._journal.writing() as session:
            gone = self._journal.destroy(session, dataset, holder, record.version)
        self._has_remains |= gone > 0  # at once: the node may fail at the next one
        return gone

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
            self.destroy_remains()  # raises nothing, and no fault of a node may keep it
            try:
                self.catch_up()
                self.drop_ended()
                self._decrypting.drop_ended()
                self._decrypting.counting.keep()  # before anybody waits for it
                if time.monotonic() - swept >= SWEEP_SECONDS:
                    self.sweep()
                    swept = time.monotonic()
                self._keygen.drop_ended()  # no fault of it holds up an erasure of records
                self.spread()
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
