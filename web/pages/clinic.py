"""An issuer's desk: invitations, and drafts of patients, opened and attested in the clinic's browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import flask

from marketplace.drafts import LONGEST_INVITATION_DAYS, MOST_CODES, REASONS
from marketplace.errors import BadParameter
from marketplace.wire.http import answer, hash_field, read_body, to_hex
from marketplace.wire.voucher import Voucher
from web import sessions
from web.pages import datasets
from web.pages.join import dictionary_of
from web.site import site

MOST_BODY: Final = 32 * 1024
"""Bytes: a hundred invitations with what vouches for them, or an attestation and its signature."""

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
    """`{"codes", "macs", "custodians", "epoch", "days"}` -> `{"invitations"}`.

    Of each code its hash alone comes here, and the MAC that vouches for what the clinic's browser saw: one
    for each code, in the same order (`wire.voucher`). Custodians and epoch are those of all of them.
    """
    given = read_body({"codes", "macs", "custodians", "epoch", "days"}, limit=MOST_BODY)
    hashes, macs = _hashes(given, "codes"), _hashes(given, "macs")
    if len(macs) != len(hashes) or len(set(hashes)) != len(hashes):
        raise BadParameter(
            message="macs does not hold one MAC for each of different codes.",
            remedy="Make the invitations on the clinic's page: it vouches for each.",
            field="macs" if len(set(hashes)) == len(hashes) else "codes",
        )
    made = site().operator.drafts.invite(
        hash_field(dataset, "dataset"),
        sessions.account(),
        dict(zip(hashes, _vouchers(given, macs), strict=True)),
        given["days"],
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


def _hashes(given: Mapping[str, Any], field: str) -> list[bytes]:
    listed = given[field]
    if not isinstance(listed, list) or len(listed) > MOST_CODES:
        raise BadParameter(
            message=f"{field} is not a list of at most {MOST_CODES}.",
            remedy="Make more in several steps.",
            field=field,
        )
    return [hash_field(each, f"{field}[{i}]") for i, each in enumerate(listed)]


def _vouchers(given: Mapping[str, Any], macs: list[bytes]) -> list[Voucher]:
    shared = {"custodians": given["custodians"], "epoch": given["epoch"]}
    return [Voucher.from_json({**shared, "mac": to_hex(mac)}, "body") for mac in macs]


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
