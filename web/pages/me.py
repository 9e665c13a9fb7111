"""A patient's own pages: what one address has, its consent and how to stop, and the messages it signs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import flask

from marketplace.errors import BadParameter
from marketplace.vocabulary import Address
from marketplace.wire.http import hash_field, to_hex
from marketplace.wire.messages import Message
from web import budgets, carrying, consents, desks, sessions
from web.access import NotAllowed
from web.pages.datasets import class_of, classes_of, name_of
from web.showing import moment
from web.site import site

DAY: Final = 86_400
GUARDIAN_DAYS: Final = (("One year", 365), ("Three years", 3 * 365), ("Ten years", 10 * 365))

routes = flask.Blueprint("me", __name__)


@routes.get("/me")
def home() -> str:
    """What the address that is signed in has. Others of the same person are known to the browser alone."""
    account = sessions.account()
    own = [_listed(each, account) for each in _datasets_of(account)]
    return flask.render_template("me/home.html", account=account, own=own, desks=desks.desks())


@routes.get("/me/<dataset>")
def show(dataset: str) -> str:
    """One consent: where it stands, Stop, rest, earnings, guardian."""
    key, account = hash_field(dataset, "dataset"), sessions.account()
    found, consent = site().operator.reads.dataset(key), consent_of(key, account)
    now = site().operator.reads.now()
    return flask.render_template(
        "me/show.html",
        dataset=found["dataset"],
        name=name_of(found),
        account=account,
        consent=consent,
        now=now,
        wording=consents.wording_of(consent, now),
        record=consents.RECORDS[consents.record_state(consent)],
        stands=consents.stands(consent),
        may_rest=consents.may_rest(consent),
        may_wake=consents.may_wake(consent, now),
        class_=class_of(found, consent["class_index"]) if consent["class_index"] else None,
        classes=classes_of(found),
        budget=_budget(found, consent),
        guardian=guardian_now(consent, now),
        guardians_link=f"{site().origin}/guardian/{found['dataset']}/{account}",
        guardian_choices=[_until(now + days * DAY, label) for label, days in GUARDIAN_DAYS],
        facts=stop_facts(found, consent, account),
    )


@routes.get("/me/<dataset>/enter")
def enter(dataset: str) -> flask.typing.ResponseReturnValue:
    """To the consent of whoever has a record here; else to where one begins, or is told of its move."""
    key, account = hash_field(dataset, "dataset"), sessions.account()
    below = ""
    if not sessions.standings().has_record(account, key):
        below = "/key" if consent_of(key, account)["state"] == "moved" else "/join"
    return flask.redirect(f"/me/{to_hex(key)}{below}", 303)


@routes.post("/me/<dataset>/messages")
def carry(dataset: str) -> flask.Response:
    """`{"message"}`, signed -> `{"kind", "transaction"}`: hands it to the chain.

    Raises:
        Refusal: `malformed_message`; `not_allowed` for what is neither about the account that is signed in
            nor signed by it; and whatever the relay or the contract refuses, at its field.
    """
    raw, message = carrying.uploaded()
    _require_own(message, sessions.account())
    _require_of(message, to_hex(hash_field(dataset, "dataset")))
    return carrying.carried(raw)


def consent_of(dataset: bytes, account: Address) -> dict[str, Any]:
    """Of the account that is signed in, as the chain has it now."""
    return site().operator.reads.consent(dataset, account)


def stop_facts(
    found: Mapping[str, Any], consent: Mapping[str, Any], account: Address
) -> dict[str, Any]:
    """What the page's module needs to sign for this consent, and keeps for the day the operator is down."""
    return {
        "dataset": found["dataset"],
        "name": name_of(found),
        "account": account,
        "state": consent["state"],
        "sequence": consent["sequence"],
        "expiry": consent["expiry"],
    }


def guardian_now(consent: Mapping[str, Any], now: int) -> Mapping[str, Any] | None:
    """Who may act for this patient, at `now` (unix seconds, chain time)."""
    guardian: Mapping[str, Any] | None = consent["guardian"]
    return guardian if guardian is not None and guardian["expiry"] > now else None


# --- what is shown


def _datasets_of(account: Address) -> list[dict[str, Any]]:
    """Every dataset in which the address has a record, in whatever state."""
    reads, known = site().operator.reads, sessions.standings()
    return [reads.dataset(each) for each in reads.dataset_ids() if known.has_record(account, each)]


def _listed(found: Mapping[str, Any], account: Address) -> dict[str, Any]:
    consent = consent_of(bytes.fromhex(found["dataset"][2:]), account)
    return {
        "dataset": found["dataset"],
        "name": name_of(found),
        "consent": consent,
        "stands": consents.stands(consent),
        "wording": consents.wording_of(consent, site().operator.reads.now()),
    }


def _budget(found: Mapping[str, Any], consent: Mapping[str, Any]) -> dict[str, Any]:
    """What is spent and what is left, in nano-rho and in odds; none where nothing was ever granted."""
    cap, spent, index = consent["cap"], consent["spent"], consent["class_index"]
    members = max(1, class_of(found, index)["live"]) if index else 1
    limit = max(cap, spent)
    return {
        "left": max(0, cap - spent),
        "spent": budgets.odds(spent, members, budgets.SPENT) if spent else None,
        "limit": budgets.odds(limit, members) if limit else None,
    }


def _until(at: int, label: str) -> dict[str, str]:
    return {"value": str(at), "label": label, "hint": f"Until {moment(at)}"}


# --- what may be carried


def _require_own(message: Message, account: Address) -> None:
    signers = {signer for signer, _ in message.signatures()}
    if account not in {message.subject, *signers}:
        raise NotAllowed(
            message="This message is neither about the account that is signed in, nor signed by it.",
            remedy="Sign in with the account that it is about.",
            field="message.patient",
        )


def _require_of(message: Message, dataset: str) -> None:
    if message.struct.to_json().get("dataset") != dataset:
        raise BadParameter(
            message="The message is about another dataset than this page, or about none.",
            remedy="Send it from the page of its own dataset.",
            field="message.dataset",
        )
