"""What every answer of the pages tells the browser to refuse.

Content-Security-Policy Level 3 with Trusted Types: scripts and styles come from this origin's files alone,
never from a page's text, so that a stored payload stays text. See MDN and OWASP's Secure Headers.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import flask

from web.site import Site, site

POLICY: Final = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "worker-src 'self'",
    "manifest-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types sw tally",
)
OTHERS: Final = {
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers then send `Origin: null` with a form, which the check of origins refuses.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": ", ".join(
        f"{feature}=()"
        for feature in ("camera", "geolocation", "microphone", "payment", "usb", "browsing-topics")
    ),
}
NO_STORE: Final = "no-store"
STRICT_TRANSPORT: Final = "max-age=31536000; includeSubDomains"
MISDIRECTED: Final = 421


def install(app: flask.Flask) -> None:
    """Answers one Host only, and sets the headers of every answer."""
    app.before_request(_require_our_host)
    app.after_request(_set_headers)


def policy(of: Site) -> str:
    """The Content-Security-Policy: pages may also ask the custodians, past this operator."""
    return "; ".join((*POLICY, " ".join(("connect-src 'self'", *of.custodians))))


def _require_our_host() -> flask.typing.ResponseReturnValue | None:
    """Against rebinding of names, and so that cookies and sign-ins belong to one origin."""
    host = flask.request.host
    if host == site().host:
        return None
    if site().is_local and host.rsplit(":", 1)[0] == "localhost" and flask.request.method == "GET":
        return flask.redirect(site().origin + _as_asked())
    return flask.Response("This server does not answer for that host.\n", MISDIRECTED)


def _as_asked() -> str:
    """Path and query as a URL has them: a line break in a path ends no header."""
    path = quote(flask.request.path, safe="/~:@!$&'()*+,;=")
    query = flask.request.query_string.decode("latin-1")
    return f"{path}?{query}" if query else path


def _set_headers(response: flask.Response) -> flask.Response:
    response.headers["Content-Security-Policy"] = policy(site())
    response.headers.update(OTHERS)
    response.headers.setdefault("Cache-Control", NO_STORE)
    if site().is_secure:
        response.headers["Strict-Transport-Security"] = STRICT_TRANSPORT
    return response
