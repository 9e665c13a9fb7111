"""Whoever stops, or has the record erased or moved, is scored no more: what was kept for it is destroyed.

Follows final blocks, as `erasures` does: a restarted operator reads them all again, and destroys again what
a restored backup brought back. What was handed in later than the event stays, and so do scores of requests
that were sealed later. Nothing waits for this: a revocation never does, and between it and its final block
nobody is scored either (`rounds`).

What lies here without a row (a hand-in that a power cut ended, a score that came with a backup) is swept.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from marketplace.chain.adapter import Chain, Event
from marketplace.chain.following import Followed, Following
from marketplace.scoring.files import Owned, ScoreFiles
from marketplace.scoring.taking_part import takes_part
from marketplace.scoring.turns import Turns
from marketplace.store import Database, ScoreRow
from marketplace.wire.ciphertexts import SeenTwice, StorageFault
from marketplace.wire.http import to_hex

log = structlog.get_logger()

CONTRACTS: Final = ("ConsentRegistry", "DatasetRegistry")
FOLLOWED: Final[dict[str, str]] = {
    "Revoked": "patient",
    "Expired": "patient",
    "Expelled": "patient",
    "RecordErased": "patient",
    "RecordMoved": "from",
}
"""By event, which of its arguments is the address that takes part no more."""
SWEEP_SECONDS: Final = 600.0
"""Between two looks for what nobody knows of. It goes when the second look finds it still: a hand-in, from
file to row, takes a second."""


@dataclass
class Forgetting:
    """What one operator destroys. Safe for threads."""

    chain: Chain
    database: Database
    files: ScoreFiles
    turns: Turns
    _followed: Followed | None = None
    _left: list[Event] = field(default_factory=list)  # not carried out yet
    _unowned: SeenTwice = field(default_factory=lambda: SeenTwice(SWEEP_SECONDS))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def catch_up(self) -> None:
        """Destroys what is due by final blocks. One patient's files that cannot be deleted hold up nobody's.

        Raises:
            NodeUnreachable, ForgedLogs, ...; StorageFault: what is left is tried again the next time.
        """
        with self._lock:
            faults: list[StorageFault] = []
            self._left = self._not_carried_out(self._left, faults)
            following = Following(self.chain, CONTRACTS, tuple(FOLLOWED))
            for page in following.pages(self._followed):
                before = [] if page.anew else self._left
                self._left = before + self._not_carried_out(page.events, faults)
                self._followed = page.end
            self._sweep()
            if faults:
                raise faults[0]

    def _not_carried_out(self, events: Sequence[Event], faults: list[StorageFault]) -> list[Event]:
        left = []
        for event in events:
            try:
                is_done = self._take(event)
            except StorageFault as fault:
                faults.append(fault)
                is_done = False
            if not is_done:
                left.append(event)
        return left

    def _take(self, event: Event) -> bool:
        """Destroys what an event ended. Returns False where it is to be looked at again."""
        dataset, patient = to_hex(event.args["dataset"]), event.args[FOLLOWED[event.name]]
        # What is handed in meanwhile is judged by itself: it comes before all of this, or after it.
        with self.turns.of(dataset, patient):
            return self._destroy(event, dataset, patient)

    def _destroy(self, event: Event, dataset: str, patient: str) -> bool:
        row = self.database.score_record(dataset, patient)
        scores = self.database.scores_of(dataset, patient)
        # Handed in afterwards, by the newest block of then; which may have been replaced since.
        if row is not None and row.block >= event.block:
            self._forget_before(scores, event.block)
            taking = (event.args["dataset"], patient)
            if takes_part(self.chain, *taking, self.chain.finalized()):
                return True
            if takes_part(self.chain, *taking, "latest"):  # by a consent that is not final yet
                return False
        # Without a row, too: a backup may have brought files. The rows last: until then a crash is made up
        # for.
        self.files.forget(dataset, patient)
        if row is not None or scores:
            self.database.forget_scoring(dataset, patient)
            log.info("scoring_forgotten", dataset=dataset, because=event.name)
        return True

    def _forget_before(self, scores: Sequence[ScoreRow], block: int) -> None:
        """The scores of requests that were sealed by then; those of later ones are of the new consent."""
        for each in scores:
            if self.chain.request(bytes.fromhex(each.request[2:])).seal_block <= block:
                self.files.forget_score(each.dataset, each.patient, each.request)
                self.database.drop_score(each.request, each.patient)

    def _sweep(self) -> None:
        again = frozenset(self._unowned.among(lambda: (each.file for each in self._without_row())))
        # Once more: what was handed in between the two looks has a row by now.
        gone = [each for each in self._without_row() if each.file in again] if again else []
        for each in gone:
            self.files.remove(each.file)
        if gone:
            log.info("scoring_swept", number=len(gone))

    def _without_row(self) -> Iterator[Owned]:
        known = self.database.known_to_scoring()
        for each in self.files.owned():
            if not (each.whole and (each.dataset, each.patient, each.request) in known):
                yield each
