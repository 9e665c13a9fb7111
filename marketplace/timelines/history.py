"""The events of one patient: under every address that was the patient's, and the seats held meanwhile."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from marketplace.chain.adapter import Chain, Event, ForgedLogs
from marketplace.chain.ledger import Place
from marketplace.wire.roots import holds
from marketplace.wire.terms import dataset_of

CONSENT_EVENTS: Final = (
    "Granted",
    "Revoked",
    "Rested",
    "Woken",
    "Expired",
    "Expelled",
    "GuardianAppointed",
)
RECORD_EVENTS: Final = ("RecordAttested", "RecordStored", "RecordSuspended", "RecordErased")
LEAVES: Final = frozenset({"Revoked", "Expired", "Expelled"})
"""After these there is no consent, until the next grant."""
MOST_MOVES: Final = 64
"""Addresses that a patient's history is followed back through, each by a search of the logs. Who moved more
often is refused where the sums are drawn, since uses under the first addresses are missing."""
FOR_EVER: Final[Place] = (1 << 64, 0)


@dataclass(frozen=True)
class Seat:
    """A place of a shard, the patient's own from one place in the chain up to another."""

    class_id: bytes
    shard: int
    place: int
    since: Place
    until: Place

    def counted_by(self, sealed: Event) -> bool:
        """Whether a seal (ShardSealed) counts the patient."""
        args = sealed.args
        if (args["class"], args["shard"]) != (self.class_id, self.shard):
            return False
        return self.since < position(sealed) < self.until and holds(args["bitmaps"], self.place)


@dataclass(frozen=True)
class Stay:
    """A consent in one class, live or resting: from a grant up to what ended it."""

    class_id: bytes
    since: Place
    until: Place


def position(event: Event) -> Place:
    """Block and log index."""
    return event.block, event.log_index


def moves_to(chain: Chain, dataset: bytes, patient: str, head: int) -> list[Event]:
    """How this address came to the record: each move of it to another address (Rotated), oldest first.

    Raises:
        ForgedLogs: moves in a circle.
    """
    moves: list[Event] = []
    passed, at = {patient}, patient
    while len(moves) < MOST_MOVES and (move := _move_to(chain, dataset, at, head)) is not None:
        at = move.args["from"]
        if at in passed:
            raise ForgedLogs(
                message="The node's logs have a record move in a circle, which the contract does not allow.",
                remedy="Use another node; nothing was decided on these.",
            )
        passed.add(at)
        moves.append(move)
    return moves[::-1]


def events_of(
    chain: Chain, dataset: bytes, moves: Sequence[Event], patient: str, head: int
) -> list[Event]:
    """Everything that the contracts say of a patient in a dataset, in chain order, `moves` among it."""
    first = chain.manifest.deployed_block
    own = [topic(each) for each in (*(move.args["from"] for move in moves), patient)]
    consents = chain.events(
        first, head, contracts=["ConsentRegistry"], names=CONSENT_EVENTS, topics=[own]
    )
    records = chain.events(
        first, head, contracts=["DatasetRegistry"], names=RECORD_EVENTS, topics=[dataset, own]
    )
    payments = chain.events(
        first,
        head,
        contracts=["ResearchMarket"],
        names=["EarningsWithdrawn"],
        topics=[own, dataset],
    )
    here = (event for event in consents if _dataset(event) == dataset)
    merged = heapq.merge(here, records, payments, moves, key=position)
    return list(_once(merged))


def seats_of(events: Sequence[Event]) -> list[Seat]:
    """The seats of a patient. One who stops keeps the seat; only a grant in another class leaves it."""
    grants = [event for event in events if event.name == "Granted"]
    seats = []
    for number, grant in enumerate(grants):
        own = (grant.args["class"], grant.args["shard"], grant.args["place"])
        before = grants[number - 1].args if number else {}
        if (before.get("class"), before.get("shard"), before.get("place")) == own:
            continue
        until = next(
            (position(each) for each in grants[number:] if each.args["class"] != own[0]), FOR_EVER
        )
        seats.append(Seat(*own, position(grant), until))
    return seats


def stays_of(events: Sequence[Event]) -> list[Stay]:
    """When the patient had a consent, and in which class."""
    stays = []
    for number, event in enumerate(events):
        if event.name == "Granted":
            ends = (
                position(each)
                for each in events[number + 1 :]
                if each.name in LEAVES or each.name == "Granted"
            )
            stays.append(Stay(event.args["class"], position(event), next(ends, FOR_EVER)))
    return stays


def seals_of(chain: Chain, seats: Sequence[Seat], head: int) -> Iterator[Event]:
    """The seals that counted the patient, in chain order."""
    if not seats:
        return
    classes = sorted({seat.class_id for seat in seats})
    since = min(seat.since for seat in seats)[0]
    found = chain.events(
        since, head, contracts=["ConsentRegistry"], names=["ShardSealed"], topics=[None, classes]
    )
    for event in _once(found):
        if any(seat.counted_by(event) for seat in seats):
            yield event


def topic(address: str) -> bytes:
    """An address as logs index it: 32 bytes."""
    return bytes(12) + bytes.fromhex(address[2:])


def move_from(chain: Chain, dataset: bytes, patient: str, head: int) -> Event | None:
    """How the record left this address, if it did (Rotated)."""
    moves = chain.events_backwards(
        chain.manifest.deployed_block, head, "ConsentRegistry", "Rotated", [dataset, topic(patient)]
    )
    return next(moves, None)


def _move_to(chain: Chain, dataset: bytes, address: str, head: int) -> Event | None:
    moves = chain.events_backwards(
        chain.manifest.deployed_block,
        head,
        "ConsentRegistry",
        "Rotated",
        [dataset, None, topic(address)],
    )
    return next(moves, None)


def _dataset(event: Event) -> bytes:
    if event.name == "Granted":
        return dataset_of(event.args["class"])
    return bytes(event.args["dataset"])


def _once(events: Iterator[Event]) -> Iterator[Event]:
    """Each once, also where a node gives it twice."""
    before = (-1, -1)
    for event in events:
        if position(event) != before:
            yield event
        before = position(event)
