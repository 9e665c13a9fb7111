"""What an account offered and has not seen mined, and what it offers next."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

PATIENCE: Final = 15.0
"""Seconds between two looks at what is stuck."""
RAISE_BLOCKS: Final = 3
"""Blocks that pass a transaction by before its fee is raised."""
RAISE: Final = (9, 8)
"""Nodes' pools ask for a tenth more; the fee that a new transaction would offer, where that is higher."""
MOST_RAISES: Final = 12
"""A fee at most 4.1 times the first, or what the chain asks of everybody by then."""


@dataclass
class Offer:
    """One call under one number, at one fee after another: at most one of its transactions is ever mined."""

    fields: Mapping[str, Any]  # of the transaction, without fees
    fees: dict[str, int]  # wei a gas, as last signed
    transactions: list[bytes] = field(default_factory=list)  # hashes, by age
    looked: float = field(default_factory=time.monotonic)
    passed_since: int | None = None  # the head when it was first seen waiting at this fee
    held_at: int | None = None  # the ceiling, wei a gas, that keeps its fee from being raised

    @property
    def nonce(self) -> int:
        """The account's number that every one of its transactions carries."""
        return int(self.fields["nonce"])

    def is_call(self, to: str | None, data: bytes) -> bool:
        """Whether it does just this, whatever the gas and fee; `to` None creates a contract."""
        return self.fields.get("to") == to and self.fields["data"] == data


@dataclass
class Line:
    """The account's transactions of this process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    """Threads number their transactions, and raise fees, in turn."""
    left: list[Offer] = field(default_factory=list)
    """Handed over, and no longer waited for by anyone."""
    urgent: set[object] = field(default_factory=set)
    """One for each call that is waited for and that no ceiling may hold back: nor what is ahead of it."""


lines: defaultdict[tuple[int, str], Line] = defaultdict(Line)
"""One per chain and account."""


def raised(before: Mapping[str, int], asked: Mapping[str, int]) -> dict[str, int]:
    """Fees, in wei a gas, that replace `before`: `asked` is what a new transaction would offer now."""
    more, of = RAISE
    return {name: max(asked.get(name, 0), -(-fee * more // of)) for name, fee in before.items()}
