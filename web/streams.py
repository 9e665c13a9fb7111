"""Server-sent events (HTML, 9.2): news of a request or a draft, as they happen, to pages that stay open.

A stream holds one of this server's threads for as long as it lives, and there is no other way under waitress.
So there are few places, each stream ends by itself and the browser comes back (`retry`, `Last-Event-ID`), and
whoever finds no place is told so in a good answer: any other status ends an EventSource for good.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

import flask
import structlog

from marketplace.errors import Refusal
from marketplace.pulse import Pulse
from marketplace.reads import Reads
from web import limits, sessions
from web.site import Site

MOST: Final = 12
MOST_OF_A_SESSION: Final = 2
"""A browser opens six connections to an origin, whatever its tabs: two streams leave four for pages."""
MOST_OF_AN_ADDRESS: Final = 3
LIFE_SECONDS: Final = 55.0
"""Below the minute after which proxies give up."""
COMMENT_SECONDS: Final = 10.0
"""waitress notices that the other side is gone only when it writes."""
RETRY_MILLISECONDS: Final = 1_000
FULL_RETRY_MILLISECONDS: Final = 15_000
LARGEST_ID: Final = 2**63 - 1
STREAMS: Final = "usufruct_streams"

log = structlog.get_logger()


@dataclass(frozen=True)
class Message:
    """One event. `id` is the row of the log that it is about, None for what no log has."""

    event: str
    data: Mapping[str, Any]
    id: int | None = None

    def encode(self) -> bytes:
        """As it goes out: no line of `data` can end early, since JSON escapes line breaks."""
        lines = [] if self.id is None else [f"id: {self.id}"]
        lines += [f"event: {self.event}", f"data: {json.dumps(self.data, sort_keys=True)}"]
        return ("\n".join(lines) + "\n\n").encode("ascii")


@dataclass(frozen=True)
class Holder:
    """Who holds a stream: a session (None for who is not signed in), and a network address."""

    session: str | None
    address: str


@dataclass
class Places:
    """The places for streams, all of this process. Safe for threads."""

    most: int = MOST
    _held: Counter[tuple[str, str]] = field(default_factory=Counter, init=False)
    _taken: int = field(default=0, init=False)
    _refused: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def taken(self) -> int:
        """How many are held now."""
        return self._taken

    def refused(self) -> int:
        """How often somebody found none, since this process began."""
        return self._refused

    @contextmanager
    def one(self, holder: Holder) -> Iterator[bool]:
        """Holds a place meanwhile; False where there is none for this holder."""
        keys = _keys(holder)
        has_place = self._take(keys)
        try:
            yield has_place
        finally:
            if has_place:
                self._give_back(keys)

    def _take(self, keys: Mapping[tuple[str, str], int]) -> bool:
        with self._lock:
            is_free = self._taken < self.most
            if not is_free or any(self._held[key] >= most for key, most in keys.items()):
                self._refused += 1
                return False
            self._taken += 1
            self._held.update(keys.keys())
            return True

    def _give_back(self, keys: Mapping[tuple[str, str], int]) -> None:
        with self._lock:
            self._taken -= 1
            self._held.subtract(keys.keys())
            self._held += Counter()  # forgets who holds none any more


@dataclass(frozen=True)
class Streams:
    """Makes streams: each reads what is new whenever the pulse says that something is.

    Args:
        life: seconds, after which a stream ends by itself.
        comment: seconds between two lines that say nothing.
        is_good: whether a session's token is still good; a stream ends with the session that it was begun in.
    """

    pulse: Pulse
    places: Places = field(default_factory=Places)
    life: float = LIFE_SECONDS
    comment: float = COMMENT_SECONDS
    is_good: Callable[[str], bool] = bool

    def response(
        self, holder: Holder, read: Callable[[int], Sequence[Message]], since: int
    ) -> flask.Response:
        """A stream of what `read` gives: events after the one with this id, and those without an id.

        `read` is asked again and again, in this very thread; what has no id should be given only when it
        changed. Ends quietly where `read` is refused: the browser asks again, as any page does.

        Args:
            since: `last_event_id`, or the newest id that the page itself was made with.
        """
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        # A place is taken where the body begins: what never begins holds none.
        body = self._body(holder, read, since)
        return flask.Response(body, mimetype="text/event-stream", headers=headers)

    def _body(
        self, holder: Holder, read: Callable[[int], Sequence[Message]], since: int
    ) -> Iterator[bytes]:
        with self.places.one(holder) as has_place:
            if not has_place:
                yield _retry(FULL_RETRY_MILLISECONDS) + Message("full", {}).encode()
                return
            yield _retry(RETRY_MILLISECONDS)
            try:
                yield from self._events(holder.session, read, since)
            except Refusal as refusal:
                log.warning("stream_ended", code=refusal.code)

    def _events(
        self, session: str | None, read: Callable[[int], Sequence[Message]], since: int
    ) -> Iterator[bytes]:
        ends = time.monotonic() + self.life
        while not self.pulse.is_over:
            if session is not None and not self.is_good(session):
                return
            beat = self.pulse.beat()
            for message in read(since):
                since = max(since, message.id or 0)
                yield message.encode()
            left = ends - time.monotonic()
            if left <= 0:
                return
            if self.pulse.wait(beat, min(left, self.comment)) == beat:
                yield b":\n\n"


class StageNews:
    """What a request's stream reads: `stage` events of its log, each with what the request then waits for.

    Only the newest says what it waits for now; where nothing but that changed, or what is being done for the
    request, the newest is told again, without an id. One for each stream: it remembers what it told.
    """

    def __init__(self, reads: Reads, request: str) -> None:
        self._reads = reads
        self._request = request
        self._told: tuple[Mapping[str, Any] | None, str | None] = (None, None)

    def __call__(self, since: int) -> list[Message]:
        """What is new after the log's row with this id. Raises Refusal (storage_unavailable)."""
        waiting = self._reads.waits.of(self._request)
        at_work = self._reads.waits.at_work(self._request)
        now = waiting, None if at_work is None else str(at_work["message"])
        rows = self._reads.stages_since(self._request, since)
        is_known = not rows
        if is_known and now != self._told:
            rows = self._reads.stages_since(self._request, 0)[-1:]
        self._told = now
        return [
            Message(
                "stage",
                {**_bare(row), "waiting": waiting if row is rows[-1] else None},
                None if is_known else row["id"],
            )
            for row in rows
        ]


