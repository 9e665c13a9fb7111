"""A refusal, as whoever asked can read it: a page for a person, problem+json (RFC 9457) for a script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flask
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed

from marketplace.errors import Refusal
from marketplace.wire import http


def install(app: flask.Flask) -> None:
    """Answers every refusal and fault of the pages."""
    app.register_error_handler(Refusal, _refusal)
    app.register_error_handler(HTTPException, _unrouted)
    app.register_error_handler(InternalServerError, _fault_of_a_page)
    app.register_error_handler(Exception, _fault)


def wants_json() -> bool:
    """Whether a script asked: by what it sent, or by what it takes."""
    if flask.request.mimetype == "application/json":
        return True
    taken = flask.request.accept_mimetypes
    return taken["application/json"] > taken["text/html"]


def _refusal(refusal: Exception) -> flask.Response:
    if not isinstance(refusal, Refusal):
        return _fault(refusal)
    return shown(http.problem_document(refusal))


def _unrouted(error: Exception) -> flask.Response:
    if not isinstance(error, HTTPException) or error.response is not None:
        return _whole(error)
    response = shown(http.status_document(error.code or 500, error.name))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _fault_of_a_page(error: Exception) -> flask.Response:
    """What a refusal's own page met while it was drawn: Flask hands it over wrapped."""
    original = error.original_exception if isinstance(error, InternalServerError) else None
    return _fault(original if isinstance(original, Exception) else error)


def _whole(error: Exception) -> flask.Response:
    """One that brings its own answer, a redirect among them."""
    given = error.get_response() if isinstance(error, HTTPException) else None
    return given if isinstance(given, flask.Response) else _fault(error)


def _fault(error: Exception) -> flask.Response:
    document = http.fault_document(error)
    try:
        return shown(document)
    except Exception as fault:  # the last stop: the page that says so is at fault itself
        http.fault_document(fault)
        return flask.Response(f"{document['detail']}\n", 500, mimetype="text/plain")


def shown(document: Mapping[str, Any]) -> flask.Response:
    """An RFC 9457 object as page or as JSON, with its status."""
    if wants_json():
        return flask.Response(
            flask.json.dumps(document), int(document["status"]), mimetype=http.PROBLEM
        )
    page = flask.render_template("refusal.html", refusal=document)
    return flask.Response(page, int(document["status"]), mimetype="text/html")
