"""Speaking to an operator, custodian or gate: total time limits, bounded answers, problems into refusals."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import httpx

from marketplace.errors import Refusal
from marketplace.wire.auth import Voice
from marketplace.wire.canonical import canonical, parse
from marketplace.wire.http import Busy
from marketplace.wire.plain import plain

MOST_ANSWER = 64 * 1024 * 1024
"""Bytes. A turn for 655,360 members (a full shard) is 22 MB, 29 MB in base64."""
SMALL_ANSWER = 64 * 1024
"""Bytes, for answers of a signature, a health report or a refusal."""
BUSY_SECONDS = 0.25
"""Between two questions to a peer that is at work for others (`busy`)."""


class PeerUnreachable(Refusal):
    """The other process did not answer, not in time, or not in its format."""

    CODE = "peer_unreachable"


def post(
    url: str,
    path: str,
    document: Mapping[str, Any],
    *,
    timeout: float,
    most: int = MOST_ANSWER,
    voice: Voice | None = None,
) -> dict[str, Any]:
    """The JSON object that the peer answers. With `voice`, the request is signed.

    Args:
        timeout: seconds, from connecting to the answer's last byte; a busy peer is asked again within them.
        most: bytes of the answer's body.

    Raises:
        Refusal: with the peer's own code where it declined.
        PeerUnreachable: no answer in `timeout` seconds, a larger one, or none that can be read.
    """
    content = canonical(dict(document))

    def ask(seconds: float) -> dict[str, Any]:
        signed = voice.header("POST", path, content) if voice is not None else {}
        return exchange("POST", url.rstrip("/") + path, content, signed, timeout=seconds, most=most)

    return _once_free(ask, timeout)


def get(url: str, path: str, *, timeout: float, most: int = MOST_ANSWER) -> dict[str, Any]:
    """As `post`, of what is only read."""

    def ask(seconds: float) -> dict[str, Any]:
        return exchange("GET", url.rstrip("/") + path, b"", {}, timeout=seconds, most=most)

    return _once_free(ask, timeout)


def _once_free(ask: Callable[[float], dict[str, Any]], timeout: float) -> dict[str, Any]:
    """What the peer answers once it is not busy; its refusal, where it is all the time."""
    until, left = time.monotonic() + timeout, timeout
    while True:
        try:
            return ask(left)
        except Refusal as refusal:
            if refusal.code != Busy.CODE or time.monotonic() + BUSY_SECONDS >= until:
                raise
            time.sleep(BUSY_SECONDS)
            left = until - time.monotonic()
            if left <= 0:  # a machine at work sleeps longer than it is told
                raise


def exchange(
    method: str,
    url: str,
    content: bytes,
    signed: Mapping[str, str],
    *,
    timeout: float,
    most: int,
    transport: httpx.BaseTransport | None = None,
) -> dict[str, Any]:
    """One question and its answer, by a connection of its own. As `post`; `signed` are headers to add.

    Args:
        transport: in the place of the network; its own time is not limited.
    """
    status, body = 0, b""

    def read(response: httpx.Response) -> None:
        nonlocal status, body
        status, body = response.status_code, _bounded(response, most)

    _asked(method, url, content, signed, read, timeout=timeout, transport=transport)
    return _read(status, body, most)


def download(
    url: str,
    content: bytes,
    signed: Mapping[str, str],
    to: BinaryIO,
    *,
    timeout: float,
    most: int,
    transport: httpx.BaseTransport | None = None,
) -> int:
    """Posts a question whose answer is a file, and writes it as it comes; its bytes. Raises as `exchange`.

    What was written before a refusal is no file.
    """
    size = 0

    def read(response: httpx.Response) -> None:
        nonlocal size
        if response.status_code != 200:
            _read(response.status_code, _bounded(response, SMALL_ANSWER), SMALL_ANSWER)
        for part in _parts(response, most):
            size += to.write(part)

    _asked("POST", url, content, signed, read, timeout=timeout, transport=transport)
    return size


def _asked(
    method: str,
    url: str,
    content: bytes,
    signed: Mapping[str, str],
    read: Callable[[httpx.Response], None],
    *,
    timeout: float,
    transport: httpx.BaseTransport | None,
) -> None:
    headers = {"content-type": "application/json", "accept-encoding": "identity", **signed}
    try:
        with (
            _Deadline(timeout) as deadline,
            httpx.Client(
                timeout=timeout, follow_redirects=False, verify=_trust(), transport=transport
            ) as client,
            client.stream(
                method,
                url,
                content=content,
                headers=headers,
                extensions={"trace": deadline.watch},
            ) as response,
        ):
            read(response)
            deadline.require_not_over()  # a body without a length seems complete once hung up
    except httpx.UnsupportedProtocol:
        raise PeerUnreachable(
            message="Its URL begins with neither http:// nor https://.",
            remedy="Give the whole URL.",
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise _unreachable(type(fault).__name__) from None


@functools.cache
def _trust() -> ssl.SSLContext:
    """Certificates that TLS servers are held against; reading them takes longer than most exchanges."""
    return httpx.create_ssl_context()


class _Deadline:
    """Hangs up when the time of a whole exchange is over.

    httpx's own timeout starts anew with every read and write, so a peer that sends a byte now and then,
    in its status line as well as in its body, would be listened to for ever.
    """

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_over = False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def watch(self, event: str, facts: Mapping[str, Any]) -> None:
        """httpx's trace: notes the connection's socket, TLS's in the place of the bare one."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            with self._lock:
                self._socket = facts["return_value"].get_extra_info("socket")
                if self._is_over:
                    self._hang_up()

    def require_not_over(self) -> None:
        """Raises PeerUnreachable."""
        with self._lock:
            if self._is_over:
                raise _unreachable("TooSlow")

    def _end(self) -> None:
        with self._lock:
            self._is_over = True
            self._hang_up()

    def _hang_up(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is closed already
                # Past SSLSocket's own, which would take TLS's state from under the reading thread.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _bounded(response: httpx.Response, most: int) -> bytes:
    return b"".join(_parts(response, most))


def _parts(response: httpx.Response, most: int) -> Iterator[bytes]:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _unreachable("Encoded")  # nobody asked for it: a few bytes can become gigabytes
    size = 0
    for part in response.iter_raw():
        size += len(part)
        if size > most:
            raise _unreachable("AnswerTooLarge")
        yield part


def _read(status: int, body: bytes, most: int) -> dict[str, Any]:
    try:
        document = parse(body, limit=most)
    except Refusal:
        raise _unreachable("NotJson") from None
    if not isinstance(document, dict):
        raise _unreachable("NotAnObject")
    if status != 200 and "code" not in document:
        raise PeerUnreachable(
            message=f"What answers there is another program (HTTP status {status}).",
            remedy="Check the URL and its port.",
        )
    if status != 200:
        raise declined(document)
    return document


def declined(document: Mapping[str, Any]) -> Refusal:
    """A peer's refusal, every text bounded and plain: it is another party's word, and people read it."""
    return Refusal(
        code=_text(document, "code", 60),
        message=_text(document, "detail", 800),
        remedy=_text(document, "remedy", 800),
        field=_text(document, "field", 80) if document.get("field") is not None else None,
    )


def _text(document: Mapping[str, Any], key: str, most: int) -> str:
    return plain(str(document.get(key, "not said"))[:most])


def _unreachable(kind: str) -> PeerUnreachable:
    return PeerUnreachable(
        message=f"The other process did not answer as it must ({kind}).",
        remedy="Start it, or check its URL and the network; the request can be repeated.",
    )
