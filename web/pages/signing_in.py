"""Signing in and out. The text is made here and signed in the browser; nothing else proves who one is."""

from __future__ import annotations

from typing import Any, Final

import flask

from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.http import answer, hex_field, read_body
from web import csrf, sessions

MOST_BODY: Final = 2 * MOST_SIGNATURE + 2_048
"""Bytes: a wallet's signature in hexadecimal, and what stands beside it."""

routes = flask.Blueprint("signing_in", __name__)


@routes.get("/sign-in")
def page() -> str:
    """The page that signs in."""
    wanted = sessions.safe_next(flask.request.args.get("next", ""))
    return flask.render_template("signing_in/sign_in.html", next=wanted)


@routes.post("/challenge")
def challenge() -> flask.Response:
    """`{"address"}` -> `{"nonce", "text", "expires_at"}`: what this account is to sign in this browser."""
    given = read_body({"address"}, limit=MOST_BODY)
    made = sessions.signing_in().challenge(given["address"], sessions.greet())
    return answer({"nonce": made.nonce, "text": made.text, "expires_at": made.expires_at})


@routes.post("/sign-in")
def sign_in() -> flask.Response:
    """`{"nonce", "signature", "next"?}` -> `{"account", "expires_at", "next"}`, and the session's cookie."""
    given = read_body({"nonce", "signature"}, frozenset({"next"}), MOST_BODY)
    signature = hex_field(given["signature"], "signature", MOST_SIGNATURE)
    signed_in = sessions.signing_in().sign_in(
        _text(given["nonce"]), sessions.hello() or "", signature, instead_of=sessions.token()
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


def _text(given: Any) -> str:
    """What is no text names no challenge and no route."""
    return given if isinstance(given, str) else ""
