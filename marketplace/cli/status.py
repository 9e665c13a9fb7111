"""`usufruct status`: where a request or a consent stands, in plain words. Everything in it is public."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from marketplace.chain.consents import consent_document
from marketplace.cli.environment import from_environment, is_typed
from marketplace.cli.own_key import BROWSER_KEY, PASSPHRASE_FILE, OwnKey
from marketplace.cli.say import FILE, HEX32, refusals_as_words, say
from marketplace.cli.way import Way, travels
from marketplace.client import account_of
from marketplace.client.http import malformed_answer, objects, reading
from marketplace.client.waiting import PAST_DATES, waiting_words
from marketplace.vocabulary import Lane, address
from marketplace.wire.amounts import Token
from marketplace.wire.http import to_hex
from marketplace.wire.plain import counted
from marketplace.wire.terms import class_id
from marketplace.words import LANES, odds_of

REQUEST: Final[Mapping[str, str]] = {
    "none": "The chain knows no such request: it was never opened.",
    "submitted": "Handed in and not paid: nothing happens until it is opened on chain, by {seal}.",
    "opened": "Paid into escrow. Patients may still rest their consent for it. To be sealed by {seal}.",
    "funded": "Paid into escrow. Patients may still rest their consent for it. To be sealed by {seal}.",
    "frozen": "Its cohort is being counted: consents can leave it and none can join. To be sealed by {seal}.",
    "sealed": "Its cohort of {members} is sealed: no revocation changes it any more. Answer due by {settle}; "
    "without one, `usufruct default` gets back what is owed. Until then `usufruct record-key` has the keys "
    "turned, should its operator do nothing.",
    "keyed": "Custodians turn their keys for its cohort of {members}. Answer due by {settle}; without one, "
    "`usufruct default` gets back what is owed.",
    "noised": "Custodians have fixed the noise for its cohort of {members}, and decrypt its sums. Answer due "
    "by {settle}; without one, `usufruct default` gets back what is owed.",
    "computed": "Its answer is computed and noised; custodians check it before they sign.",
    "cleared": "Custodians have signed its answer, which is about to be settled.",
    "settled": "Answered, for a cohort of {members}. Its receipt holds the result, sealed to the researcher.",
    "refused": "It cannot go on. Escrow that is still on chain comes back as credit with `usufruct cancel`; "
    "`usufruct withdraw-credit` then pays it out.",
    "cancelled": "Cancelled. Everything came back as credit: `usufruct withdraw-credit` pays it out.",
    "reclaimed": "Not sealed in time. Everything came back as credit: see `usufruct withdraw-credit`.",
    "defaulted": "Not settled in time. What its researcher is owed is credit: `usufruct withdraw-credit`.",
}
CONSENT: Final[Mapping[str, str]] = {
    "none": "No consent is in force here: no cohort counts this patient.",
    "live": "The consent to class {index} is live until {expiry}: its cohorts may count this patient.",
    "resting": "The consent to class {index} rests until it can wake by itself: a cohort is being counted, "
    "or too little budget is left.",
    "rested_by_patient": "The consent to class {index} is paused: no cohort counts this patient until "
    "`usufruct wake`.",
    "moved": "This address was left for another, to which record, consent and earnings moved.",
}


@click.command()
@travels()
@click.option("--request", type=HEX32, help="Of a request.")
@from_environment("--dataset", type=HEX32, help="Of a patient's consent in this dataset.")
@click.option("--patient", help="With --dataset: the patient's address.")
@click.option("--key-file", type=FILE, help="With --dataset: the patient's key, for the address.")
@BROWSER_KEY
@PASSPHRASE_FILE
@refusals_as_words
def status(
    way: Way,
    request: bytes | None,
    dataset: bytes | None,
    patient: str | None,
    key_file: Path | None,
    browser_key: Path | None,
    passphrase_file: Path | None,
) -> None:
    """Say where a request stands, or a patient's consent, lifetime budget and earnings."""
    if request is not None and not is_typed("dataset"):
        dataset = None  # which the environment gave
    if (request is None) == (dataset is None):
        raise click.UsageError("either --request or --dataset is needed")
    if request is not None:
        found = _request(way, request)
        with reading("request"):
            words = request_words(found)
        say({**found, "in_words": words})
        return
    if dataset is None or [patient, key_file, browser_key].count(None) != 2:
        raise click.UsageError("with --dataset, either --patient or --key-file is needed")
    own = OwnKey(key_file, browser_key, passphrase_file)
    who = account_of(own.of(dataset)) if patient is None else address(patient, "patient")
    consent = _consent(way, dataset, who)
    if consent["state"] == "none":
        _require_dataset(way, dataset)  # else a mistyped one looks like a consent that ended
    class_ = _class(way, dataset, consent["class_index"])
    token = way.token
    with reading("consent"):
        words = consent_words(consent, class_, token)
    say({"patient": who, **consent, "in_words": words})


@dataclass(frozen=True)
class ClassFacts:
    """Highest privacy cost of one request (nano-rho), and how many consents are live."""

    max_cost: int
    live: int


