"""What answers where the API begins: where to read on."""

from __future__ import annotations

import flask

from marketplace.wire.http import answer

routes = flask.Blueprint("front", __name__)


@routes.get("")
def show_front() -> flask.Response:
    """Where this server's description, health and market are."""
    return answer(
        {
            "name": "usufruct",
            "openapi": "/api/v1/openapi.json",
            "market": "/api/v1/market",
            "health": "/health",
        }
    )
