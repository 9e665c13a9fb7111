"""What custodian and gate share as HTTP servers: canonical bodies, size limits, problem+json, health.

Errors follow RFC 9457 (application/problem+json). An answer never carries what was sent: only the
facts of a `Refusal`, which are public by rule.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import flask
import waitress  # type: ignore[import-untyped]  # waitress has no types
from werkzeug.exceptions import HTTPException

from marketplace.errors import BadParameter, Refusal
from marketplace.vocabulary import bytes32
from marketplace.wire.canonical import canonical, parse

SMALL_BODY: Final = 256 * 1024
"""Bytes, for routes that take one signed message or one record header."""
THREADS: Final = 8
PROBLEM: Final = "application/problem+json"

STATUS: Final[Mapping[str, int]] = {
    "bad_parameter": 400,
    "malformed_json": 400,
    "malformed_message": 400,
    "body_too_large": 413,
    "storage_full": 507,
    "storage_unavailable": 503,
    "node_unreachable": 503,
    "node_fault": 503,
    "stale_head": 503,
    "not_yet_final": 503,
    "reorganised": 503,
    "journal_behind": 503,
    "not_ready": 503,
    "equivocation": 409,
    "already_settled": 409,
}
"""Statuses by refusal code; every other refusal is 422: understood, and declined."""

logger = logging.getLogger(__name__)


def create_app(
    name: str, health: Callable[[], list[str]], most_bytes: int = SMALL_BODY
) -> flask.Flask:
    """A Flask application with `GET /health`, a size limit on every route and problem+json errors.

    Args:
        health: the codes of what keeps this process from working; empty when ready.
        most_bytes: largest body of any route; a route may ask for less (`read_body`).
    """
    app = flask.Flask(name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = most_bytes
    app.register_error_handler(Refusal, problem)
    app.register_error_handler(HTTPException, _http_problem)
    app.register_error_handler(Exception, _fault)

    @app.get("/health")
    def show_health() -> flask.Response:
        reasons = health()
        return answer({"ready": not reasons, "reasons": list(reasons)})

    return app


def answer(document: Mapping[str, Any]) -> flask.Response:
    """200 with canonical JSON."""
    return flask.Response(canonical(dict(document)), mimetype="application/json")


def problem(refusal: Exception) -> flask.Response:
    """A refusal as application/problem+json."""
    if not isinstance(refusal, Refusal):
        return _fault(refusal)
    document = problem_document(refusal)
    return _problem_response(int(document["status"]), document)


def problem_document(refusal: Refusal) -> dict[str, Any]:
    """A refusal as an RFC 9457 object."""
    document: dict[str, Any] = {
        "type": f"urn:usufruct:refusal:{refusal.code}",
        "title": type(refusal).__name__,
        "status": STATUS.get(refusal.code, 422),
        "detail": refusal.message,
        "code": refusal.code,
        "remedy": refusal.remedy,
    }
    if refusal.field is not None:
        document["field"] = refusal.field
    return document


def _http_problem(error: Exception) -> flask.Response:
    status = error.code if isinstance(error, HTTPException) and error.code else 500
    codes = {404: "no_such_route", 405: "wrong_method", 413: "body_too_large"}
    document = {
        "type": "about:blank",
        "title": error.name if isinstance(error, HTTPException) else "Error",
        "status": status,
        "detail": "The body is larger than this route allows."
        if status == 413
        else "See the status.",
        "code": codes.get(status, "http_error"),
        "remedy": "Send a smaller body." if status == 413 else "Check method, path and headers.",
    }
    return _problem_response(status, document)


def _fault(error: Exception) -> flask.Response:
    # Only the kind: the text of an unknown exception may quote what was being handled.
    logger.error("internal fault: %s", type(error).__name__)
    document = {
        "type": "about:blank",
        "title": "Internal fault",
        "status": 500,
        "detail": "This process met a fault of its own; nothing was released.",
        "code": "internal_fault",
        "remedy": "Try again; if it persists, its host must look at the log.",
    }
    return _problem_response(500, document)


def _problem_response(status: int, document: Mapping[str, Any]) -> flask.Response:
    return flask.Response(json.dumps(document, sort_keys=True), status=status, mimetype=PROBLEM)


# --- bodies


def read_body(
    keys: set[str], optional: frozenset[str] = frozenset(), limit: int = SMALL_BODY
) -> Any:
    """The JSON object of the request at hand, with exactly these keys.

    Raises:
        MalformedJson, BadParameter.
    """
    length = flask.request.content_length
    if length is None or length > limit:
        raise Refusal(
            code="body_too_large",
            message=f"The body must have a stated length of at most {limit} bytes.",
            remedy="Send less at a time, with a Content-Length.",
        )
    document = parse(flask.request.get_data(cache=False), limit=limit)
    require_keys(document, keys, optional)
    return document


def require_keys(
    document: object, keys: set[str], optional: frozenset[str] = frozenset(), at: str = "body"
) -> None:
    """Raises BadParameter, naming the key that is missing or unknown."""
    if not isinstance(document, dict):
        raise _bad(at, "must be an object")
    for key in sorted(keys - set(document)):
        raise _bad(f"{at}.{key}", "is missing")
    for key in sorted(set(document) - keys - optional):
        raise _bad(f"{at}.{key[:40]}", "is unknown")


def hash_field(value: object, field: str) -> bytes:
    """32 bytes from 0x hexadecimal text."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise _bad(field, "must be 0x and 64 hexadecimal digits")
    return bytes32(value, field)


def hex_field(value: object, field: str, most: int) -> bytes:
    """At most `most` bytes from 0x hexadecimal text."""
    if not isinstance(value, str) or not value.startswith("0x") or len(value) > 2 + 2 * most:
        raise _bad(field, f"must be 0x and at most {2 * most} hexadecimal digits")
    try:
        return bytes.fromhex(value[2:])
    except ValueError:
        raise _bad(field, "is not hexadecimal") from None


def binary_field(value: object, field: str, most: int) -> bytes:
    """At most `most` bytes from base64 text."""
    if not isinstance(value, str) or len(value) > 4 * (most + 2) // 3 + 4:
        raise _bad(field, f"must be base64 text of at most {most} bytes")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _bad(field, "is not base64") from None


def to_hex(raw: bytes) -> str:
    """0x and lower-case hexadecimal digits."""
    return "0x" + raw.hex()


def to_base64(raw: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(raw).decode("ascii")


def _bad(field: str, why: str) -> BadParameter:
    return BadParameter(
        message=f"{field} {why}.", remedy="Correct it and send the request again.", field=field
    )


# --- serving


def serve(app: flask.Flask, host: str, port: int, most_bytes: int = SMALL_BODY) -> None:
    """Serves until SIGTERM; prints one JSON line {"ready": true, "url": ..} once listening."""
    signal.signal(signal.SIGTERM, _stop)
    server = waitress.create_server(
        app,
        host=host,
        port=port,
        threads=THREADS,
        ident=None,
        max_request_body_size=most_bytes + 1,
        clear_untrusted_proxy_headers=True,
    )
    url = f"http://{host}:{server.effective_port}"
    sys.stdout.write(json.dumps({"ready": True, "url": url}) + "\n")
    sys.stdout.flush()
    server.run()  # returns on SystemExit, which the signal raises
    server.close()


def _stop(_signal: int, _frame: object) -> None:
    raise SystemExit(0)
