"""The two cookies of a browser, and who is signed in with them.

`__Host-` binds a cookie to this very host and to https (RFC 6265bis, 4.1.3.2); browsers take loopback for
secure. Cookies know no port, so on loopback the name carries it: two markets there keep their own.
"""

from __future__ import annotations

import re
from typing import Final, cast
from urllib.parse import urlsplit

import flask
from werkzeug.exceptions import HTTPException

from marketplace.errors import Refusal
from marketplace.signing_in import (
    SESSION_IDLE,
    SESSION_LIFE,
    Current,
    SignedIn,
    SigningIn,
    new_secret,
)
from marketplace.standing import Standings
from marketplace.vocabulary import Address
from web import rules
from web.site import EXTENSION, Site, site

SESSION: Final = "session"
HELLO: Final = "hello"
"""Before anybody signed in: binds a challenge to the browser that asked for it."""
HELLO_LIFE: Final = SESSION_IDLE
"""Seconds: a challenge lives ten minutes, but whoever makes keys first may take longer over the page."""
SIGNING_IN: Final = "usufruct_signing_in"
STANDINGS: Final = "usufruct_standings"
HOME: Final = "/"
LONGEST_NEXT: Final = 500

_SECRET = re.compile(r"[0-9a-f]{64}")
_NEXT = re.compile(r"/[a-z][A-Za-z0-9/_.~%?&=-]*")


class NotSignedIn(Refusal):
    """Something that only somebody signed in may ask."""

    CODE = "not_signed_in"


# --- what the pages share


def install(app: flask.Flask) -> None:
    """Prepares sign-ins and standings, one of each for all threads, and greets browsers."""
    of: Site = app.extensions[EXTENSION]
    app.extensions[SIGNING_IN] = of.operator.signing_in(of.origin)
    app.extensions[STANDINGS] = of.operator.standings()
    app.before_request(_greet_where_one_signs_in)
    app.after_request(_remember)


def signing_in() -> SigningIn:
    """Of the application at hand."""
    return cast(SigningIn, flask.current_app.extensions[SIGNING_IN])


def standings() -> Standings:
    """Of the application at hand."""
    return cast(Standings, flask.current_app.extensions[STANDINGS])


# --- who is signed in


def current() -> Current | None:
    """The session of the request at hand; looked up once.

    Raises:
        Refusal: `storage_full`, `storage_unavailable`.
    """
    if "session" not in flask.g:
        rule = rules.rule_of(flask.request.endpoint)
        given = token()
        looks = rule is not None and not rule.by_itself
        flask.g.session = None if given is None else signing_in().current(given, in_use=looks)
    return cast("Current | None", flask.g.session)


def account() -> Address:
    """Who is signed in. Raises `NotSignedIn`."""
    return required().account


def required() -> Current:
    """The session. Raises `NotSignedIn`."""
    found = current()
    if found is None:
        raise NotSignedIn(
            message="You are not signed in, or no longer.", remedy="Sign in, then try again."
        )
    return found


# --- cookies


def token() -> str | None:
    """What the session cookie holds, whether or not it is good for anything."""
    return _cookie(SESSION)


def hello() -> str | None:
    """The secret of a browser that is about to sign in, from its cookie."""
    return _cookie(HELLO)


def greet() -> str:
    """That secret, made where there is none; the answer gives it to the browser, for an hour from now."""
    if "hello" not in flask.g:
        flask.g.hello = hello() or new_secret()
    return cast(str, flask.g.hello)


def begin(response: flask.Response, signed_in: SignedIn) -> flask.Response:
    """Gives the browser its session in place of what it had."""
    _set(response, SESSION, signed_in.token, SESSION_LIFE)
    return _forget(response)


def end(response: flask.Response) -> flask.Response:
    """Takes both cookies away."""
    _delete(response, SESSION)
    return _forget(response)


def _greet_where_one_signs_in() -> None:
    rule = rules.rule_of(flask.request.endpoint)
    if rule is not None and rule.greets:
        greet()


def _remember(response: flask.Response) -> flask.Response:
    if "hello" in flask.g:
        _set(response, HELLO, greet(), HELLO_LIFE)
    return response


def _forget(response: flask.Response) -> flask.Response:
    flask.g.pop("hello", None)
    _delete(response, HELLO)
    return response


def cookie_name(of: Site, what: str) -> str:
    """`__Host-session`, say, and on loopback http `__Host-session-8000`."""
    port = urlsplit(of.origin).port
    return f"__Host-{what}" if of.is_secure or port is None else f"__Host-{what}-{port}"


def _cookie(what: str) -> str | None:
    given = flask.request.cookies.get(cookie_name(site(), what), "")
    return given if _SECRET.fullmatch(given) else None


def _set(response: flask.Response, what: str, value: str, seconds: int) -> None:
    response.set_cookie(
        cookie_name(site(), what),
        value,
        max_age=seconds,
        path="/",
        secure=True,
        httponly=True,
        samesite="Lax",
    )


def _delete(response: flask.Response, what: str) -> None:
    response.delete_cookie(
        cookie_name(site(), what), path="/", secure=True, httponly=True, samesite="Lax"
    )


# --- where to go after signing in


def safe_next(wanted: str) -> str:
    """The path to go on to: a GET route of ours, else the first page. Never another site's address."""
    if len(wanted) > LONGEST_NEXT or not _NEXT.fullmatch(wanted):
        return HOME
    routes = flask.current_app.url_map.bind(site().host)
    try:
        routes.match(wanted.partition("?")[0], method="GET")
    except HTTPException:  # no such route, another method, or a redirect elsewhere
        return HOME
    return wanted
