"""Chain time.

A block is stamped ``max(parent + 1, wall clock)``: a block's stamp must be later than its parent's
(Yellow Paper 4.4.4), so a chain that mines more than a block a second runs ahead of the wall, which
catches up while the chain is idle. Only the shiftable clock, for ``--test-clock``, can be moved.
"""

from __future__ import annotations

import time

from marketplace.chain.node.errors import InvalidParams, MethodNotFound


class WallClock:
    """Stamps blocks with the time of day. It can not be moved."""

    def now(self) -> int:
        """Seconds since the Unix epoch."""
        return int(time.time())

    def stamp(self, parent: int) -> int:
        """The timestamp of a block mined now on a parent stamped ``parent`` (Unix seconds)."""
        return max(parent + 1, self.now())

    def block_mined(self) -> None:
        """A stamp was used."""

    def increase(self, seconds: int) -> int:  # noqa: ARG002 - the shiftable clock takes it
        """Refuse: the time of this chain is the wall's."""
        raise MethodNotFound(_NOT_MOVABLE)

    def set_next(self, timestamp: int, parent: int) -> int:  # noqa: ARG002
        """Refuse: the time of this chain is the wall's."""
        raise MethodNotFound(_NOT_MOVABLE)


_NOT_MOVABLE = (
    "this chain keeps wall-clock time and can not be moved. "
    "Start a test chain with --test-clock to cross deadlines."
)


class ShiftableClock(WallClock):
    """A wall clock that tests push forward; never back, since chain time only rises.

    It starts no earlier than the head, so that a reopened test chain does not stand still until the
    wall has caught up with the time its tests had reached.
    """

    def __init__(self, head_timestamp: int) -> None:
        self._ahead = max(0, head_timestamp - int(time.time()))
        self._pinned: int | None = None

    def now(self) -> int:
        """Unix seconds: ahead of the wall, or what the next block is to be stamped with."""
        return int(time.time()) + self._ahead if self._pinned is None else self._pinned

    def block_mined(self) -> None:
        """What `set_next` fixed is used up; time runs on from there."""
        self._pinned = None

    def increase(self, seconds: int) -> int:
        """Move forward by ``seconds``; returns how many it is ahead of the wall."""
        if seconds < 0:
            raise InvalidParams(f"time only moves forward: {seconds} seconds asked")
        self._ahead += seconds
        return self._ahead

    def set_next(self, timestamp: int, parent: int) -> int:
        """Stamp the next block ``timestamp``, later than its parent's, and go on from there."""
        if timestamp <= parent:
            raise InvalidParams(
                f"the next block must be stamped after the head: asked {timestamp}, head {parent}"
            )
        self._ahead = timestamp - int(time.time())
        self._pinned = timestamp
        return timestamp
