"""One line of the log for each act on a request: which act, which request, what came of it.

Anybody may ask for what is refused, or was given before, without end. Lines about these are bounded, so
that nobody fills a disk; the next one that is written says how many were not. An act that is new always
has its line: the chain bounds how many there are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from marketplace.errors import Refusal

REPEATED: Final = "repeated"
FAULT: Final = "internal_fault"
MOST_A_MINUTE: Final = 60
"""Lines about acts that are not new."""
MINUTE: Final = 60.0


@dataclass
class Act:
    """What came of it so far: the same as before, unless `done` says otherwise."""

    outcome: str = REPEATED
    is_new: bool = False

    def done(self, outcome: str) -> None:
        """It was done now, for the first time."""
        self.outcome, self.is_new = outcome, True


@dataclass
class Outcomes:
    """Tells the log of one process. Safe for threads.

    Args:
        whose: the logger's name.
    """

    whose: str
    clock: Callable[[], float] = time.monotonic
    _began: float = field(default=float("-inf"), init=False)
    _told: int = field(default=0, init=False)
    _untold: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @contextmanager
    def of(self, event: str, request: bytes) -> Iterator[Act]:
        """Logs `event` with `request`, `outcome` (a code) and `seconds`, when what is inside ends."""
        act, began = Act(), self.clock()
        try:
            yield act
        except Refusal as refusal:
            act.outcome, act.is_new = refusal.code, False
            raise
        except BaseException:
            act.outcome, act.is_new = FAULT, False
            raise
        finally:
            self._tell(event, request, act, self.clock() - began)

    def _tell(self, event: str, request: bytes, act: Act, seconds: float) -> None:
        with self._lock:
            if not (act.is_new or self._has_room()):
                self._untold += 1
                return
            untold, self._untold = self._untold, 0
        facts: dict[str, Any] = {"request": "0x" + request.hex(), "seconds": round(seconds, 3)}
        if untold:
            facts["not_logged_before"] = untold
        structlog.get_logger(self.whose).info(event, outcome=act.outcome, **facts)

    def _has_room(self) -> bool:
        """Whether one more line about nothing new may be written in this minute; counts it."""
        now = self.clock()
        if now - self._began >= MINUTE:
            self._began, self._told = now, 0
        self._told += 1
        return self._told <= MOST_A_MINUTE