def _bare(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"stage": row["stage"], "at": row["at"]}


def last_event_id(request: flask.Request, otherwise: int = 0) -> int:
    """Where a browser that comes back wants to go on; `otherwise` on its first visit, and for nonsense."""
    given = request.headers.get("Last-Event-ID", "")
    if not (given.isascii() and given.isdigit() and len(given) < 20):
        return otherwise
    return min(int(given), LARGEST_ID)


def _retry(milliseconds: int) -> bytes:
    return f"retry: {milliseconds}\n\n".encode()


def _keys(holder: Holder) -> dict[tuple[str, str], int]:
    keys = {("address", holder.address): MOST_OF_AN_ADDRESS}
    if holder.session is not None:
        keys["session", holder.session] = MOST_OF_A_SESSION
    return keys


# --- of one application


def install(app: flask.Flask, of: Site) -> None:
    """One set of places for all pages."""

    def is_good(token: str) -> bool:
        with app.app_context():
            return sessions.signing_in().current(token, in_use=False) is not None

    app.extensions[STREAMS] = Streams(of.operator.pulse, Places(of.config.streams), is_good=is_good)


def streams() -> Streams:
    """Of the application at hand."""
    return streams_of(flask.current_app)


def streams_of(app: flask.Flask) -> Streams:
    """Of this application."""
    return cast(Streams, app.extensions[STREAMS])


def holder() -> Holder:
    """Who asks: by the session's cookie, where there is one, and the network address."""
    return Holder(sessions.token(), limits.network(flask.request.remote_addr))
