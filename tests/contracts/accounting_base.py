"""Two worlds that do the same: the contracts on pyrevm, and the reference model.

`Base.both` does one thing in each, contracts first, and raises AssertionError unless they agree: both
allow it, or both refuse it and the contract's error is one of the model's true reasons.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.contracts.accounting_setting import (
    ASSIGNED,
    CHAIRS,
    HIGHEST_COST,
    HORIZON,
    PATIENTS,
    PEOPLE,
    POLICY,
    RESEARCHERS,
    THAW_GAP,
    WEALTH,
    WORD,
    Setting,
)
from tests.contracts.pyrevm_chain import GENESIS_TIME, ChainRefused, Contract
from tests.model.accounting import Account, Accounting, Address, Room
from tests.model.market import Market, Request, Stage
from tests.model.refusals import Refused

SLOTS = 2  # requests at once


def first_model() -> Market:
    people = Accounting(
        HIGHEST_COST, now=GENESIS_TIME, horizon=HORIZON, thaw_gap=THAW_GAP, chairs=CHAIRS
    )
    for class_, assigned in ASSIGNED.items():
        people.rooms[class_].append(Room(class_, 0, opened=assigned))
    for who in range(PATIENTS):
        people.accounts[who] = Account(attested=True, stored=True, vouched=False)
    model = Market(people, POLICY)
    model.wallets.update({"operator": WEALTH, "researcher 0": WEALTH, "researcher 1": WEALTH})
    return model


class Base:
    """What both kinds of step stand on. `done` and `refused` count what happened."""

    def __init__(self, setting: Setting) -> None:
        self.s = setting
        self.chain = setting.chain
        self.model = first_model()
        self.people = self.model.people
        self.slots: list[Request | None] = [None] * SLOTS
        self.ids: dict[int, bytes] = {}  # of a request, by its order
        self.owner = list(range(PATIENTS))  # each person's address now
        self.spare = PATIENTS
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.chain.at(GENESIS_TIME, 1000)

    def both(
        self,
        action: str,
        on_model: Callable[[], Any],
        contract: Contract,
        caller: str,
        function: str,
        *arguments: Any,
    ) -> tuple[Any, tuple[Any, ...]] | None:
        """The model's answer and the contract's, or None if both refuse."""
        refused, answer = self.call(contract, caller, function, *arguments)
        expected, allowed = self.agree(action, refused, on_model)
        return (expected, answer) if allowed else None

    def call(
        self, contract: Contract, caller: str, function: str, *arguments: Any
    ) -> tuple[str | None, tuple[Any, ...]]:
        """The name of the refusal, if it is one, and the answer."""
        try:
            return None, contract.send(caller, function, *arguments)
        except ChainRefused as refusal:
            return refusal.name, ()

    def agree(
        self, action: str, refused: str | None, on_model: Callable[[], Any]
    ) -> tuple[Any, bool]:
        """The model's answer, and whether it was allowed; AssertionError if the contract differs."""
        expected, reasons = _outcome(on_model)
        if reasons:
            assert refused in reasons, (action, refused, reasons)
            self.refused[f"{action}: {refused}"] += 1
            return None, False
        assert refused is None, (action, refused, "but the model allows it")
        self.done[action] += 1
        if self.people.paused and self.model.paused:
            self.done[f"{action} while paused"] += 1
        return expected, True

    def address(self, who: Address) -> str:
        return PEOPLE[who].address

    def at(self, now: int) -> None:
        self.people.now = now
        self.chain.at(now, self.chain.block + 1)

    def someone(self, a: int, b: int) -> Address:
        """Mostly a person's address of today; now and then one that was left."""
        left = [who for who in self.people.accounts if who not in self.owner]
        return left[a % len(left)] if left and b == 7 else self.owner[a % PATIENTS]

    def resting(self, a: int) -> Address:
        resting = [w for w in self.owner if self.people.accounts[w].state in (2, 3)]
        return resting[a % len(resting)] if resting else self.owner[a % PATIENTS]

    def place_of(self, who: Address) -> int:
        return int(self.s.consents.view("consentOf", self.s.dataset, self.address(who))["place"])

    def words_of(self, room: Room) -> list[int]:
        """Every word in which this room ever had a chair of ours."""
        first = ASSIGNED.get(room.class_, 0) if room.index == 0 else 0
        return list(range(first // WORD, max(first, room.opened - 1) // WORD + 1))

    def some_words(self, room: Room, c: int) -> list[int]:
        words = self.words_of(room)
        return words if c % 4 < 3 else [words[c // 4 % len(words)]]

    def people_of(self, room: Room, words: list[int]) -> set[Address]:
        owners = [w for w, account in self.people.accounts.items() if account.room is room]
        return {w for w in owners if self.place_of(w) // WORD in words}

    def request_in(self, a: int, stage: Stage) -> Request | None:
        """A request in this stage if there is one (most actions want one), else any."""
        fitting = [r for r in self.slots if r is not None and r.stage is stage]
        return fitting[a % len(fitting)] if fitting else self.slots[a % SLOTS]

    def researcher_of(self, request: Request) -> str:
        return RESEARCHERS[self.slots.index(request)].address

    def id_of(self, request: Request) -> bytes:
        return self.ids[self.model.requests.index(request)]


def _outcome(on_model: Callable[[], Any]) -> tuple[Any, frozenset[str]]:
    """The model's answer, or its reasons to refuse."""
    try:
        return on_model(), frozenset()
    except Refused as refusal:
        return None, refusal.reasons
