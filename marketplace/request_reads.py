"""What is read of requests: of this operator's log, and of the chain. Nothing here changes anything."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from marketplace.anchors import anchors_of
from marketplace.chain.adapter import Chain, MarketPolicy
from marketplace.errors import Refusal
from marketplace.recourse import Recourse, recourse
from marketplace.stages import Settled, Stage
from marketplace.store import Database, RequestRow
from marketplace.waits import Waits
from marketplace.wire.data_use import purpose_words
from marketplace.wire.lately import Lately
from marketplace.wire.terms import Purpose

KEPT_ANCHORS: Final = 256


@dataclass(frozen=True, kw_only=True)
class RequestReads:
    """Answers to questions about requests."""

    chain: Chain
    database: Database
    waits: Waits = field(default_factory=Waits)
    _anchors: Lately[tuple[bytes, bytes], dict[str, Any]] = field(
        default_factory=lambda: Lately(KEPT_ANCHORS), init=False, repr=False
    )

    @cached_property
    def _policy(self) -> MarketPolicy:
        """The market's: nobody can change it."""
        return self.chain.policy()

    def requests_of(self, researcher: str) -> list[dict[str, Any]]:
        """The latest requests of one researcher, newest first, each with its `lane`.

        `variable` is None where it asks about none, or about several.
        """
        rows = self.database.requests_of(researcher)
        return [
            self._listed(row)
            | {"variable": row.parameters.get("variable"), "lane": int(row.terms["lane"])}
            for row in rows
        ]

    def requests(self) -> list[dict[str, Any]]:
        """The latest requests, newest first; what they ask and where they stand is public."""
        return [self._listed(row) for row in self.database.requests()]

    def request(self, request: str) -> dict[str, Any]:
        """One request with its stage log and, once sealed, its cohort size."""
        row = self.database.request(request)
        view = self.chain.request(bytes.fromhex(request[2:]))
        entries = [
            {
                "before": entry.before,
                "after": entry.after,
                "because": entry.because,
                "at": utc(entry.at),
            }
            for entry in self.database.log(request)
        ]
        return self._summary(row, view.opened_at) | {
            "waiting": self.waits.of(request),
            "at_work": self.waits.at_work(request),
            "chain_stage": view.stage.name.lower(),
            "cohort_size": view.members if any(view.root) else None,
            "result_hash": "0x" + view.result_hash.hex() if any(view.result_hash) else None,
            "parameters": row.parameters,
            "terms": row.terms,
            "stages": entries,
        }

    def recourse(self, request: str) -> Recourse:
        """What its researcher can do about a request that has no answer, by the chain alone."""
        now = max(self.chain.now(), int(time.time()))  # an idle embedded chain stands still
        return recourse(self.chain.request(bytes.fromhex(request[2:])), self._policy, now)

    def anchors(self, request: bytes) -> dict[str, Any]:
        """What the chain keeps of a request, as `anchors_of` gives it. Read once a block, whoever asks."""
        key = self.chain.head().hash, request
        return self._anchors.get(key) or self._anchors.keep(key, anchors_of(self.chain, request))

    def stages_since(self, request: str, entry: int) -> list[dict[str, Any]]:
        """A request's transitions after the log's row with this id, in order: `id`, `stage`, `at`."""
        rows = self.database.log_since(request, entry)
        return [{"id": row.id, "stage": row.after, "at": utc(row.at)} for row in rows]

    def _listed(self, row: RequestRow) -> dict[str, Any]:
        """Of many: the chain is asked only where a notice may run, which somebody has paid for."""
        if row.stage != Stage.FUNDED:
            return self._summary(row, 0)
        return self._summary(row, self.chain.request(bytes.fromhex(row.id[2:])).opened_at)

    def _summary(self, row: RequestRow, opened_at: int) -> dict[str, Any]:
        """`opened_at` (unix seconds) is 0 where it is not known, or never was: then there is no notice."""
        return {
            "request": row.id,
            "researcher": row.researcher,
            "dataset": row.terms["dataset"],
            "lane": row.terms["lane"],
            "analysis": row.analysis,
            "purpose": purpose_words(Purpose.from_json(row.terms["purpose"])),
            "notice_until": opened_at + self._policy.notice_window if opened_at else None,
            "stage": row.stage,
            "reason": row.reason,
            "submitted_at": utc(row.submitted_at),
        }

    def queue(self, most: int) -> list[dict[str, Any]]:
        """Requests at work, paid ones first; of the database alone, so it is there when no node answers."""
        return [
            {
                **_brief(row),
                "stage": row.stage,
                "since": utc(since),
                "waiting": self.waits.of(row.id),
                "at_work": self.waits.at_work(row.id),
            }
            for row, since in self.database.at_work(most)
        ]

    def stage_of(self, request: str) -> Stage:
        """Where a request stands, by the database alone. Raises Refusal: `unknown_request`."""
        return Stage(self.database.request(request).stage)

    def stage_counts(self) -> dict[Stage, int]:
        """How many requests stand at each stage; each stage is named."""
        return self.database.stage_counts()

    def number_of_drafts(self) -> int:
        """How many drafts wait for clinics."""
        return self.database.number_of_drafts()

    def failures(self, most: int) -> list[dict[str, Any]]:
        """Requests that stand refused, the newest first, each with its reason (code, message, remedy)."""
        return [{**_brief(row), "reason": row.reason} for row in self.database.refused_lately(most)]

    def receipt(self, request: str) -> Settled:
        """A settled request, whose receipt carries the result sealed to its researcher.

        Raises:
            Refusal: `not_settled`, saying where the request stands.
        """
        settled = self.database.receipt(request)
        if settled is None:
            stage = self.stage_of(request)
            raise Refusal(
                code="not_settled",
                message=f"The request is {stage}; there is no result yet.",
                remedy="Wait until its stage is settled (GET /api/v1/requests/{id}).",
            )
        return settled


def _brief(row: RequestRow) -> dict[str, Any]:
    return {
        "request": row.id,
        "analysis": row.analysis,
        "researcher": row.researcher,
        "submitted_at": utc(row.submitted_at),
    }


def utc(moment: datetime) -> str:
    """ISO 8601 with Z. SQLite gives times without a zone, in which they were written: UTC."""
    zoned = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return zoned.replace(tzinfo=None).isoformat() + "Z"