def request_words(found: Mapping[str, Any]) -> list[str]:
    """Sentences about a request as `_request` found it."""
    lane = [LANES[lane_told(found["lane"])]] if found.get("lane") is not None else []
    words = _sentence(REQUEST, found, "stage").format(
        seal=_date(found["seal_deadline"]),
        settle=_date(found["settle_deadline"]),
        members=found["cohort_size"],
    )
    reason, waiting = found.get("reason"), found.get("waiting")
    told = [f"{reason['message']} {reason['remedy']}"] if reason else []
    waits = [f"It waits: {waiting_words(waiting)}"] if waiting else []
    return [words, *lane, *told, *waits, *_at_work_words(found.get("at_work"))]


def _at_work_words(at_work: Mapping[str, Any] | None) -> list[str]:
    """What its operator is doing for it, and for how long by now."""
    if not at_work:
        return []
    return [f"At work for {counted(int(at_work['seconds']), 'second')}: {at_work['message']}"]


def lane_told(name: object) -> Lane:
    """A lane by its name. Raises Refusal (`malformed_answer`) for one that an operator made up."""
    for lane in Lane:
        if name == lane.name.lower():
            return lane
    raise malformed_answer("lane")


def consent_words(consent: Mapping[str, Any], class_: ClassFacts | None, token: Token) -> list[str]:
    """Sentences about consent, budget, odds, earnings, record and guardian."""
    words = [state_words(consent)]
    if class_ is not None:
        words += _budget_words(consent, class_)
    words.append(f"Earned and not withdrawn: {token.amount(consent['owed'])}.")
    return words + _record_words(consent["record"]) + guardian_words(consent["guardian"])


def state_words(consent: Mapping[str, Any]) -> str:
    """Whether it is in force, in a sentence."""
    index, expiry = consent["class_index"], _date(consent["expiry"])
    return _sentence(CONSENT, consent, "state").format(index=index, expiry=expiry)


def _budget_words(consent: Mapping[str, Any], class_: ClassFacts) -> list[str]:
    spent, cap = consent["spent"], consent["cap"]
    left = max(0, cap - spent)
    members, more = max(1, class_.live), counted(left // class_.max_cost, "request")
    return [
        f"Of the lifetime budget of {cap:,} nano-rho, {spent:,} are spent and {left:,} are left: "
        f"{more} of the {class_.max_cost:,} that the class allows at most.",
        odds_of(spent, members, "all results so far")["in_words"],
        odds_of(max(spent, cap), members, "all results once the whole budget is spent")["in_words"],
    ]


def _record_words(record: Mapping[str, Any]) -> list[str]:
    if record["erased"]:
        return [
            "The record was erased: custodians destroy their shares, and nothing brings them back."
        ]
    if record["suspended"]:
        return [
            "The record is suspended, since its issuer is no longer trusted: no cohort counts it."
        ]
    if not record["version"]:
        return ["No record is stored under this address."]
    return []


def guardian_words(guardian: Mapping[str, Any] | None) -> list[str]:
    """Who acts for the patient, until when and how; nothing where nobody does."""
    if guardian is None:
        return []
    powers = "revoke, rest, grant and wake" if guardian["may_grant"] else "revoke and rest"
    return [
        f"{guardian['address']} is guardian until {_date(guardian['expiry'])} and may {powers}."
    ]


def _sentence(words: Mapping[str, str], found: Mapping[str, Any], field: str) -> str:
    """What is said of it. Raises Refusal (`malformed_answer`) for a word that an operator made up."""
    said = words.get(str(found[field]))
    if said is None:
        raise malformed_answer(field)
    return said


def _date(seconds: int) -> str:
    if not isinstance(seconds, int) or not 0 <= seconds < PAST_DATES:
        return str(seconds)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


# --- asking the operator, or a node of one's own


def _request(way: Way, request: bytes) -> dict[str, Any]:
    if not way.past_operator:
        found = way.market.api.get(f"/api/v1/requests/{to_hex(request)}")
        with reading("terms"):
            terms = found["terms"]
            deadlines = {
                "seal_deadline": terms["sealDeadline"],
                "settle_deadline": terms["settleDeadline"],
                "lane": Lane(terms["lane"]).name.lower(),
            }
        return found | deadlines
    view = way.market.chain.request(request)
    return {
        "request": to_hex(request),
        "researcher": view.researcher,
        "stage": view.stage.name.lower(),
        "lane": Lane(view.lane).name.lower() if view.lane else None,
        "cohort_size": view.members if view.was_sealed else None,
        "seal_deadline": view.seal_deadline,
        "settle_deadline": view.settle_deadline,
    }


def _consent(way: Way, dataset: bytes, patient: str) -> dict[str, Any]:
    if way.past_operator:
        return consent_document(way.market.chain, dataset, patient)
    return way.market.consent(dataset, patient)


def _require_dataset(way: Way, dataset: bytes) -> None:
    """Raises Refusal (`unknown_dataset`)."""
    if way.past_operator:
        way.market.chain.dataset(dataset)
    else:
        way.market.dataset_document(dataset)


def _class(way: Way, dataset: bytes, index: int) -> ClassFacts | None:
    if index == 0:
        return None
    if way.past_operator:
        chain, class_ = way.market.chain, class_id(dataset, index)
        live = sum(shard.live for shard in chain.shards(class_))
        return ClassFacts(chain.class_terms(class_).max_cost, live)
    classes = objects(way.market.dataset_document(dataset), "classes")
    with reading("class"):
        found = dict(enumerate(classes, 1))[index]
        facts = ClassFacts(int(found["terms"]["maxCost"]), int(found["live"]))
    if facts.max_cost <= 0:
        raise malformed_answer("maxCost")
    return facts
