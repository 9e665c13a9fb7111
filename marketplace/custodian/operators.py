"""Whether one of the market's operators asks: what it carries must not wait behind strangers.

A sealed request ends by default, to its operator's loss, if no answer is settled in time. Whoever would gain
by that, its researcher among them, can ask custodians as often as they like. So where strangers hold every
slot, there are some that only a signed request of an operator gets. What is answered is the same for all.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Final

import flask

from marketplace.chain.adapter import Chain
from marketplace.errors import Refusal
from marketplace.wire.auth import HEADER, SignedBy, claimed_by, signed_by, to_custodian

KNOWN_SECONDS: Final = 600.0
"""After which the chain is asked again whether an account still has the role."""
MOST_NONCES: Final = 4_096
"""Signatures that are remembered until their deadlines: a repeated one is a stranger's."""


@dataclass
class Operators:
    """Safe for threads. Nothing is asked of the node twice at once, whatever strangers sign."""

    chain: Chain
    place: int
    _known: dict[str, float] = field(default_factory=dict)  # account -> until when
    _used: dict[bytes, int] = field(default_factory=dict)  # nonce -> deadline
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _asking: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(1)
    )

    def ask(self, request: flask.Request) -> bool:
        """Whether an operator signed this very request, to the custodian here, and it is the first time."""
        if HEADER not in request.headers:
            return False
        try:
            if not self._is_operator(claimed_by(request)):
                return False
            domain = self.chain.manifest.api_domain
            return self._is_first(signed_by(request, domain, to_custodian(self.place)))
        except Refusal:
            return False

    def _is_operator(self, account: str) -> bool:
        if self._known.get(account, 0.0) > time.monotonic():
            return True
        if not self._asking.acquire(blocking=False):
            return account in self._known  # it was one a while ago
        try:
            if self.chain.is_operator(account):
                self._known[account] = time.monotonic() + KNOWN_SECONDS
                return True
            self._known.pop(account, None)
            return False
        finally:
            self._asking.release()

    def _is_first(self, signed: SignedBy) -> bool:
        with self._lock:
            if len(self._used) >= MOST_NONCES:
                now = int(time.time())
                self._used = {each: until for each, until in self._used.items() if until >= now}
            if signed.nonce in self._used or len(self._used) >= MOST_NONCES:
                return False
            self._used[signed.nonce] = signed.deadline
            return True
