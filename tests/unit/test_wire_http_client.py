"""A peer's answer is complete in time and of a bounded size, or none: real sockets, real bytes."""

import functools
import gzip
import json
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from io import BytesIO
from typing import Any

import flask
import pytest

from marketplace.errors import Refusal
from marketplace.peers import ask_all
from marketplace.wire.http import busy as busy_refusal
from marketplace.wire.http import problem
from marketplace.wire.http_client import PeerUnreachable, download, get, post
from tests.support.custody_world import served
from tests.support.slow_answers import GIVE_UP, HEAD, asked, drip, server_that_sends, sized

WHOLE = b'{"signature":"0x00"}'
TIMEOUT = 0.5
PAUSE = 0.05
"""Seconds between two bytes: far less than the time limit, so that no single read ever waits it out."""

DRIPS = {
    "in the status line": drip(b"HTTP/1.1 200 ", b"O"),
    "in a header": drip(HEAD + b"X-Wait: ", b"a"),
    "in header after header": drip(HEAD, b"A: b\r\n"),
    "before the body": drip(sized(10**6)),
    "behind a finished body that claims more": drip(sized(10**6) + WHOLE),
    "behind a finished body without a length": drip(HEAD + b"Connection: close\r\n\r\n" + WHOLE),
    "in chunks": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}


@pytest.mark.parametrize("parts", DRIPS.values(), ids=DRIPS)
def test_a_peer_that_drips_for_ever_is_unreachable_after_the_time_limit(
    parts: Iterable[bytes],
) -> None:
    with server_that_sends(parts, PAUSE) as url:
        assert isinstance(asked(lambda: post(url, "/", {}, timeout=TIMEOUT)), PeerUnreachable)


def test_a_peer_that_never_takes_the_question_is_unreachable_after_the_time_limit() -> None:
    # Far more than the sockets' buffers hold, to one that reads 64 KB and then talks only.
    question = {"text": "}" * (32 << 20)}
    with server_that_sends(drip(b"HTTP/1.1 100 Continue\r\n", b"a"), PAUSE) as url:
        assert isinstance(asked(lambda: post(url, "/", question, timeout=TIMEOUT)), PeerUnreachable)


def test_an_answer_in_many_small_parts_within_the_time_limit_is_read() -> None:
    with server_that_sends([sized(len(WHOLE)), WHOLE[:9], WHOLE[9:]], 0.01) as url:
        assert post(url, "/", {}, timeout=GIVE_UP) == {"signature": "0x00"}


def test_an_answer_beyond_the_largest_size_is_given_up() -> None:
    with server_that_sends(drip(sized(10**9), b" " * 10_000)) as url:
        found = asked(lambda: post(url, "/", {}, timeout=GIVE_UP, most=100_000))
    assert isinstance(found, PeerUnreachable)
    assert "AnswerTooLarge" in found.message


def test_a_compressed_answer_is_refused_unread() -> None:
    bomb = gzip.compress(WHOLE)
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with server_that_sends([head + bomb]) as url:
        found = asked(lambda: post(url, "/", {}, timeout=GIVE_UP))
    assert isinstance(found, PeerUnreachable)
    assert "Encoded" in found.message


def fetched(url: str, to: BytesIO, timeout: float = GIVE_UP, most: int = 100_000) -> int:
    return download(url, b"{}", {}, to, timeout=timeout, most=most)


