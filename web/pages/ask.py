"""The request builder: what a question costs and brings, who permits it, handing it in before it is paid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import flask

from marketplace import conditions, matches, words
from marketplace.errors import BadParameter, Refusal
from marketplace.vocabulary import Address, Lane
from marketplace.wire import countries, units
from marketplace.wire.data_use import DUTIES, FIRST_USE, KINDS, USES, purpose_words
from marketplace.wire.http import answer, hash_field, read_body, to_hex
from marketplace.wire.plain import plain
from marketplace.wire.terms import Credential, Purpose, RequestTerms, index_of
from web import lanes, sessions
from web.pages.datasets import classes_of, name_of
from web.pages.join import dictionary_of
from web.pages.requests import PARAMETERS, parameters
from web.site import site

MOST_BODY: Final = 64 * 1024
MOST_FILTERS: Final = 8
MOST_AXES: Final = 3
FAR: Final = 2**40 - 1
"""End of a credential that somebody only thinks of getting."""
NOTHING: Final = bytes(32)

routes = flask.Blueprint("ask", __name__)


@routes.get("/ask")
def show() -> str:
    """`?dataset=`: the builder for one dataset; without it, datasets to choose from."""
    reads, given = site().operator.reads, flask.request.args.get("dataset")
    if given is None:
        found = [{"id": each["dataset"], "name": name_of(each)} for each in reads.datasets()]
        return flask.render_template("ask/choose.html", datasets=found)
    dataset = reads.dataset(hash_field(given, "dataset"))
    account, researcher = _who()
    return flask.render_template(
        "ask/show.html",
        dataset=dataset["dataset"],
        name=name_of(dataset),
        why_not=_why_not(dataset),
        classes=classes_of(dataset),
        labels=[(each["name"], plain(each["label"])) for each in _variables(dataset)],
        catalogue=lanes.analyses(),
        lanes=lanes.offers(dataset),
        cuts=_cuts(dataset),
        steps=_steps(dataset),
        uses=[{"value": str(code - FIRST_USE), "label": _title(USES[code])} for code in USES],
        duties=[{"value": str(bit), "label": _title(DUTIES[bit])} for bit in DUTIES],
        kinds=[(str(kind), _title(KINDS[kind])) for kind in KINDS],
        countries=countries.by_name(),
        no_sampling=words.NO_SAMPLING,
        most_filters=MOST_FILTERS,
        most_axes=MOST_AXES,
        account=account,
        researcher=researcher,
        facts=_facts(dataset, account, researcher),
    )


@routes.post("/ask/quote")
def quote() -> flask.Response:
    """`{"dataset", "classes", "analysis", "parameters"}` and `"cost"` or `"target_error"` -> the quote, in
    the vault lane unless a `lane` is named.

    With `canonical`, the parameters with every default written out, and `asked`, the same in words. Of a
    question with a `purpose`, which changes no price, there is none before that can be read.
    """
    keys = {"dataset", "classes", "analysis", "parameters"}
    asked = read_body(keys, frozenset({"cost", "target_error", "purpose", "lane"}), MOST_BODY)
    if "purpose" in asked:
        Purpose.from_json(asked.pop("purpose"), "purpose.").require_short()
    asked["dataset"] = to_hex(hash_field(asked["dataset"], "dataset"))
    reads = site().operator.reads
    found, canonical = reads.quote(asked), reads.canonical(asked)
    labels = reads.labels(hash_field(asked["dataset"], "dataset"))
    told = [[label, value] for label, value in parameters(canonical, labels)]
    return answer({**found, "canonical": canonical, "asked": told})


@routes.post("/ask/decisions")
def decisions() -> flask.Response:
    """`{"dataset", "purpose"}` -> for each class its live consents and every reason against it.

    With `kind` and `country`, for a credential that somebody thinks of getting.
    """
    given = read_body({"dataset", "purpose"}, frozenset({"kind", "country"}), MOST_BODY)
    purpose = Purpose.from_json(given["purpose"], "purpose.")
    dataset = hash_field(given["dataset"], "dataset")
    found = site().operator.matches.decisions(dataset, purpose, _requester(given))
    return answer(
        {
            "purpose": purpose_words(purpose),
            "live": matches.live(found),
            "decisions": [_decision(each) for each in found],
        }
    )


@routes.get("/ask/opening")
def opening() -> flask.Response:
    """What the account that is signed in needs to open a request: chain time, windows, token, permit."""
    return answer(site().operator.reads.opening(sessions.account()))


@routes.post("/ask/requests")
def submit() -> flask.Response:
    """`{"terms", "parameters"}` -> `{"request"}`: handed in before it is opened and paid on chain.

    Raises:
        Refusal: whatever the market or this operator would refuse it for; nothing is stored then.
    """
    given = read_body({"terms", "parameters"}, limit=MOST_BODY)
    terms = RequestTerms.from_json(given["terms"], "terms.")
    request = site().operator.pipeline.submit(sessions.account(), terms, given["parameters"])
    site().worker.nudge()
    return answer({"request": request})


# --- what the page knows


def _who() -> tuple[Address | None, bool]:
    """Who looks, and whether as a researcher: nobody, where that cannot be told."""
    try:
        current = sessions.current()
        if current is None:
            return None, False
        return current.account, sessions.standings().is_researcher(current.account)
    except Refusal:
        return None, False


def _facts(dataset: dict[str, Any], account: Address | None, researcher: bool) -> dict[str, Any]:
    return {
        "dataset": dataset["dataset"],
        "account": account,
        "researcher": researcher,
        "dictionary": dictionary_of(dataset),
        "dictionary_hash": dataset["dictionary_hash"],
        "classes": [
            {"index": index_of(bytes.fromhex(each["class"][2:])), "terms": each["terms"]}
            for each in dataset["classes"]
        ],
        "analyses": [
            {
                "id": each["id"],
                "lanes": each["lanes"],
                "asks": each["asks"],
                "tells": each["tells"],
                "parameters": [named["name"] for named in each["parameters"]],
            }
            for each in lanes.analyses()
        ],
        "means": {str(int(lane)): lanes.meanings(lane) for lane in Lane},
        "together": _together(dataset),
        "names": PARAMETERS,
    }


def _variables(dataset: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [] if dataset["dictionary"] is None else list(dataset["dictionary"]["variables"])


def _cuts(dataset: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Of each number that an encoding cuts: its label, and where. Empty without an encoding."""
    encoding = (dataset["dictionary"] or {}).get("encoding", {"variables": []})
    named = {each["name"]: plain(each["label"]) for each in _variables(dataset)}
    cut = [each for each in encoding["variables"] if each.get("edges")]
    return [(named[each["name"]], ", ".join(each["edges"])) for each in cut]


