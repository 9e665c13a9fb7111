"""What each request waits for at the moment, so that nobody has to read a log to learn it.

Kept in this process only: whoever works on a request tries its step again within seconds, and a restarted
operator soon knows as much as the one before.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from marketplace.errors import Refusal


@dataclass
class Waits:
    """The present wait of each request (id in hex). Safe for threads."""

    _now: dict[str, dict[str, Any]] = field(default_factory=dict)
    _changes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def changes(self) -> int:
        """How often some request's wait changed so far: what watches for news watches this."""
        return self._changes

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
