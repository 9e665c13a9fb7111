"""What each request waits for at the moment, and what is being done for it: nobody has to read a log for it.

Kept in this process only: whoever works on a request tries its step again within seconds, and a restarted
operator soon knows as much as the one before.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

from marketplace.errors import Refusal

SHOWN_AFTER: Final = 2.0
"""Seconds: what takes no longer is done by the time somebody reads it."""


@dataclass(frozen=True)
class AtWork:
    """What is being done for a request, in a sentence, and since when (unix seconds)."""

    message: str
    since: float = field(default_factory=time.time)


@dataclass
class Waits:
    """The present wait and work of each request (id in hex). Safe for threads."""

    _now: dict[str, dict[str, Any]] = field(default_factory=dict)
    _at_work: dict[str, AtWork] = field(default_factory=dict)
    _changes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def changes(self) -> int:
        """How often some request's wait changed so far, and another number while work is shown: what watches
        for news watches this."""
        with self._lock:
            shown = tuple(self._shown())
            return self._changes + (hash(shown) if shown else 0)

    def codes(self) -> list[str]:
        """What each waiting request waits for, in no order."""
        with self._lock:
            return [each["code"] for each in self._now.values()]

    def note(self, request: str, refusal: Refusal) -> bool:
        """A step could not be taken. Returns whether that is news: another reason than the last time."""
        waiting = _document(refusal)
        with self._lock:
            before = self._now.get(request)
            self._now[request] = waiting
            is_news = before is None or before["code"] != refusal.code
            self._changes += is_news
        return is_news

    def clear(self, request: str) -> None:
        """It moved on."""
        with self._lock:
            self._changes += self._now.pop(request, None) is not None

    def work(self, request: str, at_work: AtWork | None) -> None:
        """What is being done for it from now on; None where nothing is any more."""
        with self._lock:
            self._at_work.pop(request, None)
            if at_work is not None:
                self._at_work[request] = at_work

    def at_work(self, request: str) -> dict[str, Any] | None:
        """`message`, `since` (unix seconds) and `seconds` so far, once it lasts `SHOWN_AFTER`; or None."""
        with self._lock:
            found = self._at_work.get(request)
        seconds = 0.0 if found is None else time.time() - found.since
        if found is None or seconds < SHOWN_AFTER:
            return None
        return {"message": found.message, "since": int(found.since), "seconds": int(seconds)}

    def _shown(self) -> list[tuple[str, AtWork]]:
        until = time.time() - SHOWN_AFTER
        return [(name, each) for name, each in self._at_work.items() if each.since <= until]

    def of(self, request: str) -> dict[str, Any] | None:
        """`code`, `message`, `remedy` and, where known, `until` (unix seconds, chain time); or None."""
        with self._lock:
            return self._now.get(request)


def _document(refusal: Refusal) -> dict[str, Any]:
    waiting: dict[str, Any] = {
        "code": refusal.code,
        "message": refusal.message,
        "remedy": refusal.remedy,
    }
    until = refusal.facts.get("until")
    return waiting | {"until": until} if isinstance(until, int) else waiting
