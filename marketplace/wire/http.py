"""What custodian and gate share as HTTP servers: canonical bodies, size limits, problem+json, health.

Errors follow RFC 9457 (application/problem+json). An answer never carries what was sent: only the
facts of a `Refusal`, which are public by rule.
"""

from __future__ import annotations

import base64
import binascii
import json
import signal
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import flask
import structlog
from waitress.task import ErrorTask  # type: ignore[import-untyped]  # waitress has no types
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from marketplace.errors import BadParameter, MalformedJson, Refusal
from marketplace.vocabulary import bytes32
from marketplace.wire import lifeline
from marketplace.wire.canonical import canonical, parse
from marketplace.wire.listening import SMALL, Channel, Crowded, Server, listen

SMALL_BODY: Final = SMALL
"""Bytes, for routes that take one signed message or one record header."""
BYTES_A_VALUE: Final = 16
"""Of a body, at least: mostly hashes, signatures and ciphertexts are sent, of 40 bytes and more."""
FEW_VALUES: Final = 4_096
"""Which any body may hold, such as lists of numbers among the parameters of an analysis."""
THREADS: Final = 8
PROBLEM: Final = "application/problem+json"
AUTH_HEADER: Final = "Usufruct-Auth"
RETRY_SECONDS: Final = 2
"""After which whoever was refused because of others may ask again."""
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
FROM_OURS: Final = frozenset({"same-origin", "none"})
"""Sec-Fetch-Site of what our own pages ask, and of what somebody typed (W3C, Fetch Metadata)."""
"""Who asks, and the signature that proves it: see `auth`."""

STATUS: Final[Mapping[str, int]] = {
    "bad_parameter": 400,
    "malformed_json": 400,
    "malformed_message": 400,
    "unauthenticated": 401,
    "not_signed_in": 401,
    "not_allowed": 403,
    "not_from_here": 403,
    "body_too_large": 413,
    "wrong_content_type": 415,
    "too_often": 429,
    "storage_full": 507,
    "storage_unavailable": 503,
    "node_unreachable": 503,
    "node_fault": 503,
    "unknown_block": 503,
    "partial_logs": 503,
    "forged_logs": 503,
    "wrong_code": 503,
    "fee_above_ceiling": 503,
    "stale_head": 503,
    "not_yet_final": 503,
    "reorganised": 503,
    "journal_behind": 503,
    "finality_violated": 503,
    "not_ready": 503,
    "busy": 503,
    "equivocation": 409,
    "already_settled": 409,
}
"""Statuses by refusal code; every other refusal is 422: understood, and declined."""

UNKNOWN: Final = frozenset(
    {"unknown_request", "unknown_dataset", "class_page_missing", "unknown_model", "no_score"}
)
"""What a path can name; the same in a body is 422."""
UNROUTED: Final[Mapping[int, tuple[str, str]]] = {
    404: ("no_such_route", "There is nothing at this path."),
    405: ("wrong_method", "This path does not take this method."),
    431: ("headers_too_large", "The headers are larger than this server takes."),
}
"""Code and sentence of what is refused before any route is reached, by HTTP status."""

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = structlog.get_logger()


class Busy(Refusal):
    """As many are served as this process serves at once: what was asked may be asked again."""

    CODE = "busy"


def busy() -> Busy:
    """The refusal that keeps threads free for others."""
    return Busy(
        message="This process is at work for others.",
        remedy="Ask again in a moment: nothing was done.",
    )


def create_app(
    name: str,
    health: Callable[[], list[str]],
    most_bytes: int = SMALL_BODY,
    others: Callable[[], Mapping[str, Any]] = dict,
) -> flask.Flask:
    """A Flask application with `GET /health`, a size limit on every route and problem+json errors.

    Args:
        health: the codes of what keeps this process from working; empty when ready.
        most_bytes: largest body of any route; a route may ask for less (`read_body`).
        others: what health says of other processes that this one works with.
    """
    app = flask.Flask(name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = most_bytes
    app.register_error_handler(Refusal, problem)
    app.register_error_handler(HTTPException, _http_problem)
    app.register_error_handler(Exception, _fault)

    @app.get("/health")
    def show_health() -> flask.Response:
        reasons = health()
        return answer({"ready": not reasons, "reasons": list(reasons), **others()})

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
        "status": status_of(refusal),
        "detail": refusal.message,
        "code": refusal.code,
        "remedy": refusal.remedy,
    }
    if refusal.field is not None:
        document["field"] = refusal.field
    return document


def status_of(refusal: Refusal) -> int:
    """By code; but what the path names and is not there is 404, and a request's own bad signature 401."""
    inside = flask.request.view_args if flask.has_request_context() else None
    if inside and refusal.code in UNKNOWN:
        return 404
    if refusal.code == "bad_signature" and refusal.field == f"{AUTH_HEADER}.signature":
        return 401
    return STATUS.get(refusal.code, 422)


def _http_problem(error: Exception) -> flask.Response:
    status = error.code if isinstance(error, HTTPException) and error.code else 500
    title = error.name if isinstance(error, HTTPException) else "Error"
    response = _problem_response(status, status_document(status, title))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))  # RFC 9110, 15.5.6
    return response


def status_document(status: int, title: str) -> dict[str, Any]:
    """A refusal that no route made, by its HTTP status."""
    if status == 413:
        return {**problem_document(_too_large("larger than this route allows")), "title": title}
    if status == 503:
        return {**problem_document(busy()), "title": title}
    code, detail = UNROUTED.get(status, ("http_error", "This server does not take that."))
    return {
        "type": f"urn:usufruct:refusal:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "remedy": "Check method, path and headers.",
    }


