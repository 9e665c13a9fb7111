"""What a patient's consent was and may next be used for: announced studies, and the timeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import flask

from marketplace import words
from marketplace.timelines import Entry, Study
from marketplace.vocabulary import Address
from marketplace.wire.data_use import purpose_words
from marketplace.wire.http import hash_field, to_hex
from web import budgets, consents, entries, lanes, sessions
from web.pages.datasets import name_of
from web.pages.me import consent_of, stop_facts
from web.pages.requests import organisation
from web.site import site

UNKNOWN: Final = "An analysis that is not in this catalogue"

routes = flask.Blueprint("uses", __name__)


@routes.get("/me/<dataset>/studies")
def studies(dataset: str) -> str:
    """Announced studies that name the class of this consent and count nobody yet."""
    key, account = hash_field(dataset, "dataset"), sessions.account()
    found, consent = site().operator.reads.dataset(key), consent_of(key, account)
    now = site().operator.reads.now()
    return flask.render_template(
        "me/studies.html",
        dataset=found["dataset"],
        name=name_of(found),
        consent=consent,
        wording=consents.wording_of(consent, now),
        counts=consents.counts(consent, now),
        may_rest=consents.may_rest(consent),
        may_wake=consents.may_wake(consent, now),
        studies=[_study(each, consent, now) for each in _announced(key, consent)],
        facts=stop_facts(found, consent, account),
    )


@routes.get("/me/<dataset>/timeline")
def timeline(dataset: str) -> str:
    """Every use, refusal and payment, the newest first."""
    key, account = hash_field(dataset, "dataset"), sessions.account()
    found, lines = site().operator.reads.dataset(key), _lines(key, account)
    spent = consent_of(key, account)["spent"]
    return flask.render_template(
        "me/timeline.html",
        dataset=found["dataset"],
        name=name_of(found),
        lines=lines,
        uses=sum(each["spent"] is not None for each in lines),
        paid=sum(each["paid"] or 0 for each in lines),
        odds_=budgets.odds(spent, 1, budgets.SPENT) if spent else None,
        facts={"file": f"timeline-{found['dataset'][2:10]}.csv", "rows": entries.cells(lines)},
    )


def _announced(dataset: bytes, consent: Mapping[str, Any]) -> list[Study]:
    if not consents.stands(consent):
        return []
    return site().operator.timelines.studies(dataset, bytes.fromhex(consent["class"][2:]))


def _study(of: Study, consent: Mapping[str, Any], now: int) -> dict[str, Any]:
    return {
        "id": to_hex(of.request),
        "title": _title(of),
        "lane": lanes.words_of(of.lane),
        "purpose": purpose_words(of.purpose),
        "asks": organisation(of.credential),
        "price": of.price,
        "cost": of.cost,
        "odds": words.odds_of(of.cost, None, "the result of this study"),
        "notice_ends": of.notice_ends,
        "notice_runs": now < of.notice_ends,
        "seal_deadline": of.seal_deadline,
        "out_of_reach": out_of_reach(of, consent),
    }


def out_of_reach(of: Study, consent: Mapping[str, Any]) -> str:
    """Why it would not count this patient although the consent is live; empty where it would."""
    if consent["cap"] - consent["spent"] < of.cost:
        return "Your budget does not pay for it."
    if consent["expiry"] < of.seal_deadline:
        return "Your consent ends before it has to be sealed."
    return ""


def _title(of: Study) -> str:
    return _titles().get(to_hex(of.analysis_hash), UNKNOWN)


def _titles() -> dict[str, str]:
    """By the hash that the chain has: what an operator calls it is not asked."""
    return lanes.titles("hash")


def _lines(dataset: bytes, account: Address) -> list[dict[str, Any]]:
    """Each with what its request asked, so that a link to it can be told from its neighbours."""
    timelines, titles = site().operator.timelines, _titles()
    found = timelines.timeline(dataset, account)
    openings = timelines.ledger.requests().by_id

    def line(entry: Entry) -> dict[str, Any]:
        opening = None if entry.request is None else openings.get(entry.request)
        if opening is None:
            return entries.shown(entry) | {"asked": UNKNOWN}
        title = titles.get(to_hex(opening.terms.analysis), UNKNOWN)
        return entries.shown(entry, opening.terms.lane) | {"asked": title}

    return [line(each) for each in found]
