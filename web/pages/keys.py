"""The page on which a person makes, unlocks, saves and brings back keys: all of it in the browser."""

from __future__ import annotations

import flask

from web import sessions

routes = flask.Blueprint("keys", __name__)


@routes.get("/keys")
def show() -> str:
    """The page alone: this server never sees a key, a passphrase or a key file."""
    wanted = sessions.safe_next(flask.request.args.get("next", ""))
    return flask.render_template("keys/show.html", next=wanted)
