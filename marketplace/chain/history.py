"""Who sat where, and which records were in use, in an old block: replayed from the chain's logs.

Nodes keep every log, and most of them only the newest states. A cohort may have been sealed longer ago
than that, and who turns, computes or verifies must still see it as it was.

The replay believes no log alone. Every change of a seat or a record has its event, and the events must
fit: who was sealed in a seat had not left it, a record's versions rise by one. What all of them lead to at
the newest block must be what the contracts store there, for every patient and place that was asked about,
and wherever their records went since. A node that withholds or alters an event fails one of these; one that
makes up a history that also ends in the truth fails on what the other custodians sign.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from marketplace.chain.core import PartialLogs
from marketplace.chain.moves import way
from marketplace.chain.reads import Reads, pages_of
from marketplace.chain.rpc import Header
from marketplace.chain.views import Event, Stored
from marketplace.wire.solidity import ZERO_ADDRESS, ZERO_HASH
from marketplace.wire.terms import dataset_of

RECORD_EVENTS = (
    "RecordAttested",
    "RecordStored",
    "RecordSuspended",
    "RecordErased",
    "RecordMoved",
)

_Seat = tuple[bytes, int, int]
"""Class, shard, place."""


def patients_at(
    chain: Reads, class_id: bytes, shard: int, places: Sequence[int], block: int
) -> tuple[str, ...]:
    """The patients of these places as they were at the end of `block`, in their order.

    Raises:
        PartialLogs, ForgedLogs, Reorganised; NodeUnreachable, NodeFault.
    """
    seats = [(class_id, shard, place) for place in places]
    with chain.pinned(chain.head().number) as head:
        replay, then = _Seats(), None
        for event in _seat_events(chain, dataset_of(class_id), head):
            if then is None and event.block > block:
                then = replay.holders(seats)
            replay.apply(event)
        now = Reads.patients_at(chain, class_id, shard, places, head.number)
    if tuple(replay.last.get(seat, ZERO_ADDRESS) for seat in seats) != now:
        raise _incomplete("seats")
    return replay.holders(seats) if then is None else then


def commitments_of(
    chain: Reads, dataset: bytes, patients: Sequence[str], block: int
) -> tuple[Stored, ...]:
    """What was stored and usable of each patient at the end of `block`, in their order.

    Args:
        patients: of a cohort sealed in that block; each of them had a stored record then.

    Raises:
        PartialLogs, ForgedLogs, Reorganised; NodeUnreachable, NodeFault.
    """
    with chain.pinned(chain.head().number) as head:
        replay, then = _Records(), None
        for event in _record_events(chain, dataset, head):
            if then is None and event.block > block:
                then = replay.sealed(patients)
            replay.apply(event)
        today = [replay.address_of(patient) for patient in patients]
        now = Reads.commitments_of(chain, dataset, today, head.number)
    if tuple(replay.stored(each) for each in today) != now:
        raise _incomplete("records")
    return replay.sealed(patients) if then is None else then


def has_records(
    chain: Reads, dataset: bytes, patients: Sequence[str], block: int
) -> tuple[bool, ...]:
    """Whether each address had a record, in whatever state, at the end of `block`, in their order.

    Wherever the events say that a record is by now, the registry must have one, and none where it left.

    Raises:
        PartialLogs, ForgedLogs, Reorganised; NodeUnreachable, NodeFault.
    """
    with chain.pinned(chain.head().number) as head:
        replay, then = _Records(), None
        for event in _record_events(chain, dataset, head):
            if then is None and event.block > block:
                then = replay.known(patients)
            replay.apply(event)
        passed = dict.fromkeys(at for each in patients for at in way(replay.went, each))
        now = Reads.has_records(chain, dataset, list(passed), head.number)
    if replay.known(list(passed)) != now:
        raise _incomplete("records")
    return replay.known(patients) if then is None else then


@dataclass
class _Seats:
    """Who holds which seat. A seat that was left keeps its last holder's name until it is given away."""

    seat_of: dict[str, _Seat] = field(default_factory=dict)
    last: dict[_Seat, str] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        args = event.args
        if event.name == "Granted":
            self._sit(args["patient"], (args["class"], args["shard"], args["place"]))
        elif (seat := self.seat_of.pop(args["from"], None)) is not None:
            self._sit(args["to"], seat)

    def _sit(self, patient: str, seat: _Seat) -> None:
        self.seat_of[patient] = seat
        self.last[seat] = patient

    def holders(self, seats: Sequence[_Seat]) -> tuple[str, ...]:
        found = tuple(self.last.get(seat, ZERO_ADDRESS) for seat in seats)
        if any(self.seat_of.get(who) != seat for who, seat in zip(found, seats, strict=True)):
            raise _incomplete("seats")
        return found


