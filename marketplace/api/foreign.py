"""That no page of another site posts here: its visitors' browsers would pay for it, and this server.

Only browsers say where a request comes from (W3C, Fetch Metadata; RFC 6454, `Origin`). What says nothing is
no page: command lines, other servers. Nothing here knows cookies: this protects the server, not an account.
"""

from __future__ import annotations

import flask

from marketplace.errors import Refusal
from marketplace.wire.http import FROM_OURS, SAFE_METHODS


def install(app: flask.Flask, origin: str) -> None:
    """Refuses before anything is read whatever a page of another origin than `origin` posts."""

    def judge() -> None:
        headers = flask.request.headers
        is_ours = headers.get("Sec-Fetch-Site", "none") in FROM_OURS
        is_ours = is_ours and headers.get("Origin", origin) == origin
        if flask.request.method not in SAFE_METHODS and not is_ours:
            raise _foreign()

    app.before_request(judge)


def _foreign() -> Refusal:
    return Refusal(
        code="not_from_here",
        message="This request was made by a page of another site, so nothing was done.",
        remedy="Send it from this server's own pages, or by a program.",
    )
