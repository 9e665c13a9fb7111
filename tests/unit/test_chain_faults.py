"""Why a node could not be asked: each cause in its own words, and never a key out of its URL."""

import ast
import re
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError

from marketplace.chain.faults import NodeFault, NodeUnreachable, shown_url, unreachable
from marketplace.chain.rpc import Node
from marketplace.cli.main import main
from marketplace.errors import Refusal
from marketplace.wire.http import problem_document
from tests.support.nodes import ROOT
from tests.support.slow_answers import GIVE_UP, asked, drip, server_that_sends, sized

SECRET = "k3y-734918273645"
TIMEOUT = 0.5
PAUSE = 0.05
"""Seconds between two bytes: far less than the time limit, so that no single read ever waits it out."""
Made = Callable[[], AbstractContextManager[str]]


def sends(*parts: bytes) -> Made:
    return lambda: server_that_sends(parts)


def failing(status: int, reason: str) -> Made:
    return sends(b"HTTP/1.1 %d %b\r\nContent-Length: 2\r\n\r\n{}" % (status, reason.encode()))


def json(body: bytes) -> Made:
    return sends(sized(len(body)), body)


@contextmanager
def nobody() -> Iterator[str]:
    """A port that is taken, so that nobody else comes to listen, and at which nothing answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def no_tls() -> Iterator[str]:
    """Answers whatever comes first, in plain HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer, suppress(ConnectionResetError):
                peer.recv(65_536)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                peer.recv(65_536)

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"
        answering.join(GIVE_UP)


@contextmanager
def as_is(url: str) -> Iterator[str]:
    yield url


CAUSES = {
    "nothing listens": (nobody, "nothing_answers", "Nothing answers at"),
    "a web page": (json(b"<html>no</html>"), "not_a_node", "is not an Ethereum node"),
    "nothing at the path": (failing(404, "Not Found"), "not_a_node", "(HTTP status 404)"),
    "a route for others": (failing(405, "Not Allowed"), "not_a_node", "(HTTP status 405)"),
    "JSON of another protocol": (json(b'{"ok":true}'), "not_a_node", "is not an Ethereum node"),
    "another chain's JSON-RPC": (
        json(b'{"jsonrpc":"2.0","id":0,"error":{"code":-32601,"message":"no such method"}}'),
        "not_a_node",
        "is not an Ethereum node",
    ),
    "no HTTP": (sends(b"SSH-2.0-OpenSSH_9.2\r\n"), "not_a_node", "is not an Ethereum node"),
    "a key that it does not know": (failing(401, "Unauthorized"), "not_allowed", "without a key"),
    "too many questions": (failing(429, "Too Many"), "at_capacity", "cannot answer at present"),
    "a broken proxy before it": (failing(502, "Bad Gateway"), "at_capacity", "(HTTP status 502)"),
    "slow from its first byte": (
        lambda: server_that_sends(drip(b"", b""), PAUSE),
        "slow",
        "is slow",
    ),
    "slow to its last byte": (
        lambda: server_that_sends(drip(sized(10**6)), PAUSE),
        "slow",
        "is slow",
    ),
    "hangs up": (sends(), "hung_up", "hung up without an answer"),
    "http under https": (no_tls, "no_tls", "TLS"),
    "no scheme": (lambda: as_is("127.0.0.1:8545"), "bad_url", "begins with http"),
    "another scheme": (lambda: as_is("ws://127.0.0.1:8545"), "bad_url", "begins with http"),
    "no host": (lambda: as_is("http://:8545"), "bad_url", "begins with http"),
}


def with_keys(url: str) -> str:
    """The same place, with a key wherever a URL can carry one."""
    scheme, found, rest = url.partition("://")
    return f"{scheme}://{SECRET}:{SECRET}@{rest}/v3/{SECRET}?key={SECRET}" if found else url


def refusal(url: str, why: str = "") -> Refusal:
    """Where slowness is not what is meant, no slow machine brings it in."""
    timeout = TIMEOUT if why == "slow" else GIVE_UP
    found = asked(lambda: Node(url, timeout=timeout).chain_id())
    assert isinstance(found, NodeUnreachable | NodeFault), found
    return found


@pytest.mark.parametrize(("made", "why", "words"), CAUSES.values(), ids=CAUSES)
def test_each_cause_is_said_in_its_own_words_with_the_place_and_the_option_to_correct(
    made: Made, why: str, words: str
) -> None:
    with made() as url:
        found = refusal(with_keys(url), why)
    said = str(found)
    assert found.facts["why"] == why
    assert words in said
    assert (url in said) == (why != "bad_url")
    assert "--node, or node_url in a configuration file" in said
    assert ("slow" in said) == (why == "slow")
    assert SECRET not in said


@pytest.mark.parametrize(("made", "why", "words"), CAUSES.values(), ids=CAUSES)
def test_strangers_who_ask_a_server_learn_neither_its_nodes_place_nor_a_key(
    made: Made, why: str, words: str
) -> None:
    with made() as url:
        found = refusal(with_keys(url), why)
    shown = str(problem_document(found))
    assert SECRET not in shown
    assert url.rpartition("/")[2] not in shown
    assert "--node" not in shown, "that is not the asker's to correct"


