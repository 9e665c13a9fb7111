"""One thread watches for news for everybody who waits: the database is asked once, however many wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

EVERY_SECONDS: Final = 0.5
"""Between two looks, while somebody waits; nobody looks while nobody waits."""

log = structlog.get_logger()

Source = Callable[[], int]
"""A number that changes when there is news: the id of a log's newest row, say."""


@dataclass
class Pulse:
    """Safe for threads. `stop` may be called in a signal handler, and nobody waits any longer after it.

    Args:
        sources: what is watched, by name. One that fails is taken to have no news, and the log says so.
        every: seconds.
    """

    sources: Mapping[str, Source]
    every: float = EVERY_SECONDS
    _news: threading.Condition = field(default_factory=threading.Condition, init=False)
    _beat: int = field(default=0, init=False)
    _waiting: int = field(default=0, init=False)
    _over: threading.Event = field(default_factory=threading.Event, init=False)
    _marks: dict[str, int] = field(default_factory=dict, init=False)
    _failed: set[str] = field(default_factory=set, init=False)

    @property
    def is_over(self) -> bool:
        """Whether this process is about to end."""
        return self._over.is_set()

    def beat(self) -> int:
        """How often there was news so far. Read what you watch after this, then `wait` for the next."""
        return self._beat

    def wait(self, since: int, seconds: float) -> int:
        """Returns `beat` as soon as it is not `since` any more, after so many seconds, or at the end."""
        until = time.monotonic() + seconds
        with self._news:
            self._waiting += 1
            self._news.notify_all()  # the watcher, which sleeps while nobody waits
            try:
                while self._beat == since and not self.is_over:
                    left = until - time.monotonic()
                    if left <= 0:
                        break
                    # In slices: `stop`, in a signal handler, may not take the lock that notifying needs.
                    self._news.wait(min(left, self.every))
            finally:
                self._waiting -= 1
            return self._beat

    def start(self) -> threading.Thread:
        """Watches in a thread of its own, until `stop`."""
        thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Ends every wait within `every` seconds, and the watching."""
        self._over.set()

    def look(self) -> None:
        """Asks every source once; wakes who waits if one of them has news."""
        found = {name: self._ask(name, source) for name, source in self.sources.items()}
        if found == self._marks:
            return
        with self._news:
            self._marks = found
            self._beat += 1
            self._news.notify_all()

    def _run(self) -> None:
        while not self.is_over:
            with self._news:
                # As often as it waits it looks up: `stop` takes no lock.
                if not self._waiting:
                    self._news.wait(self.every)
                    continue
            self.look()
            self._over.wait(self.every)

    def _ask(self, name: str, source: Source) -> int:
        try:
            mark = source()
        except Exception as fault:  # whatever a source meets, the others are watched on
            if name not in self._failed:
                log.error("pulse_source_failed", source=name, kind=type(fault).__name__)  # noqa: TRY400
            self._failed.add(name)
            return self._marks.get(name, 0)
        self._failed.discard(name)
        return mark
