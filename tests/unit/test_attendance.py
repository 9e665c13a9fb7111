"""How custodians and gates are, by the operator's own looks: real servers that come and go."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from structlog.testing import capture_logs

from marketplace import attendance
from marketplace.api.health import FRESH_SECONDS, OLD_SECONDS, UNDER_WAY, Recently
from marketplace.api.openapi import DOCUMENT
from marketplace.attendance import AGAIN_SECONDS, LOOK_SECONDS, OLD, Attendance
from marketplace.attendance import OLD_SECONDS as LONG_AGO
from marketplace.errors import Refusal
from marketplace.peers import Peer
from marketplace.wire import http
from tests.support.ports import free_port

READY = {"ready": True, "reasons": []}
GATE = "0x" + "11" * 20
GIVE_UP = 60.0


@dataclass
class Host:
    """A custodian's or gate's `/health`: any document, at an address that stays when it is away."""

    said: Any = field(default_factory=lambda: READY)
    asked: int = 0
    port: int = field(default_factory=free_port)
    _server: ThreadingHTTPServer | None = None

    def come(self) -> None:
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked += 1
                body = json.dumps(host.said).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing: pytest shows what fails."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def go(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Seen:
    hosts: list[Host]
    clock: Clock
    attendance: Attendance

    def look(self, after: float = LOOK_SECONDS) -> list[dict[str, Any]]:
        """Lines that the log gets."""
        self.clock.now += after
        with capture_logs() as lines:
            self.attendance.look()
        return lines

    def custodians(self) -> list[list[str]]:
        return [each["reasons"] for each in self.attendance.told()["custodians"]]


@pytest.fixture
def seen() -> Iterator[Seen]:
    """Two custodians and a gate."""
    with ExitStack() as stack:
        hosts, clock = [Host() for _ in range(3)], Clock()
        for host in hosts:
            host.come()
            stack.callback(host.go)
        peers = [Peer(f"custodian {place}", host.url) for place, host in enumerate(hosts[:2])]
        gates = {GATE: Peer(f"gate {GATE}", hosts[2].url)}
        yield Seen(hosts, clock, Attendance(peers, gates, clock))


def test_nobody_is_ready_before_the_first_look(seen: Seen) -> None:
    told = seen.attendance.told()
    everybody = [*told["custodians"], *told["gates"]]
    assert [each["ready"] for each in everybody] == [False] * 3
    assert {each["reasons"][0] for each in everybody} == {"not_asked_yet"}


def test_a_look_finds_who_is_ready_and_who_says_why_not(seen: Seen) -> None:
    seen.hosts[1].said = {"ready": False, "reasons": ["stale_head"]}
    seen.look()
    assert seen.attendance.told() == {
        "custodians": [
            {"place": 0, "ready": True, "reasons": []},
            {"place": 1, "ready": False, "reasons": ["stale_head"]},
        ],
        "gates": [{"address": GATE, "ready": True, "reasons": []}],
    }


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"ready": True},
        {"reasons": []},
        {"ready": "yes", "reasons": []},
        {"ready": True, "reasons": "none"},
        {"ready": True, "reasons": ["<script>alert(1)</script>"]},
        {"ready": True, "reasons": [{"a": 1}]},
        {"ready": False, "reasons": []},
    ],
    ids=str,
)
def test_whoever_does_not_plainly_say_so_is_not_ready_and_none_of_its_text_is_passed_on(
    seen: Seen, said: Any
) -> None:
    seen.hosts[0].said = said
    seen.look()
    assert seen.custodians() == [["not_ready"], []]


def test_one_that_disappears_is_told_once_and_once_again_when_it_is_back(seen: Seen) -> None:
    assert seen.look() == []
    seen.hosts[0].go()
    lines = [seen.look() for _ in range(5)]
    (lost,) = [line for found in lines for line in found]
    assert (lost["event"], lost["peer"]) == ("peer_lost", "custodian 0")
    assert lost["reasons"] == ["peer_unreachable"]
    assert seen.custodians() == [["peer_unreachable"], []]
    seen.hosts[0].come()
    (back,) = [line for _ in range(3) for line in seen.look()]
    assert (back["event"], back["peer"]) == ("peer_back", "custodian 0")
    assert seen.custodians() == [[], []]
    seen.hosts[0].go()
    assert [line["event"] for _ in range(3) for line in seen.look()] == ["peer_lost"]


def test_one_missed_look_shows_in_health_at_once_and_is_no_line_yet(seen: Seen) -> None:
    seen.look()
    seen.hosts[1].go()
    assert seen.look() == []
    assert seen.custodians()[1] == ["peer_unreachable"]
    seen.hosts[1].come()
    assert seen.look() == [], "it was never said to be lost"


def test_asking_how_they_are_asks_none_of_them(seen: Seen) -> None:
    seen.look()
    asked = [host.asked for host in seen.hosts]
    for _ in range(200):
        seen.attendance.told()
    assert [host.asked for host in seen.hosts] == asked


def test_a_look_asks_only_those_whose_turn_it_is(seen: Seen) -> None:
    seen.hosts[1].said = {"ready": False, "reasons": ["stale_head"]}
    seen.look()
    seen.look(after=AGAIN_SECONDS)
    assert [host.asked for host in seen.hosts] == [1, 2, 1]
    for _ in range(50):
        seen.look(after=0.0)
    assert [host.asked for host in seen.hosts] == [1, 2, 1]


def test_what_was_found_long_ago_says_nothing_any_more(seen: Seen) -> None:
    seen.look()
    seen.clock.now += LONG_AGO + 1.0
    assert seen.custodians() == [list(OLD)] * 2


def test_it_looks_by_itself_until_it_is_stopped(seen: Seen) -> None:
    running = Attendance(seen.attendance.custodians, seen.attendance.gates)
    thread, waiting = running.start(), threading.Event()
    for _ in range(int(GIVE_UP / 0.05)):
        if all(each["ready"] for each in running.told()["custodians"]):
            break
        waiting.wait(0.05)
    assert running.told()["custodians"][0]["ready"]
    running.stop()
    thread.join(GIVE_UP)
    assert not thread.is_alive()


def test_a_look_that_fails_is_not_the_last(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the machine has no thread left for a moment."""
    true, faults = attendance.ask_all, iter(["can't start new thread"])

    def ask_all(*arguments: Any) -> Any:
        for text in faults:
            raise RuntimeError(text)
        return true(*arguments)

    monkeypatch.setattr(attendance, "ask_all", ask_all)
    monkeypatch.setattr(attendance, "AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(attendance, "TICK_SECONDS", 0.05)
    running = Attendance(seen.attendance.custodians, seen.attendance.gates)
    with capture_logs() as lines:
        thread, until = running.start(), time.monotonic() + GIVE_UP
        while not all(each["ready"] for each in running.told()["custodians"]):
            assert time.monotonic() < until, running.told()
            time.sleep(0.05)
        running.stop()
        thread.join(GIVE_UP)
    assert {"event": "look_failed", "kind": "RuntimeError", "log_level": "error"} in lines
    assert "new thread" not in str(lines), "only the kind of a fault is told"


# --- what /health answers


def test_health_answers_200_with_its_own_readiness_and_that_of_the_others(seen: Seen) -> None:
    seen.hosts[0].go()
    seen.look()
    app = http.create_app("usufruct", list, others=seen.attendance.told)
    response = app.test_client().get("/health")
    found = response.get_json()
    assert (response.status_code, found["ready"], found["reasons"]) == (200, True, [])
    assert [each["ready"] for each in found["custodians"]] == [False, True]
    schema = {**DOCUMENT["components"]["schemas"]["Health"], "components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(found)


@dataclass
class Look:
    """The look at the node, counted."""

    clock: Clock
    found: list[str] = field(default_factory=list)
    number: int = 0

    def __call__(self) -> list[str]:
        self.number += 1
        return list(self.found)


def test_many_who_ask_at_once_cost_one_look() -> None:
    clock = Clock()
    look = Look(clock)
    recently = Recently(look, clock)
    assert [recently() for _ in range(500)] == [[]] * 500
    assert look.number == 1
    look.found = ["stale_head"]
    clock.now += FRESH_SECONDS
    assert (recently(), look.number) == (["stale_head"], 2)


@contextmanager
def looking(recently: Recently, began: threading.Event, go_on: threading.Event) -> Iterator[None]:
    """Another thread looks, and its node hangs."""
    thread = threading.Thread(target=recently, daemon=True)
    thread.start()
    assert began.wait(GIVE_UP)
    try:
        yield
    finally:
        go_on.set()
        thread.join(GIVE_UP)


def test_while_the_node_hangs_nobody_waits_for_it_and_an_old_finding_is_not_given() -> None:
    clock, began, go_on = Clock(), threading.Event(), threading.Event()

    def hang() -> list[str]:
        began.set()
        go_on.wait(GIVE_UP)
        return []

    recently = Recently(list, clock)
    assert recently() == []
    recently.look = hang
    clock.now += FRESH_SECONDS
    with looking(recently, began, go_on):
        assert recently() == [], "as found a moment ago"
        clock.now += OLD_SECONDS
        assert recently() == [UNDER_WAY]
    never = Recently(hang, clock)
    began.clear()
    go_on.clear()
    with looking(never, began, go_on):
        assert never() == [UNDER_WAY], "nothing was ever found"


def test_a_look_that_fails_lets_the_next_one_look() -> None:
    def fail() -> list[str]:
        raise Refusal(code="refused", message="No.", remedy="None.")

    recently = Recently(fail, Clock())
    with suppress(Refusal):
        recently()
    recently.look = list
    assert recently() == []
