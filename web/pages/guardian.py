"""A guardian's pages: whose consents it may stop, by the chain, and Stop for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flask

from marketplace.standing import Ward
from marketplace.vocabulary import Address, address
from marketplace.wire.http import hash_field, to_hex
from web import consents, sessions
from web.pages.datasets import class_of, name_of
from web.pages.me import consent_of, guardian_now, stop_facts
from web.site import site

routes = flask.Blueprint("guardian", __name__)


@routes.get("/guardian")
def home() -> str:
    """Every record whose guardian the account is that is signed in; and the address to be appointed by."""
    account = sessions.account()
    wards = [_listed(each) for each in sessions.standings().wards(account)]
    return flask.render_template("guardian/home.html", account=account, wards=wards)


@routes.get("/guardian/<dataset>/<account>")
def show(dataset: str, account: str) -> str:
    """One record's consent, as far as its guardian needs it, and Stop. Whoever else comes is told so."""
    ward = Ward(hash_field(dataset, "dataset"), address(account, "account"))
    guardian, reads = sessions.account(), site().operator.reads
    found, consent = reads.dataset(ward.dataset), consent_of(ward.dataset, ward.patient)
    appointed = _appointed(consent, guardian, reads.now())
    return flask.render_template(
        "guardian/show.html",
        name=name_of(found),
        patient=ward.patient,
        account=guardian,
        appointed=appointed,
        consent=consent,
        wording=consents.wording_of(consent, reads.now()),
        stands=consents.stands(consent),
        class_=class_of(found, consent["class_index"]) if consent["class_index"] else None,
        dataset=found["dataset"],
        facts=stop_facts(found, consent, ward.patient)
        | {"guardian": guardian, "acts": appointed is not None},
    )


def _appointed(consent: Mapping[str, Any], account: Address, now: int) -> Mapping[str, Any] | None:
    found = guardian_now(consent, now)
    return found if found is not None and found["address"] == account else None


def _listed(ward: Ward) -> dict[str, Any]:
    reads = site().operator.reads
    consent = consent_of(ward.dataset, ward.patient)
    return {
        "url": f"/guardian/{to_hex(ward.dataset)}/{ward.patient}",
        "name": name_of(reads.dataset(ward.dataset)),
        "patient": ward.patient,
        "wording": consents.wording_of(consent, reads.now()),
        "stands": consents.stands(consent),
        "until": consent["guardian"]["expiry"],
    }