@dataclass
class _Record:
    """One patient's record, as DatasetRegistry keeps it."""

    commitment: bytes = ZERO_HASH
    version: int = 0
    bound_to: str = ZERO_ADDRESS
    pending: tuple[bytes, int, str] | None = None
    usable: bool = False

    def attest(self, patient: str, commitment: bytes, version: int) -> None:
        if version != self.last_version() + 1:
            raise _incomplete("records")
        self.pending = (commitment, version, patient)

    def store(self, commitment: bytes, version: int) -> None:
        if self.pending is None or self.pending[:2] != (commitment, version):
            raise _incomplete("records")
        self.commitment, self.version, self.bound_to = self.pending
        self.pending, self.usable = None, True

    def erase(self) -> None:
        self.version = self.last_version()
        self.commitment, self.pending, self.usable = ZERO_HASH, None, False

    def last_version(self) -> int:
        return self.version if self.pending is None else max(self.version, self.pending[1])


@dataclass
class _Records:
    """Records by address, and where each that was left went to."""

    of: dict[str, _Record] = field(default_factory=dict)
    went: dict[str, str] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        args = event.args
        if event.name == "RecordMoved":
            self.of[args["to"]] = self.of.pop(args["from"], _Record())
            self.went[args["from"]] = args["to"]
            return
        record = self.of.setdefault(args["patient"], _Record())
        if event.name == "RecordAttested":
            record.attest(args["patient"], args["commitment"], args["version"])
        elif event.name == "RecordStored":
            record.store(args["commitment"], args["version"])
        elif event.name == "RecordErased":
            record.erase()
        else:
            record.usable = False

    def address_of(self, patient: str) -> str:
        """Where a patient's record is by now. Raises ForgedLogs for moves in a circle."""
        return way(self.went, patient)[-1]

    def known(self, patients: Sequence[str]) -> tuple[bool, ...]:
        """Whether a record was ever attested to each of these addresses, or came there, and has not left."""
        return tuple(each in self.of and self.of[each].last_version() > 0 for each in patients)

    def sealed(self, patients: Sequence[str]) -> tuple[Stored, ...]:
        if any(patient not in self.of or self.of[patient].version == 0 for patient in patients):
            raise _incomplete("records")
        return tuple(self.stored(patient) for patient in patients)

    def stored(self, patient: str) -> Stored:
        record = self.of.get(patient)
        if record is None or not record.usable:
            return Stored(patient, ZERO_HASH, ZERO_ADDRESS, 0)
        return Stored(patient, record.commitment, record.bound_to, record.version)


def _seat_events(chain: Reads, dataset: bytes, head: Header) -> Iterator[Event]:
    """Grants in every class of the dataset, and moves to other addresses."""
    first, name = chain.manifest.deployed_block, ["ConsentRegistry"]
    grants = [
        chain.events(first, head.number, contracts=name, names=["Granted"], topics=[None, classes])
        for classes in pages_of(chain.class_ids(dataset))
    ]
    moves = chain.events(first, head.number, contracts=name, names=["Rotated"], topics=[dataset])
    return _in_order([*grants, moves])


def _record_events(chain: Reads, dataset: bytes, head: Header) -> Iterator[Event]:
    events = chain.events(
        chain.manifest.deployed_block,
        head.number,
        contracts=["DatasetRegistry"],
        names=RECORD_EVENTS,
        topics=[dataset],
    )
    return _in_order([events])


def _in_order(streams: Sequence[Iterator[Event]]) -> Iterator[Event]:
    """Each event once, also where a node gives it twice."""
    before = (-1, -1)
    for event in heapq.merge(*streams, key=_position):
        if _position(event) != before:
            yield event
        before = _position(event)


def _position(event: Event) -> tuple[int, int]:
    return event.block, event.log_index


def _incomplete(what: str) -> PartialLogs:
    return PartialLogs(
        message=f"The node's events do not lead to the {what} that the contracts store.",
        remedy="Use a node that keeps the logs since the deployment, or an archive node.",
        facts={"of": what},
    )
