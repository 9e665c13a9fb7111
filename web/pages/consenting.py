"""The page on which a patient reads a class and consents to it, and on which the same patient stops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import flask

from marketplace.wire.http import hash_field
from marketplace.wire.plain import plain
from marketplace.wire.terms import ClassTerms
from web import budgets, consents, sessions
from web.pages.datasets import HEADINGS, class_of, name_of, variables_of
from web.pages.me import DAY, consent_of, stop_facts
from web.showing import moment
from web.site import site

LASTS: Final = (
    ("3 months", 91),
    ("6 months", 182),
    ("1 year", 365),
    ("2 years", 730),
    ("5 years", 1_826),
    ("10 years", 3_652),
)
"""What a consent may last, in days."""
SMALLER: Final = 10
"""How many of a smaller study, as the page gives an example of one, spend what the largest does."""

routes = flask.Blueprint("consenting", __name__)


@routes.get("/me/<dataset>/classes/<int:index>")
def show(dataset: str, index: int) -> str:
    """One class in plain words, and the consent to it."""
    key, account = hash_field(dataset, "dataset"), sessions.account()
    found, consent = site().operator.reads.dataset(key), consent_of(key, account)
    class_, now = class_of(found, index), site().operator.reads.now()
    return flask.render_template(
        "me/class.html",
        dataset=found["dataset"],
        name=name_of(found),
        class_=class_,
        headings=HEADINGS,
        consent=consent,
        wording=consents.wording_of(consent, now),
        stands=consents.stands(consent),
        here=consents.stands(consent) and consent["class_index"] == index,
        why_not=_why_not(found, class_, consent),
        record=consents.record_state(consent),
        limits=_limits(class_, consent),
        first_odds=_first_odds(class_, consent),
        example=_example(found),
        lasts=_lasts(now),
        facts=stop_facts(found, consent, account) | _signed(class_, consent),
    )


def _why_not(
    found: Mapping[str, Any], class_: Mapping[str, Any], consent: Mapping[str, Any]
) -> str | None:
    """Why there is nothing to press here; None where one can consent."""
    if class_["page"] is None:
        return "no_page"
    if consent["state"] == "moved":
        return "moved"
    if found["retired"]:
        return "retired"
    state = consents.record_state(consent)
    return None if state == "stored" else f"record_{state}"


def _limits(class_: Mapping[str, Any], consent: Mapping[str, Any]) -> list[dict[str, str]]:
    terms: ClassTerms = class_["terms"]
    return [
        {
            "value": str(step.cap),
            "label": f"At most {step.right} times in 100",
            "hint": _pays_for(step, consent["spent"], terms.max_cost),
        }
        for step in budgets.steps(consent["spent"], terms.max_cost, _members(class_))
    ]


def _pays_for(step: budgets.Step, spent: int, most: int) -> str:
    """How many studies a limit lets in, also smaller ones: two limits may let in as many of the largest."""
    smaller = (step.cap - spent) * SMALLER // most
    largest = "1 study" if step.requests == 1 else f"{step.requests:,} studies"
    return (
        f"Enough for {smaller:,} small studies, or for {largest} of the kind that gives away the most: as "
        f"much as {SMALLER} small ones. On the contract: {step.cap:,} nano-rho."
    )


def _members(class_: Mapping[str, Any]) -> int:
    return max(1, int(class_["live"]))


def _example(found: Mapping[str, Any]) -> str:
    """What two values are meant of, by one of the dataset's own; empty where nobody can tell."""
    variables = variables_of(found)
    return f" of “{plain(variables[0]['label'])}”" if variables else ""


def _first_odds(class_: Mapping[str, Any], consent: Mapping[str, Any]) -> dict[str, str]:
    """Of the smallest limit: what the figure shows before anything is chosen is hidden."""
    return budgets.odds(consent["spent"] + class_["terms"].max_cost, _members(class_))


def _lasts(now: int) -> list[dict[str, str]]:
    """What the contract takes: no shorter than its horizon, and a day for the time until it is on chain."""
    horizon = site().operator.reads.shortest_consent()
    lasting = [(label, days * DAY) for label, days in LASTS if days * DAY >= horizon + DAY]
    chosen = lasting or [("As short as the contract takes", horizon + DAY)]
    return [
        {"value": str(now + each), "label": label, "hint": f"Until {moment(now + each)}"}
        for label, each in chosen
    ]


def _signed(class_: Mapping[str, Any], consent: Mapping[str, Any]) -> dict[str, Any]:
    """What the browser holds against the words on the page before it signs."""
    page, terms = class_["page"], class_["terms"]
    return {
        "index": class_["index"],
        "definition": class_["definition"],
        "page": None if page is None else page.to_json(),
        "terms": terms.to_json(),
        "members": _members(class_),
        "least": consent["spent"] + terms.max_cost,
    }
