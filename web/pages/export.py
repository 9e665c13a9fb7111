"""What a person takes along, and what a person has destroyed. Values are opened in the browser alone."""

from __future__ import annotations

from typing import Any

import flask

from marketplace.errors import Refusal
from marketplace.wire.http import answer, hash_field, to_base64
from web import sessions
from web.pages import datasets
from web.pages.join import NOTHING, dictionary_of
from web.site import site

routes = flask.Blueprint("export", __name__)


@routes.get("/me/<dataset>/export")
def show(dataset: str) -> str:
    """The page on which the browser puts an export together."""
    found = site().operator.reads.dataset(hash_field(dataset, "dataset"))
    told = {
        "dataset": found["dataset"],
        "account": sessions.account(),
        "name": datasets.name_of(found),
        "dictionary": dictionary_of(found),
        "dictionary_hash": found["dictionary_hash"],
    }
    return flask.render_template(
        "export/show.html", dataset=found, name=datasets.name_of(found), told=told
    )


@routes.get("/me/<dataset>/record")
def record(dataset: str) -> flask.Response:
    """`{"header", "box", "state"}` of the newest version of this account's record: ciphertext.

    Raises:
        Refusal: no_record, there is none here: it was erased, or came in through another operator.
    """
    operator, account = site().operator, sessions.account()
    name = _in_use(operator.reads.record(hash_field(dataset, "dataset"), account))
    kept = None if name is None else operator.erasures.kept(bytes.fromhex(name[2:]))
    if kept is None:
        raise Refusal(
            code="no_record",
            message="This operator holds no ciphertext of yours: it was erased, or is with another operator.",
            remedy="Consent and timeline can be exported all the same.",
        )
    row, box = kept
    return answer({"header": row.header, "box": to_base64(box), "state": row.state})


@routes.get("/me/<dataset>/history")
def history(dataset: str) -> flask.Response:
    """`{"consent", "timeline"}` of this account, as the chain has them; the newest entry first."""
    key, account = hash_field(dataset, "dataset"), sessions.account()
    entries = site().operator.timelines.timeline(key, account)
    shown = [each.to_json() for each in entries]
    return answer({"consent": site().operator.reads.consent(key, account), "timeline": shown})


@routes.get("/me/<dataset>/erase")
def erase(dataset: str) -> str:
    """The page that ends everything for one record."""
    key, account = hash_field(dataset, "dataset"), sessions.account()
    found, consent = site().operator.reads.dataset(key), _consent(key, account)
    told = {
        "dataset": found["dataset"],
        "account": account,
        "name": datasets.name_of(found),
        "version": max(consent["record"]["version"], consent["record"]["pending_version"]),
        "commitment": _come_here(key, account, _in_use(consent["record"])),
    }
    return flask.render_template(
        "export/erase.html",
        dataset=found,
        name=datasets.name_of(found),
        consent=consent,
        is_gone=_in_use(consent["record"]) is None,
        told=told,
    )


@routes.get("/me/<dataset>/erasure")
def erasure(dataset: str) -> flask.Response:
    """`{"erased", "final", "deleted"}`: by the chain, for good, and of the operator's own ciphertext.

    `?commitment=` names a record of this account's that came in here; without it `deleted` is null.

    Raises:
        Refusal: unknown_record, somebody else's, or one that never came in through this operator.
    """
    operator, account = site().operator, sessions.account()
    key, given = hash_field(dataset, "dataset"), flask.request.args.get("commitment")
    named = None if given is None else hash_field(given, "commitment")
    if named is not None and not operator.reads.is_record_of(key, account, named):
        raise Refusal(
            code="unknown_record",
            message="No record of yours with this commitment ever came in through this operator.",
            remedy="Ask without it: what the chain has is told all the same.",
            field="commitment",
        )
    is_gone, is_final = operator.erasures.is_gone(key, account)
    deleted = None if named is None else operator.erasures.is_deleted(named)
    return answer({"erased": is_gone, "final": is_final, "deleted": deleted})


def _come_here(dataset: bytes, account: str, commitment: str | None) -> str | None:
    """What the page may ask after; a record of another operator's is not among it."""
    is_here = commitment is not None and site().operator.reads.is_record_of(
        dataset, account, hash_field(commitment, "commitment")
    )
    return commitment if is_here else None


def _consent(dataset: bytes, account: str) -> dict[str, Any]:
    return site().operator.reads.consent(dataset, account)


def _in_use(held: dict[str, Any]) -> str | None:
    """Of a record's commitments the newest; None where nothing is left of it."""
    for each in (held["pending"], held["commitment"]):
        if each != NOTHING:
            return str(each)
    return None
