"""Streams of events under our own server: raw sockets, a real database, threads that patients need."""

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flask
import pytest
from werkzeug.test import EnvironBuilder

from marketplace.errors import Refusal
from marketplace.pulse import Pulse
from marketplace.stages import Stage
from marketplace.store import Database, RequestRow, open_database
from marketplace.wire.listening import Server, listen
from tests.support.nodes import ROOT
from tests.support.serving import in_a_thread
from web.streams import (
    FULL_RETRY_MILLISECONDS,
    LARGEST_ID,
    MOST,
    MOST_OF_A_SESSION,
    MOST_OF_AN_ADDRESS,
    RETRY_MILLISECONDS,
    Holder,
    Message,
    Streams,
    last_event_id,
)

GIVE_UP = 60.0
OFTEN = 0.02
THREADS = 24
REQUEST = "0x" + "11" * 32


@dataclass
class Visitor:
    """One connection, and everything that came over it."""

    peer: socket.socket
    heard: bytes = b""

    def hear(self, wanted: bytes) -> bytes:
        """Reads until this was said."""
        while wanted not in self.heard:
            part = self.peer.recv(65_536)
            assert part, f"it ended without {wanted!r}: {self.heard!r}"
            self.heard += part
        return self.heard

    def hear_the_end(self) -> bytes:
        """Reads until the answer is over: its last chunk is empty."""
        return self.hear(b"\r\n0\r\n\r\n")

    def leave(self) -> None:
        self.peer.close()


@dataclass
class Market:
    """`GET /events?address=..&session=..` streams the stage log; `POST /` answers at once."""

    database: Database
    streams: Streams
    server: Server = field(init=False)
    visitors: list[Visitor] = field(default_factory=list)

    def visit(
        self,
        address: str = "a",
        session: str = "",
        *,
        since: int | None = None,
        method: str = "GET",
    ) -> Visitor:
        back = "" if since is None else f"Last-Event-ID: {since}\r\n"
        return self.ask(
            f"{method} /events?address={address}&session={session} HTTP/1.1\r\nHost: x\r\n{back}\r\n"
        )

    def ask(self, text: str) -> Visitor:
        port = int(self.server.effective_port)
        peer = socket.create_connection(("127.0.0.1", port), timeout=GIVE_UP)
        peer.sendall(text.encode())
        self.visitors.append(Visitor(peer))
        return self.visitors[-1]

    def move(self, stage: Stage, because: str = "it went on") -> None:
        self.database.move(REQUEST, stage, because)

    def taken(self, number: int) -> None:
        until(lambda: self.streams.places.taken() == number)


def until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + GIVE_UP
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(OFTEN)


def application(market: Market) -> flask.Flask:
    app = flask.Flask("streams")

    def read(since: int) -> Sequence[Message]:
        return [
            Message("stage", {"stage": row.after, "because": row.because}, row.id)
            for row in market.database.log_since(REQUEST, since)
        ]

    @app.get("/events")
    def show_events() -> flask.Response:
        holder = Holder(flask.request.args["session"] or None, flask.request.args["address"])
        return market.streams.response(holder, read, last_event_id(flask.request))

    @app.post("/")
    def revoke() -> str:
        return "revoked"

    return app


@contextlib.contextmanager
def running(database: Database, **options: Any) -> Iterator[Market]:
    pulse = Pulse({"stage_log": database.newest_entry}, every=OFTEN)
    market = Market(database, Streams(pulse, **options))
    market.server = listen(application(market), "127.0.0.1", 0, threads=THREADS, most_body=10**6)
    watch = pulse.start()
    with in_a_thread(market.server):
        try:
            yield market
        finally:
            pulse.stop()
            for visitor in market.visitors:
                visitor.leave()
            watch.join(GIVE_UP)
            until(lambda: market.streams.places.taken() == 0)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = open_database(f"sqlite:///{tmp_path / 'operator.sqlite'}")
    row = RequestRow(
        id=REQUEST,
        researcher="0x" + "22" * 20,
        stage=Stage.SUBMITTED,
        terms={},
        analysis="mean.v1",
        parameters={},
        submitted_at=datetime.now(UTC),
    )
    assert made.submit(row, "handed in")
    yield made
    made.engine.dispose()


@pytest.fixture
def market(database: Database) -> Iterator[Market]:
    with running(database) as made:
        yield made


# --- what is said


def test_a_stage_is_told_as_it_happens_and_can_be_gone_on_from(market: Market) -> None:
    visitor = market.visit()
    said = visitor.hear(b"submitted")
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert b"Content-Type: text/event-stream" in said
    assert b"Cache-Control: no-store" in said
    assert f"retry: {RETRY_MILLISECONDS}\n\n".encode() in said
    market.move(Stage.FUNDED)
    said = visitor.hear(b'"stage": "funded"}')
    assert re.findall(rb"id: (\d+)\nevent: stage\n", said) == [b"1", b"2"]
    market.move(Stage.FROZEN)
    again = market.visit("b", since=2).hear(b"frozen")
    assert b"submitted" not in again
    assert b"funded" not in again


@pytest.mark.parametrize(
    "because", ["a\n\nevent: full\ndata: {}\n\n", "\r\r", "\u2028é\x00</script>"]
)
def test_no_text_of_an_event_begins_another(market: Market, because: str) -> None:
    market.move(Stage.FUNDED, because)
    said = market.visit().hear(b'"stage": "funded"}')
    assert said.count(b"\nevent: ") == 2
    assert b"event: full" not in said.replace(b"\\n\\nevent: full", b"")


