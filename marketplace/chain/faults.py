"""Why a node could not be asked, in words: nothing answers there, something else does, or it is slow.

A node's URL may carry an API key in its user name, path or query. Of it only scheme, host and port are
said, and these only to whoever reads this process's terminal or log (`str`): what servers tell strangers
(`message`, `remedy`) names no place.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from web3.exceptions import BadResponseFormat, MethodUnavailable, Web3RPCError

from marketplace.errors import Refusal

NAMED: Final = "--node, or node_url in a configuration file"
"""What a node's URL is called wherever somebody gives it."""
LATER: Final = "Ask again later: who runs this process has to look after its node."
UNCHANGED: Final = "Nothing was released or changed."
NOT_ALLOWED: Final = frozenset({401, 402, 403})
AT_CAPACITY: Final = frozenset({408, 425, 429, *range(500, 600)})
"""HTTP statuses of nodes: a key is missing or wrong; too many questions, or out of order for a time."""
MOST_CAUSES: Final = 16
NO_SUCH_BLOCK: Final = frozenset({-39001, -32602})
"""JSON-RPC codes of nodes that have no final block (execution-apis, "Unknown block"), or take no such tag
("invalid params")."""
OF_ANY_KIND: Final = frozenset({-32000, -32001, -32603})
"""Codes that tell nothing: where the words name the tag, it is what the node could not make anything of. geth
says "finalized block not found" and "'finalized' tag not supported on pre-merge network"."""


class _OfNode(Refusal):
    """`str` is for whoever gave the node's URL; message and remedy are for anybody."""

    def __init__(self, *, told: str | None = None, **said: Any) -> None:
        super().__init__(**said)
        if told is not None:
            self.args = (told,)


class NodeUnreachable(_OfNode):
    """The node gave no answer that could be read as one, or not in time. Waiting may help."""

    CODE = "node_unreachable"


class NodeFault(_OfNode):
    """The node answers, but with an error or with what cannot be read."""

    CODE = "node_fault"


@dataclass(frozen=True)
class _Why:
    """A sentence with room for place and status, and what its reader can do."""

    code: str
    says: str
    do: str


_BAD_URL: Final = _Why(
    "bad_url",
    "The chain node's URL is not one: it begins with http:// or https:// and names a host.",
    "Correct it",
)
_NOTHING: Final = _Why(
    "nothing_answers",
    "Nothing answers{at} in the chain node's place.",
    "Start the node, or correct its URL",
)
_NOT_A_NODE: Final = _Why(
    "not_a_node",
    "What answers{at} in the chain node's place is not an Ethereum node{status}.",
    "Correct the node's URL",
)
_NO_TLS: Final = _Why(
    "no_tls",
    "What answers{at} in the chain node's place speaks no TLS, or shows a certificate that is not trusted.",
    "Correct the node's URL (http:// or https://), or its certificate",
)
_PROXY: Final = _Why(
    "proxy",
    "The proxy that this machine's environment names did not lead to the chain node{at}.",
    "Correct HTTP_PROXY, HTTPS_PROXY or NO_PROXY, or the node's URL",
)
_KEY: Final = _Why(
    "not_allowed",
    "The chain node{at} lets nobody in without a key that it knows{status}.",
    "Correct the key in the node's URL",
)
_BUSY: Final = _Why(
    "at_capacity",
    "The chain node{at} cannot answer at present{status}.",
    "Wait, or name another node",
)
_SLOW: Final = _Why(
    "slow",
    "The chain node{at} is slow: it did not answer in time.",
    "Wait, or name another node",
)
_HUNG_UP: Final = _Why(
    "hung_up",
    "The chain node{at} hung up without an answer.",
    "Look whether it runs and is an Ethereum node, or name another",
)
_ERROR: Final = _Why(
    "error",
    "The chain node{at} answered with an error, or with what cannot be read.",
    "Check that it is an Ethereum JSON-RPC node in good health, or name another",
)

