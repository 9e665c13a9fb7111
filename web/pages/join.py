"""A patient's way in: values are sealed in the browser, left for a clinic, and followed to the custodians."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import flask

from marketplace.errors import Refusal
from marketplace.operator import Operator
from marketplace.wire.http import answer, binary_field, hash_field, read_body
from marketplace.wire.opening import OPENING_BYTES
from marketplace.wire.record import LARGEST_WITH_TALLY
from web import sessions, streams
from web.pages import datasets
from web.site import site

MOST_BODY: Final = LARGEST_WITH_TALLY + 8 * 1024
"""Bytes: the largest record that there is, its opening, and what stands around them. How much of it a record
may take, its dataset's dictionary says (`drafts.checks`)."""
NOTHING: Final = "0x" + "00" * 32
"""In the place of a commitment."""
LOOK_SECONDS: Final = 2.0
"""A custodian's word is in no log that the pulse watches, so a stream looks by itself."""

routes = flask.Blueprint("join", __name__)


@routes.get("/me/<dataset>/join")
def show(dataset: str) -> str:
    """What is asked for, and what the browser needs to seal it: all of it public."""
    key, account = hash_field(dataset, "dataset"), sessions.account()
    reads = site().operator.reads
    found = reads.dataset(key)
    told = {
        "dataset": found["dataset"],
        "account": account,
        "dictionary": dictionary_of(found),
        "dictionary_hash": found["dictionary_hash"],
        "issuers": reads.issuers(key),
        **_where(site().operator, key, account),
    }
    return flask.render_template(
        "join/show.html",
        dataset=found,
        name=datasets.name_of(found),
        variables=datasets.variables_of(found),
        classes=datasets.classes_of(found),
        tallied="encoding" in (told["dictionary"] or {}),
        told=told,
    )


@routes.post("/me/<dataset>/invitations")
def invitation(dataset: str) -> flask.Response:
    """`{"code"}`, its hash -> `{"issuer", "expires_at", "voucher", "desk", "signature"}`.

    Whose desk to seal to, and what that issuer vouches for. The browser holds it against the code itself.
    """
    key, account = hash_field(dataset, "dataset"), sessions.account()
    given = read_body({"code"})
    desks = site().operator.drafts.desks
    found = desks.invitation_for(key, account, hash_field(given["code"], "code"))
    desk = desks.desk_of(key, found.issuer)
    if desk is None:
        raise Refusal(
            code="no_desk",
            message="The clinic of this invitation takes no records at the moment.",
            remedy="Ask it to open its desk again, then use the same invitation.",
            field="code",
        )
    told = {"issuer": found.issuer, "expires_at": found.expires_at}
    return answer({**told, "voucher": found.voucher.to_json(), **desk.to_json()})


@routes.post("/me/<dataset>/drafts")
def leave(dataset: str) -> flask.Response:
    """`{"record", "opening", "code"}` -> how far it came; `code` is the hash of the invitation."""
    given = read_body({"record", "opening", "code"}, limit=MOST_BODY)
    left = site().operator.drafts.leave(
        hash_field(dataset, "dataset"),
        sessions.account(),
        hash_field(given["code"], "code"),
        given["record"],
        binary_field(given["opening"], "opening", OPENING_BYTES),
    )
    return answer(left.to_json())


@routes.post("/me/<dataset>/drafts/taken-back")
def take_back(dataset: str) -> flask.Response:
    """Deletes what this account left and no clinic attested yet -> where its record is now.

    Raises:
        Refusal: draft_attested, wrong_draft_state.
    """
    key, account = hash_field(dataset, "dataset"), sessions.account()
    read_body(set())
    site().operator.drafts.take_back(key, account)
    return answer(_where(site().operator, key, account))


@routes.get("/me/<dataset>/progress")
def progress(dataset: str) -> flask.Response:
    """News of this account's record as `draft` events, each with all that is known."""
    key, account = hash_field(dataset, "dataset"), sessions.account()
    operator = site().operator  # the stream is read outside of the request that asked for it
    often = replace(streams.streams(), comment=LOOK_SECONDS)
    return often.response(streams.holder(), _news(lambda: _where(operator, key, account)), 0)


@routes.get("/me/<dataset>/progress/now")
def progress_now(dataset: str) -> flask.Response:
    """The same once: for browsers that find no place for a stream."""
    key = hash_field(dataset, "dataset")
    return answer(_where(site().operator, key, sessions.account()))


def dictionary_of(found: dict[str, Any]) -> dict[str, Any] | None:
    """A dataset's dictionary as its own document; None while its steward has not handed it over."""
    dictionary: dict[str, Any] | None = found["dictionary"]
    return dictionary


def _where(operator: Operator, dataset: bytes, account: str) -> dict[str, Any]:
    """`progress` of the latest record, null where there is none; `version` is that of the next one."""
    found = operator.drafts.progress(dataset, account)
    held = operator.reads.record(dataset, account)
    return {
        "progress": None if found is None or not any(found.commitment) else found.to_json(),
        "version": max(held["version"], held["pending_version"]) + 1,
        "has_record": held["commitment"] != NOTHING,
    }


def _news(
    look: Callable[[], dict[str, Any]],
) -> Callable[[int], Sequence[streams.Message]]:
    """What `look` gives, whenever it is not what it was."""
    told: list[dict[str, Any]] = []

    def read(_: int) -> Sequence[streams.Message]:
        found = look()
        if told == [found]:
            return ()
        told[:] = [found]
        return (streams.Message("draft", found),)

    return read
