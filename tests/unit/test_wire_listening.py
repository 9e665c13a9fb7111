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
from marketplace.wire.listening import BYTES_PER_SECOND, PATIENCE_SECONDS, Server, listen
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
