"""That a change was asked for by a page of ours: origin, fetch metadata and a token (OWASP, CSRF Prevention).

What another site's page made a browser ask is refused before it is counted, reads too: else that page would
use up what the browser's owner may ask. Only links lead here from elsewhere (W3C, Fetch Metadata).

The token is HMAC-SHA256 of the browser's own secret, its session's or, before that, its hello cookie's. A
form carries it in a hidden field, a script in a header.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import flask

from marketplace.errors import Refusal
from marketplace.wire.http import FROM_OURS, SAFE_METHODS
from web import rules, sessions
from web.site import site

HEADER: Final = "X-CSRF-Token"
FIELD: Final = "csrf"
JSON: Final = "application/json"
FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
_USE: Final = b"usufruct/csrf/1"


class NotFromHere(Refusal):
    """A change that no page of this server asked for, as far as can be told."""

    CODE = "not_from_here"


class NotJson(Refusal):
    """A body of another type than the route takes."""

    CODE = "wrong_content_type"


def refuse_foreign(app: flask.Flask) -> None:
    """Judges where every request comes from, by what its browser says: to go before what counts them."""
    app.before_request(_require_not_foreign)


def install(app: flask.Flask) -> None:
    """Judges every request that could change something; gives templates `csrf_token`."""
    app.before_request(_require_from_here)
    app.jinja_env.globals["csrf_token"] = token


def token() -> str:
    """What a page of the request at hand sends with a change; empty where the browser has no secret."""
    secret = _secret()
    return "" if secret is None else _token_of(secret)


def _secret() -> str | None:
    # A session's cookie counts although the session may be over: then `access` says so, in better words.
    return sessions.token() or flask.g.get("hello") or sessions.hello()


def _token_of(secret: str) -> str:
    return hmac.new(bytes.fromhex(secret), _USE, hashlib.sha256).hexdigest()


def _require_not_foreign() -> None:
    if rules.rule_of(flask.request.endpoint) is None:
        return
    if flask.request.method not in SAFE_METHODS:
        _require_origin()
    elif flask.request.headers.get("Sec-Fetch-Site", "none") not in FROM_OURS and not _is_link():
        raise _refused("was made by a page of another site")


def _is_link() -> bool:
    """Whether somebody follows a link: not a frame, and nothing that is fetched before anybody asked."""
    headers = flask.request.headers
    goes = headers.get("Sec-Fetch-Mode") == "navigate"
    return goes and headers.get("Sec-Fetch-Dest") == "document" and "Sec-Purpose" not in headers


def _require_from_here() -> None:
    rule = rules.rule_of(flask.request.endpoint)
    if rule is None or flask.request.method in SAFE_METHODS:
        return
    _require_type(rule)
    if rule.changes:
        _require_token()


def _require_origin() -> None:
    headers = flask.request.headers
    if headers.get("Origin") != site().origin:
        raise _refused("did not come from a page of this server")
    if headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise _refused("came from a page of another site")


def _require_type(rule: rules.Rule) -> None:
    given = flask.request.mimetype
    if given != JSON and not (rule.form and given in FORMS):
        raise NotJson(
            message="This route does not take that type of content.",
            remedy=f"Send {JSON}" + (", or a form." if rule.form else "."),
            field="Content-Type",
        )


def _require_token() -> None:
    given = flask.request.headers.get(HEADER)
    if given is None and flask.request.mimetype in FORMS:
        given = flask.request.form.get(FIELD)
    secret = _secret()
    if given is None or secret is None or not _equal(given, _token_of(secret)):
        raise _refused("lacks the token of the page that it was sent from")


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _refused(why: str) -> NotFromHere:
    return NotFromHere(
        message=f"This request {why}, so nothing was done.",
        remedy="Load the page again, then try again.",
    )
