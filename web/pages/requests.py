"""Requests: who asked what, for which purpose, at what cost, and where it stands. All of it is public."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import flask

from marketplace import words
from marketplace.errors import Refusal
from marketplace.public import PublicRequest, place_of
from marketplace.stages import Stage
from marketplace.wire import countries
from marketplace.wire.data_use import KINDS, purpose_words
from marketplace.wire.http import hash_field, to_hex
from marketplace.wire.terms import Credential, RequestTerms
from web import lanes
from web.site import site
from web.wording import steps, wording

PER_PAGE: Final = 50
PARAMETERS: Final[Mapping[str, str]] = {
    "variable": "Variable",
    "level": "Quantile",
    "clip": "Values clipped to",
    "edges": "Edges of the cells",
    "axes": "Axes",
    "variables": "Variables",
    "outcome": "Outcome",
    "predictors": "Explained by",
    "penalty": "Penalty",
    "model": "Model",
    "time": "Time",
    "event": "Event",
    "group": "Groups of",
    "compare": "Compared",
    "cases": "Patients with missing values",
    "filters": "Only patients with",
}
"""Parameters of analyses of both lanes in the order in which they are read, and what a page calls them."""
NAMED: Final = ("group", "time", "variable")
"""Parameters that are the name of a variable; `variables` is a list of some."""

routes = flask.Blueprint("requests", __name__)


@routes.get("/requests")
def index() -> str:
    """Every request ever made, whoever operates it: the newest first, so many a page."""
    found = site().operator.public.page(_before(), PER_PAGE + 1)
    shown, titles = found[:PER_PAGE], _titles()
    older = shown[-1].written_place if len(found) > PER_PAGE else None
    datasets = {row.dataset for row in shown}
    names = {each: dataset_name(each) for each in datasets}
    labels = {each: site().operator.reads.labels(each) for each in datasets}
    return flask.render_template(
        "requests/index.html",
        requests=[
            _row(each, titles, labels[each.dataset]) | {"name": names[each.dataset]}
            for each in shown
        ],
        older=older,
    )


@routes.get("/requests/<request_id>")
def show(request_id: str) -> str:
    """One request: what was asked, of whom, and every stage that it passed."""
    key = hash_field(request_id, "request")
    own = _own(to_hex(key))
    found = _of_ours(own) if own else _of_another(site().operator.public.one(key))
    return flask.render_template(
        "requests/show.html",
        asked=found,
        wording=wording(found["stage"]),
        lane=lanes.words_of(found["lane"]),
        steps=steps(found["stage"], found["log"], found["lane"]),
        odds=words.odds_of(found["cost"], found["cohort"], "the result of this request"),
        settled=found["stage"] == Stage.SETTLED,
    )


def at_work_words(given: Mapping[str, Any] | None) -> str | None:
    """What is being done for a request at the moment, and since when."""
    if given is None:
        return None
    since = datetime.fromtimestamp(given["since"], UTC)
    return f"At work since {since:%H:%M:%S} UTC. {given['message']}"


def _before() -> tuple[int, int] | None:
    """What `?before=` names. Raises BadParameter."""
    given = flask.request.args.get("before")
    return None if given is None else place_of(given)


def _titles() -> dict[bytes, str]:
    """What analyses are called, by the hash that the chain knows them under."""
    return {bytes.fromhex(hash_[2:]): title for hash_, title in lanes.titles("hash").items()}


def _title(titles: Mapping[bytes, str], analysis: bytes) -> str:
    return titles.get(analysis, "An analysis that is not in this operator's catalogue")


def _row(
    of: PublicRequest, titles: Mapping[bytes, str], labels: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "id": to_hex(of.request),
        "title": titled(_title(titles, of.analysis_hash), {"variable": of.variable}, labels),
        "purpose": purpose_words(of.purpose),
        "dataset": to_hex(of.dataset),
        "asks": organisation(of.credential),
        "researcher": of.researcher,
        "opened_at": of.opened_at,
        "cohort": of.cohort,
        "max_patients": of.max_patients,
        "cost": of.cost,
        "right": words.right_at_most(of.cost, of.cohort),
        "wording": wording(of.here or of.stage),
        "lane": lanes.words_of(of.lane),
        "notice_ends": of.notice_ends if of.stage == "opened" else None,
    }


def dataset_name(dataset: bytes) -> str:
    """What a dataset is called: by its dictionary; by its id while its steward has not handed that over."""
    return site().operator.reads.dataset_name(dataset) or f"Dataset {to_hex(dataset)[:10]}"


def organisation(credential: Credential) -> str:
    """Who asks, as the credential authority vouches for it: `a public body in NL (Netherlands)`."""
    if credential.kind not in KINDS:
        return "somebody without a credential now"
    withdrawn = ", whose credential was withdrawn since" if credential.withdrawn else ""
    country = countries.named(credential.country.decode("latin-1"))
    return f"{KINDS[credential.kind]} in {country}{withdrawn}"


def _own(request: str) -> dict[str, Any] | None:
    """What this operator knows of a request; None of another's."""
    try:
        return site().operator.reads.request(request)
    except Refusal as refusal:
        if refusal.code != "unknown_request":
            raise
        return None


