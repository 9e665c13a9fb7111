"""What a browser that asks for a service worker gets: that of the page for stopping, or one that ends itself.

A worker that this server gave out in a dishonest moment, at whatever path, stays in browsers for as long as
nothing takes its place: it is asked for again, and an answer that is no script leaves the old one at work.
"""

from __future__ import annotations

from typing import Final

import flask

from web.pages.stop import SCRIPT

HEADER: Final = "Service-Worker"
"""Sent with a worker's own script, and with nothing else (Service Workers, "Update")."""
ENDING: Final = """\
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.registration.unregister()));
"""


def install(app: flask.Flask) -> None:
    """Answers before anything is counted, looked up or refused; also where there is no route."""
    app.before_request(_end_others)


def _end_others() -> flask.Response | None:
    if HEADER not in flask.request.headers or flask.request.path == SCRIPT:
        return None
    response = flask.Response(ENDING, content_type="text/javascript; charset=utf-8")
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Service-Worker-Allowed"] = "/"  # as whatever it replaces may have had it
    return response
