"""Rows of published models, of records that were handed in to be scored, and of scores.

Scores and records themselves are ciphertext, and large: they lie in a folder (`scoring.files`). Here is whose
they are. A row goes last when something is destroyed, so that a crash leaves nothing that nobody knows of.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from marketplace.stages import Stage
from marketplace.store.models import (
    RequestRow,
    ScoreModelRow,
    ScoreRecordRow,
    ScoreRoundRow,
    ScoreRow,
)
from marketplace.store.transactions import Transactions, changed_one

DUE: Final = "due"
SCORED: Final = "scored"
FAILED: Final = "failed"
"""States of a score. What failed cannot be scored, ever: record or material are none that an owner made."""
SEALED_STAGES: Final = (
    Stage.SEALED,
    Stage.NOISED,
    Stage.COMPUTED,
    Stage.CLEARED,
    Stage.SETTLED,
)
"""Of a request of the homomorphic lane whose seal was seen in a final block."""


class Scores(Transactions):
    """What the database knows of models and scores."""

    # --- models

    def keep_model(self, row: ScoreModelRow, most: int) -> bool:
        """Adds a model, unless it is there or its publisher has `most` already. Returns whether it is there
        now.
        """
        mine = select(func.count()).where(ScoreModelRow.publisher == row.publisher)
        try:
            with self.session() as session:
                if session.get(ScoreModelRow, row.model) is not None:
                    return True
                if int(session.scalar(mine) or 0) >= most:
                    return False
                session.add(row)
        except IntegrityError:  # somebody published it meanwhile
            return True
        return True

    def model(self, model: str) -> ScoreModelRow | None:
        """A published model, by its hash."""
        with self.session() as session:
            return session.get(ScoreModelRow, model)

    def models(self, most: int) -> list[tuple[str, str, dict[str, Any]]]:
        """Hash, publisher and what is shown of the latest models, newest first; not the documents."""
        row = ScoreModelRow
        query = select(row.model, row.publisher, row.shown).order_by(row.published_at.desc())
        with self.session() as session:
            return [(each[0], each[1], each[2]) for each in session.execute(query.limit(most))]

    # --- records to be scored

    def keep_score_record(self, row: ScoreRecordRow) -> None:
        """Notes what a patient handed in, in the place of what was there."""
        try:
            self._merge(row)
        except IntegrityError:  # another process was faster: there is one to replace now
            self._merge(row)

    def _merge(self, row: ScoreRecordRow) -> None:
        with self.session() as session:
            session.merge(row)

    def score_records_beside(self, dataset: str, patient: str) -> tuple[int, int]:
        """How many records are here to be scored beside this patient's: of the dataset, and of all."""
        row = ScoreRecordRow
        others = select(func.count()).where((row.dataset != dataset) | (row.patient != patient))
        with self.session() as session:
            inside = session.scalar(others.where(row.dataset == dataset))
            return int(inside or 0), int(session.scalar(others) or 0)

    def known_to_scoring(self) -> set[tuple[str, str, str | None]]:
        """Dataset, patient and request, in lower case, of every score there is a row of; and of what was
        handed in, with no request.
        """
        records = select(ScoreRecordRow.dataset, ScoreRecordRow.patient)
        scores = select(ScoreRow.dataset, ScoreRow.patient, ScoreRow.request)
        with self.session() as session:
            found: set[tuple[str, str, str | None]] = {
                (dataset.lower(), patient.lower(), None)
                for dataset, patient in session.execute(records)
            }
            for dataset, patient, request in session.execute(scores):
                found.add((dataset.lower(), patient.lower(), request.lower()))
        return found

    def score_record(self, dataset: str, patient: str) -> ScoreRecordRow | None:
        """What a patient handed in."""
        with self.session() as session:
            return session.get(ScoreRecordRow, (dataset, patient))

    def who_handed_in(self, dataset: str) -> set[str]:
        """The patients of a dataset whose record is here to be scored."""
        with self.session() as session:
            query = select(ScoreRecordRow.patient).where(ScoreRecordRow.dataset == dataset)
            return set(session.scalars(query))

    def forget_scoring(self, dataset: str, patient: str) -> None:
        """Drops the rows of what a patient handed in, and of the patient's scores."""
        with self.session() as session:
            for table in (ScoreRecordRow, ScoreRow):
                mine = (table.dataset == dataset) & (table.patient == patient)
                session.execute(delete(table).where(mine))

    # --- scores

    def unplanned_rounds(self, analysis: str) -> list[str]:
        """Requests of this analysis, sealed in a final block, of which nobody has looked yet whom they
        score; oldest first.
        """
        planned = select(ScoreRoundRow.request)
        with self.session() as session:
            query = (
                select(RequestRow.id)
                .where(RequestRow.analysis == analysis, RequestRow.stage.in_(SEALED_STAGES))
                .where(RequestRow.id.not_in(planned))
                .order_by(RequestRow.submitted_at)
            )
            return list(session.scalars(query))

    def plan_round(self, request: str, dataset: str, model: str, patients: Collection[str]) -> None:
        """Settles whom a request scores, once: whoever comes second changes nothing."""
        try:
            with self.session() as session:
                session.add(ScoreRoundRow(request=request, planned_at=datetime.now(UTC)))
                session.flush()
                session.add_all(
                    ScoreRow(request=request, patient=each, dataset=dataset, model=model, state=DUE)
                    for each in patients
                )
        except IntegrityError:
            return

    def due_scores(
        self, most: int, after: tuple[str, str] = ("", ""), without: Collection[str] = ()
    ) -> list[ScoreRow]:
        """Some of the scores that are not computed yet, by request and patient.

        Args:
            after: request and patient of the one before the first.
            without: requests that are passed over.
        """
        place = tuple_(ScoreRow.request, ScoreRow.patient)
        with self.session() as session:
            query = (
                select(ScoreRow)
                .where(ScoreRow.state == DUE, place > tuple_(*after))
                .where(ScoreRow.request.not_in(without))
                .order_by(ScoreRow.request, ScoreRow.patient)
            )
            return list(session.scalars(query.limit(most)))

    def scores_beyond(self, dataset: str, patient: str, most: int) -> list[str]:
        """The requests of a patient's scores in a dataset but for the latest `most` that were planned."""
        mine = (ScoreRow.dataset == dataset) & (ScoreRow.patient == patient)
        with self.session() as session:
            query = (
                select(ScoreRow.request)
                .join(ScoreRoundRow, ScoreRoundRow.request == ScoreRow.request)
                .where(mine)
                .order_by(ScoreRoundRow.planned_at.desc(), ScoreRow.request)
            )
            return list(session.scalars(query.offset(most)))

    def end_score(self, request: str, patient: str, state: str, record: str | None) -> bool:
        """Notes that a due score was computed, of which record, or that it never can be. Returns False
        where it is not due: it was destroyed meanwhile, or computed by another worker.
        """
        here = (ScoreRow.request == request) & (ScoreRow.patient == patient)
        due = update(ScoreRow).where(here, ScoreRow.state == DUE)
        with self.session() as session:
            return changed_one(session, due.values(state=state, record=record))

    def drop_due(self, request: str, patient: str) -> None:
        """A due score that is not to be: its patient is not to be scored any more."""
        here = (ScoreRow.request == request) & (ScoreRow.patient == patient)
        with self.session() as session:
            session.execute(delete(ScoreRow).where(here, ScoreRow.state == DUE))

    def drop_score(self, request: str, patient: str) -> None:
        """A score in whatever state, which was destroyed."""
        here = (ScoreRow.request == request) & (ScoreRow.patient == patient)
        with self.session() as session:
            session.execute(delete(ScoreRow).where(here))

    def score(self, request: str, patient: str) -> ScoreRow | None:
        """One patient's score of one request, in whatever state."""
        with self.session() as session:
            return session.get(ScoreRow, (request, patient))

    def scores_of(self, dataset: str, patient: str) -> Sequence[ScoreRow]:
        """All scores of one patient in one dataset, in whatever state."""
        mine = (ScoreRow.dataset == dataset) & (ScoreRow.patient == patient)
        with self.session() as session:
            return list(session.scalars(select(ScoreRow).where(mine).order_by(ScoreRow.request)))
