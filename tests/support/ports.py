"""Ports for processes of tests, that no other process takes meanwhile.

Below what systems give to outgoing connections, and of each of pytest's workers its own part: what one has
drawn and not yet listened at, another would find free.
"""

import os
import random
import socket
from collections.abc import Mapping
from typing import Final

FIRST: Final = 10_000
END: Final = 17_900

_given: set[int] = set()


def free_port() -> int:
    """One at which nobody listens, and that is given only once."""
    return free_run(1)


def free_run(length: int) -> int:
    """The first of so many in a row."""
    # Not seeded: another run of the tests draws too.
    first, end = part(os.environ)
    while True:
        start = random.SystemRandom().randrange(first, end - length + 1)
        run = range(start, start + length)
        if not _given.intersection(run) and all(_is_free(port) for port in run):
            _given.update(run)
            return start


def part(environment: Mapping[str, str]) -> tuple[int, int]:
    """First and end of what this worker of pytest draws from."""
    of = int(environment.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    own = int(environment.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    width = (END - FIRST) // of
    return FIRST + own * width, FIRST + (own + 1) * width


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
