"""Refusals that cost something to come to, remembered: whoever asks the same again is told the same.

Anybody may ask, as often as they like, and what a cohort adds up to, or lacks, takes a call to the node for
every 200 members. A refusal holds for the very question, as long as neither the chain's head nor this
custodian's journal has moved. Only such as follow from those two are kept: not what waits for a final block,
for time, or for what others may bring.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from eth_hash.auto import keccak

from marketplace.chain.adapter import Chain
from marketplace.custodian.journal import Journal
from marketplace.errors import Refusal

MOST: Final = 1_024
"""Refusals that are remembered: a few hundred bytes each, with facts a few kilobytes. The oldest go first."""
MOST_FACTS: Final = 64
"""Commitments of a remembered refusal: answers do not carry facts, and a cohort has hundreds of thousands."""
SETTLED: Final = frozenset(
    {
        "bad_parameter",
        "wrong_analysis",
        "wrong_parameters",
        "unknown_analysis",
        "wrong_release_kind",
        "cohort_too_small",
        "not_in_set",
        "sums_differ",
        "word_invalid",
        "noise_invalid",
        "records_missing",
        "settlement_mismatch",
        "partial_invalid",
    }
)
"""By chain, question and journal alone."""

_State = tuple[bytes, int]
"""Hash of the chain's head, height of the journal."""


@dataclass
class Refusals:
    """One custodian's. Safe for threads."""

    chain: Chain
    journal: Journal
    _kept: OrderedDict[bytes, tuple[_State, Refusal]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def remembered(self, *question: bytes) -> Iterator[None]:
        """Refuses at once what was refused before; else remembers with what the work inside is refused.

        Args:
            question: all that the answer depends on, besides the chain and the journal.

        Raises:
            What was raised before. NodeUnreachable, NodeFault.
        """
        state = self.chain.head().hash, self.journal.head().height
        key = bytes(keccak(b"".join(bytes(keccak(part)) for part in question)))
        with self._lock:
            known = self._kept.get(key)
        if known is not None and known[0] == state:
            raise _copy(known[1])
        try:
            yield
        except Refusal as refusal:
            if refusal.code in SETTLED:
                self._keep(key, state, refusal)
            raise

    def _keep(self, key: bytes, state: _State, refusal: Refusal) -> None:
        with self._lock:
            self._kept[key] = state, _copy(refusal)
            self._kept.move_to_end(key)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)


def _copy(refusal: Refusal) -> Refusal:
    """Without the traceback, which would hold what was at work then; and without long lists."""
    facts = {
        name: value
        for name, value in refusal.facts.items()
        if not isinstance(value, list) or len(value) <= MOST_FACTS
    }
    kind = type(refusal)
    return kind(
        code=refusal.code,
        message=refusal.message,
        remedy=refusal.remedy,
        field=refusal.field,
        facts=facts,
    )