def _of_ours(found: Mapping[str, Any]) -> dict[str, Any]:
    terms = RequestTerms.from_json(found["terms"])
    labels = site().operator.reads.labels(terms.dataset)
    return {
        "id": found["request"],
        "title": titled(_title(_titles(), terms.analysis), found["parameters"], labels),
        "researcher": found["researcher"],
        "parameters": parameters(found["parameters"], labels),
        "dataset": to_hex(terms.dataset),
        "name": dataset_name(terms.dataset),
        "notice_ends": found["notice_until"],
        "classes": terms.classes,
        "purpose": purpose_words(terms.purpose),
        "cohort": found["cohort_size"],
        "max_patients": terms.max_patients,
        "price": terms.price,
        "fee": terms.fee,
        "cost": terms.cost,
        "seal_deadline": terms.seal_deadline,
        "settle_deadline": terms.settle_deadline,
        "lane": terms.lane,
        "stage": found["stage"],
        "log": found["stages"],
        "waiting": found["waiting"],
        "at_work": at_work_words(found["at_work"]),
        "reason": found["reason"],
    }


def _of_another(found: PublicRequest) -> dict[str, Any]:
    """Only what the chain says: the parameters and the log are its own operator's."""
    return {
        "id": to_hex(found.request),
        "title": _title(_titles(), found.analysis_hash),
        "researcher": found.researcher,
        "parameters": None,
        "dataset": to_hex(found.dataset),
        "name": dataset_name(found.dataset),
        "notice_ends": found.notice_ends,
        "classes": found.classes,
        "purpose": purpose_words(found.purpose),
        "cohort": found.cohort,
        "max_patients": found.max_patients,
        "price": found.price,
        "fee": None,
        "cost": found.cost,
        "seal_deadline": found.seal_deadline,
        "settle_deadline": found.settle_deadline,
        "lane": found.lane,
        "stage": found.stage,
        "log": [],
        "waiting": None,
        "at_work": None,
        "reason": None,
    }


def titled(title: str, given: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """An analysis with its one variable, where it has one: `Mean: Systolic blood pressure`."""
    variable = given.get("variable")
    return f"{title}: {labels.get(variable, variable)}" if isinstance(variable, str) else title


def parameters(given: Mapping[str, Any], labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """Label and value of each, in reading order; what this version or `labels` do not have by its own name.

    Args:
        labels: of the dataset's variables, by name.
    """
    known = [name for name in PARAMETERS if name in given]
    named = [*known, *sorted(given.keys() - set(known))]
    shown = _labelled(given, labels)
    return [(PARAMETERS.get(name, name), in_words(shown[name])) for name in named]


def _labelled(value: Any, labels: Mapping[str, str]) -> Any:
    """Parameters with each variable by its label, however deep."""
    if isinstance(value, list):
        return [_labelled(each, labels) for each in value]
    if not isinstance(value, Mapping):
        return value
    shown = {key: _labelled(each, labels) for key, each in value.items()}
    for key in NAMED:
        if isinstance(value.get(key), str):
            shown[key] = labels.get(value[key], value[key])
    if isinstance(value.get("variables"), list):
        shown["variables"] = [labels.get(str(each), each) for each in value["variables"]]
    return shown


def in_words(value: Any) -> str:
    """A parameter in one line, such as `80, 200` or `age >= 50; sex in female, other`."""
    if isinstance(value, Mapping):
        return " ".join(in_words(each) for each in _in_order(value))
    if isinstance(value, list):
        apart = "; " if any(isinstance(each, Mapping) for each in value) else ", "
        return apart.join(in_words(each) for each in value) or "none"
    return str(value)


def _in_order(value: Mapping[str, Any]) -> list[Any]:
    """A condition reads variable, op, value, whatever order it was written in."""
    known = [key for key in ("variable", "op", "value", "edges") if key in value]
    return [value[key] for key in (*known, *sorted(value.keys() - set(known)))]
