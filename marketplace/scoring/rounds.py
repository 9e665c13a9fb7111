"""Scoring: after a request is sealed in a final block, its model runs on whoever was sealed and takes part.

Whom a request scores is settled once: the members of its sealed cohort, as the chain proves it, whose record
is here then. Each is looked at again just before it is scored: a revocation, an erasure or a suspension that
any block has by then leaves the patient out. Models and SEAL draw nothing, so a score that a crash took is
computed again to the byte; the first that is kept stays.

A step takes about a second, whatever there is to do: a score takes 0.2 to 0.3 s (the material is parsed anew
each time, since thousands do not fit in memory), and requests that wait for the same processor go on between.
What cannot be planned or scored now (its dictionary is missing, its file unreadable, a fault of our own)
rests a while, and the others go on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
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
from marketplace.scoring.taking_part import may_be_scored
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
REST_SECONDS: Final = 15.0
"""Before what could not be planned or scored is tried again."""
MOST_SCORES: Final = 100
"""Of one patient in one dataset, 8 MB: the oldest goes when one more is made."""
PREPARED: Final = 4
"""Models that are kept encoded, 3 MB each."""
GOES_ON: Final = (RequestStage.SEALED, RequestStage.SETTLED)
"""Stages on chain in which a sealed request is scored: not once it has defaulted."""


_Item = str | tuple[str, str]
"""A request, or one patient's score of it."""


@dataclass
class Rounds:
    """What one operator scores. Safe for threads."""

    chain: Chain
    database: Database
    dictionaries: Dictionaries
    files: ScoreFiles
    models: Models
    _prepared: Lately[str, PreparedModel] = field(default_factory=lambda: Lately(PREPARED))
    _resting: dict[_Item, float] = field(default_factory=dict)  # until when, monotonic seconds
    _after: tuple[str, str] = ("", "")  # request and patient of the score that was looked at last
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self) -> int:
        """Does a second's work; how many scores are new. May be repeated, after a crash or by many.

        Raises:
            Refusal: the database does not answer. What else fails, fails for one request or one score.
        """
        with self._lock:
            until, made = time.monotonic() + STEP_SECONDS, 0
            self._wake()
            for request in self._unplanned():
                self._attempt(request, request, partial(self._plan, request))
                if time.monotonic() >= until:
                    break
            for row in self._due():
                made += self._attempt(
                    row.request, (row.request, row.patient), partial(self._score, row)
                )
                if time.monotonic() >= until:
                    break
            return made

    # --- one after the other, whatever becomes of each

    def _wake(self) -> None:
        now = time.monotonic()
        self._resting = {each: until for each, until in self._resting.items() if until > now}

    def _unplanned(self) -> list[str]:
        found = self.database.unplanned_rounds(SCORE.id)
        return [each for each in found if each not in self._resting][:AT_ONCE]

    def _due(self) -> Iterator[ScoreRow]:
        """From where the last step ended, round and round: what rests at the head holds nobody up."""
        without = [each for each in self._resting if isinstance(each, str)]
        found = self.database.due_scores(AT_ONCE, self._after, without)
        if len(found) < AT_ONCE:
            found += self.database.due_scores(AT_ONCE - len(found), ("", ""), without)
        looked = set[tuple[str, str]]()
        for row in found:
            self._after = item = (row.request, row.patient)
            if (
                item not in looked
                and item not in self._resting
                and row.request not in self._resting
            ):
                looked.add(item)
                yield row

    def _attempt(self, request: str, item: _Item, act: Callable[[], bool]) -> bool:
        """Nothing that is logged says whose it is, or quotes what was being handled."""
        try:
            return act()
        except Refusal as refusal:
            log.warning("scoring_waits", request=request, code=refusal.code)
        except Exception as fault:
            log.error("scoring_fault", request=request, kind=type(fault).__name__)  # noqa: TRY400
        self._resting[item] = time.monotonic() + REST_SECONDS
        return False

    # --- whom

    def _plan(self, request: str) -> bool:
        """Settles whom a request scores. Raises NotYetFinal where the chain no longer shows the seal."""
        identity = bytes.fromhex(request[2:])
        view, row = self.chain.request(identity), self.database.request(request)
        if row.terms["releaseKind"] != ReleaseKind.PERSONAL_SCORE:
            raise AssertionError("the market confirmed another kind of release")
        here: set[str] = set()
        if not view.was_sealed:  # not any more, on a chain that was rewritten: it may be again
            self._resting[request] = time.monotonic() + REST_SECONDS
            return False
        self.chain.require_final(view.seal_block)
        if view.stage in GOES_ON:
            handed_in = self.database.who_handed_in(to_hex(view.dataset))
            here = handed_in & set(self.chain.sealed_cohort(identity).patients)
        model = str(row.parameters["model"])
        self.database.plan_round(request, to_hex(view.dataset), model, sorted(here))
        log.info("scores_planned", request=request, number=len(here))
        return True

    # --- one

    def _score(self, row: ScoreRow) -> bool:
        """Computes one score and keeps it. Returns whether there is one now."""
        if not self._takes_part(row):
            self.database.drop_due(row.request, row.patient)
            return False
        try:
            prepared = self._prepared_for(row)
        except Refusal:
            self._resting[row.request] = time.monotonic() + REST_SECONDS  # all its scores
            raise
        found = self.files.record(row.dataset, row.patient)
        if found is None:
            return self._fail(row, "NoFile")
        try:
            score = prepared.score(
                Material.from_bytes(found[0]), EncryptedRecord.from_bytes(found[1])
            )
        except (CannotScore, RecordDoesNotFit, Unreadable) as bad:
            return self._fail(row, type(bad).__name__)
        return self._keep(row, score)

    def _fail(self, row: ScoreRow, kind: str) -> bool:
        """Its patient is told to hand the record in anew, for requests to come."""
        log.warning("cannot_score", request=row.request, kind=kind)
        self.database.end_score(row.request, row.patient, FAILED, None)
        return False

    def _keep(self, row: ScoreRow, score: EncryptedScore) -> bool:
        """The first that was kept stays, so that whoever fetches it twice has the same bytes."""
        kept = self.files.keep_score(row.dataset, row.patient, row.request, score)
        if self.database.end_score(row.request, row.patient, SCORED, to_hex(kept.record)):
            self._make_room(row)
            return True
        if self.database.score(row.request, row.patient) is None:  # destroyed meanwhile
            self.files.forget_score(row.dataset, row.patient, row.request)
        return False

    def _make_room(self, row: ScoreRow) -> None:
        for request in self.database.scores_beyond(row.dataset, row.patient, MOST_SCORES):
            self.files.forget_score(row.dataset, row.patient, request)
            self.database.drop_score(request, row.patient)

    def _takes_part(self, row: ScoreRow) -> bool:
        """Whether this patient is to be scored still, by the newest block."""
        if self.chain.request(bytes.fromhex(row.request[2:])).stage not in GOES_ON:
            return False
        if self.database.score_record(row.dataset, row.patient) is None:
            return False
        return may_be_scored(self.chain, bytes.fromhex(row.dataset[2:]), row.patient)

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
