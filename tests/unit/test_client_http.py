"""The SDK waits for an operator no longer than it says and reads no more than it says: real sockets."""

import gzip
from collections.abc import Iterable

import pytest

from marketplace.client.http import Api, OperatorUnreachable
from marketplace.errors import Refusal
from tests.support.slow_answers import GIVE_UP, HEAD, asked, drip, server_that_sends, sized

WHOLE = b'{"ready":true}'
PROBLEM = (
    b'{"code":"fee_too_small","detail":"Too little.","field":"terms.fee","remedy":"Pay more."}'
)
TIMEOUT = 0.5
PAUSE = 0.05
"""Seconds between two parts: far less than the time limit, so that no single read ever waits it out."""

DRIPS = {
    "in the status line": drip(b"HTTP/1.1 200 ", b"O"),
    "in header after header": drip(HEAD, b"A: b\r\n"),
    "before the body": drip(sized(10**6)),
    "behind a finished body without a length": drip(HEAD + b"Connection: close\r\n\r\n" + WHOLE),
    "in chunks": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}
ENDLESS = {
    "of a length that it claims": drip(sized(10**12), b" " * 10_000),
    "without a length": drip(HEAD + b"Connection: close\r\n\r\n", b" " * 10_000),
    "in chunks": drip(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"2710\r\n" + b" " * 10_000 + b"\r\n"
    ),
}


@pytest.mark.parametrize("parts", DRIPS.values(), ids=DRIPS)
def test_an_operator_that_drips_for_ever_is_unreachable_after_the_time_limit(
    parts: Iterable[bytes],
) -> None:
    with server_that_sends(parts, PAUSE) as url:
        found = asked(lambda: Api(url, timeout=TIMEOUT).post("/api/v1/quotes", {}))
    assert isinstance(found, OperatorUnreachable)
    assert found.remedy == "Check --url, or try again later."


@pytest.mark.parametrize("parts", ENDLESS.values(), ids=ENDLESS)
def test_an_answer_without_end_is_given_up_at_the_largest_size(parts: Iterable[bytes]) -> None:
    with server_that_sends(parts) as url:
        found = asked(lambda: Api(url, timeout=GIVE_UP, most=100_000).post("/api/v1/quotes", {}))
    assert isinstance(found, OperatorUnreachable)
    assert "AnswerTooLarge" in found.message


def test_a_compressed_answer_is_refused_unread() -> None:
    bomb = gzip.compress(b" " * 10**6 + WHOLE)
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with server_that_sends([head + bomb]) as url:
        found = asked(lambda: Api(url, timeout=GIVE_UP).post("/api/v1/quotes", {}))
    assert isinstance(found, OperatorUnreachable)
    assert "Encoded" in found.message


def test_an_answer_in_time_and_size_is_read_also_on_the_second_call() -> None:
    with server_that_sends([sized(len(WHOLE)), WHOLE[:5], WHOLE[5:]], 0.01) as url:
        api = Api(url + "/", timeout=GIVE_UP)
        assert api.post("/api/v1/quotes", {}) == {"ready": True}
        assert api.post("/api/v1/quotes", {}) == {"ready": True}


def test_a_problem_becomes_the_refusal_that_it_tells() -> None:
    head = b"HTTP/1.1 422 No\r\nContent-Type: application/problem+json\r\n"
    sent = head + b"Content-Length: %d\r\n\r\n" % len(PROBLEM) + PROBLEM
    with server_that_sends([sent]) as url, pytest.raises(Refusal) as declined:
        Api(url, timeout=GIVE_UP).post("/api/v1/requests", {})
    assert not isinstance(declined.value, OperatorUnreachable)
    assert (declined.value.code, declined.value.field) == ("fee_too_small", "terms.fee")
    assert (declined.value.message, declined.value.remedy) == ("Too little.", "Pay more.")


def test_another_programs_answer_is_told_as_such_and_not_as_a_refusal() -> None:
    told = b'{"jsonrpc": "2.0", "error": {"message": "no"}}'
    sent = b"HTTP/1.1 405 No\r\nContent-Length: %d\r\n\r\n" % len(told) + told
    with server_that_sends([sent]) as url:
        found = asked(lambda: Api(url, timeout=GIVE_UP).post("/api/v1/quotes", {}))
    assert isinstance(found, OperatorUnreachable)
    assert "another program (HTTP status 405)" in found.message
    assert "--url" in found.remedy


def test_a_url_without_a_scheme_is_told_as_such() -> None:
    found = asked(lambda: Api("127.0.0.1:8000", timeout=GIVE_UP).post("/api/v1/quotes", {}))
    assert isinstance(found, OperatorUnreachable)
    assert "begins with neither http:// nor https://" in found.message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "http://user:hunter2@127.0.0.1:1/hunter2?key=hunter2",
            "The operator at http://127.0.0.1:1",
        ),
        ("ftp://user:hunter2@127.0.0.1", "The operator"),
        ("http://user:hunter2/@127.0.0.1:1", "The operator"),
    ],
)
def test_of_an_operators_url_nothing_is_said_that_could_be_a_key(url: str, shown: str) -> None:
    found = asked(lambda: Api(url, timeout=GIVE_UP).get("/api/v1/market"))
    assert isinstance(found, OperatorUnreachable)
    assert found.message.startswith(f"{shown} cannot be reached. ")
    assert "hunter2" not in str(found)


def test_reading_what_an_answer_lacks_is_a_refusal_that_names_it() -> None:
    """Wherever in the answer, so that no command ends in a traceback; what is there is read as it is."""
    sent = HEAD + sized_body(b'{"classes":[{"live":3}],"terms":{}}')
    with server_that_sends([sent]) as url:
        answer = Api(url, timeout=GIVE_UP).post("/api/v1/quotes", {})
    assert answer == {"classes": [{"live": 3}], "terms": {}}
    assert answer.get("stage") is None
    for read in (answer, answer["terms"], answer["classes"][0]):
        with pytest.raises(Refusal) as caught:
            read["stage"]
        assert (caught.value.code, caught.value.field) == ("malformed_answer", "stage")
        assert caught.value.remedy


def sized_body(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_an_endless_refusal_text_is_cut() -> None:
    told = PROBLEM.replace(b"Too little.", b"x" * 100_000)
    sent = b"HTTP/1.1 422 No\r\nContent-Length: %d\r\n\r\n" % len(told) + told
    with server_that_sends([sent]) as url, pytest.raises(Refusal) as declined:
        Api(url, timeout=GIVE_UP).post("/api/v1/requests", {})
    assert len(declined.value.message) < 1_000
