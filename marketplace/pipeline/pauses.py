"""After a step that failed on chain, and so was paid for, the next try waits: longer each time.

Whoever's word looks good when a node is asked, and not in the transaction, would else have the operator pay
for a transaction every second, for as long as the request lives.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from marketplace.chain.adapter import Chain, ContractRefusal, RequestStage, RequestView
from marketplace.errors import Refusal
from marketplace.pipeline.deadlines import SEAL_SECONDS
from marketplace.pipeline.standing import id_of

log = structlog.get_logger()

FIRST: Final = 1.0
"""Seconds: the pace at which steps are tried. Doubled with each failure at the same point, up to"""
LONGEST: Final = 256.0
SHARE: Final = 4
"""However long: no longer than a quarter of what is left until the deadline, so that the tries get closer
again before it. A settlement with an hour to go is tried some forty times at most."""


@dataclass(frozen=True)
class _Pause:
    view: RequestView
    failures: int
    until: float


@dataclass
class Pauses:
    """Of each request (id in hex), in this process only. Safe for threads."""

    chain: Chain
    clock: Callable[[], float] = time.monotonic
    _held: dict[str, _Pause] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, request: str, refusal: ContractRefusal) -> None:
        """A step failed on chain. A chain that does not say how the request stands takes no other either."""
        with contextlib.suppress(Refusal):
            view, now = self.chain.request(id_of(request)), self.chain.now()
            seconds = self._hold(request, view, deadline_of(view) - now)
            log.warning("paid_in_vain", request=request, code=refusal.code, pause=seconds)

    def _hold(self, request: str, view: RequestView, left: int) -> float:
        with self._lock:
            before = self._held.get(request)
            failures = 1 if before is None or before.view != view else before.failures + 1
            seconds = pause(failures, left)
            self._held[request] = _Pause(view, failures, self.clock() + seconds)
        return seconds

    def holds(self, request: str) -> bool:
        """Whether it still waits: a pause ends at once where the chain shows that the request went on."""
        with self._lock:
            held = self._held.get(request)
        if held is None or self.clock() >= held.until:
            return False
        try:
            return self.chain.request(id_of(request)) == held.view
        except Refusal:
            return True

    def forget(self, request: str) -> None:
        """It has ended."""
        with self._lock:
            self._held.pop(request, None)


def pause(failures: int, left: int) -> float:
    """Seconds after so many failures at one point, `left` seconds before the deadline."""
    doubled = min(LONGEST, FIRST * 2.0 ** min(failures - 1, 16))
    return doubled if left <= 0 else max(FIRST, min(doubled, left / SHARE))


def deadline_of(view: RequestView) -> int:
    """Until when the step that is due on chain can be taken, unix seconds."""
    return {
        RequestStage.OPENED: view.seal_deadline - SEAL_SECONDS,  # later, nothing is frozen any more
        RequestStage.FROZEN: min(view.seal_deadline, view.frozen_until),
    }.get(view.stage, view.settle_deadline)
