"""A server whose connections others hold, or use slowly, still answers: real sockets, a clock to move."""

import contextlib
import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from marketplace.wire import listening
from marketplace.wire.http import bind
from marketplace.wire.listening import (
    BYTES_PER_SECOND,
    CROWDED_BYTES_PER_SECOND,
    PATIENCE_SECONDS,
    ROOMS,
    SMALL,
    Room,
    Server,
    listen,
)
from tests.support.serving import in_a_thread

GIVE_UP = 60.0
HUGE = 40 * 2**20
"""Bytes; far above what waitress holds for one connection and what the sockets' buffers take."""


@dataclass
class Running:
    """A server in a thread. `/slow` answers once `slow` is set, `/huge` with HUGE bytes."""

    server: Server
    slow: threading.Event = field(default_factory=threading.Event)
    now: float = 1_000_000.0

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", int(self.server.effective_port))

    def answers(self) -> bool:
        url = f"http://127.0.0.1:{self.address[1]}/health"
        return bool(httpx.get(url, timeout=GIVE_UP).json()["ready"])

    def open(self, first: bytes = b"") -> socket.socket:
        peer = socket.create_connection(self.address, timeout=GIVE_UP)
        peer.sendall(first)
        return peer

    def open_slow(self) -> socket.socket:
        """Returns once the application is at work on it."""
        peer, until = (
            self.open(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"),
            time.monotonic() + GIVE_UP,
        )
        while not any(each.requests for each in list(self.server.active_channels.values())):
            assert time.monotonic() < until
            time.sleep(0.01)
        return peer

    def require_closed(self, peer: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            assert peer.recv(1) == b""
        peer.close()


def application(running: Callable[[], Running]) -> Callable[..., Iterable[bytes]]:
    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/slow":
            assert running().slow.wait(GIVE_UP)
        body = b" " * HUGE if path == "/huge" else json.dumps({"ready": True}).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    return answer


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    made: list[Running] = []
    app = application(lambda: made[0])
    server = listen(app, "127.0.0.1", 0, threads=1, most_body=10**6)
    server.adj.cleanup_interval = 0  # sweep whenever the loop turns
    made.append(Running(server))
    monkeypatch.setattr(listening, "time", SimpleNamespace(monotonic=lambda: made[0].now))
    with in_a_thread(server):
        yield made[0]
        made[0].slow.set()


def close(peers: Iterable[socket.socket]) -> None:
    for each in peers:
        each.close()


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [
        (b"/large", 2_000, b"200"),
        (b"/large", 2_001, b"413"),
        (b"/other", 500, b"200"),
        (b"/other", 501, b"413"),
        (b"/large/../other", 501, b"413"),
        (b"/other?/large", 501, b"413"),
        (b"/%6Carge", 2_000, b"200"),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_how_large_a_body_may_be_its_path_says_before_it_is_sent(
    path: bytes, length: int, status: bytes, chunked: bool
) -> None:
    def small(at: str) -> int:
        return 2_000 if at == "/large" else 500

    app = application(lambda: made)
    server = listen(app, "127.0.0.1", 0, threads=1, most_body=10**6, most_body_of=small)
    made = Running(server)
    head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n"
    with in_a_thread(server):
        if chunked:
            body = b"%x\r\n" % length + b"x" * length + b"\r\n0\r\n\r\n"
            made_of = len(body) - length  # counts, too
            body = b"%x\r\n" % (length - made_of) + b"x" * (length - made_of) + b"\r\n0\r\n\r\n"
            peer = made.open(head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        elif status == b"413":  # not a byte of it has to come
            peer = made.open(head + b"Content-Length: %d\r\n\r\n" % length)
        else:
            peer = made.open(head + b"Content-Length: %d\r\n\r\n" % length + b"x" * length)
        with peer:
            assert peer.recv(12) == b"HTTP/1.1 " + status


HALF = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"


@pytest.mark.parametrize("first", [b"", b"POST / HT", HALF])
def test_150_idle_sockets_keep_nobody_out(running: Running, first: bytes) -> None:
    idle = [running.open(first) for _ in range(150)]
    assert running.answers()
    close(idle)


def test_when_all_places_are_taken_whoever_was_idle_longest_makes_room(running: Running) -> None:
    running.server.adj.connection_limit = 20
    idle = []
    for _ in range(50):
        idle.append(running.open(HALF))
        running.now += 0.001
    assert running.answers()
    running.require_closed(idle.pop(0))
    close(idle)


def test_a_request_at_work_is_never_closed_to_make_room(running: Running) -> None:
    running.server.adj.connection_limit = 10
    asked = running.open_slow()
    running.now += 1.0
    idle = [running.open() for _ in range(20)]
    running.require_closed(idle.pop(0))
    running.slow.set()
    assert asked.recv(8) == b"HTTP/1.1"
    close([asked, *idle])


@pytest.mark.parametrize("first", [b"", b"POST / HT", HALF, b"\r\n\r\n"])
def test_whoever_sends_nothing_more_is_closed(running: Running, first: bytes) -> None:
    peer = running.open(first)
    assert running.answers()
    running.now += PATIENCE_SECONDS + 1
    running.require_closed(peer)


@pytest.mark.parametrize(("first", "then"), [(b"P", b"A"), (HALF, b" "), (b"\r\n", b"\r\n")])
def test_a_byte_now_and_then_buys_no_time(running: Running, first: bytes, then: bytes) -> None:
    peer = running.open(first)
    with contextlib.suppress(ConnectionError):
        for _ in range(20):
            assert running.answers()  # by now it has read what was sent
            peer.sendall(then)
            running.now += PATIENCE_SECONDS / 10
        running.require_closed(peer)
    peer.close()


def test_a_large_body_at_a_fair_pace_arrives_whole(running: Running) -> None:
    size, part = 900_000, 90_000
    peer = running.open(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
    for _ in range(size // part):
        assert running.answers()
        running.now += part / BYTES_PER_SECOND * 0.9
        peer.sendall(b" " * part)
    assert running.now - 1_000_000.0 > PATIENCE_SECONDS
    assert peer.recv(15) == b"HTTP/1.1 200 OK"
    peer.close()


def test_an_application_may_take_its_time(running: Running) -> None:
    asked = running.open_slow()
    running.now += 100 * PATIENCE_SECONDS
    time.sleep(1.5)  # a turn of the loop or more
    running.slow.set()
    assert asked.recv(15) == b"HTTP/1.1 200 OK"
    asked.close()


def test_whoever_does_not_fetch_a_large_answer_holds_no_thread(running: Running) -> None:
    asked = running.open(b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n")
    assert asked.recv(1) == b"H"
    running.now += PATIENCE_SECONDS + 1
    assert running.answers()  # the one thread is free again
    asked.close()


def test_there_are_never_more_places_than_files_that_may_be_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = {256: 128, 1_024: 768, 4_096: 1_000, resource.RLIM_INFINITY: 1_000}
    for allowed, expected in limits.items():
        monkeypatch.setattr(resource, "getrlimit", lambda _, allowed=allowed: (allowed, allowed))
        assert listening.most_connections() == expected


LARGE = 2 * 2**20
"""Bytes of an upload, of which `ROOMS` have room together."""
START = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


@dataclass
class Crowding(Running):
    """A server whose larger bodies have room for `ROOMS` of LARGE bytes, or half of it if they are larger."""

    @property
    def taken(self) -> int:
        return int(self.server.adj.room.taken())

    def hold(self, size: int = LARGE, first: bytes = b"x") -> socket.socket:
        """Says that so much comes, and sends the first of it; returns once room is held, or was refused."""
        before, until = self.taken, time.monotonic() + GIVE_UP
        peer = self.open(head(size) + first)
        while self.taken == before:
            assert time.monotonic() < until
            time.sleep(0.01)
        return peer

    def fill(self) -> list[socket.socket]:
        return [self.hold() for _ in range(ROOMS)]

    def answers_busy(self) -> bool:
        return answered(self.open(head(LARGE))).startswith(b"HTTP/1.1 503")

    def require_arrived(self, total: int) -> None:
        until = time.monotonic() + GIVE_UP
        while total != sum(
            each.request.body_bytes_received
            for each in list(self.server.active_channels.values())
            if each.request is not None
        ):
            assert time.monotonic() < until
            time.sleep(0.01)

    def require_room(self, taken: int = 0) -> None:
        until = time.monotonic() + GIVE_UP
        while self.taken != taken:
            assert time.monotonic() < until, f"{self.taken} bytes are held"
            time.sleep(0.01)


def head(size: int, more: bytes = b"") -> bytes:
    return START + b"%sContent-Length: %d\r\n\r\n" % (more, size)


def in_chunks(size: int) -> bytes:
    body = b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n"
    return START + b"Transfer-Encoding: chunked\r\n\r\n" + body


def answered(peer: socket.socket) -> bytes:
    """All that is said, until the server closes."""
    with peer, contextlib.suppress(ConnectionError):
        said = b""
        while part := peer.recv(65_536):
            said += part
    return said


@pytest.fixture
def crowding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Crowding]:
    made: list[Crowding] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["wsgi.input"].read()
        if environ["PATH_INFO"] == "/fault":
            raise RuntimeError
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

    server = bind(app, "127.0.0.1", 0, threads=1, most_body=4 * LARGE)
    server.adj.cleanup_interval = 0
    server.adj.room = Room(ROOMS * LARGE)
    made.append(Crowding(server))
    monkeypatch.setattr(listening, "time", SimpleNamespace(monotonic=lambda: made[0].now))
    with in_a_thread(server):
        yield made[0]


@pytest.mark.parametrize("more", [b"", b"Expect: 100-continue\r\n"])
def test_where_large_bodies_take_all_room_the_next_is_refused_before_it_is_sent(
    crowding: Crowding, more: bytes
) -> None:
    holding = crowding.fill()
    said = answered(crowding.open(head(SMALL + 1, more)))
    assert said.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 2" in said
    assert json.loads(said.partition(b"\r\n\r\n")[2])["code"] == "busy"
    assert crowding.taken == ROOMS * LARGE
    close(holding)


@pytest.mark.parametrize("path", [b"/", b"/api/v1/relay"])
@pytest.mark.parametrize("size", [1, 5_000, SMALL])
def test_a_small_body_arrives_however_many_large_ones_are_held(
    crowding: Crowding, size: int, path: bytes
) -> None:
    holding = crowding.fill()
    for sent in (head(size) + b"x" * size, in_chunks(size // 2 + 1)):
        peer = crowding.open(sent.replace(b"POST /", b"POST " + path, 1))
        assert answered(peer).startswith(b"HTTP/1.1 200")
    close(holding)


def test_a_body_in_chunks_takes_room_once_it_is_large(crowding: Crowding) -> None:
    holding = crowding.fill()
    peer = crowding.open()
    with contextlib.suppress(ConnectionError):  # it is refused while it is being sent
        peer.sendall(in_chunks(LARGE))
    assert answered(peer).startswith(b"HTTP/1.1 503")
    close(holding)
    crowding.require_room()
    assert answered(crowding.open(in_chunks(LARGE))).startswith(b"HTTP/1.1 200")


def test_the_largest_leave_room_for_uploads(crowding: Crowding) -> None:
    largest = [crowding.hold(3 * LARGE) for _ in range(ROOMS // 6)]
    assert answered(crowding.open(head(3 * LARGE))).startswith(b"HTTP/1.1 503")
    sent = head(LARGE) + b"x" * LARGE
    assert answered(crowding.open(sent)).startswith(b"HTTP/1.1 200")
    close(largest)


@pytest.mark.parametrize("path", [b"/", b"/fault"])
def test_room_is_given_back_when_the_request_was_served(crowding: Crowding, path: bytes) -> None:
    for _ in range(3):
        sent = (head(LARGE) + b"x" * LARGE).replace(b"POST /", b"POST " + path, 1)
        answered(crowding.open(sent))
        crowding.require_room()


@pytest.mark.parametrize("more", [b"", b"Expect: 100-continue\r\n"])
def test_room_is_given_back_when_the_connection_is_gone(crowding: Crowding, more: bytes) -> None:
    gone = crowding.open(head(LARGE, more) + b"x")
    crowding.require_room(LARGE)
    gone.close()
    crowding.require_room()


def test_room_is_given_back_when_a_body_in_chunks_becomes_too_large(crowding: Crowding) -> None:
    peer = crowding.open()
    with contextlib.suppress(ConnectionError):
        peer.sendall(in_chunks(4 * LARGE + 1))
    assert answered(peer).startswith(b"HTTP/1.1 413")
    crowding.require_room()


def test_who_is_slow_with_a_large_body_makes_room_once_others_wait(crowding: Crowding) -> None:
    fair = [crowding.hold(first=b"x" * 2 * SMALL) for _ in range(2)]
    little = 4 * BYTES_PER_SECOND
    slow = [crowding.hold(first=b"x" * little) for _ in range(ROOMS - 2)]
    crowding.require_arrived(2 * 2 * SMALL + len(slow) * little)
    crowding.now += PATIENCE_SECONDS - 1
    for each in (*fair, *slow):
        each.sendall(b"x" * little)  # buys four seconds
    crowding.require_arrived(2 * 2 * SMALL + (2 + 2 * len(slow)) * little)
    assert crowding.answers_busy()
    crowding.now += 2.5
    assert 2 * SMALL > 1.5 * CROWDED_BYTES_PER_SECOND > 2 * little
    time.sleep(1.5)  # a turn of the loop or more
    assert crowding.taken == ROOMS * LARGE  # nobody waited since any was slow
    assert crowding.answers_busy()
    for each in slow:
        crowding.require_closed(each)
    crowding.require_room(2 * LARGE)
    for each in fair:
        each.sendall(b"x" * (LARGE - 2 * SMALL - little))
        assert answered(each).startswith(b"HTTP/1.1 200")