def test_a_quiet_stream_says_so_and_ends_by_itself(database: Database) -> None:
    with running(database, comment=OFTEN, life=3.0) as market:
        said = market.visit().hear_the_end()
        assert b"\n:\n\n" in said
        market.taken(0)


def test_a_stream_ends_with_the_session_that_it_was_begun_in(database: Database) -> None:
    good = {"s", "another"}
    with running(database, comment=OFTEN, life=3_600.0, is_good=good.__contains__) as market:
        visitor, other = market.visit(session="s"), market.visit("b", session="another")
        visitor.hear(b":\n\n")
        other.hear(b":\n\n")
        good.discard("s")
        market.taken(1)
        visitor.hear_the_end()


def test_a_refusal_while_reading_ends_the_stream_and_says_nothing_of_it(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> Sequence[Any]:
        raise Refusal(code="storage_unavailable", message="secret words", remedy="Wait.")

    monkeypatch.setattr(Database, "log_since", gone)
    said = market.visit().hear_the_end()
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert b"secret" not in said
    market.taken(0)


# --- who finds a place


def test_with_every_stream_taken_a_revocation_still_finds_a_thread(market: Market) -> None:
    streams = [market.visit(f"net{number // 3}", f"s{number // 2}") for number in range(MOST)]
    for each in streams:
        each.hear(b"submitted")
    assert (MOST, market.streams.places.taken()) == (12, 12)
    full = market.visit("another").hear_the_end()
    assert full.startswith(b"HTTP/1.1 200 OK")
    assert f"retry: {FULL_RETRY_MILLISECONDS}\n\nevent: full\ndata: {{}}\n\n".encode() in full
    assert market.streams.places.refused() == 1
    posts = [
        market.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n") for _ in range(8)
    ]
    for post in posts:
        post.hear(b"revoked")
    market.move(Stage.FUNDED)
    for each in streams:
        each.hear(b"funded")


@pytest.mark.parametrize(
    ("most", "address", "session"),
    [(MOST_OF_A_SESSION, "a{}", "one"), (MOST_OF_AN_ADDRESS, "a", "s{}")],
)
def test_a_session_and_an_address_get_so_many_and_others_still_theirs(
    market: Market, most: int, address: str, session: str
) -> None:
    for number in range(most):
        market.visit(address.format(number), session.format(number)).hear(b"submitted")
    assert b"event: full" in market.visit(address.format(most), session.format(most)).hear_the_end()
    market.visit("elsewhere", "somebody").hear(b"submitted")
    assert market.streams.places.taken() == most + 1


def test_who_is_not_signed_in_shares_no_session_with_others(market: Market) -> None:
    for number in range(MOST_OF_A_SESSION + 1):
        market.visit(f"a{number}").hear(b"submitted")


def test_who_left_gives_the_place_back(database: Database) -> None:
    with running(database, comment=OFTEN) as market:
        gone = [market.visit(session="one") for _ in range(MOST_OF_A_SESSION)]
        for each in gone:
            each.hear(b"submitted")
            each.leave()
        market.taken(0)
        market.visit(session="one").hear(b"submitted")


def test_a_look_at_the_headers_alone_takes_no_place(market: Market) -> None:
    market.visit(method="HEAD").hear(b"\r\n\r\n")
    assert market.streams.places.taken() == 0
    streams = replace(market.streams)
    streams.response(Holder(None, "a"), lambda _: [], 0)  # made, and never begun
    assert streams.places.taken() == 0


def test_the_end_of_the_process_ends_every_stream_and_leaves_no_thread_at_work(
    database: Database,
) -> None:
    with running(database, life=3_600, comment=3_600) as market:
        streams = [market.visit(f"a{number}") for number in range(MOST)]
        for each in streams:
            each.hear(b"submitted")
        ending = threading.Thread(target=market.streams.pulse.stop)
        ending.start()
        for each in streams:
            each.hear_the_end()
        market.taken(0)
        ending.join(GIVE_UP)


SERVER = """
import flask
from marketplace.pulse import Pulse
from marketplace.wire.http import serve
from web.streams import Holder, Message, Streams
app, pulse = flask.Flask("ending"), Pulse({})
streams = Streams(pulse, life=3600.0, comment=3600.0)

@app.get("/")
def show():
    return streams.response(Holder(None, "a"), lambda since: [Message("stage", {})], 0)

pulse.start()
serve(app, "127.0.0.1", 0, most_body=1024, ending=pulse.stop)
"""


def test_a_server_that_is_told_to_end_does_not_wait_for_its_streams() -> None:
    """waitress would wait five seconds for its threads, and then leave the streams an hour."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            port = int(json.loads(process.stdout.readline())["url"].rpartition(":")[2])
            peer = socket.create_connection(("127.0.0.1", port), timeout=GIVE_UP)
            peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            visitor = Visitor(peer)
            visitor.hear(b"event: stage")
            process.terminate()
            visitor.hear_the_end()
            assert process.wait(GIVE_UP) == 0
            visitor.leave()
        finally:
            process.kill()


# --- where a browser goes on


@pytest.mark.parametrize(
    ("given", "since"),
    [
        ("7", 7),
        ("0", 0),
        ("", 3),
        ("-1", 3),
        ("1e3", 3),
        ("٣", 3),
        ("9" * 19, LARGEST_ID),
        ("9" * 20, 3),
    ],
)
def test_nonsense_begins_where_the_page_was_made(given: str, since: int) -> None:
    environ = EnvironBuilder().get_environ()
    environ["HTTP_LAST_EVENT_ID"] = given.encode("utf-8").decode("latin-1")  # as WSGI has it
    assert last_event_id(flask.Request(environ), 3) == since
