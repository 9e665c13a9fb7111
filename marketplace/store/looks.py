"""What pages and metrics look at in the database: many rows in one question, and nothing is changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from marketplace.stages import TERMINAL, Stage
from marketplace.store.models import (
    ConfirmationRow,
    DraftLogRow,
    DraftRow,
    RequestRow,
    StageLogRow,
)
from marketplace.store.transactions import Transactions


@dataclass(frozen=True)
class Refused:
    """When this operator refused a request, and why, in words."""

    at: datetime
    because: str


class Looks(Transactions):
    """Reads over requests and their log."""

    def known(self, requests: Collection[str]) -> dict[str, RequestRow]:
        """Those of these requests (ids in hex) that were handed in here, by id."""
        with self.session() as session:
            query = select(RequestRow).where(RequestRow.id.in_(requests))
            return {row.id: row for row in session.scalars(query)}

    def refusals(self, requests: Collection[str]) -> dict[str, Refused]:
        """Those of these requests that this operator refused, whatever became of them since, by id."""
        refused = StageLogRow.after == Stage.REFUSED
        with self.session() as session:
            query = select(StageLogRow).where(StageLogRow.request.in_(requests), refused)
            rows = session.scalars(query.order_by(StageLogRow.id))
            return {row.request: Refused(row.at, row.because) for row in rows}

    def newest_entry(self) -> int:
        """Id of the stage log's newest row; 0 while there is none. It only rises."""
        with self.session() as session:
            return int(session.scalar(select(func.max(StageLogRow.id))) or 0)

    def newest_draft_entry(self) -> int:
        """Id of the drafts' newest log row, plus the custodians that confirmed of drafts that are kept."""
        kept = ConfirmationRow.commitment.in_(select(DraftRow.commitment))
        with self.session() as session:
            newest = session.scalar(select(func.max(DraftLogRow.id)))
            confirmed = session.scalar(
                select(func.count()).select_from(ConfirmationRow).where(kept)
            )
        return int(newest or 0) + int(confirmed or 0)

    def log_since(self, request: str, entry: int) -> Sequence[StageLogRow]:
        """The request's transitions after the row with this id, in order."""
        later = (StageLogRow.request == request) & (StageLogRow.id > entry)
        with self.session() as session:
            return list(session.scalars(select(StageLogRow).where(later).order_by(StageLogRow.id)))

    def stage_counts(self) -> dict[Stage, int]:
        """How many requests stand at each stage; each stage is named."""
        with self.session() as session:
            query = select(RequestRow.stage, func.count()).group_by(RequestRow.stage)
            found = {stage: int(number) for stage, number in session.execute(query)}
        return {stage: found.get(stage, 0) for stage in Stage}

    def oldest_paid(self) -> datetime | None:
        """When the oldest request was handed in that is paid for and at work; None where none is."""
        idle = [*TERMINAL, Stage.SUBMITTED]
        with self.session() as session:
            oldest = select(func.min(RequestRow.submitted_at)).where(RequestRow.stage.not_in(idle))
            return session.scalar(oldest)

    def refusal_codes(self) -> dict[str, int]:
        """How many requests were refused, by the code of the reason that is kept."""
        code = func.coalesce(RequestRow.reason["code"].as_string(), "").label("refusal_code")
        refused = select(code, func.count()).where(RequestRow.stage == Stage.REFUSED)
        with self.session() as session:
            # By its label: PostgreSQL takes the same expression with other parameters for another one.
            found = session.execute(refused.group_by("refusal_code"))
            return {each: int(number) for each, number in found}

    def at_work(self, most: int) -> list[tuple[RequestRow, datetime]]:
        """Requests that are not at an end, paid ones first, then by age; with when each came to its stage."""
        since = (
            select(func.max(StageLogRow.at))
            .where(StageLogRow.request == RequestRow.id)
            .scalar_subquery()
        )
        unpaid = RequestRow.stage == Stage.SUBMITTED
        query = select(RequestRow, since).where(RequestRow.stage.not_in(list(TERMINAL)))
        with self.session() as session:
            found = session.execute(query.order_by(unpaid, RequestRow.submitted_at).limit(most))
            return [(row, at or row.submitted_at) for row, at in found]

    def refused_lately(self, most: int) -> list[RequestRow]:
        """Requests that stand refused, the newest first."""
        query = select(RequestRow).where(RequestRow.stage == Stage.REFUSED)
        with self.session() as session:
            newest = query.order_by(RequestRow.submitted_at.desc()).limit(most)
            return list(session.scalars(newest))
