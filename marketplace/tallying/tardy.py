"""Who kept others waiting for all of its time: for a while nobody waits for it so long again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Final

TARDY_SECONDS: Final = 3600.0


class Tardy:
    """Remembered by place, in one process, by whoever carries many requests between the same custodians.

    One that commits to noise and then says nothing would otherwise cost each request as long as the first.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[int, float] = {}
        self._lock = threading.Lock()

    def kept_waiting(self, places: Collection[int]) -> None:
        """They were waited for in vain, just now."""
        until = self._clock() + TARDY_SECONDS
        with self._lock:
            self._until.update(dict.fromkeys(places, until))

    def came(self, places: Collection[int]) -> None:
        """They did their part: they have all of their time again."""
        with self._lock:
            for place in places:
                self._until.pop(place, None)

    def are_all(self, places: Collection[int]) -> bool:
        """Whether each of these kept others waiting, less than an hour ago."""
        now = self._clock()
        with self._lock:
            return all(self._until.get(place, now) > now for place in places)
