"""A node's answer is complete in time and of a bounded size, or none: real sockets, real bytes."""

import base64
import json
import re
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from marketplace.chain import transport
from marketplace.chain.faults import NodeFault, NodeUnreachable
from marketplace.chain.rpc import Header, Node, UnknownBlock
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
        found = asked(url, timeout=GIVE_UP)
    assert isinstance(found, NodeFault)
    assert found.facts["kind"] == "AnswerTooLarge"


def test_a_compressed_answer_is_refused_unread() -> None:
    bomb = zlib.compress(b" " * 10**6)
    head = HEAD + b"Content-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with server_that_sends([head, bomb]) as url:
        found = asked(url, timeout=GIVE_UP)
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
def node_of_one_answer() -> Iterator[tuple[str, list[bytes]]]:
    """Hangs up at a connection's second question, as one does that closes what was silent; with the head of
    each connection's first.
    """
    heads: list[bytes] = []

    def answer(peer: socket.socket) -> None:
        with peer:
            question = peer.recv(65_536)
            while not question.endswith(b"}"):
                part = peer.recv(65_536)
                if not part:
                    return
                question += part
            heads.append(question.partition(b"\r\n\r\n")[0])
            peer.sendall(sized(len(WHOLE)) + WHOLE)
            peer.recv(65_536)

    def listen(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                peer, _ = server.accept()
                threading.Thread(target=answer, args=[peer], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=listen, args=[server], daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", heads
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


# --- what the environment says of the way to the node


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Sets just these of all that bear on the way to a node."""
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    def say(netrc: str = "", **named: str) -> None:
        (tmp_path / "netrc").write_text(netrc)
        for name, value in named.items():
            monkeypatch.setenv(name, value)

    return say


def test_a_node_is_asked_through_the_environments_proxy(environment: Callable[..., None]) -> None:
    with node_of_one_answer() as (proxy, heads):
        environment(http_proxy=proxy)
        assert asked("http://node.invalid:8545", GIVE_UP) == 0x7A69
    assert heads[0].startswith(b"POST http://node.invalid:8545/ HTTP/1.1")


def test_a_node_that_the_environment_excepts_is_asked_without_the_proxy(
    environment: Callable[..., None],
) -> None:
    with node_of_one_answer() as (proxy, unasked), node_of_one_answer() as (url, heads):
        environment(http_proxy=proxy, no_proxy="127.0.0.1")
        assert asked(url, GIVE_UP) == 0x7A69
    assert (len(heads), unasked) == (1, [])


def test_the_environment_is_looked_at_when_a_node_is_named_and_not_for_every_question(
    environment: Callable[..., None],
) -> None:
    with node_of_one_answer() as (proxy, unasked), node_of_one_answer() as (url, heads):
        node = Node(url, timeout=GIVE_UP)
        environment("machine 127.0.0.1 login alice password swordfish", http_proxy=proxy)
        assert node.chain_id() == 0x7A69
    assert (len(heads), unasked) == (1, [])
    assert b"Authorization" not in heads[0]


@pytest.mark.parametrize(
    ("netrc", "in_url", "sent"),
    [
        ("", "", None),
        ("machine 127.0.0.1 login alice password swordfish", "", b"alice:swordfish"),
        ("machine elsewhere.invalid login alice password swordfish", "", None),
        ("", "bob:trustno1@", b"bob:trustno1"),
    ],
)
def test_a_node_is_told_who_asks_as_its_url_or_the_users_netrc_says(
    environment: Callable[..., None], netrc: str, in_url: str, sent: bytes | None
) -> None:
    environment(netrc)
    with node_of_one_answer() as (url, heads):
        assert asked(url.replace("//", f"//{in_url}"), GIVE_UP) == 0x7A69
    found = re.search(rb"Authorization: Basic (\S+)", heads[0])
    assert (found and base64.b64decode(found[1])) == sent


# --- answers that are of another shape than JSON-RPC promises

BLOCK: Mapping[str, Any] = {
    "number": "0x1f",
    "hash": "0x" + "ab" * 32,
    "timestamp": "0x65",
    "baseFeePerGas": "0x7",
}


@contextmanager
def node_that_says(result: Any) -> Iterator[Node]:
    answer = json.dumps({"jsonrpc": "2.0", "id": 0, "result": result}).encode()
    with server_that_sends([sized(len(answer)), answer]) as url:
        yield Node(url, timeout=GIVE_UP)


def test_a_block_is_read_as_it_is_written() -> None:
    with node_that_says(BLOCK) as node:
        assert node.header("latest") == Header(31, bytes([0xAB] * 32), 101, 7)


def test_a_block_from_before_base_fees_has_none() -> None:
    with node_that_says({name: BLOCK[name] for name in BLOCK if name != "baseFeePerGas"}) as node:
        assert node.header(31).base_fee is None


def test_a_block_that_is_not_there_is_unknown() -> None:
    with node_that_says(None) as node, pytest.raises(UnknownBlock):
        node.header(31)


BENT: list[tuple[str, Any]] = [
    *[("number", bent) for bent in (31, "31", "0x", "0x1_f", " 0x1f", "-0x1", "0x" + "f" * 65, [])],
    *[("number", None), ("timestamp", True), ("timestamp", "later"), ("baseFeePerGas", "dear")],
    *[("hash", bent) for bent in (None, 7, "0x", "ab" * 32, "0x" + "ab" * 31, "0x" + "ab" * 33)],
    *[("hash", bent) for bent in ("0x" + "zz" * 32, "0x" + " a" * 32, "0x" + "\u0661" * 64)],
]


@pytest.mark.parametrize(("field", "bent"), BENT)
def test_a_block_with_a_field_of_another_shape_is_a_fault_of_the_node(
    field: str, bent: Any
) -> None:
    with node_that_says({**BLOCK, field: bent}) as node, pytest.raises(NodeFault):
        node.header("latest")


@pytest.mark.parametrize("result", [[], [BLOCK], "latest", 31, True, {}])
def test_what_is_no_block_is_a_fault_of_the_node(result: Any) -> None:
    with node_that_says(result) as node, pytest.raises(NodeFault):
        node.header("latest")


READS: Mapping[str, Callable[[Node], bytes]] = {
    "code": lambda node: node.code("0x" + "11" * 20),
    "call": lambda node: node.call("0x" + "11" * 20, b"", 31),
}


@pytest.mark.parametrize("read", READS)
def test_data_is_read_as_it_is_written(read: str) -> None:
    for result, data in (("0x", b""), ("0x00fF", b"\0\xff")):
        with node_that_says(result) as node:
            assert READS[read](node) == data


@pytest.mark.parametrize("result", [None, 7, True, [], {}, "", "ff", "0xf", "0x ff", "0xfg"])
@pytest.mark.parametrize("read", READS)
def test_data_of_another_shape_is_a_fault_of_the_node(read: str, result: Any) -> None:
    with node_that_says(result) as node, pytest.raises(NodeFault):
        READS[read](node)
