"""Every request ever opened on this market, of whichever operator, and what became of it: from the logs.

What lies in final blocks is read once and remembered; what is newer is read again for each head. A request
takes about two kilobytes here, and each was paid for on chain. Its terms are proved by its id, which is their
hash; what became of it is the node's word, so whoever decides something asks the market's storage.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from marketplace.chain.core import ChainCore, ForgedLogs
from marketplace.chain.following import Followed, Following
from marketplace.chain.views import Event, RequestStage
from marketplace.errors import Refusal
from marketplace.wire.terms import RequestTerms

CONTRACT: Final = "ResearchMarket"
OPENED: Final = "RequestOpened"
STEPS: Final[Mapping[str, RequestStage]] = MappingProxyType(
    {
        "RequestFrozen": RequestStage.FROZEN,
        "RequestSealed": RequestStage.SEALED,
        "RequestSettled": RequestStage.SETTLED,
        "RequestDefaulted": RequestStage.DEFAULTED,
        "RequestReclaimed": RequestStage.RECLAIMED,
        "RequestCancelled": RequestStage.CANCELLED,
    }
)
"""What happens to a request after it was opened, and the stage that it then has."""
ENDS: Final = frozenset(
    {
        RequestStage.SETTLED,
        RequestStage.DEFAULTED,
        RequestStage.RECLAIMED,
        RequestStage.CANCELLED,
    }
)
"""Nothing follows."""

PATIENCE_SECONDS: Final = 10.0
"""For which somebody waits for another's reading: whoever waits holds a thread that others need."""

Place = tuple[int, int]
"""Block and log index: where in the chain something happened."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to a request."""

    stage: RequestStage
    block: int
    block_hash: bytes
    log_index: int
    transaction: bytes

    @property
    def place(self) -> Place:
        """Block and log index."""
        return self.block, self.log_index


@dataclass(frozen=True, slots=True)
class Opening:
    """One request as it was opened, and what happened to it since, in order."""

    request: bytes
    researcher: str
    terms: RequestTerms
    opened: Step
    steps: tuple[Step, ...] = ()

    @property
    def place(self) -> Place:
        """Where in the chain it was opened: what pages of requests are cut at."""
        return self.opened.place

    @property
    def last(self) -> Step:
        """What happened last."""
        return self.steps[-1] if self.steps else self.opened


@dataclass(frozen=True, slots=True)
class Requests:
    """All of them, by age, up to one head."""

    head: bytes
    openings: tuple[Opening, ...]
    by_id: Mapping[bytes, Opening]


@dataclass
class Ledger:
    """Safe for threads: one reads the logs at a time, the others wait for what it finds, but not for long.

    On a chain with a long past the first reading takes minutes; an operator's worker does it at its start.
    """

    chain: ChainCore
    _final: _Book = field(init=False)
    _followed: Followed | None = field(default=None, init=False)
    _shown: Requests | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self._final = _Book(self.chain)

    def requests(self) -> Requests:
        """Every request up to the newest block.

        Raises:
            Refusal: `busy`, another still reads the logs. ForgedLogs, Reorganised; WrongChain, WrongCode;
                NodeUnreachable, NodeFault.
        """
        if not self._lock.acquire(timeout=PATIENCE_SECONDS):
            raise _busy()
        try:
            head = self.chain.head()
            if self._shown is None or self._shown.head != head.hash:
                self._catch_up()
                self._shown = self._up_to(head.number)
            return self._shown
        finally:
            self._lock.release()

    def _catch_up(self) -> None:
        """As far as blocks are final."""
        for page in self._following().pages(self._followed):
            if page.anew:
                self._final = _Book(self.chain)
            self._final.take(page.events)
            self._followed = page.end

    def _up_to(self, number: int) -> Requests:
        """With what is newer than final, which may still be reorganised away."""
        since = self.chain.manifest.deployed_block
        if self._followed is not None:
            since = self._followed.block + 1
        with self.chain.pinned(number) as head:
            newer = self.chain.events(since, number, contracts=[CONTRACT], names=_NAMES)
            book = self._final.with_(newer)
        return Requests(head.hash, tuple(book.openings.values()), MappingProxyType(book.openings))

    def _following(self) -> Following:
        return Following(self.chain, [CONTRACT], _NAMES)


@dataclass
class _Book:
    """Requests by id, in the order in which they were opened."""

    chain: ChainCore
    openings: dict[bytes, Opening] = field(default_factory=dict)
    taken: Place = (-1, -1)

    def with_(self, events: Iterable[Event]) -> _Book:
        """A copy that holds these, too."""
        book = _Book(self.chain, dict(self.openings), self.taken)
        book.take(events)
        return book

    def take(self, events: Iterable[Event]) -> None:
        for event in events:
            place, request = (event.block, event.log_index), bytes(event.args["request"])
            if place <= self.taken:  # nodes may give one twice
                continue
            self.taken = place
            if event.name == OPENED:
                self.openings[request] = self._opening(request, event)
            else:
                self._add(request, _step(STEPS[event.name], event))

    def _opening(self, request: bytes, event: Event) -> Opening:
        researcher = event.args["researcher"]
        terms = RequestTerms.from_abi(event.args["terms"])
        if terms.request_id(self.chain.chain_id, self.chain.market, researcher) != request:
            raise _forged(request)
        return Opening(request, researcher, terms, _step(RequestStage.OPENED, event))

    def _add(self, request: bytes, step: Step) -> None:
        known = self.openings.get(request)
        if known is None or known.last.stage in ENDS:
            raise _forged(request)
        steps = (*known.steps, step)
        self.openings[request] = Opening(
            known.request, known.researcher, known.terms, known.opened, steps
        )


_NAMES: Final[Sequence[str]] = (OPENED, *STEPS)


def _step(stage: RequestStage, event: Event) -> Step:
    return Step(stage, event.block, event.block_hash, event.log_index, event.transaction)


def _busy() -> Refusal:
    return Refusal(
        code="busy",
        message="The requests of this market are being read from the chain for the first time.",
        remedy="Ask again in a moment: nothing was done.",
    )


def _forged(request: bytes) -> ForgedLogs:
    return ForgedLogs(
        message="The node's events of a request contradict its id, or each other.",
        remedy="Use another node; nothing was decided on these.",
        facts={"request": "0x" + request.hex()},
    )
