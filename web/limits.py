"""How often one account or one network address may ask, and how much at once in a form: in bounded memory."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import flask

from marketplace.errors import Refusal
from web import rules, sessions
from web.rules import Kind, Rule, Who

MOST_BUCKETS: Final = 10_000
"""Whoever asks: full ones go first, which are worth nothing, then the longest unused."""
SWEPT_EVERY: Final = 1.0
"""Seconds between two looks for full ones."""
EXTENSION: Final = "usufruct_limits"
UNDER_WAY: Final = "usufruct_under_way"
MOST_FORM: Final = 512 * 1024
"""Bytes of a form: werkzeug reads one at once, and takes up to eighty times its size while it does. A class
and its page fit in any script. JSON has each route's own limit, and so has the form of a dictionary."""
ADDRESS: Final = "network address"
HOUSEHOLD_BITS: Final = 64
"""Of an IPv6 address, by which its asking is counted: what one telephone or one household surely shares."""
NETWORK_BITS: Final = 48
"""Of an IPv6 address, by which places are shared out that hold only so many: sessions, sign-ins, streams.
A provider gives a site that asks for it a /48 (RFC 6177), in which there are 65,536 of those /64: were places
shared out by these, one person would take more of them than everybody else, and the largest network, which
makes room, would be a hospital. Mobile carriers give each telephone a /64 of its own out of a /40 or wider:
in a /48 of theirs may be thousands of strangers, and fewer bits would be whole carriers. These share
its places, as all do who are behind one IPv4 address of a carrier: where they take more than there are, the
oldest challenges go, of sessions first those that nobody used, and who finds no stream asks again. Stop needs
none of them. Asking is refused, so see `Kind.of_network`."""


class TooOften(Refusal):
    """More requests of a kind than one account or address gets in a while."""

    CODE = "too_often"


@dataclass
class Buckets:
    """Buckets by (kind, who). Safe for threads."""

    clock: Callable[[], float] = time.monotonic
    most: int = MOST_BUCKETS
    _left: OrderedDict[tuple[Kind, str], tuple[float, float]] = field(
        default_factory=OrderedDict, repr=False
    )
    _swept: float = field(default=-math.inf, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self, kind: Kind, who: str, *others: tuple[Kind, str]) -> float:
        """Takes one of each; 0.0, or the seconds until there is one of each to take: then none is taken."""
        wanted, now = ((kind, who), *others), self.clock()
        with self._lock:
            left = {key: self._in(key, now) for key in wanted}
            wait = max((1 - left[key]) * key[0].seconds / key[0].number for key in wanted)
            for key in wanted:
                if wait <= 0:
                    self._left[key] = (left[key] - 1, now)
                if key in self._left:
                    self._left.move_to_end(key)
            self._make_room(now)
        return max(wait, 0.0)

    def _in(self, key: tuple[Kind, str], now: float) -> float:
        kind, _ = key
        left, at = self._left.get(key, (float(kind.number), now))
        return min(kind.number, left + (now - at) * kind.number / kind.seconds)

    def _make_room(self, now: float) -> None:
        if len(self._left) <= self.most:
            return
        if now - self._swept >= SWEPT_EVERY:
            self._swept = now
            for key in [key for key in self._left if self._in(key, now) >= key[0].number]:
                del self._left[key]
        while len(self._left) > self.most:
            self._left.popitem(last=False)

    def __len__(self) -> int:
        return len(self._left)


