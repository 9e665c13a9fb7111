"""Timelines and announced studies, read from the chain and from what this operator knows of its requests.

What the logs say of a patient is held against what the contracts store: the privacy cost of all uses is the
consent's lifetime spend, and what they paid is what is owed and what was withdrawn. A node that withholds or
makes up a use or a payment is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from functools import partial
from typing import Final, NamedTuple, TypeVar

from marketplace.chain.adapter import Chain, ConsentState, ConsentView, Event, PartialLogs
from marketplace.chain.finality import reorganised
from marketplace.chain.ledger import Ledger, Opening, Place
from marketplace.store import Database
from marketplace.store.looks import Refused
from marketplace.timelines.entries import (
    NEWS,
    Entry,
    Kind,
    counted,
    of_patient,
    of_request,
    refused,
)
from marketplace.timelines.history import (
    FOR_EVER,
    Seat,
    Stay,
    events_of,
    move_from,
    moves_to,
    position,
    seals_of,
    seats_of,
    stays_of,
)
from marketplace.timelines.studies import Study, open_studies
from marketplace.vocabulary import Address
from marketplace.wire.http import to_hex
from marketplace.wire.lately import Lately
from marketplace.wire.terms import index_of

MOST_ENTRIES: Final = 1_000
"""Of one timeline: the newest."""
KEPT_TIMELINES: Final = 64
KEPT_TIMES: Final = 16_384

S = TypeVar("S", Seat, Stay)


class _Told(NamedTuple):
    """Something that happened on chain; `entry` is its line, once the time of its block is known."""

    place: Place
    block_hash: bytes
    entry: Callable[[int], Entry]


@dataclass(frozen=True)
class Timelines:
    """Of any patient, in any dataset. Safe for threads."""

    chain: Chain
    database: Database
    ledger: Ledger
    _told: Lately[tuple[bytes, str, bytes], tuple[Entry, ...]] = field(
        default_factory=lambda: Lately(KEPT_TIMELINES), init=False, repr=False
    )
    _times: Lately[bytes, int] = field(
        default_factory=lambda: Lately(KEPT_TIMES), init=False, repr=False
    )

    def timeline(self, dataset: bytes, patient: Address) -> list[Entry]:
        """Everything about a patient, the newest first, at most `MOST_ENTRIES` and what was refused of them.

        What happened under earlier addresses of the same record is the patient's own, and is part of it; of
        an address that was left, everything up to the move.

        Raises:
            PartialLogs, ForgedLogs, Reorganised; NodeUnreachable, NodeFault.
        """
        head = self.chain.head()
        key = (dataset, patient, head.hash)
        told = self._told.get(key)
        if told is None:
            with self.chain.pinned(head.number):
                told = self._told.keep(key, self._entries(dataset, patient, head.number))
        found = [*told, *self._refusals(told)]
        return sorted(found, key=lambda entry: entry.place, reverse=True)

    def studies(self, dataset: bytes, class_: bytes) -> list[Study]:
        """Announced requests that name this class and count nobody yet, the next to be sealed first.

        Raises:
            As `timeline`.
        """
        requests = self.ledger.requests().openings
        return open_studies(self.chain, self.database, requests, dataset, index_of(class_))

    def _entries(self, dataset: bytes, patient: Address, head: int) -> tuple[Entry, ...]:
        view = self.chain.consent_of(dataset, patient, head)
        left = None
        if view.state is ConsentState.MOVED:
            left = move_from(self.chain, dataset, patient, head)
        until = FOR_EVER if left is None else position(left)
        moves = moves_to(self.chain, dataset, patient, head)
        events = events_of(self.chain, dataset, moves, patient, head)
        seats = [_up_to(seat, until) for seat in seats_of(events)]
        seals = list(seals_of(self.chain, seats, head))
        openings = self.ledger.requests().by_id
        uses = [(seal, _opening(openings.get(seal.args["request"]))) for seal in seals]
        if left is None:
            _require_sums(view, events, [opening for _, opening in uses])
        told = [
            *(_about(event, partial(of_patient, event)) for event in events),
            *([] if left is None else [_about(left, partial(of_patient, left))]),
            *(_about(seal, partial(counted, seal, opening=opening)) for seal, opening in uses),
            *self._of_requests(dataset, [_up_to(stay, until) for stay in stays_of(events)], uses),
        ]
        newest = sorted(told, key=lambda each: each.place)[-MOST_ENTRIES:]
        return tuple(each.entry(self._time(each.place[0], each.block_hash)) for each in newest)

    def _of_requests(
        self, dataset: bytes, stays: Sequence[Stay], uses: Sequence[tuple[Event, Opening]]
    ) -> Iterator[_Told]:
        """What became of requests that were announced to this patient, or counted it."""
        concerned = {opening.request: index_of(seal.args["class"]) for seal, opening in uses}
        for opening in self.ledger.requests().openings:
            announced = _announced_to(stays, dataset, opening)
            index = concerned.get(opening.request, announced)
            if index is None:
                continue
            for step in ((opening.opened,) if announced else ()) + opening.steps:
                if step.stage in NEWS:
                    entry = partial(of_request, opening, step, index)
                    yield _Told(step.place, step.block_hash, entry)

    def _refusals(self, told: Sequence[Entry]) -> list[Entry]:
        """Of these requests, those that this operator refused. It may refuse without a new block."""
        announced = {
            to_hex(entry.request): entry
            for entry in told
            if entry.kind is Kind.ANNOUNCED and entry.request is not None
        }
        found = self.database.refusals(list(announced))
        return [refused(announced[name], each, _unix(each)) for name, each in found.items()]

    def _time(self, block: int, block_hash: bytes) -> int:
        """When a block was made, unix seconds."""
        known = self._times.get(block_hash)
        if known is not None:
            return known
        header = self.chain.node.header(block)
        if header.hash != block_hash:
            raise reorganised(block)
        return self._times.keep(block_hash, header.timestamp)


def _about(event: Event, entry: Callable[[int], Entry]) -> _Told:
    return _Told(position(event), event.block_hash, entry)


def _up_to(own: S, until: Place) -> S:
    return replace(own, until=min(own.until, until))


def _announced_to(stays: Sequence[Stay], dataset: bytes, opening: Opening) -> int | None:
    """The class (index) under which a request was announced to who had these consents; None if it was not."""
    if opening.terms.dataset != dataset:
        return None
    for stay in stays:
        index = index_of(stay.class_id)
        if index in opening.terms.classes and stay.since < opening.place < stay.until:
            return index
    return None


def _opening(found: Opening | None) -> Opening:
    if found is None:
        raise _incomplete("requests")
    return found


def _require_sums(view: ConsentView, events: Sequence[Event], uses: Sequence[Opening]) -> None:
    """Every use was charged and paid, and nothing else was: as the contracts have it.

    Raises:
        PartialLogs.
    """
    withdrawn = sum(each.args["amount"] for each in events if each.name == "EarningsWithdrawn")
    if sum(use.terms.cost for use in uses) != view.spent:
        raise _incomplete("uses")
    if sum(use.terms.price for use in uses) != view.owed + withdrawn:
        raise _incomplete("payments")


def _unix(refusal: Refused) -> int:
    at = refusal.at
    return int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp())


def _incomplete(what: str) -> PartialLogs:
    return PartialLogs(
        message=f"The node's events do not add up to the {what} that the contracts store.",
        remedy="Use a node that keeps the logs since the deployment, or an archive node.",
        facts={"of": what},
    )
