"""JSON-RPC 2.0 over HTTP, on loopback only.

A page in a browser can post to loopback too. Two checks keep it out: the ``Host`` header must name
this machine (against DNS rebinding), and the content type must be JSON (a page then needs the
consent of a CORS preflight, which this server never gives).
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from marketplace.chain.node.errors import (
    BatchTooLong,
    InternalError,
    InvalidRequest,
    RpcError,
    UnreadableRequest,
)
from marketplace.chain.node.methods import Methods
from marketplace.wire.canonical import is_shallow

HOST = "127.0.0.1"
LOCAL_NAMES = frozenset({"127.0.0.1", "localhost"})
MOST_BODY_BYTES = 5 * 1024 * 1024  # geth's limit; a transaction is at most 256 KB of hex
MOST_CALLS = 1_000  # in one batch, geth's limit
BATCH_SECONDS = 10.0  # after which no further call of a batch begins: it holds one of a few threads

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]

logger = logging.getLogger(__name__)


class RpcServer:
    """The WSGI application. One lock around the chain: one call at a time reads or writes it."""

    def __init__(self, methods: Methods) -> None:
        self._methods = methods
        self.lock = threading.Lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """WSGI (PEP 3333). What JSON-RPC refuses is a 200 with its error, as clients expect.

        403, 405, 413 and 415 are for what is no call from a program on this machine.
        """
        refusal = _http_refusal(environ)
        if refusal is not None:
            status, sentence = refusal
            return _respond(start_response, status, {"error": sentence})
        answer = self.answer(environ["wsgi.input"].read(_length(environ)))
        return _respond(start_response, "200 OK", answer)

    def answer(self, body: bytes) -> object:
        """The JSON-RPC answer to one request body: an object, or an array for a batch."""
        try:
            request = _parse(body)
        except RpcError as refusal:
            return _failure(None, refusal)
        if isinstance(request, list):
            until = time.monotonic() + BATCH_SECONDS
            return [self._answer_one(call, until) for call in request]
        return self._answer_one(request)

    def _answer_one(self, call: object, until: float = math.inf) -> dict[str, object]:
        identity = call.get("id") if isinstance(call, dict) else None
        try:
            _require_time_left(until)
            name, arguments = _read_call(call)
            result = self._invoke(name, arguments)
        except RpcError as refusal:
            return _failure(identity, refusal)
        return {"jsonrpc": "2.0", "id": identity, "result": result}

    def _invoke(self, name: str, arguments: object) -> object:
        try:
            with self.lock:
                return self._methods.invoke(name, arguments)
        except RpcError:
            raise
        except Exception as fault:
            logger.exception("%s failed", name)
            raise InternalError(
                f"{name} failed inside the node ({type(fault).__name__}); nothing was written. "
                "Its log has the details."
            ) from fault


def _http_refusal(environ: Environ) -> tuple[str, str] | None:
    """Status and sentence for a request that is not a JSON-RPC call from this machine."""
    if not _is_local(environ.get("HTTP_HOST", "")):
        return "403 Forbidden", f"this node answers to http://{HOST} only"
    if environ["REQUEST_METHOD"] != "POST":
        return "405 Method Not Allowed", "send JSON-RPC calls with POST"
    media_type = environ.get("CONTENT_TYPE", "").split(";")[0].strip().lower()
    if media_type != "application/json":
        return "415 Unsupported Media Type", "send content-type: application/json"
    if _length(environ) > MOST_BODY_BYTES:
        return "413 Content Too Large", f"send at most {MOST_BODY_BYTES} bytes at a time"
    return None


def _is_local(host: str) -> bool:
    name, _, port = host.partition(":")
    return name.lower() in LOCAL_NAMES and (not port or port.isdigit())


def _length(environ: Environ) -> int:
    """Length of the body, which waitress has read and counted, also when it came in chunks."""
    return int(environ.get("CONTENT_LENGTH") or 0)


def _respond(start_response: StartResponse, status: str, answer: object) -> Iterable[bytes]:
    body = json.dumps(answer, separators=(",", ":")).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


def _parse(body: bytes) -> object:
    if not is_shallow(body):
        raise UnreadableRequest("the body is nested too deeply")
    try:
        # UTF-8 only, as the guard above reads it: json would take other encodings too.
        request = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as fault:
        raise UnreadableRequest("the body is not JSON") from fault
    if isinstance(request, list) and not 0 < len(request) <= MOST_CALLS:
        raise InvalidRequest(f"a batch holds 1 to {MOST_CALLS} calls, this one {len(request)}")
    return request


def _require_time_left(until: float) -> None:
    if time.monotonic() > until:
        raise BatchTooLong(
            f"the calls before this one took {BATCH_SECONDS:.0f} seconds; send it in another batch"
        )


def _read_call(call: object) -> tuple[str, object]:
    """Method name and parameters of a JSON-RPC 2.0 call object."""
    if not isinstance(call, dict) or call.get("jsonrpc") != "2.0":
        raise InvalidRequest('a call is an object with "jsonrpc": "2.0"')
    if not isinstance(call.get("method"), str):
        raise InvalidRequest('a call names its "method"')
    if not isinstance(call.get("id"), str | int):
        raise InvalidRequest('a call has an "id", a string or an integer')
    return call["method"], call.get("params", [])


def _failure(identity: object, refusal: RpcError) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": identity, "error": refusal.as_json()}