@dataclass
class UnderWay:
    """How many requests of each account are being answered. Safe for threads; bounded by their number."""

    _held: Counter[str] = field(default_factory=Counter, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def enter(self, who: str, most: int) -> bool:
        """Whether there is a place, which is taken then, to be given back with `leave`."""
        with self._lock:
            if self._held[who] >= most:
                return False
            self._held[who] += 1
            return True

    def leave(self, who: str) -> None:
        """Gives the place back."""
        with self._lock:
            self._held[who] -= 1
            if self._held[who] <= 0:
                del self._held[who]

    def __len__(self) -> int:
        return len(self._held)


def install(app: flask.Flask) -> None:
    """Counts every request of a route by its rule's kind, before anything is looked up for it."""
    app.extensions[EXTENSION] = Buckets()
    app.extensions[UNDER_WAY] = UnderWay()
    app.before_request(_require_seldom)
    app.before_request(_require_few)
    app.teardown_request(_leave)
    app.after_request(_say_when)


def _require_seldom() -> None:
    rule = rules.rule_of(flask.request.endpoint)
    if rule is None or _is_refused_anyway(rule):
        return
    buckets: Buckets = flask.current_app.extensions[EXTENSION]
    of, (first, *others) = _counted(rule.kind)
    wait = buckets.take(*first, *others)
    if wait > 0:
        flask.g.retry_after = math.ceil(wait)
        raise TooOften(
            message=f"That was asked more often than this server answers one {of}.",
            remedy=f"Try again in {math.ceil(wait)} seconds: nothing was done.",
        )


def _is_refused_anyway(rule: Rule) -> bool:
    """Whoever is not signed in is sent to sign in, which costs nothing, also after strangers behind the same
    address came by often."""
    return rule.kind.by_account and Who.ANYONE not in rule.who and _account() is None


def _require_few() -> None:
    rule = rules.rule_of(flask.request.endpoint)
    if rule is None or rule.kind.at_once is None:
        return
    account = _account()
    if account is not None:
        _enter(f"{rule.kind.name} {account}", rule.kind.at_once)


def _enter(who: str, most: int) -> None:
    under_way: UnderWay = flask.current_app.extensions[UNDER_WAY]
    if not under_way.enter(who, most):
        flask.g.retry_after = 1
        raise TooOften(
            message=f"{most} requests of this account are being answered already.",
            remedy="Try again in a second: nothing was done.",
        )
    flask.g.under_way = who


def _leave(_fault: BaseException | None) -> None:
    who: str | None = flask.g.pop("under_way", None)
    if who is not None:
        under_way: UnderWay = flask.current_app.extensions[UNDER_WAY]
        under_way.leave(who)


def _counted(kind: Kind) -> tuple[str, list[tuple[Kind, str]]]:
    """Of what a call is counted, and in which buckets: each a kind's, of somebody."""
    of, who = _caller(kind)
    of_all = kind.of_all()
    if of == ADDRESS:  # a browser that is greeted only by the answer has no bucket of its own yet
        return of, _of_address(of_all if of_all is not None and kind.by_browser else kind)
    return of, [(kind, who), *([] if of_all is None else _of_address(of_all))]


def _of_address(kind: Kind) -> list[tuple[Kind, str]]:
    """Of whoever asks the household's bucket, and of IPv6 the whole network's."""
    address = flask.request.remote_addr
    own, around = household(address), network(address)
    return [(kind, own)] if around == own else [(kind, own), (kind.of_network(), around)]


def _caller(kind: Kind) -> tuple[str, str]:
    """Of what the kind's calls are counted here, and which one it is."""
    account = _account() if kind.by_account else None
    if account is not None:
        return "account", account
    hello = sessions.hello() if kind.by_browser else None
    return (ADDRESS, "") if hello is None else ("browser", hello)


def _account() -> str | None:
    """Whoever is signed in. A database that fails tells of nobody, and hides nothing that is everybody's."""
    with contextlib.suppress(Refusal):
        current = sessions.current()
        return None if current is None else current.account
    return None


def household(address: str | None) -> str:
    """Who is counted as one that asks: an IPv4 address, or of IPv6 its first 64 bits."""
    return _first(HOUSEHOLD_BITS, address)


def network(address: str | None) -> str:
    """Who is counted as one that holds places: an IPv4 address, or of IPv6 its first 48 bits."""
    return _first(NETWORK_BITS, address)


def _first(bits: int, address: str | None) -> str:
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, bits), strict=False))
    return str(ip)


def _say_when(response: flask.Response) -> flask.Response:
    after = flask.g.get("retry_after")
    if after is not None:
        response.headers["Retry-After"] = str(after)
    return response
