"""Which of an upload's messages are carried, in order, and which are counted against the day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from marketplace.chain.adapter import ConsentState
from marketplace.chain.allowance import (
    MESSAGES,
    REVOCATIONS_WITHOUT_CONSENT,
    Key,
    enough_carried,
    enough_revoked,
)
from marketplace.chain.consents import stands
from marketplace.errors import Refusal
from marketplace.wire.messages import Message
from marketplace.wire.structs import Rotation

Patient = tuple[str, str]
"""Dataset (0x and hex; empty where a message has none) and address."""

ENDING: Final = frozenset({"revocation", "rest"})
"""Kinds that are carried at any time where there is a consent that they end or rest."""
PAYING_OUT: Final = frozenset({"earnings_withdrawal", "credit_withdrawal"})
"""Kinds that the contract takes only where something is owed, and that pay all of it."""
OWN, GUARDIANS, OTHER = "revocation", "guardian_revocation", "message"
"""Counted apart: a guardian's signature, which strangers can repeat, uses up nothing of the patient's."""


def patient_of(message: Message) -> Patient:
    """Whom a message is about."""
    return str(message.struct.to_json().get("dataset", "")), message.subject


def keys_of(message: Message) -> list[Key]:
    """Everything that may be counted for a message."""
    dataset, patient = patient_of(message)
    keys = [(kind, dataset, patient) for kind in (OWN, GUARDIANS, OTHER)]
    if isinstance(message.struct, Rotation):
        keys += [(kind, dataset, message.struct.to) for kind in (OWN, GUARDIANS, OTHER)]
    return keys


@dataclass
class Today:
    """The messages of one upload in their order: what each finds when it comes to the chain.

    Args:
        states: of the consents that are to be ended or rested, as the chain has them.
        mine: the patients whose consents no other upload ends at this moment.
        counts: of the day so far; raised here.
        spent: of each message that was looked at, in order, what it was counted for.
        uncounted: why nothing can be counted, so that only what is never counted is carried.
    """

    states: Mapping[Patient, ConsentState]
    mine: Collection[Patient]
    counts: dict[Key, int]
    uncounted: Refusal | None = None
    spent: list[Key | None] = field(default_factory=list)
    _now: dict[Patient, ConsentState] = field(default_factory=dict)
    _paid: set[tuple[str, Patient]] = field(default_factory=set)

    def refusal(self, message: Message) -> Refusal | None:
        """Why a message is not carried; None where it is, and counted if it has to be."""
        self.spent.append(None)
        found = self._refusal(message)
        if found is None:
            self._follow(message)
        return found

    def spent_on(self, places: Iterable[int]) -> Counter[Key]:
        """How much was counted for the messages at these places."""
        return Counter(key for place in places if (key := self.spent[place]) is not None)

    def _refusal(self, message: Message) -> Refusal | None:
        patient = patient_of(message)
        if message.kind in PAYING_OUT:
            return _paid_out() if (message.kind, patient) in self._paid else None
        if message.kind == "erasure" or self._is_free(message, patient):
            return None
        if message.kind == "revocation":
            kind = OWN if message.signatures()[0][0] == message.subject else GUARDIANS
            return self._take((kind, *patient), REVOCATIONS_WITHOUT_CONSENT, enough_revoked())
        return self._take((OTHER, *patient), MESSAGES, enough_carried())

    def _is_free(self, message: Message, patient: Patient) -> bool:
        """Whether it ends or rests a consent that stands: nothing may ever hold that back."""
        if message.kind not in ENDING or patient not in self.mine:
            return False
        state = self._state(patient)
        if message.kind == "rest":
            return state in (ConsentState.LIVE, ConsentState.RESTING)
        return stands(state)

    def _state(self, patient: Patient) -> ConsentState:
        return self._now.get(patient, self.states.get(patient, ConsentState.NONE))

    def _take(self, key: Key, most: int, enough: Refusal) -> Refusal | None:
        if self.uncounted is not None:
            return self.uncounted
        if self.counts[key] >= most:
            return enough
        self.counts[key] += 1
        self.spent[-1] = key
        return None

    def _follow(self, message: Message) -> None:
        patient = patient_of(message)
        if message.kind in ("revocation", "erasure"):
            self._now[patient] = ConsentState.NONE
        elif message.kind in ("grant", "wake"):
            self._now[patient] = ConsentState.LIVE
        elif message.kind == "rest":
            self._now[patient] = ConsentState.RESTED_BY_PATIENT
        elif message.kind in PAYING_OUT:
            self._paid.add((message.kind, patient))
        elif isinstance(message.struct, Rotation):
            self._move(patient, message.struct.to)

    def _move(self, patient: Patient, to: str) -> None:
        """The counts move along: a new address is not a new patient."""
        dataset, left = patient
        for kind in (OWN, GUARDIANS, OTHER):
            old, new = (kind, dataset, left), (kind, dataset, to)
            self.counts[new] = max(self.counts[old], self.counts[new])
        self._now[dataset, to] = self._state(patient)
        self._now[patient] = ConsentState.MOVED


def _paid_out() -> Refusal:
    return Refusal(
        code="nothing_owed",
        message="An earlier message of this upload pays out all that is owed.",
        remedy="Withdraw again once something more is owed.",
    )