TO_THEIR_HOSTS = {
    "marketplace/client/payment.py",
    "marketplace/custodian/identity.py",
    "marketplace/custodian/main.py",
    "marketplace/custodian/watch.py",
    "marketplace/demo/telling.py",
    "marketplace/gate/identity.py",
    "marketplace/operator.py",
    "marketplace/pipeline/service.py",
    "marketplace/wire/logs.py",
}
"""What shows a refusal whole, to who runs it. Everything else shows message and remedy."""
KINDS = re.compile("Refusal|Node|Unreachable|Exception|Fault|Unknown")
"""In the names of what may be, or come from, a node's refusal."""
APART = ("marketplace/cli/", "marketplace/chain/node/")
"""Commands speak to who gave the URL; the embedded node has none, and names its own files."""


def shows_whole(source: str) -> bool:
    """Whether it turns a refusal, by its name, into text: with `str`, `repr` or in an f-string."""
    tree = ast.parse(source)
    handlers = [each for each in ast.walk(tree) if isinstance(each, ast.ExceptHandler)]
    caught = {each.name for each in handlers if each.type and KINDS.search(ast.unparse(each.type))}
    for node in ast.walk(tree):
        shown: ast.expr | None = None
        if isinstance(node, ast.FormattedValue):
            shown = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            shown = node.args[0] if node.func.id in ("str", "repr", "format") else None
        while isinstance(shown, ast.Subscript):
            shown = shown.value
        if isinstance(shown, ast.Name) and (shown.id in caught or "refusal" in shown.id):
            return True
    return False


def test_a_refusal_is_shown_whole_only_to_who_runs_the_process() -> None:
    """`str` of a node's refusal names its place: a wait, a reason or an answer made of it tells strangers."""
    showing = {
        str(path.relative_to(ROOT))
        for package in ("marketplace", "web")
        for path in (ROOT / package).rglob("*.py")
        if shows_whole(path.read_text())
    }
    assert {each for each in showing if not each.startswith(APART)} == TO_THEIR_HOSTS


def from_urllib3(reason: Exception) -> requests.ConnectionError:
    """As requests hands it on."""
    return requests.ConnectionError(MaxRetryError(None, "/", reason))


@pytest.mark.parametrize(
    "reason",
    [
        NameResolutionError("node.example.org", None, socket.gaierror()),
        ConnectTimeoutError(None, "timed out"),
    ],
    ids=["nobody has the name", "nobody has the address"],
)
def test_where_nobody_can_be_reached_nothing_answers_and_nothing_is_called_slow(
    reason: Exception,
) -> None:
    found = unreachable("http://node.example.org", "eth_chainId", from_urllib3(reason))
    assert str(found).startswith("Nothing answers at http://node.example.org ")


def test_a_status_that_a_nodes_proxy_gives_for_a_time_is_waited_out_like_silence() -> None:
    """As every failure of HTTP: who waits for a receipt goes on waiting."""
    for made in (failing(502, "Bad Gateway"), failing(404, "Not Found")):
        with made() as url:
            assert isinstance(refusal(url), NodeUnreachable)


KEY = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=6)


@given(user=KEY, password=KEY, path=KEY, query=KEY)
def test_of_a_url_no_more_than_scheme_host_and_port_is_said(
    user: str, password: str, path: str, query: str
) -> None:
    url = f"https://{user}:{password}@node.example.org:8545/{path}?{query}"
    assert shown_url(url) in ("https://node.example.org:8545", None)
    found = unreachable(url, "eth_chainId", TimeoutError(url))
    for said in (str(found), repr(found), found.message, found.remedy, str(found.facts)):
        assert said.replace("https://node.example.org:8545", "").find(f"{password}@") < 0


@given(st.text())
def test_a_url_of_any_shape_is_named_or_passed_over_and_never_trips(given: str) -> None:
    named = shown_url(f"http://{given}")
    assert named is None or "@" not in named
    shown_url(given)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://key@node.example.org/v3/abc", "https://node.example.org"),
        ("http://[::1]:8545", "http://[::1]:8545"),
        ("http://user:pa/12@host:1/", None),
        ("http://user:12#@host:1/", None),
        ("http://user:12\\@host:1/", None),
        ("http://host:port/", None),
    ],
)
def test_where_it_is_not_sure_what_is_a_key_nothing_is_said(url: str, shown: str | None) -> None:
    assert shown_url(url) == shown


def test_a_command_names_the_node_that_does_not_answer_and_the_option(tmp_path: Path) -> None:
    key = tmp_path / "a.key"
    key.write_text("0x" + "11" * 32)
    key.chmod(0o600)
    with nobody() as url:
        where = ("--node", f"{url}/v3/{SECRET}", "--manifest", str(tmp_path / "manifest.json"))
        result = CliRunner().invoke(main, ["deploy", *where, "--key-file", str(key)])
    assert result.exit_code == 1
    assert f"Nothing answers at {url} " in result.output
    assert "--node" in result.output
    assert "[node_unreachable]" in result.output
    assert SECRET not in result.output
    assert result.exception is not None
    assert SECRET not in "".join(traceback.format_exception(result.exception, chain=False))
