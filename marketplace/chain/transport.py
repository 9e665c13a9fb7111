"""HTTP to a node that may drip, flood or inflate: one answer has one deadline and one largest size.

A socket's own timeout starts anew with every byte, so a node that sends one a second would be listened
to for ever. Here the time left is set before every read, from the answer's first byte to its last.
"""

from __future__ import annotations

import http.client
import io
import math
import re
import socket
import time
from collections.abc import Mapping
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_netrc_auth
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from web3 import HTTPProvider
from web3.types import RPCResponse

from marketplace.wire.canonical import is_shallow

MOST_ANSWER: Final = 64 * 1024 * 1024
"""Bytes, head and body. The logs of a page of blocks, or a full shard's bitmaps, are far smaller."""
MOST_CONNECTIONS: Final = 32
"""Kept open to one node; a worker thread needs one."""
KEPT_SECONDS: Final = 4.0
"""After which a silent connection is made anew: nodes close theirs (ours after 15 s, Node.js after 5), and
a question that is on its way just then gets no answer."""
_REVERTED: Final = re.compile(r"(Reverted )?0x[0-9a-fA-F]{8}")
"""How the data of a revert begins: with a selector, in some nodes behind a word."""


class AnswerTooLarge(ValueError):
    """A node's answer beyond `MOST_ANSWER`."""


class AnswerEncoded(ValueError):
    """A compressed answer, which nobody asked for: a few bytes of it can become gigabytes."""


class AnswerTooDeep(ValueError):
    """JSON nested so deeply that reading it would take the process with it."""


class _BoundedReader(io.RawIOBase):
    """A socket's bytes until a moment, and up to a size.

    Raises:
        TimeoutError, AnswerTooLarge: on reading beyond either.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        given = sock.gettimeout()
        self._until = None if given is None else time.monotonic() + given
        self._left = MOST_ANSWER

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._remaining())
        got = self._raw.readinto(buffer) or 0
        self._left -= got
        if self._left < 0:
            raise AnswerTooLarge(f"more than {MOST_ANSWER} bytes")
        return got

    def _remaining(self) -> float | None:
        if self._until is None:
            return None
        remaining = self._until - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the answer was not complete in time")
        return remaining

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedResponse(http.client.HTTPResponse):
    """Status, headers and body all come through one bounded reader."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_BoundedReader(sock))


class _Connection(HTTPConnection):
    response_class = _BoundedResponse
    used_at = math.inf
    """When its last answer began, on the monotonic clock; infinite before there was one."""

    def getresponse(self) -> Any:
        response = super().getresponse()
        self.used_at = time.monotonic()
        return response

    def renew(self) -> None:
        """Closed, it is connected again by whoever uses it."""
        if time.monotonic() - self.used_at > KEPT_SECONDS:
            self.close()


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection

    def _get_conn(self, timeout: float | None = None) -> Any:
        return _renewed(super()._get_conn(timeout))


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection

    def _get_conn(self, timeout: float | None = None) -> Any:
        return _renewed(super()._get_conn(timeout))


def _renewed(connection: Any) -> Any:
    """Before the pool makes its way through a proxy, which it does for one that is closed."""
    connection.renew()
    return connection


_POOLS: Final = {"http": _Pool, "https": _SecurePool}


class _BoundedAdapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def send(
        self, request: requests.PreparedRequest, *arguments: Any, **options: Any
    ) -> requests.Response:
        response = super().send(request, *arguments, **options)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            response.close()
            raise AnswerEncoded("compressed")
        return response


def bounded_session(url: str) -> requests.Session:
    """A session for this URL, safe for threads, whose answers are complete within the request's read timeout.

    Connecting and handing the question over have the connect timeout each. Reading raises
    `requests.RequestException` where that is too slow, AnswerTooLarge or AnswerEncoded.
    """
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _BoundedAdapter(pool_maxsize=MOST_CONNECTIONS))
    session.headers["Accept-Encoding"] = "identity"
    _settle(session, url)
    return session


def _settle(session: requests.Session, url: str) -> None:
    """Takes proxies, certificates, credentials for this URL from the environment, once: a session that does
    so by itself looks at all of it again for every question.
    """
    found = session.merge_environment_settings(url, {}, None, None, None)
    session.proxies, session.verify = found["proxies"], found["verify"]
    session.auth = get_netrc_auth(url)
    session.trust_env = False


class BoundedProvider(HTTPProvider):
    """JSON-RPC over `bounded_session`, whose answers are looked at before they are decoded.

    Proxies and credentials are those that the environment names for `url` when this is made.
    """

    def __init__(self, url: str, request_kwargs: Mapping[str, Any], **options: Any) -> None:
        given = {"headers": self.get_request_headers(), **request_kwargs}
        super().__init__(url, request_kwargs=given, session=bounded_session(url), **options)

    @staticmethod
    def decode_rpc_response(raw_response: bytes) -> RPCResponse:
        """Raises AnswerTooDeep, ValueError for what is not UTF-8 JSON."""
        if not is_shallow(raw_response):
            raise AnswerTooDeep("nested too deeply")
        answer = HTTPProvider.decode_rpc_response(raw_response)
        _keep_from_web3(answer)
        return answer


def _keep_from_web3(answer: Any) -> None:
    """Puts what a contract reverted with where web3 does not decode it: `reverts` does, and trips over none.

    web3 raises UnicodeDecodeError and KeyError on a wallet's odd words, as if the node had lied.
    """
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict) and error.get("message"):  # else web3 would see no revert in it
        data = error.get("data")
        if isinstance(data, str) and _REVERTED.match(data):
            error["data"] = {"data": data}
