"""Everything that a browser sends, byte by byte, and whether any of it carries what must never leave it.

A SOCKS5 proxy (RFC 1928) stands between browser and servers and keeps what goes out. What the browser's own
debugger tells of a request would not do: of a body made from a Blob it tells nothing.
"""

import base64
import contextlib
import json
import re
import socket
import socketserver
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import ProxySettings

SHORTEST = 6
"""Bytes of a needle: anything shorter would be found in ciphertext by chance."""
VERSION, NO_AUTHENTICATION, CONNECT = 5, 0, 1
IPV4, NAME, IPV6 = 1, 3, 4
SUCCEEDED, UNREACHABLE = 0, 4
CHUNK = 65_536
# Not at the start of a line: on a connection kept open, a request follows the body before it at once.
_REQUEST_LINE = re.compile(rb"(DELETE|GET|HEAD|OPTIONS|PATCH|POST|PUT) (/\S*) HTTP/1\.1\r\n")


@dataclass
class Overheard:
    """What was sent, one entry a connection: to whom, and every byte in its order."""

    port: int = 0
    sent: list[tuple[str, bytearray]] = field(default_factory=list, repr=False)

    @property
    def proxy(self) -> ProxySettings:
        """For `Browser.new_context`: also what goes to loopback, which browsers send past a proxy."""
        return {"server": f"socks5://127.0.0.1:{self.port}", "bypass": "<-loopback>"}

    def requests(self) -> list[str]:
        """Method and URL of each request, of every connection in turn."""
        return [
            _request(to, found)
            for to, data in self.sent
            for found in _REQUEST_LINE.finditer(bytes(data))
        ]

    def carrying(self, needle: str | bytes) -> list[str]:
        """Method and URL of the requests that hold the needle, in any of the forms of `forms_of`."""
        forms = set(forms_of(needle.encode() if isinstance(needle, str) else needle))
        return [where for to, data in self.sent for where in _holders(to, bytes(data), forms)]


def _holders(to: str, data: bytes, forms: set[bytes]) -> Iterator[str]:
    lines, lower = list(_REQUEST_LINE.finditer(data)), data.lower()
    starts = [*(each.start() for each in lines), len(data)]
    if any(form in lower[: starts[0]] for form in forms):
        yield f"http://{to} (before any request)"
    for line, start, end in zip(lines, starts, starts[1:], strict=False):
        if any(form in lower[start:end] for form in forms):
            yield _request(to, line)


def _request(to: str, line: re.Match[bytes]) -> str:
    return f"{line[1].decode()} http://{to}{line[2].decode()}"


def forms_of(needle: bytes) -> Iterator[bytes]:
    """As it is, and as JSON, hexadecimal, base64 in each of its three alignments, or percent signs write it.

    All in lower case, to be looked for in lower case: a form that is found may be a form by chance only where
    the needle is short, so shorter ones than `SHORTEST` are refused.
    """
    if len(needle) < SHORTEST:
        raise ValueError(f"a needle of {len(needle)} bytes would be found by chance")
    yield needle.lower()
    yield needle.hex().encode()
    yield urllib.parse.quote(needle, safe="").encode().lower()
    yield urllib.parse.quote(needle).encode().lower()
    yield urllib.parse.quote_plus(needle).encode().lower()
    with contextlib.suppress(UnicodeDecodeError):
        yield json.dumps(needle.decode()).strip('"').encode().lower()
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + needle)
        # The characters that this needle alone decides: not the first, which the bytes before it reach into.
        inside = whole[-(-8 * shift // 6) : (8 * (shift + len(needle))) // 6]
        yield inside.lower()
        yield inside.translate(bytes.maketrans(b"+/", b"-_")).lower()


@contextmanager
def overhearing() -> Iterator[Overheard]:
    """A proxy on loopback that keeps what it carries away from the browser."""
    heard = Overheard()

    class Handler(_Carrier):
        overheard = heard

    server = _Server(("127.0.0.1", 0), Handler)
    heard.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


class _Carrier(socketserver.BaseRequestHandler):
    """One connection of the browser's."""

    overheard: Overheard

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            to = self._agree()
            with self._reach(to) as server:
                data = bytearray()
                self.overheard.sent.append((f"{to[0]}:{to[1]}", data))
                back = threading.Thread(target=_carry, args=(server, self.request), daemon=True)
                back.start()
                _carry(self.request, server, data)
                back.join()

    def _agree(self) -> tuple[str, int]:
        """RFC 1928, 3 and 4: no authentication, CONNECT; where to."""
        _, methods = self._take(2)
        self._take(methods)
        self.request.sendall(bytes((VERSION, NO_AUTHENTICATION)))
        _, command, _, kind = self._take(4)
        if command != CONNECT:
            raise OSError("only CONNECT")
        return self._host(kind), int.from_bytes(self._take(2))

    def _host(self, kind: int) -> str:
        if kind == NAME:
            return self._take(self._take(1)[0]).decode("ascii")
        family, size = {IPV4: (socket.AF_INET, 4), IPV6: (socket.AF_INET6, 16)}[kind]
        return socket.inet_ntop(family, self._take(size))

    def _reach(self, to: tuple[str, int]) -> socket.socket:
        try:
            server = socket.create_connection(to)
        except OSError:
            self._answer(UNREACHABLE)
            raise
        self._answer(SUCCEEDED)
        return server

    def _answer(self, code: int) -> None:
        self.request.sendall(bytes((VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0)))

    def _take(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more = self.request.recv(size - len(found))
            if not more:
                raise OSError("gone")
            found += more
        return found


def _carry(source: socket.socket, to: socket.socket, kept: bytearray | None = None) -> None:
    """Until the source has no more to say."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            if kept is not None:
                kept += data
            to.sendall(data)
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_WR)
