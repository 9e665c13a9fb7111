"""The operator's own page: what is at work and what it waits for, who is there, how the chain stands."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import flask

from marketplace.errors import Refusal
from marketplace.wire.http import answer, hash_field, to_hex
from marketplace.wire.plain import counted
from web.pages.requests import at_work_words
from web.site import site
from web.wording import wording

MOST_SHOWN: Final = 100
"""Requests of each list."""
UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
COIN: Final = 10**18  # wei

routes = flask.Blueprint("operating", __name__)


@routes.get("/operator")
def show() -> str:
    """Queues, failures, peers, chain and account. What the node does not tell is left out, and said."""
    operator = site().operator
    counts = operator.reads.stage_counts()
    return flask.render_template(
        "operating/show.html",
        queue=[_queued(each) for each in operator.reads.queue(MOST_SHOWN)],
        counts=[(wording(stage), number) for stage, number in counts.items() if number],
        failures=operator.reads.failures(MOST_SHOWN),
        peers=operator.attendance.told(),
        chain=_part(_chain),
        account=_part(_account),
        drafts=operator.reads.number_of_drafts(),
        faults=site().worker.faults,
        metrics_port=site().config.metrics_port,
        confirmations=site().config.confirmations,
    )


@routes.post("/operator/requests/<request_id>/nudge")
def nudge(request_id: str) -> flask.Response:
    """`{}` -> `{"request", "stage"}`: has the worker look at what is unfinished now.

    Raises:
        Refusal: `unknown_request`.
    """
    request = to_hex(hash_field(request_id, "request"))
    stage = site().operator.reads.stage_of(request)
    site().worker.nudge()
    return answer({"request": request, "stage": str(stage)})


def _queued(found: dict[str, Any]) -> dict[str, Any]:
    return {
        **found,
        "wording": wording(found["stage"]),
        "age": age(_seconds_since(found["since"])),
        "at_work": at_work_words(found["at_work"]),
    }


def _seconds_since(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


def age(seconds: float) -> str:
    """In the largest unit of which there is one, rounded down: `3 minutes`."""
    for unit, size in UNITS:
        if seconds >= size:
            return counted(int(seconds // size), unit)
    return "less than a second"


def _part(reading: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What could be read, or why not: this page is wanted most when the node does not answer."""
    try:
        return {"refusal": None, **reading()}
    except Refusal as refusal:
        return {"refusal": refusal.reason()}


def _chain() -> dict[str, Any]:
    found = site().operator.reads.chain_state()
    since = time.time() - found.head_at
    return {
        "head": found.head,
        "age": age(since),
        "is_stale": since > found.most_age,
        "most_age": age(found.most_age),
        "final": found.final,
        "lag": found.head - found.final,
        "lag_age": age(found.head_at - found.final_at),
    }


def _account() -> dict[str, Any]:
    reads = site().operator.reads
    found = reads.account(reads.operator)
    return {**found, "coins": f"{reads.gas_of(reads.operator) / COIN:,.6f}"}
