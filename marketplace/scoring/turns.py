"""One patient's hand-ins, and what is destroyed of the same patient, come one after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

LOCKS: Final = 16
"""Among which patients are spread."""


def _locks() -> tuple[threading.Lock, ...]:
    return tuple(threading.Lock() for _ in range(LOCKS))


@dataclass(frozen=True)
class Turns:
    """Of one process: file and row of a patient change together, or not at all. Safe for threads."""

    _locks: tuple[threading.Lock, ...] = field(default_factory=_locks, repr=False)

    @contextmanager
    def of(self, dataset: str, patient: str) -> Iterator[None]:
        """This patient's turn. Not to be taken within another."""
        with self._locks[hash((dataset, patient)) % LOCKS]:
            yield
