"""Signing in and out. The text is made here and signed in the browser; nothing else proves who one is."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote

import flask

from marketplace.errors import Refusal
from marketplace.signing_in import Visitor
from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.http import answer, hex_field, read_body
from web import csrf, limits, sessions
from web.site import site

MOST_BODY: Final = 2 * MOST_SIGNATURE + 2_048
"""Bytes: a wallet's signature in hexadecimal, and what stands beside it."""

OF_DATASET: Final = re.compile(r"/(me|clinic)/0x([0-9a-f]{64})(?:/([a-z]+))?(?:[/?].*)?")
FOR_DATASET: Final = {
    "enter": "To take part in “{}” you need keys, your results as a file, and your clinic's invitation.",
    "me": "To your record and consent in “{}”.",
    "clinic": "To the clinic's desk of “{}”, with the account that its steward appointed.",
}
"""Why whoever came from a page of a dataset signs in; `{}` is what that is called."""

routes = flask.Blueprint("signing_in", __name__)


@routes.get("/sign-in")
def page() -> str:
    """The page that signs in."""
    wanted = sessions.safe_next(flask.request.args.get("next", ""))
    onward = "" if wanted == sessions.HOME else f"?next={quote(wanted, safe='')}"
    return flask.render_template(
        "signing_in/sign_in.html", next=wanted, onward=onward, what_for=_what_for(wanted)
    )


@routes.post("/challenge")
def challenge() -> flask.Response:
    """`{"address"}` -> `{"nonce", "text", "expires_at"}`: what this account is to sign in this browser."""
    given = read_body({"address"}, limit=MOST_BODY)
    made = sessions.signing_in().challenge(given["address"], _visitor(sessions.greet()))
    return answer({"nonce": made.nonce, "text": made.text, "expires_at": made.expires_at})


@routes.post("/sign-in")
def sign_in() -> flask.Response:
    """`{"nonce", "signature", "next"?}` -> `{"account", "expires_at", "next"}`, and the session's cookie."""
    given = read_body({"nonce", "signature"}, frozenset({"next"}), MOST_BODY)
    signature = hex_field(given["signature"], "signature", MOST_SIGNATURE)
    signed_in = sessions.signing_in().sign_in(
        _text(given["nonce"]),
        _visitor(sessions.hello() or ""),
        signature,
        instead_of=sessions.token(),
    )
    onward = sessions.safe_next(_text(given.get("next", "")))
    shown = {"account": signed_in.account, "expires_at": signed_in.expires_at, "next": onward}
    return sessions.begin(answer(shown), signed_in)


@routes.post("/sign-out")
def sign_out() -> flask.Response:
    """Ends the session here and in the browser. Done twice it says the same."""
    token = sessions.token()
    if token is not None:
        sessions.signing_in().sign_out(token)
    return sessions.end(answer({"next": sessions.HOME}))


@routes.get("/session")
def session() -> flask.Response:
    """`{"account", "expires_at", "csrf"}` of who is signed in; the token helps a page from before that."""
    current = sessions.required()
    told = {"account": current.account, "expires_at": current.expires_at}
    return answer({**told, "csrf": csrf.token()})


@routes.get("/session/half")
def half() -> flask.Response:
    """`{"half"}`: with what the tab keeps it opens the tab's keys. Only this session is told."""
    return answer({"half": sessions.required().half})


def _what_for(wanted: str) -> str:
    """In a sentence; nothing where the page says that itself, or the chain cannot be asked."""
    of = OF_DATASET.fullmatch(wanted)
    if of is None:
        return ""
    place, dataset, below = of.groups()
    try:
        name = site().operator.reads.dataset_name(bytes.fromhex(dataset))
    except Refusal:
        return ""
    said = FOR_DATASET["enter" if below in ("enter", "join") else place]
    return said.format(name or f"dataset 0x{dataset[:8]}")


def _visitor(browser: str) -> Visitor:
    return Visitor(browser, limits.network(flask.request.remote_addr))


def _text(given: Any) -> str:
    """What is no text names no challenge and no route."""
    return given if isinstance(given, str) else ""
