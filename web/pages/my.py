"""A researcher's own requests: where each stands, its answer (opened in the browser), and credit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import flask
import structlog

from marketplace import words
from marketplace.errors import BadParameter, Refusal
from marketplace.stages import TERMINAL, Stage
from marketplace.wire.data_use import purpose_words
from marketplace.wire.http import answer, hash_field, to_hex
from marketplace.wire.terms import RequestTerms
from web import carrying, lanes, sessions, streams
from web.access import NotAllowed
from web.money_back import money_back
from web.pages.datasets import name_of
from web.pages.requests import at_work_words, parameters, titled
from web.showing import amount, iso, moment
from web.site import site
from web.wording import steps, wording

CREDIT: Final = "credit_withdrawal"

routes = flask.Blueprint("my", __name__)
log = structlog.get_logger()


@routes.get("/my")
def home() -> str:
    """Every request of the account that is signed in, and its credit."""
    account, reads = sessions.account(), site().operator.reads
    return flask.render_template(
        "my/home.html",
        account=account,
        requests=_listed(reads.requests_of(account), lanes.titles("id")),
        money_of=reads.account(account),
        researcher=sessions.standings().is_researcher(account),
    )


@routes.get("/my/requests/<request_id>")
def show(request_id: str) -> str:
    """One own request: stages as they happen, cancelling it, its answer once it is there."""
    found = _own(request_id)
    terms, now = RequestTerms.from_json(found["terms"]), _now(found)
    dataset = site().operator.reads.dataset(terms.dataset)
    title = lanes.titles("id").get(found["analysis"], found["analysis"])
    labels = site().operator.reads.labels(terms.dataset)
    return flask.render_template(
        "my/request.html",
        id=found["request"],
        title=titled(title, found["parameters"], labels),
        asked=parameters(found["parameters"], labels),
        lane=lanes.words_of(terms.lane),
        dataset={"id": dataset["dataset"], "name": name_of(dataset)},
        terms=terms,
        purpose=purpose_words(terms.purpose),
        odds=words.odds_of(terms.cost, found["cohort_size"], "the result of this request"),
        now=now,
        log=found["stages"],
        no_sampling=words.NO_SAMPLING,
        facts={
            "request": found["request"],
            "since": _newest(found["request"]),
            "dictionary": dataset["dictionary"],
            "dictionary_hash": dataset["dictionary_hash"],
            "published": _published(terms),
            "lane": int(terms.lane),
            "now": now,
        },
    )


@routes.get("/my/requests/<request_id>/now")
def now(request_id: str) -> flask.Response:
    """Where it stands, in words: for the page's module, whenever something moved."""
    return answer(_now(_own(request_id)))


@routes.get("/my/requests/<request_id>/events")
def events(request_id: str) -> flask.Response:
    """`stage` events as they happen."""
    request = str(_own(request_id)["request"])
    news = streams.StageNews(site().operator.reads, request)
    since = streams.last_event_id(flask.request, _since())
    return streams.streams().response(streams.holder(), news, since)


@routes.post("/my/messages")
def carry() -> flask.Response:
    """`{"message"}`, a signed withdrawal of own credit -> `{"kind", "transaction"}`.

    Raises:
        Refusal: `malformed_message`; `not_allowed` for anything but the own account's credit; and whatever
            the relay or the contract refuses.
    """
    raw, message = carrying.uploaded()
    if message.kind != CREDIT:
        raise BadParameter(
            message="Only a withdrawal of credit is carried here.",
            remedy="Send a patient's message from the page of its dataset.",
            field="message.kind",
        )
    if message.subject != sessions.account():
        raise NotAllowed(
            message="This message is not about the account that is signed in.",
            remedy="Sign in with the account that it is about.",
            field="message.account",
        )
    return carrying.carried(raw)


# --- what is shown


def _own(request_id: str) -> dict[str, Any]:
    """A request of the account that is signed in; anybody else's is as if it were not there."""
    account = sessions.account()
    try:
        found = site().operator.reads.request(to_hex(hash_field(request_id, "request")))
    except Refusal as refusal:
        if refusal.code not in ("unknown_request", "bad_parameter"):
            raise
        flask.abort(404)
    if found["researcher"] != account:
        flask.abort(404)
    return found


def _now(found: Mapping[str, Any]) -> dict[str, Any]:
    """Stage, steps and what it waits for; the result's hash as the chain has it once it is settled."""
    stage, said = found["stage"], wording(found["stage"])
    way = site().operator.reads.recourse(found["request"])
    return {
        "stage": stage,
        "label": said.label,
        "means": said.means,
        "tone": said.tone,
        "steps": [_step(each) for each in steps(stage, found["stages"], found["terms"]["lane"])],
        "waiting": _waiting(found["waiting"]),
        "at_work": at_work_words(found["at_work"]),
        "reason": found["reason"],
        "cohort": found["cohort_size"],
        "paid": _paid(found),
        "ended": stage in TERMINAL and found["chain_stage"] != "opened",
        "back": money_back(found["request"], way),
        "look_again": way.until,
        "result_hash": found["result_hash"],
    }


def _published(terms: RequestTerms) -> dict[str, str] | None:
    """By which a browser holds the dictionary, and so an answer's labels, against the dataset's id.

    None where the node gives no old transactions, or is at fault: the page then says that it cannot tell.
    """
    try:
        return site().operator.reads.published(terms.dataset)
    except Refusal as refusal:
        log.warning("publication_not_read", code=refusal.code)
        return None


def _paid(found: Mapping[str, Any]) -> dict[str, str | None] | None:
    """Of what was held, what a settled request cost and what became credit, in words."""
    if found["stage"] != Stage.SETTLED or found["cohort_size"] is None:
        return None
    terms = RequestTerms.from_json(found["terms"])
    cost = found["cohort_size"] * terms.price + terms.fee
    back = terms.escrow - cost
    return {"cost": amount(cost), "credit": amount(back) if back else None}


def _step(of: Mapping[str, Any]) -> dict[str, Any]:
    at = of["at"]
    return {**of, "when": None if at is None else {"iso": iso(at), "text": moment(at)}}


def _waiting(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if given is None:
        return None
    until = given.get("until")
    return {
        "message": given["message"],
        "remedy": given["remedy"],
        "until": None if until is None else moment(until),
    }


def _listed(found: list[dict[str, Any]], titles: Mapping[str, str]) -> list[dict[str, Any]]:
    of_datasets = {each["dataset"] for each in found}
    labels = {
        each: site().operator.reads.labels(hash_field(each, "dataset")) for each in of_datasets
    }
    return [_row(each, titles, labels[each["dataset"]]) for each in found]


def _row(
    of: Mapping[str, Any], titles: Mapping[str, str], labels: Mapping[str, str]
) -> dict[str, Any]:
    title = titles.get(of["analysis"], of["analysis"])
    return {
        "id": of["request"],
        "title": titled(title, {"variable": of["variable"]}, labels),
        "purpose": of["purpose"],
        "submitted_at": of["submitted_at"],
        "wording": wording(of["stage"]),
        "lane": lanes.words_of(of["lane"]),
    }


def _newest(request: str) -> int:
    """Of the log's rows that the page was made with: news are what comes after it."""
    rows = site().operator.reads.stages_since(request, 0)
    return int(rows[-1]["id"]) if rows else 0


def _since() -> int:
    given = flask.request.args.get("since", "")
    fits = given.isascii() and given.isdigit() and len(given) < 19
    return int(given) if fits else 0
