"""Who is asked for what at the moment, in a sentence, for whoever looks at the request meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from marketplace.waits import AtWork

Tell = Callable[[AtWork | None], None]
"""Takes what is being done from now on; None once it is over."""


class Asked:
    """One round of questions. Safe for threads; what is answered after its end is told to nobody.

    Args:
        what: as in "custodian 1 is asked `what`".
        names: of those who are asked, by place.
    """

    def __init__(self, what: str, names: Mapping[int, str], tell: Tell | None) -> None:
        self._what = what
        self._silent = dict(names)
        self._names = list(names.values())
        self._since = time.time()
        self._tell = tell
        self._lock = threading.Lock()
        self._say()

    def answered(self, place: int) -> None:
        """Something came from there, be it good or not."""
        with self._lock:
            self._silent.pop(place, None)
            self._say()

    def end(self) -> None:
        """Nobody is waited for any longer."""
        with self._lock:
            if self._tell is not None:
                self._tell(None)
            self._tell = None

    def _say(self) -> None:
        if self._tell is not None and self._names:
            self._tell(AtWork(self._sentence(), self._since))

    def _sentence(self) -> str:
        verb = "is" if len(self._names) == 1 else "are"
        asked = f"{_listed(self._names)} {verb} asked {self._what}"
        silent = list(self._silent.values())
        if not silent:
            rest = "every answer is there"
        elif len(silent) == len(self._names):
            rest = "no answer is there yet"
        else:
            verb = "has" if len(silent) == 1 else "have"
            rest = f"{_listed(silent)} {verb} not answered yet"
        return f"{asked[0].upper()}{asked[1:]}; {rest}."


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