def _too_large(what: str) -> Refusal:
    return Refusal(
        code="body_too_large",
        message=f"The body is {what}.",
        remedy="Send less at a time, with a Content-Length.",
        field="body",
    )


def _empty() -> Refusal:
    return MalformedJson(
        message="The body is empty.",
        remedy="Send a JSON object, with a Content-Length.",
        field="body",
    )


def _fault(error: Exception) -> flask.Response:
    return _problem_response(500, fault_document(error))


def fault_document(error: Exception) -> dict[str, Any]:
    """What is said of a fault of our own, which is logged: an RFC 9457 object, of status 500."""
    # Kinds and places only (see `logs`): its text may quote what was being handled.
    log.error("internal_fault", exc_info=error)
    return {
        "type": "about:blank",
        "title": "Internal fault",
        "status": 500,
        "detail": "This process met a fault of its own; nothing was released.",
        "code": "internal_fault",
        "remedy": "Try again; if it persists, its host must look at the log.",
    }


def _problem_response(status: int, document: Mapping[str, Any]) -> flask.Response:
    response = flask.Response(json.dumps(document, sort_keys=True), status, mimetype=PROBLEM)
    if status == 401:
        response.headers["WWW-Authenticate"] = AUTH_HEADER  # RFC 9110, 15.5.2
    return response


# --- bodies


def read_body(
    keys: set[str], optional: frozenset[str] = frozenset(), limit: int = SMALL_BODY
) -> Any:
    """The JSON object of the request at hand, with exactly these keys.

    Args:
        limit: bytes; more are not read, whatever other routes of the application take.

    Raises:
        MalformedJson, BadParameter; Refusal: `body_too_large`.
    """
    take_in(limit)
    raw = flask.request.get_data(cache=False)
    if not raw:
        raise _empty()
    if len(raw) > limit:
        raise _too_large(f"of more than {limit} bytes")
    document = parse(raw, limit=limit, values=max(FEW_VALUES, limit // BYTES_A_VALUE))
    require_keys(document, keys, optional)
    return document


def take_in(limit: int) -> None:
    """Lets the request at hand have a body of so many bytes, whatever other routes take.

    Of a signed request before its signature is verified, since that is over the body. Raises Refusal:
    `body_too_large`, for a stated length above it.
    """
    length = flask.request.content_length
    if length is not None and length > limit:
        raise _too_large(f"not of a stated length of at most {limit} bytes")
    flask.request.max_content_length = limit + 1  # beyond its maximum werkzeug cuts off in silence


def require_keys(
    document: object, keys: set[str], optional: frozenset[str] = frozenset(), at: str = "body"
) -> dict[str, Any]:
    """The same object, known to have these keys. Raises BadParameter, naming what is missing or unknown."""
    if not isinstance(document, dict):
        raise _bad(at, "must be an object")
    for key in sorted(keys - set(document)):
        raise _bad(f"{at}.{key}", "is missing")
    for key in sorted(set(document) - keys - optional):
        raise _bad(f"{at}.{key[:40]}", "is unknown")
    return document


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


class _RefusalTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """What waitress refuses before the application sees it, said as the application would say it."""

    def execute(self) -> None:
        error = self.request.error
        body = json.dumps(status_document(error.code, error.reason), sort_keys=True).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", PROBLEM))
        if isinstance(error, Crowded):
            self.response_headers.append(("Retry-After", str(RETRY_SECONDS)))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(Channel):
    error_task_class = _RefusalTask


def bind(
    app: WSGIApplication,
    host: str,
    port: int,
    *,
    most_body: int,
    most_body_of: Callable[[str], int] | None = None,
    threads: int = THREADS,
    trusted_proxy: str | None = None,
) -> Server:
    """A server of this application that listens; its `run` serves.

    A body that claims more than `most_body` bytes is refused unread, and one of more than `most_body_of` says
    of its path. From `trusted_proxy` alone an X-Forwarded-For is taken, as the caller's address.

    Raises:
        OSError: the port is taken.
    """
    server = listen(
        app,
        host,
        port,
        threads=threads,
        most_body=most_body,
        most_body_of=most_body_of,
        trusted_proxy=trusted_proxy,
    )
    server.channel_class = _Channel
    return server


def serve(
    app: WSGIApplication,
    host: str,
    port: int,
    *,
    most_body: int,
    most_body_of: Callable[[str], int] | None = None,
    threads: int = THREADS,
    trusted_proxy: str | None = None,
    ending: Callable[[], object] = bool,
) -> None:
    """Serves until SIGTERM; prints one JSON line {"ready": true, "url": ..} once listening. See `bind`.

    `ending` is called by the signal's handler, before waitress waits for its threads: what keeps them at
    work is to end. It may take no lock that this thread could hold.

    Raises:
        Refusal: `cannot_listen`, the port is taken.
    """

    def stop(_signal: int, _frame: object) -> None:
        ending()
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    lifeline.hold()
    try:
        server = bind(
            app,
            host,
            port,
            most_body=most_body,
            most_body_of=most_body_of,
            threads=threads,
            trusted_proxy=trusted_proxy,
        )
    except OSError as fault:
        raise _cannot_listen(host, port, fault) from None
    url = f"http://{host}:{server.effective_port}"
    sys.stdout.write(json.dumps({"ready": True, "url": url}) + "\n")
    sys.stdout.flush()
    log.info("serving", url=url)
    server.run()  # returns on SystemExit, which the signal raises
    server.close()


def _cannot_listen(host: str, port: int, fault: OSError) -> Refusal:
    return Refusal(
        code="cannot_listen",
        message=f"Port {port} on {host} cannot be had: {fault.strerror or type(fault).__name__}.",
        remedy="Stop what listens there, or name another port.",
        field="port",
    )
