"""Styles and scripts: only files that were there at the start, under URLs that never change their bytes."""

from __future__ import annotations

from typing import Final

import flask

from web.site import site

FOREVER: Final = "public, max-age=31536000, immutable"

routes = flask.Blueprint("static", __name__)


@routes.get("/static/<version>/<path:path>")
def show(version: str, path: str) -> flask.Response:
    """The file's bytes; 404 for another version than this server's, whose bytes it does not have."""
    assets = site().assets
    asset = assets.files.get(path)
    if asset is None or version != assets.version:
        flask.abort(404)
    response = flask.Response(asset.data, content_type=asset.content_type)
    response.headers["Cache-Control"] = FOREVER
    return response
