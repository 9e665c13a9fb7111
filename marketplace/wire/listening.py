"""What every server here bounds: open connections, and the time and memory that requests and answers take.

waitress alone accepts 100 connections and takes one for idle only once nothing at all has come for two
minutes, so a hundred silent sockets, or as many that send a byte a minute, would shut everybody else
out, a patient who revokes included.
"""

from __future__ import annotations

import copy
import resource
import time
from collections.abc import Callable
from typing import Any, Final

from waitress.channel import HTTPChannel  # type: ignore[import-untyped]  # waitress has no types
from waitress.parser import HTTPRequestParser  # type: ignore[import-untyped]
from waitress.server import TcpWSGIServer  # type: ignore[import-untyped]

PATIENCE_SECONDS: Final = 15.0
"""For a small request to arrive whole, for its answer to be fetched, for the next request to begin."""
BYTES_PER_SECOND: Final = 32 * 1024
"""So many bytes, in or out, buy another second: large bodies may take longer."""
SWEEP_SECONDS: Final = 3
MOST_CONNECTIONS: Final = 1_000
MOST_HEAD: Final = 32 * 1024
"""Bytes of a request's line and headers."""
IN_MEMORY: Final = 64 * 1024
"""Bytes of a body, or of an answer, that one connection keeps in memory; more of it waits in a file. So all
connections together hold no more than a hundred megabytes, however slow the other sides are."""
SPARE_FILES: Final = 256
"""Open files left for databases, logs and calls to others."""


def listen(
    application: Callable[..., Any],
    host: str,
    port: int,
    *,
    threads: int,
    most_body: int,
    most_body_of: Callable[[str], int] | None = None,
    trusted_proxy: str | None = None,
) -> Server:
    """A server that listens; `run` serves. A body of more than `most_body` bytes is refused unread, and one
    of more than `most_body_of` says of its path.

    What proxies say of a caller (Forwarded, X-Forwarded-..) is dropped, but for the X-Forwarded-For of
    `trusted_proxy`.

    Raises:
        OSError: the port is taken.
    """
    server = Server(
        application,
        host=host,
        port=port,
        threads=threads,
        ident=None,
        max_request_body_size=most_body + 1,
        max_request_header_size=MOST_HEAD,
        inbuf_overflow=IN_MEMORY,
        outbuf_overflow=IN_MEMORY,
        clear_untrusted_proxy_headers=True,
        trusted_proxy=trusted_proxy,
        trusted_proxy_headers={"x-forwarded-for"} if trusted_proxy else set(),
        connection_limit=most_connections(),
        cleanup_interval=SWEEP_SECONDS,
        asyncore_use_poll=True,  # select cannot watch a file whose number is above 1023
    )
    server.adj.most_body_of = most_body_of
    return server


def most_connections() -> int:
    """`MOST_CONNECTIONS`, or fewer where this process may not have so many files open."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(allowed // 2, allowed - SPARE_FILES))


class Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """A request whose path says how large its body may be."""

    adj: Any

    def parse_header(self, header_plus: bytes) -> None:
        """Before any of the body is taken. Raises waitress's ParsingError."""
        super().parse_header(header_plus)
        if self.adj.most_body_of is not None:
            self.adj = copy.copy(self.adj)
            self.adj.max_request_body_size = self.adj.most_body_of(self.path) + 1


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection that has until `due`, which a byte now and then hardly moves."""

    parser_class = Parser

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.due = _from_now()
        super().__init__(*arguments, **options)

    def received(self, data: bytes) -> bool:
        """A request that begins has `PATIENCE_SECONDS`; its further bytes buy time, never more than that.

        Returns whether the bytes were taken.
        """
        # Blank lines between two requests begin none.
        if self.request is None and data.strip():
            self.due = _from_now()
        else:
            self._buy(len(data))
        return bool(super().received(data))

    def write_soon(self, data: Any) -> int:
        """The application, in a thread of its own, has more to say: the time to fetch it begins anew.

        Returns how many bytes it takes. Raises waitress's ClientDisconnected.
        """
        self.due = _from_now()
        return int(super().write_soon(data))

    def send(self, data: bytes, do_close: bool = True) -> int:
        """How many bytes the other side took, which buy it time; 0 when it takes none, or is gone."""
        sent = int(super().send(data, do_close))
        self._buy(sent)
        return sent

    def _buy(self, size: int) -> None:
        self.due = min(_from_now(), self.due + size / BYTES_PER_SECOND)

    def is_overdue(self, now: float) -> bool:
        """Whether the other side is too slow; never while the application itself is at work."""
        blocks_a_thread = self.total_outbufs_len > self.adj.outbuf_high_watermark
        return self.due < now and (blocks_a_thread or not self.requests)

    def is_idle(self) -> bool:
        """Whether nothing would be lost but a request that has not arrived yet."""
        return not (self.requests or self.total_outbufs_len or self.will_close)


class Server(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    """Closes who is too slow and, when all places are taken, who has been idle longest."""

    channel_class = Channel

    def maintenance(self, now: float) -> None:  # noqa: ARG002  # the wall's clock, which may be set
        """Every `SWEEP_SECONDS`, in the place of waitress's own sweep: overdue connections are to close."""
        for channel in list(self.active_channels.values()):
            if channel.is_overdue(time.monotonic()):
                channel.will_close = True

    def readable(self) -> bool:
        """Whether to look for new connections; before it says no, the longest idle one has to go."""
        # One place early: at the limit itself waitress accepts nobody, and logs each time that it does.
        if len(self._map) >= self.adj.connection_limit - 1:
            self._make_room()
        return bool(super().readable())

    def _make_room(self) -> None:
        idle = [each for each in list(self.active_channels.values()) if each.is_idle()]
        if idle:
            min(idle, key=lambda each: each.due).will_close = True


def _from_now() -> float:
    return time.monotonic() + PATIENCE_SECONDS
