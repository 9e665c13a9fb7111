"""Whoever stops, or has the record erased or moved, is scored no more: what was kept for it is destroyed.

Follows final blocks, as `erasures` does: a restarted operator reads them all again, and destroys again what
a restored backup brought back. What was handed in later than the event stays, and so do scores of requests
that were sealed later. Nothing waits for this: a revocation never does, and between it and its final block
nobody is scored either (`rounds`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from marketplace.chain.adapter import Chain, Event
from marketplace.chain.following import Followed, Following
from marketplace.scoring.files import ScoreFiles
from marketplace.store import Database, ScoreRow
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


@dataclass
class Forgetting:
    """What one operator destroys. Safe for threads."""

    chain: Chain
    database: Database
    files: ScoreFiles
    _followed: Followed | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def catch_up(self) -> None:
        """Destroys what is due by final blocks.

        Raises:
            NodeUnreachable, ForgedLogs, ...; Refusal (storage_unavailable): tried again the next time.
        """
        with self._lock:
            following = Following(self.chain, CONTRACTS, tuple(FOLLOWED))
            for page in following.pages(self._followed):
                for event in page.events:
                    self._take(event)
                self._followed = page.end

    def _take(self, event: Event) -> None:
        dataset, patient = to_hex(event.args["dataset"]), event.args[FOLLOWED[event.name]]
        row = self.database.score_record(dataset, patient)
        scores = self.database.scores_of(dataset, patient)
        if row is not None and row.block >= event.block:  # handed in afterwards
            self._forget_before(scores, event.block)
            return
        self.files.forget_record(
            dataset, patient
        )  # without a row, too: a backup may have brought it
        if row is None and not scores:
            return
        for each in scores:
            self.files.forget_score(each.request, patient)
        # The rows last: until then a crash is made up for.
        self.database.forget_scoring(dataset, patient)
        log.info("scoring_forgotten", dataset=dataset, because=event.name)

    def _forget_before(self, scores: Sequence[ScoreRow], block: int) -> None:
        """The scores of requests that were sealed by then; those of later ones are of the new consent."""
        for each in scores:
            if self.chain.request(bytes.fromhex(each.request[2:])).seal_block <= block:
                self.files.forget_score(each.request, each.patient)
                self.database.drop_score(each.request, each.patient)
