"""Which custodians and gates are there and ready, by their own word, as of the last look.

The operator looks by itself, at a pace of its own: who asks how they are is told what the last look found,
so that nobody makes the operator ask anybody. What was never looked at, or too long ago, is not ready.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from marketplace.errors import Refusal
from marketplace.peers import Peer, ask_all

LOOK_SECONDS: Final = 30.0
"""Between two looks at one that was ready: a custodian's health takes some twenty calls to its node."""
AGAIN_SECONDS: Final = 5.0
"""Between two looks at one that was not."""
TICK_SECONDS: Final = 1.0
MISSED: Final = 2
"""Looks in a row, before the log says that one is lost: not one that merely starts, or was slow once."""
OLD_SECONDS: Final = 120.0
"""Above the longest time that a look may take."""
NOT_ASKED: Final = ("not_asked_yet",)
OLD: Final = ("not_asked_lately",)

log = structlog.get_logger()


@dataclass
class _Standing:
    """What is known of one peer. `reasons` are empty when it said that it is ready."""

    peer: Peer
    reasons: tuple[str, ...] = NOT_ASKED
    asked_at: float = float("-inf")
    due_at: float = float("-inf")
    missed: int = 0
    lost: bool = False


@dataclass
class Attendance:
    """The operator's custodians, by place, and its gates, by address. Safe for threads.

    Args:
        clock: seconds that only rise.
    """

    custodians: Sequence[Peer]
    gates: Mapping[str, Peer]
    clock: Callable[[], float] = time.monotonic
    _standings: list[_Standing] = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _over: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        self._standings = [_Standing(peer) for peer in (*self.custodians, *self.gates.values())]

    def told(self) -> dict[str, list[dict[str, Any]]]:
        """`custodians` (with `place`) and `gates` (with `address`), each with `ready` and `reasons`."""
        now = self.clock()
        with self._lock:
            found = [_reasons(each, now) for each in self._standings]
        shown = [{"ready": not reasons, "reasons": list(reasons)} for reasons in found]
        number = len(self.custodians)
        return {
            "custodians": [{"place": place, **each} for place, each in enumerate(shown[:number])],
            "gates": [
                {"address": address, **each}
                for address, each in zip(self.gates, shown[number:], strict=True)
            ],
        }

    def look(self) -> None:
        """Asks everybody whose turn it is, all at once; ends when each has answered or took too long."""
        now = self.clock()
        due = [each for each in self._standings if now >= each.due_at]
        for each in due:
            each.due_at = now + AGAIN_SECONDS  # also where an answer trips this process
        ask_all(len(due), lambda place: self._ask(due[place]), lambda _: False)

    def _ask(self, standing: _Standing) -> None:
        try:
            reasons = tuple(standing.peer.reasons())
        except Refusal as refusal:
            reasons = (refusal.code,)
        self._note(standing, reasons)

    def _note(self, standing: _Standing, reasons: tuple[str, ...]) -> None:
        """Says in the log who is lost and who is back: once for each time."""
        with self._lock:
            was_lost = standing.lost
            standing.reasons, standing.asked_at = reasons, self.clock()
            standing.due_at = standing.asked_at + (AGAIN_SECONDS if reasons else LOOK_SECONDS)
            standing.missed = standing.missed + 1 if reasons else 0
            standing.lost = bool(reasons) and (was_lost or standing.missed >= MISSED)
        if standing.lost and not was_lost:
            log.warning("peer_lost", peer=standing.peer.name, reasons=list(reasons))
        elif was_lost and not reasons:
            log.info("peer_back", peer=standing.peer.name)

    def start(self) -> threading.Thread:
        """Looks again and again, in a thread of its own, until `stop`."""
        thread = threading.Thread(target=self._run, name="attendance", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Ends after the look at hand."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self.look()
            except Exception as fault:  # nobody else looks, and the next look may well go
                # Only its kind: an unknown exception's text may quote what was being handled.
                log.error("look_failed", kind=type(fault).__name__)  # noqa: TRY400
            self._over.wait(TICK_SECONDS)


def _reasons(standing: _Standing, now: float) -> tuple[str, ...]:
    """As last told, unless that is too long ago."""
    if standing.reasons != NOT_ASKED and now - standing.asked_at > OLD_SECONDS:
        return OLD
    return standing.reasons
