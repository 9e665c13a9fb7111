"""Whether this server is ready: looked up now and then, however often it is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

FRESH_SECONDS: Final = 1.0
"""For which a finding is given again: a look takes about fifteen calls to the node, and anybody asks."""
OLD_SECONDS: Final = 5.0
"""After which a finding says nothing any more, while a new one is waited for."""
UNDER_WAY: Final = "health_check_under_way"


@dataclass
class Recently:
    """What `look` found lately: the codes of what keeps this server from working. Safe for threads.

    One thread at a time looks. Another one, meanwhile, is told the finding before, or that it is not known.
    """

    look: Callable[[], list[str]]
    clock: Callable[[], float] = time.monotonic
    _found: list[str] = field(default_factory=lambda: [UNDER_WAY], init=False)
    _at: float = field(default=float("-inf"), init=False)
    _looking: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __call__(self) -> list[str]:
        """The codes, none if all is well; `UNDER_WAY` alone where nothing that still holds is known.

        Raises what `look` raises, to the one who looked.
        """
        if self.clock() - self._at < FRESH_SECONDS:
            return list(self._found)
        if self._looking.acquire(blocking=False):
            try:
                self._found = self.look()
                self._at = self.clock()
            finally:
                self._looking.release()
            return list(self._found)
        return list(self._found) if self.clock() - self._at < OLD_SECONDS else [UNDER_WAY]