def _steps(dataset: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Of each encoded number: its label, and to what it is rounded before it is encrypted."""
    encoding = (dataset["dictionary"] or {}).get("encoding", {"variables": []})
    known = {each["name"]: each for each in _variables(dataset)}
    return [
        (
            plain(known[each["name"]]["label"]),
            units.rounded_to(each["step"], known[each["name"]]["unit"]),
        )
        for each in encoding["variables"]
        if "step" in each
    ]


def _together(dataset: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    """Which conditions an analysis of sums can have, by its id and its variable; see `conditions`."""
    if dataset["dictionary"] is None:
        return {}
    key = bytes.fromhex(dataset["dataset"][2:])
    return conditions.together(site().operator.reads.dictionaries.of(key))


def _why_not(dataset: Mapping[str, Any]) -> str:
    """Why nothing can be asked here; empty where something can."""
    if dataset["retired"]:
        return "This dataset is retired: no new request can be opened on it."
    if dataset["dictionary"] is None:
        return "Its steward has not handed the data dictionary to this operator."
    return "" if dataset["classes"] else "Its steward has not published a class yet."


def _title(words: str) -> str:
    return words[0].upper() + words[1:]


# --- for whom


def _requester(given: Mapping[str, Any]) -> Address | Credential | None:
    """A credential thought of, where one is named; else the account that is signed in, if any."""
    if "kind" in given or "country" in given:
        return Credential(
            _kind(given.get("kind")), _country(given.get("country")), FAR, False, *([NOTHING] * 3)
        )
    return _who()[0]


def _kind(given: object) -> int:
    if isinstance(given, int) and not isinstance(given, bool) and given in KINDS:
        return given
    raise BadParameter(
        message="kind names no kind of organisation.",
        remedy=f"Give one of: {', '.join(f'{kind} ({KINDS[kind]})' for kind in KINDS)}.",
        field="kind",
    )


def _country(given: object) -> bytes:
    return countries.code_of(given if isinstance(given, str) else "", "country").encode("ascii")


def _decision(of: matches.Decision) -> dict[str, Any]:
    return {
        "index": of.index,
        "live": of.live,
        "permitted": of.permitted,
        "reasons": [
            {"code": each.code, "sentence": each.sentence, "remedy": each.remedy}
            for each in of.reasons
        ],
    }