def test_a_file_is_written_as_it_comes() -> None:
    to = BytesIO()
    with server_that_sends([sized(len(WHOLE)), WHOLE[:9], WHOLE[9:]], 0.01) as url:
        assert fetched(url, to) == len(WHOLE)
    assert to.getvalue() == WHOLE


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (drip(sized(10**9), b" " * 10_000), "AnswerTooLarge"),
        ([HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"], "Encoded"),
        ([b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}"], "HTTP status 404"),
    ],
)
def test_a_file_that_is_none_is_given_up(parts: Iterable[bytes], said: str) -> None:
    with server_that_sends(parts) as url:
        found = asked(lambda: fetched(url, BytesIO()))
    assert isinstance(found, PeerUnreachable)
    assert said in found.message


def test_a_file_that_takes_too_long_is_given_up() -> None:
    parts = drip(HEAD + b"Connection: close\r\n\r\n" + WHOLE)
    with server_that_sends(parts, PAUSE) as url:
        found = asked(lambda: fetched(url, BytesIO(), timeout=TIMEOUT))
    assert isinstance(found, PeerUnreachable)


def test_a_file_that_is_declined_tells_the_peers_own_reason() -> None:
    told = b'{"code": "no_bundle", "detail": "There is none.", "remedy": "Ask for another."}'
    head = b"HTTP/1.1 422 No\r\nContent-Length: %d\r\n\r\n" % len(told)
    to = BytesIO()
    with server_that_sends([head + told]) as url, pytest.raises(Refusal) as declined:
        fetched(url, to)
    assert (declined.value.code, to.getvalue()) == ("no_bundle", b"")


def test_a_peer_that_nobody_runs_is_unreachable() -> None:
    with pytest.raises(PeerUnreachable):
        get("http://127.0.0.1:9", "/", timeout=GIVE_UP)


def test_a_refusal_cannot_rewrite_the_lines_of_who_reads_it() -> None:
    """Every text of it: code, field, detail and remedy are another party's word."""
    lie = "\x1b[2K\x1b[1Arevoked: your consent has ended\x1b[8m\u202e\n"
    told = json.dumps(dict.fromkeys(("code", "detail", "remedy", "field"), lie)).encode()
    head = b"HTTP/1.1 422 No\r\nContent-Length: %d\r\n\r\n" % len(told)
    with server_that_sends([head + told]) as url:
        found = asked(lambda: post(url, "/", {}, timeout=GIVE_UP))
    assert "revoked: your consent has ended" in found.message
    for text in (found.code, found.message, found.remedy, found.field):
        assert text.isprintable()


# --- a peer that is at work for others


def busy(times: int) -> tuple[flask.Flask, list[int]]:
    """Says so many times that it is busy, and answers then; with what it was asked until now."""
    app, asked_for = flask.Flask("busy"), [0]

    @app.post("/")
    def answer() -> Any:
        asked_for[0] += 1
        if asked_for[0] <= times:
            return problem(busy_refusal())
        return {"signature": "0x00"}

    return app, asked_for


def test_a_busy_peer_is_asked_again_and_answers_once_it_is_free() -> None:
    app, asked_for = busy(2)
    with served(app) as url:
        assert asked(lambda: post(url, "/", {}, timeout=GIVE_UP)) == {"signature": "0x00"}
    assert asked_for == [3]


def test_a_peer_that_is_busy_all_the_time_is_given_up_in_time_with_its_own_word() -> None:
    app, asked_for = busy(10**6)
    with served(app) as url:
        found = asked(lambda: post(url, "/", {}, timeout=10 * TIMEOUT))
    assert found.code == "busy"
    assert asked_for[0] > 1


def test_a_busy_peer_that_a_slow_machine_looks_at_too_late_is_given_up_with_its_own_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pause that lasts past the time limit, not a time limit below nothing."""
    slept, now = [0.0], time.monotonic
    app, asked_for = busy(10**6)
    with monkeypatch.context() as patched, served(app) as url:
        patched.setattr(time, "monotonic", lambda: now() + slept[0])
        patched.setattr(time, "sleep", lambda _: slept.__setitem__(0, 2 * GIVE_UP))
        found = asked(lambda: post(url, "/", {}, timeout=GIVE_UP))
    assert found.code == "busy"
    assert asked_for == [1]


# --- several at once


def two(good: Mapping[int, Any]) -> bool:
    return len(good) >= 2


def test_once_enough_have_answered_the_others_are_not_waited_for() -> None:
    never = threading.Event()

    def ask(place: int) -> int:
        if place == 0:
            never.wait()
        return place

    assert asked(lambda: ask_all(3, ask, two)) == {1: 1, 2: 2}
    never.set()


def test_one_that_answers_within_the_grace_still_counts() -> None:
    two_are_in = threading.Event()

    def ask(place: int) -> int:
        if place == 0:
            two_are_in.wait(GIVE_UP)
        return place

    def enough(good: Mapping[int, int]) -> bool:
        two_are_in.set() if two(good) else None
        return two(good)

    assert ask_all(3, ask, enough, grace=GIVE_UP) == {0: 0, 1: 1, 2: 2}


def test_how_long_the_others_are_waited_for_may_follow_from_who_they_are() -> None:
    never, two_are_in = threading.Event(), threading.Event()

    def ask(place: int) -> int:
        if place < 2:
            (never, two_are_in)[place].wait()
        return place

    def enough(good: Mapping[int, int]) -> bool:
        two_are_in.set() if two(good) else None
        return two(good)

    def grace(left: Collection[int]) -> float:
        return GIVE_UP if 1 in left else 0.0

    assert asked(lambda: ask_all(4, ask, enough, grace=grace)) == {1: 1, 2: 2, 3: 3}
    never.set()


@pytest.mark.parametrize("grace", [0.0, GIVE_UP])
def test_nobody_is_waited_for_beyond_the_patience_be_there_enough_or_not(grace: float) -> None:
    never = threading.Event()

    def ask(place: int) -> int:
        if place == 0:
            never.wait()
        return place

    for enough in (two, lambda _: False):
        wait = functools.partial(ask_all, 3, ask, enough, grace=grace, patience=0.2)
        assert asked(wait) == {1: 1, 2: 2}
    never.set()


def test_refusals_and_faults_count_as_answers_and_not_as_good_ones() -> None:
    declined = Refusal(code="not_ready", message="no", remedy="wait")

    def ask(place: int) -> int:
        if place == 0:
            raise declined
        if place == 1:
            raise TypeError("an answer that this process did not foresee")
        return place

    found = ask_all(3, ask, two)
    assert found[0] is declined
    assert isinstance(found[1], Refusal)
    assert found[1].code == "peer_unreadable"
    assert found[2] == 2
