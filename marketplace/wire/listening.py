"""What every server here bounds: open connections, and the time and memory that requests and answers take.

waitress alone accepts 100 connections and takes one for idle only once nothing at all has come for two
minutes, so a hundred silent sockets, or as many that send a byte a minute, would shut everybody else
out, a patient who revokes included.
"""

from __future__ import annotations

import copy
import resource
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from waitress.channel import HTTPChannel  # type: ignore[import-untyped]  # waitress has no types
from waitress.parser import HTTPRequestParser  # type: ignore[import-untyped]
from waitress.server import TcpWSGIServer  # type: ignore[import-untyped]
from waitress.utilities import Error  # type: ignore[import-untyped]

PATIENCE_SECONDS: Final = 15.0
"""For a small request to arrive whole, for its answer to be fetched, for the next request to begin."""
BYTES_PER_SECOND: Final = 32 * 1024
"""So many bytes, in or out, buy another second: large bodies may take longer."""
CROWDED_BYTES_PER_SECOND: Final = 256 * 1024
"""Where others wait for the room of a large body, it has to come so fast on the whole."""
SWEEP_SECONDS: Final = 3
MOST_CONNECTIONS: Final = 1_000
MOST_HEAD: Final = 32 * 1024
"""Bytes of a request's line and headers."""
IN_MEMORY: Final = 64 * 1024
"""Bytes of a body, or of an answer, that one connection keeps in memory; more of it waits in a file. So all
connections together hold no more than a hundred megabytes, however slow the other sides are."""
SMALL: Final = 256 * 1024
"""Bytes of a body that is put aside whatever others send, such as a revocation's."""
MOST_PUT_ASIDE: Final = 256 * 1024 * 1024
"""Bytes that all larger bodies together may have, from the first of each to the end of its request."""
ROOMS: Final = 32
"""A body of more than this part of it may take the first half only, so that a few of the largest (records to
be scored, which anybody may send) leave room for everybody's uploads."""
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
    of more than `most_body_of` says of its path; one of more than `SMALL`, too, where others' take all room
    (503, `Crowded`).

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
    server.adj.room = Room(max(MOST_PUT_ASIDE, 4 * most_body))
    return server


def most_connections() -> int:
    """`MOST_CONNECTIONS`, or fewer where this process may not have so many files open."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(allowed // 2, allowed - SPARE_FILES))


class Room:
    """Bytes that the larger bodies of a server may have together. Safe for threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[Parser, int] = {}
        self._lock = threading.Lock()

    def taken(self) -> int:
        """Bytes."""
        with self._lock:
            return sum(self._held.values())

    def take(self, holder: Parser, size: int) -> bool:
        """Whether there was room for so many; where not, who is slow with its body makes some."""
        most = self._most if size <= self._most // ROOMS else self._most // 2
        with self._lock:
            if sum(self._held.values()) + size > most:
                for each in self._held:
                    each.gives_way = each.is_slow()
                return False
            self._held[holder] = size
            return True

    def leave(self, holder: Parser) -> None:
        """Gives back whatever it took."""
        with self._lock:
            self._held.pop(holder, None)


class Crowded(Error):  # type: ignore[misc]  # waitress has no types
    """What is answered, before a large body is read, while others' take all room."""

    code = 503
    reason = "Service Unavailable"


class Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """A request whose path says how large its body may be, and that has room for a large one, or ends."""

    adj: Any
    gives_way = False
    """Whether its connection is to close, since others wait for its room."""

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self._began = time.monotonic()
        self._has_asked = False

    def received(self, data: bytes) -> int:
        """Returns how many bytes are taken. Nobody is told to go on with a body that is refused."""
        taken = int(super().received(data))
        if self.headers_finished and not self.error:
            self._take_room()
        if self.error:
            self.expect_continue = False
        return taken

    def _take_room(self) -> None:
        size = self.body_bytes_received if self.chunked else self.content_length
        if self._has_asked or size <= SMALL:
            return
        self._has_asked = True
        # How much more will come of a body in chunks, nobody says.
        if not self.adj.room.take(
            self, self.adj.max_request_body_size - 1 if self.chunked else size
        ):
            self.error = Crowded("Others' bodies take all room. Ask again in a moment.")
            self.completed = True

    def is_slow(self) -> bool:
        """Whether the body takes longer than those may whose room others wait for."""
        seconds = time.monotonic() - self._began - PATIENCE_SECONDS
        return not self.completed and self.body_bytes_received < seconds * CROWDED_BYTES_PER_SECOND

    def close(self) -> None:
        """The request was served, or its connection is gone: nothing of it is kept any more."""
        super().close()
        self.adj.room.leave(self)

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

    def handle_close(self) -> None:
        """What arrived in part goes with its connection."""
        super().handle_close()
        # No lock: waitress may close while it holds that of its requests.
        request = self.request
        if request is not None:
            request.close()

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
        if self.requests:
            blocks_a_thread = self.total_outbufs_len > self.adj.outbuf_high_watermark
            return self.due < now and blocks_a_thread
        gives_way = self.request is not None and self.request.gives_way
        return gives_way or self.due < now

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