_BY_KIND: Final[tuple[tuple[tuple[type[BaseException], ...], _Why], ...]] = (
    (
        (
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidSchema,
            requests.exceptions.InvalidURL,
            urllib3.exceptions.LocationValueError,
        ),
        _BAD_URL,
    ),
    ((requests.exceptions.ProxyError, urllib3.exceptions.ProxyError), _PROXY),
    ((requests.exceptions.SSLError, urllib3.exceptions.SSLError), _NO_TLS),
    # Before what is slow: an address where nobody lives is found out by waiting, too.
    ((urllib3.exceptions.ConnectTimeoutError, ConnectionRefusedError), _NOTHING),
    ((http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError), _HUNG_UP),
    ((requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError), _SLOW),
    ((http.client.BadStatusLine, http.client.LineTooLong), _NOT_A_NODE),
)
"""The first that fits the failure or anything that it came from."""


def unreachable(url: str, what: str, fault: Exception) -> NodeUnreachable:
    """The refusal for a question that the transport could not bring an answer to."""
    status = _status(fault)
    why = _of_kind(fault) if status is None else _of_status(status)
    return NodeUnreachable(**_said(why, url, status), facts={"asked": what, "why": why.code})


def faulty(url: str, what: str, fault: Exception) -> NodeFault:
    """The refusal for an answer that is an error, or no answer to what was asked."""
    # The node's text may echo what it was sent, so only its kind and code are kept.
    code = None
    if isinstance(fault, Web3RPCError) and fault.rpc_response is not None:
        error = fault.rpc_response.get("error")
        code = error.get("code") if isinstance(error, dict) else None
    why = _NOT_A_NODE if _is_of_no_node(what, fault) else _ERROR
    facts = {"asked": what, "kind": type(fault).__name__, "rpc_code": code, "why": why.code}
    return NodeFault(**_said(why, url, None), facts=facts)


def knows_no_final_block(fault: NodeFault) -> bool:
    """Whether a node that was asked for its final block has none, or no word for it; not where it is out of
    order, or was asked too much."""
    code = fault.facts.get("rpc_code")
    if code in NO_SUCH_BLOCK:
        return True
    said = fault.__cause__.message if isinstance(fault.__cause__, Web3RPCError) else ""
    return code in OF_ANY_KIND and "finalized" in str(said).lower()


def shown_url(url: str) -> str | None:
    """Scheme, host and port of a URL, without anything that could be a key; None where that is not sure."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    # An unescaped / ? # or \ in a password ends the host early: what follows is not to be guessed at.
    rest = url.partition("://")[2][len(parts.netloc) :]
    if parts.scheme not in ("http", "https") or not host or "@" in rest or "\\" in url:
        return None
    named = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{named}" + ("" if port is None else f":{port}")


def _said(why: _Why, url: str, status: int | None) -> dict[str, str]:
    place = shown_url(url)
    shown = "" if status is None else f" (HTTP status {status})"
    told = why.says.format(at="" if place is None else f" at {place}", status=shown)
    return {
        "message": why.says.format(at="", status=shown),
        "remedy": f"{LATER} {UNCHANGED}",
        "told": f"{told} {why.do} ({NAMED}). {UNCHANGED}",
    }


def _status(fault: Exception) -> int | None:
    """Of an answer that HTTP itself calls a failure."""
    response = fault.response if isinstance(fault, requests.RequestException) else None
    return None if response is None else response.status_code


def _of_status(status: int) -> _Why:
    if status in NOT_ALLOWED:
        return _KEY
    return _BUSY if status in AT_CAPACITY else _NOT_A_NODE


def _of_kind(fault: Exception) -> _Why:
    found = list(_causes(fault))
    fitting = (why for kinds, why in _BY_KIND if any(isinstance(each, kinds) for each in found))
    return next(fitting, _HUNG_UP)


def _causes(fault: BaseException) -> Iterator[BaseException]:
    """The failure and what it came from, as requests and urllib3 keep that: argument, reason or cause."""
    left, seen = [fault], 0
    while left and seen < MOST_CAUSES:
        found = left.pop(0)
        seen += 1
        yield found
        behind = (*found.args, getattr(found, "reason", None), found.__cause__, found.__context__)
        left += [each for each in behind if isinstance(each, BaseException)]


def _is_of_no_node(what: str, fault: Exception) -> bool:
    """No JSON, JSON of another protocol, or a JSON-RPC server that knows of no chain id."""
    if isinstance(fault, (json.JSONDecodeError, UnicodeDecodeError, BadResponseFormat)):
        return True
    is_error = isinstance(fault, Web3RPCError) and not isinstance(fault, MethodUnavailable)
    return what == "eth_chainId" and not is_error
