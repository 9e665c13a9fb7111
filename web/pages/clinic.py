"""An issuer's desk: invitations, and drafts of patients, opened and attested in the clinic's browser."""

from __future__ import annotations

from typing import Any, Final

import flask

from marketplace.drafts import LONGEST_INVITATION_DAYS, MOST_CODES, REASONS
from marketplace.errors import BadParameter
from marketplace.wire.http import answer, hash_field, read_body
from web import sessions
from web.pages import datasets
from web.pages.join import dictionary_of
from web.site import site

MOST_BODY: Final = 16 * 1024
"""Bytes: a hundred hashes, or an attestation and its signature."""

routes = flask.Blueprint("clinic", __name__)


@routes.get("/clinic/<dataset>")
def show(dataset: str) -> str:
    """Desk, invitations and waiting drafts of the issuer who is signed in."""
    key, account = hash_field(dataset, "dataset"), sessions.account()
    operator = site().operator
    found = operator.reads.dataset(key)
    desk = operator.drafts.desk_of(key, account)
    told = {
        "dataset": found["dataset"],
        "account": account,
        "dictionary": dictionary_of(found),
        "dictionary_hash": found["dictionary_hash"],
        "desk": None if desk is None else desk.to_json(),
        "name": datasets.name_of(found),
        "address": f"{site().origin}/me/{found['dataset']}/join",
    }
    return flask.render_template(
        "clinic/show.html",
        dataset=found,
        name=datasets.name_of(found),
        desk=desk,
        drafts=operator.drafts.waiting(key, account),
        invitations=operator.drafts.desks.invitations(key, account),
        reasons=REASONS,
        most_codes=MOST_CODES,
        most_days=LONGEST_INVITATION_DAYS,
        told=told,
    )


@routes.post("/clinic/<dataset>/desk")
def post_desk(dataset: str) -> flask.Response:
    """`{"desk", "signature"}` -> the same: where drafts are sealed to from now on."""
    given = read_body({"desk", "signature"}, limit=MOST_BODY)
    _require_own(dataset, given["desk"])
    desk = site().operator.drafts.post_desk(given["desk"], given["signature"])
    return answer(desk.to_json())


@routes.post("/clinic/<dataset>/invitations")
def invite(dataset: str) -> flask.Response:
    """`{"codes", "days"}` -> `{"invitations"}`: of each code, its hash alone comes here."""
    given = read_body({"codes", "days"}, limit=MOST_BODY)
    codes = given["codes"]
    if not isinstance(codes, list) or len(codes) > MOST_CODES:
        raise BadParameter(
            message=f"codes is not a list of at most {MOST_CODES}.",
            remedy="Make more in several steps.",
            field="codes",
        )
    hashes = [hash_field(each, f"codes[{i}]") for i, each in enumerate(codes)]
    made = site().operator.drafts.invite(
        hash_field(dataset, "dataset"), sessions.account(), hashes, given["days"]
    )
    return answer({"invitations": [each.to_json() for each in made]})


@routes.post("/clinic/<dataset>/drafts/<commitment>/open")
def open_draft(dataset: str, commitment: str) -> flask.Response:
    """A draft with its ciphertext. From now on its patient cannot put another in its place."""
    opened = site().operator.drafts.opened(*_of(dataset, commitment))
    return answer(opened.to_json())


@routes.post("/clinic/<dataset>/drafts/<commitment>/attest")
def attest(dataset: str, commitment: str) -> flask.Response:
    """`{"attestation", "signature"}` -> how far the record came."""
    given = read_body({"attestation", "signature"}, limit=MOST_BODY)
    done = site().operator.drafts.attest(
        *_of(dataset, commitment), given["attestation"], given["signature"]
    )
    return answer(done.to_json())


@routes.post("/clinic/<dataset>/drafts/<commitment>/decline")
def decline(dataset: str, commitment: str) -> flask.Response:
    """`{"why"}`, one of the reasons -> `{}`. Record and opening are deleted."""
    why = read_body({"why"})["why"]
    site().operator.drafts.decline(*_of(dataset, commitment), why if isinstance(why, str) else "")
    return answer({})


def _of(dataset: str, commitment: str) -> tuple[bytes, str, bytes]:
    return (
        hash_field(dataset, "dataset"),
        sessions.account(),
        hash_field(commitment, "commitment"),
    )


def _require_own(dataset: str, desk: Any) -> None:
    """What is posted here is the desk of this page's dataset and of who is signed in."""
    said = desk if isinstance(desk, dict) else {}
    own = {"dataset": dataset, "issuer": sessions.account()}
    for name, expected in own.items():
        if said.get(name) != expected:
            raise BadParameter(
                message=f"desk.{name} is another than that of this page.",
                remedy="Sign the desk on this page, with the account that is signed in.",
                field=f"desk.{name}",
            )
