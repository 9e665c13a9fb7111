"""Scoring: after a request is sealed in a final block, its model runs on whoever was sealed and takes part.

Whom a request scores is settled once: the members of its sealed cohort, as the chain proves it, whose record
is here then. Each is looked at again just before it is scored: a revocation, an erasure or a suspension that
any block has by then leaves the patient out. Models and SEAL draw nothing, so a score that a crash took is
computed again to the byte; the first that is kept stays.

A step takes about a second, whatever there is to do: a score takes 0.2 to 0.3 s (the material is parsed anew
each time, since thousands do not fit in memory), and requests that wait for the same processor go on between.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Final

import structlog

from marketplace.analyses.analysis import ReleaseKind
from marketplace.analyses.tallies.scores import SCORE
from marketplace.analyses.variables import variables_of
from marketplace.chain.adapter import Chain, RequestStage
from marketplace.dictionaries import Dictionaries
from marketplace.errors import Refusal
from marketplace.scoring.files import ScoreFiles
from marketplace.scoring.models import Models
from marketplace.scoring.records import ENDED, is_in_use
from marketplace.store import FAILED, SCORED, Database, ScoreRow
from marketplace.wire.http import to_hex
from marketplace.wire.lately import Lately
from ml.ckks.keys import EncryptedRecord, Material
from ml.ckks.packing import Unreadable
from ml.ckks.score import CannotScore, EncryptedScore, PreparedModel, RecordDoesNotFit

log = structlog.get_logger()

STEP_SECONDS: Final = 1.0
"""After which a step ends with the score at hand."""
AT_ONCE: Final = 32
"""Due scores that a step looks at, and requests."""
PREPARED: Final = 4
"""Models that are kept encoded, 3 MB each."""
GOES_ON: Final = (RequestStage.SEALED, RequestStage.SETTLED)
"""Stages on chain in which a sealed request is scored: not once it has defaulted."""


@dataclass
class Rounds:
    """What one operator scores. Safe for threads."""

    chain: Chain
    database: Database
    dictionaries: Dictionaries
    files: ScoreFiles
    models: Models
    _prepared: Lately[str, PreparedModel] = field(default_factory=lambda: Lately(PREPARED))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self) -> int:
        """Does a second's work; how many scores are new. May be repeated, after a crash or by many.

        Raises:
            NotYetFinal, PartialLogs, NodeUnreachable, ...; Refusal (`storage_unavailable`): tried again.
        """
        with self._lock:
            for request in self.database.unplanned_rounds(SCORE.id)[:AT_ONCE]:
                self._plan(request)
            until, made = time.monotonic() + STEP_SECONDS, 0
            for row in self.database.due_scores(AT_ONCE):
                made += self._score(row)
                if time.monotonic() >= until:
                    break
            return made

    # --- whom

    def _plan(self, request: str) -> None:
        """Settles whom a request scores. Raises NotYetFinal where the chain no longer shows the seal."""
        identity = bytes.fromhex(request[2:])
        view, row = self.chain.request(identity), self.database.request(request)
        if row.terms["releaseKind"] != ReleaseKind.PERSONAL_SCORE:
            raise AssertionError("the market confirmed another kind of release")
        here: set[str] = set()
        if not view.was_sealed:  # not any more, on a chain that was rewritten: it may be again
            return
        self.chain.require_final(view.seal_block)
        if view.stage in GOES_ON:
            handed_in = self.database.who_handed_in(to_hex(view.dataset))
            here = handed_in & set(self.chain.sealed_cohort(identity).patients)
        model = str(row.parameters["model"])
        self.database.plan_round(request, to_hex(view.dataset), model, sorted(here))
        log.info("scores_planned", request=request, number=len(here))

    # --- one

    def _score(self, row: ScoreRow) -> bool:
        """Computes one score and keeps it. Returns whether there is one now."""
        found = self.files.record(row.dataset, row.patient) if self._takes_part(row) else None
        if found is None:
            self.database.drop_due(row.request, row.patient)
            return False
        try:
            score = self._prepared_for(row).score(
                Material.from_bytes(found[0]), EncryptedRecord.from_bytes(found[1])
            )
        except (CannotScore, RecordDoesNotFit, Unreadable) as bad:
            log.warning("cannot_score", request=row.request, kind=type(bad).__name__)
            self.database.end_score(row.request, row.patient, FAILED, None)
            return False
        return self._keep(row, score)

    def _keep(self, row: ScoreRow, score: EncryptedScore) -> bool:
        """The first that was kept stays, so that whoever fetches it twice has the same bytes."""
        kept = self.files.keep_score(row.request, row.patient, score.data)
        record = to_hex(EncryptedScore.from_bytes(kept).record)
        if self.database.end_score(row.request, row.patient, SCORED, record):
            return True
        if self.database.score(row.request, row.patient) is None:  # destroyed meanwhile
            self.files.forget_score(row.request, row.patient)
        return False

    def _takes_part(self, row: ScoreRow) -> bool:
        """Whether this patient's record is in use and the consent stands, in the newest block."""
        identity, dataset = bytes.fromhex(row.request[2:]), bytes.fromhex(row.dataset[2:])
        if self.chain.request(identity).stage not in GOES_ON:
            return False
        if self.database.score_record(row.dataset, row.patient) is None:
            return False
        if not is_in_use(self.chain.record_of(dataset, row.patient)):
            return False
        consent = self.chain.consent_of(dataset, row.patient)
        # Expired by the clock, too: the chain says so only once somebody freezes or tidies.
        return consent.state not in ENDED and consent.expiry > self.chain.now()

    def _prepared_for(self, row: ScoreRow) -> PreparedModel:
        """The request's model over its dataset's layout, as it was when the request was taken."""
        return self._prepared.get(row.request) or self._prepared.keep(
            row.request, self._prepare(row)
        )

    def _prepare(self, row: ScoreRow) -> PreparedModel:
        dictionary = self.dictionaries.of(bytes.fromhex(row.dataset[2:]))
        parameters = self.database.request(row.request).parameters
        parsed = SCORE.parse(parameters, variables_of(dictionary))
        prepared = self.models.require_scorable(SCORE.id, parsed, dictionary)
        if prepared is None:
            raise Refusal(
                code="not_scored",
                message="The request scores nobody.",
                remedy="Look at its parameters.",
            )
        return prepared
