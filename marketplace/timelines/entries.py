"""One line of a patient's timeline, and how each event of the contracts becomes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final

from marketplace.chain.adapter import Event
from marketplace.chain.ledger import Opening, Step
from marketplace.chain.views import RequestStage
from marketplace.store.looks import Refused
from marketplace.wire.http import to_hex
from marketplace.wire.terms import index_of


class Kind(StrEnum):
    """What an entry tells of."""

    ATTESTED = "attested"  # a clinic vouched for a version of the record
    STORED = "stored"  # custodians hold it
    SUSPENDED = "suspended"
    ERASED = "erased"
    GRANTED = "granted"
    REVOKED = "revoked"
    RESTED = "rested"
    WOKEN = "woken"
    EXPIRED = "expired"
    EXPELLED = "expelled"  # the record was no longer usable
    GUARDIAN = "guardian"  # appointed, or dismissed (the zero address)
    MOVED = "moved"  # to another address of the same person
    WITHDRAWN = "withdrawn"
    ANNOUNCED = "announced"  # a request that names the patient's class
    COUNTED = "counted"  # sealed with this patient: budget spent, pay earned
    REFUSED = "refused"  # by this operator
    SETTLED = "settled"
    DEFAULTED = "defaulted"
    RECLAIMED = "reclaimed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. What does not belong to its kind is None.

    `at` is chain time, unix seconds; of a refusal, which is not on chain and has no block, the operator's
    clock. `cost` is in nano-rho, `amount` in token units: what a use would spend and pay (announced), spent
    and paid (counted), and what was withdrawn.
    """

    kind: Kind
    at: int
    block: int | None = None
    log_index: int | None = None
    transaction: bytes | None = None
    request: bytes | None = None
    class_index: int | None = None
    cost: int | None = None
    amount: int | None = None
    members: int | None = None  # how many were counted in the patient's shard, this one included
    cap: int | None = None  # nano-rho that were allowed for life
    expiry: int | None = None
    live: bool | None = None  # whether a grant counts at once
    by_patient: bool | None = None  # whether the patient rested it, and not its budget or a freeze
    address: str | None = None  # guardian, destination, new address
    version: int | None = None  # of the record
    because: str | None = None  # why this operator refused

    @property
    def place(self) -> tuple[int, int, int]:
        """By which entries are put in order: as the chain has them."""
        return self.at, -1 if self.block is None else self.block, self.log_index or 0

    def to_json(self) -> dict[str, Any]:
        """For an export: what the entry has, bytes in hex, amounts as text."""
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _plain(name, each) for name, each in shown.items() if each is not None}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return to_hex(value)
    return str(value) if name in ("amount", "kind") else value


def of_patient(event: Event, at: int) -> Entry:
    """The entry of an event about this patient; `at` is the time of its block."""
    kind, facts = _READERS[event.name]
    return replace(_bare(kind, at, event), **facts(event.args))


def counted(event: Event, at: int, opening: Opening) -> Entry:
    """The entry of a seal (ShardSealed) that has this patient in it."""
    terms = opening.terms
    return replace(
        _bare(Kind.COUNTED, at, event),
        request=opening.request,
        class_index=index_of(event.args["class"]),
        cost=terms.cost,
        amount=terms.price,
        members=event.args["members"],
    )


def of_request(opening: Opening, step: Step, class_index: int, at: int) -> Entry:
    """The entry of something that happened to a request of the patient's class; of `NEWS` only."""
    kind = NEWS[step.stage]
    entry = Entry(
        kind, at, step.block, step.log_index, step.transaction, opening.request, class_index
    )
    if kind is not Kind.ANNOUNCED:
        return entry
    return replace(entry, cost=opening.terms.cost, amount=opening.terms.price)


def refused(announced: Entry, refusal: Refused, at: int) -> Entry:
    """The entry of a request that was announced, and that this operator refused."""
    return Entry(
        Kind.REFUSED,
        at,
        request=announced.request,
        class_index=announced.class_index,
        because=refusal.because,
    )


def _bare(kind: Kind, at: int, event: Event) -> Entry:
    return Entry(kind, at, event.block, event.log_index, event.transaction)


Facts = Callable[[Mapping[str, Any]], dict[str, Any]]


def _granted(args: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: args[name] for name in ("cap", "expiry", "live")}
    return {**shown, "class_index": index_of(args["class"])}


def _nothing(_: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def _version(args: Mapping[str, Any]) -> dict[str, Any]:
    return {"version": args["version"]}


_READERS: Final[Mapping[str, tuple[Kind, Facts]]] = {
    "Granted": (Kind.GRANTED, _granted),
    "Revoked": (Kind.REVOKED, _nothing),
    "Rested": (Kind.RESTED, lambda args: {"by_patient": args["byPatient"]}),
    "Woken": (Kind.WOKEN, _nothing),
    "Expired": (Kind.EXPIRED, _nothing),
    "Expelled": (Kind.EXPELLED, _nothing),
    "GuardianAppointed": (
        Kind.GUARDIAN,
        lambda args: {"address": args["guardian"], "expiry": args["expiry"]},
    ),
    "Rotated": (Kind.MOVED, lambda args: {"address": args["to"]}),
    "RecordAttested": (Kind.ATTESTED, _version),
    "RecordStored": (Kind.STORED, _version),
    "RecordSuspended": (Kind.SUSPENDED, _nothing),
    "RecordErased": (Kind.ERASED, _nothing),
    "EarningsWithdrawn": (
        Kind.WITHDRAWN,
        lambda args: {"address": args["to"], "amount": args["amount"]},
    ),
}
"""What each event says, besides where and when it happened."""
NEWS: Final[Mapping[RequestStage, Kind]] = {
    RequestStage.OPENED: Kind.ANNOUNCED,
    RequestStage.SETTLED: Kind.SETTLED,
    RequestStage.DEFAULTED: Kind.DEFAULTED,
    RequestStage.RECLAIMED: Kind.RECLAIMED,
    RequestStage.CANCELLED: Kind.CANCELLED,
}
"""What a patient is told of a request: not that it was frozen, nor that others were sealed."""
