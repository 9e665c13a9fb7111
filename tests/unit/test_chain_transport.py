"""A node's answer is complete in time and of a bounded size, or none: real sockets, real bytes."""

import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import pytest

from marketplace.chain import transport
from marketplace.chain.faults import NodeFault, NodeUnreachable
from marketplace.chain.rpc import Node
from marketplace.errors import Refusal
from tests.support.slow_answers import GIVE_UP, HEAD, drip, server_that_sends, sized

WHOLE = b'{"jsonrpc":"2.0","id":0,"result":"0x7a69"}'
TIMEOUT = 0.5
PAUSE = 0.05
"""Seconds between two bytes: far less than the time limit, so that no single read ever waits it out."""


def asked(url: str, timeout: float = TIMEOUT) -> Refusal | int:
    """What the node's chain id is, or why it is not known; fails where it takes for ever."""
    found: list[Refusal | int] = []

    def ask() -> None:
        try:
            found.append(Node(url, timeout=timeout).chain_id())
        except Refusal as refusal:
            found.append(refusal)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(GIVE_UP)
    assert found, "no answer and no refusal"
    return found[0]


ASK = """
import sys
from marketplace.chain.faults import NodeFault
from marketplace.chain.rpc import Node
try:
    Node(sys.argv[1]).chain_id()
except NodeFault as fault:
    print(fault.facts["kind"])
"""

DRIPS = {
    "in the status line": drip(b"HTTP/1.1 200 ", b"O"),
    "in a header": drip(HEAD + b"X-Wait: ", b"a"),
    "in header after header": drip(HEAD, b"A: b\r\n"),
    "before the body": drip(sized(10**6)),
    "in the body": drip(sized(10**6) + WHOLE[:-2], b"0"),
    "behind a finished body that claims more": drip(sized(10**6) + WHOLE),
    "behind a finished body without a length": drip(HEAD + b"Connection: close\r\n\r\n" + WHOLE),
    "in chunks behind a finished body": drip(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(WHOLE), WHOLE),
        b"1\r\n \r\n",
    ),
    "in trailers": drip(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(WHOLE), WHOLE),
        b"A: b\r\n",
    ),
}


@pytest.mark.parametrize("parts", DRIPS.values(), ids=DRIPS)
def test_a_node_that_drips_for_ever_is_unreachable_after_the_time_limit(
    parts: Iterable[bytes],
) -> None:
    with server_that_sends(parts, PAUSE) as url:
        assert isinstance(asked(url), NodeUnreachable | NodeFault)


def test_an_answer_in_many_small_parts_within_the_time_limit_is_read() -> None:
    with server_that_sends([sized(len(WHOLE)), WHOLE[:9], WHOLE[9:]], 0.01) as url:
        assert asked(url, timeout=GIVE_UP) == 0x7A69


def test_an_answer_beyond_the_largest_size_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MOST_ANSWER", 100_000)
    flood = drip(sized(10**9), b" " * 10_000)
    with server_that_sends(flood) as url:
        found = asked(url)
    assert isinstance(found, NodeFault)
    assert found.facts["kind"] == "AnswerTooLarge"


def test_a_compressed_answer_is_refused_unread() -> None:
    bomb = zlib.compress(b" " * 10**6)
    head = HEAD + b"Content-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with server_that_sends([head, bomb]) as url:
        found = asked(url)
    assert isinstance(found, NodeFault)
    assert found.facts["kind"] == "AnswerEncoded"


@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
def test_an_answer_nested_without_end_is_refused_and_ends_no_process(bracket: bytes) -> None:
    # Decoding it overruns the stack: in a process of its own, so that a fault ends only that one.
    answer = b'{"jsonrpc":"2.0","id":0,"result":' + bracket * 200_000
    with server_that_sends([sized(len(answer)), answer]) as url:
        done = subprocess.run(
            [sys.executable, "-c", ASK, url], capture_output=True, text=True, timeout=GIVE_UP
        )
    assert (done.returncode, done.stdout) == (0, "AnswerTooDeep\n"), done.stderr


@contextmanager
def node_of_one_answer() -> Iterator[tuple[str, list[socket.socket]]]:
    """Hangs up at a connection's second question, as one does that closes what was silent; with who came."""
    came: list[socket.socket] = []

    def answer(peer: socket.socket) -> None:
        with peer:
            question = peer.recv(65_536)
            while question and not question.endswith(b"}"):
                question = peer.recv(65_536)
            peer.sendall(sized(len(WHOLE)) + WHOLE)
            peer.recv(65_536)

    def listen(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                came.append(server.accept()[0])
                threading.Thread(target=answer, args=[came[-1]], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=listen, args=[server], daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", came
        server.shutdown(socket.SHUT_RDWR)


def test_a_connection_is_kept_and_one_that_was_silent_is_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with node_of_one_answer() as (url, came):
        node = Node(url, timeout=GIVE_UP)
        assert (node.chain_id(), len(came)) == (0x7A69, 1)
        with pytest.raises(NodeUnreachable, match="hung up"):
            node.chain_id()
        assert (node.chain_id(), len(came)) == (0x7A69, 2)
        monkeypatch.setattr(transport, "KEPT_SECONDS", 0.0)
        for number in (3, 4):
            assert (node.chain_id(), len(came)) == (0x7A69, number)


def test_a_redirect_is_not_followed() -> None:
    with (
        server_that_sends([sized(len(WHOLE)), WHOLE]) as elsewhere,
        server_that_sends(
            [b"HTTP/1.1 307 Go\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % elsewhere.encode()]
        ) as url,
    ):
        assert isinstance(asked(url), NodeFault)
