"""How often one account or one network address may ask: token buckets, in this process, in bounded memory."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import flask

from marketplace.errors import Refusal
from web import rules, sessions
from web.rules import Kind

MOST_BUCKETS: Final = 10_000
"""Whoever asks: the longest unused go first. A full bucket is worth nothing, so little is lost with one."""
EXTENSION: Final = "usufruct_limits"
SITE_BITS: Final = 64
"""Of an IPv6 address: one household has all of a /64 (RFC 6177)."""


class TooOften(Refusal):
    """More requests of a kind than one account or address gets in a while."""

    CODE = "too_often"


@dataclass
class Buckets:
    """Buckets by (kind, who). Safe for threads."""

    clock: Callable[[], float] = time.monotonic
    most: int = MOST_BUCKETS
    _left: OrderedDict[tuple[str, str], tuple[float, float]] = field(
        default_factory=OrderedDict, repr=False
    )
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self, kind: Kind, who: str) -> float:
        """Takes one; 0.0, or the seconds until there is one to take."""
        key, now = (kind.name, who), self.clock()
        with self._lock:
            left, at = self._left.pop(key, (float(kind.number), now))
            left = min(kind.number, left + (now - at) * kind.number / kind.seconds)
            taken = left >= 1
            self._left[key] = (left - taken, now)
            while len(self._left) > self.most:
                self._left.popitem(last=False)
        return 0.0 if taken else (1 - left) * kind.seconds / kind.number

    def __len__(self) -> int:
        return len(self._left)


def install(app: flask.Flask) -> None:
    """Counts every request of a route by its rule's kind, before anything else is done for it."""
    app.extensions[EXTENSION] = Buckets()
    app.before_request(_require_seldom)
    app.after_request(_say_when)


def _require_seldom() -> None:
    rule = rules.rule_of(flask.request.endpoint)
    if rule is None:
        return
    buckets: Buckets = flask.current_app.extensions[EXTENSION]
    wait = buckets.take(rule.kind, _who(rule.kind))
    if wait > 0:
        flask.g.retry_after = math.ceil(wait)
        raise TooOften(
            message="That was asked more often than this server answers one "
            f"{'account' if rule.kind.by_account else 'network address'}.",
            remedy=f"Try again in {math.ceil(wait)} seconds: nothing was done.",
        )


def _who(kind: Kind) -> str:
    current = sessions.current() if kind.by_account else None
    return current.account if current is not None else network(flask.request.remote_addr)


def network(address: str | None) -> str:
    """Whose address it is: of IPv6 the first 64 bits, which is what one household or server has."""
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, SITE_BITS), strict=False))
    return str(ip)


def _say_when(response: flask.Response) -> flask.Response:
    after = flask.g.get("retry_after")
    if after is not None:
        response.headers["Retry-After"] = str(after)
    return response
