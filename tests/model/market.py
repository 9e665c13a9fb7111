"""The money of requests as a reference model: escrows, bonds, credits and wallets, in token units.

Like `accounting`, written from the design in plain sums; every amount that leaves one holder enters
another, so that the sum of wallets and holdings never changes.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum

from tests.model.accounting import Accounting, Address, Class, Room
from tests.model.refusals import Pausable, refuse_if


class Stage(IntEnum):
    """The numbers are those that the contract's view tells."""

    NONE = 0
    OPENED = 1
    FROZEN = 2
    SEALED = 3
    SETTLED = 4
    DEFAULTED = 5
    RECLAIMED = 6
    CANCELLED = 7


@dataclass(frozen=True)
class Policy:
    minimum_cohort: int
    notice_window: int
    freeze_window: int
    certificate_window: int
    unused_freeze_bps: int
    minimum_bond: int


@dataclass(frozen=True)
class Terms:
    researcher: str
    classes: tuple[Class, ...]
    cost: int  # nano-rho
    price: int  # token units per member
    fee: int  # token units
    max_patients: int
    seal_deadline: int
    settle_deadline: int


@dataclass(eq=False)
class Request:
    terms: Terms
    opened_at: int
    escrow: int
    stage: Stage = Stage.OPENED
    bond: int = 0
    frozen_until: int = 0
    rooms: list[Room] = field(default_factory=list)
    cohorts: list[frozenset[Address]] = field(default_factory=list)  # one per sealed room

    @property
    def members(self) -> int:
        return sum(map(len, self.cohorts))

    @property
    def paid(self) -> int:
        return self.members * self.terms.price


OPERATOR = "operator"


class Market(Pausable):
    """All requests over one `Accounting`, and every token unit that somebody could claim.

    A pause stops new requests and freezes, and nothing else.
    """

    def __init__(self, accounting: Accounting, policy: Policy) -> None:
        self.people = accounting
        self.policy = policy
        self.requests: list[Request] = []
        self.credits: Counter[str] = Counter()
        self.wallets: Counter[str | Address] = Counter()
        self.free_bond = 0

    @property
    def holdings(self) -> dict[str, int]:
        """What the market owes, by kind."""
        return {
            "escrows": sum(r.escrow for r in self.requests),
            "locked_bonds": sum(r.bond for r in self.requests),
            "free_bonds": self.free_bond,
            "credits": self.credits.total(),
            "earnings": sum(a.owed for a in self.people.accounts.values()),
        }

    def post_bond(self, amount: int) -> None:
        self.wallets[OPERATOR] -= amount
        self.free_bond += amount

    def release_bond(self, amount: int) -> None:
        refuse_if((amount > self.free_bond, "BondTooSmall"))
        self.free_bond -= amount
        self.wallets[OPERATOR] += amount

    def open(self, terms: Terms) -> Request:
        dear = [c for c in terms.classes if terms.cost > self.people.highest_cost[c]]
        refuse_if(self.when_paused, (bool(dear), "CostAboveClass"))
        escrow = terms.max_patients * terms.price + terms.fee
        self.wallets[terms.researcher] -= escrow
        request = Request(terms, self.people.now, escrow)
        self.requests.append(request)
        return request

    def cancel(self, request: Request) -> None:
        self._require(request, Stage.OPENED)
        self._give_back(request, request.escrow)
        request.stage = Stage.CANCELLED

    def freeze(self, request: Request) -> None:
        refuse_if(self.when_paused, (request.stage is not Stage.OPENED, "WrongStage"))
        terms, now = request.terms, self.people.now
        rooms = [room for c in terms.classes for room in self.people.rooms[c]]
        live = sum(len(self.people.live_in(room)) for room in rooms)
        bond = max(live * terms.price, self.policy.minimum_bond)
        busy = [r for r in rooms if r.frozen_until and now <= r.frozen_until + self.people.thaw_gap]
        refuse_if(
            (now < request.opened_at + self.policy.notice_window, "NoticeStillRunning"),
            (now >= terms.seal_deadline, "SealDeadlinePassed"),
            (bool(busy), "ShardIsFrozen"),
            (live < self.policy.minimum_cohort, "CohortTooSmall"),
            (live > terms.max_patients, "CohortTooLarge"),
            (bond > self.free_bond, "BondTooSmall"),
        )
        request.frozen_until = min(now + self.policy.freeze_window, terms.seal_deadline)
        for room in rooms:
            self.people.freeze(room, request, request.frozen_until)
        request.rooms = rooms
        self.free_bond -= bond
        request.bond = bond
        request.stage = Stage.FROZEN

    def tidy(self, request: Request, room: Room, people: set[Address]) -> int:
        self._require(request, Stage.FROZEN)
        return self.people.tidy(room, request, people, request.terms.cost)

    def seal(self, request: Request) -> frozenset[Address]:
        """Seals the next room; with the last one, what was not needed goes back."""
        self._require(request, Stage.FROZEN)
        room, terms = request.rooms[len(request.cohorts)], request.terms
        refuse_if(
            *self.people.not_frozen_for(room, request),
            *self.people.not_sealable(room, terms.cost),
            (self._too_few(request), "CohortTooSmall"),
        )
        cohort = self.people.seal(room, request, terms.cost, terms.price)
        request.cohorts.append(cohort)
        request.escrow -= len(cohort) * terms.price
        if len(request.cohorts) == len(request.rooms):
            request.stage = Stage.SEALED
            self._give_back(request, request.escrow - terms.fee)
        return cohort

    def seal_all(self, request: Request) -> list[frozenset[Address]]:
        """Seals every room that is left, or none."""
        self._require(request, Stage.FROZEN)
        left = request.rooms[len(request.cohorts) :]
        live = sum(len(self.people.live_in(room)) for room in left)
        checks = [
            check
            for room in left
            for check in (
                *self.people.not_frozen_for(room, request),
                *self.people.not_sealable(room, request.terms.cost),
            )
        ]
        few = request.members + live < self.policy.minimum_cohort
        refuse_if(*checks, (few, "CohortTooSmall"))
        return [self.seal(request) for _ in left]

    def settle(self, request: Request) -> None:
        self._require(request, Stage.SEALED)
        refuse_if((self.people.now > request.terms.settle_deadline, "SettleDeadlinePassed"))
        self.credits[OPERATOR] += request.escrow
        request.escrow = 0
        self._end_bond(request, 0)
        request.stage = Stage.SETTLED

    def default(self, request: Request, *, certified: bool) -> None:
        self._require(request, Stage.SEALED)
        deadline = request.terms.settle_deadline
        deadline += 0 if certified else self.policy.certificate_window
        refuse_if((self.people.now <= deadline, "DeadlineRunning"))
        self._give_back(request, request.escrow)
        self._end_bond(request, request.paid if certified else 0)
        request.stage = Stage.DEFAULTED

    def reclaim(self, request: Request) -> None:
        if request.stage is not Stage.OPENED:
            self._require(request, Stage.FROZEN)
        opened = request.stage is Stage.OPENED
        deadline = request.terms.seal_deadline if opened else request.frozen_until
        refuse_if((self.people.now <= deadline, "DeadlineRunning"))
        penalty = request.bond * self.policy.unused_freeze_bps // 10_000
        self._end_bond(request, max(penalty, request.paid))
        self._thaw(request)
        self._give_back(request, request.escrow)
        request.stage = Stage.RECLAIMED

    def dissolve(self, request: Request) -> None:
        """A cohort fell under the minimum before any of it was sealed: everything goes back."""
        self._require(request, Stage.FROZEN)
        live = sum(len(self.people.live_in(room)) for room in request.rooms)
        refuse_if(
            (bool(request.cohorts), "WrongStage"),
            (live >= self.policy.minimum_cohort, "CohortStillLarge"),
        )
        self._end_bond(request, 0)
        self._thaw(request)
        self._give_back(request, request.escrow)
        request.stage = Stage.RECLAIMED

    def withdraw_credit(self, account: str) -> int:
        refuse_if((self.credits[account] == 0, "NothingOwed"))
        amount, self.credits[account] = self.credits[account], 0
        self.wallets[account] += amount
        return amount

    def withdraw_earnings(self, who: Address) -> int:
        refuse_if((self.people.accounts[who].owed == 0, "NothingOwed"))
        amount = self.people.collect(who)
        self.wallets[who] += amount
        return amount

    # --- steps

    def _require(self, request: Request, stage: Stage) -> None:
        refuse_if((request.stage is not stage, "WrongStage"))

    def _too_few(self, request: Request) -> bool:
        """Before anything is paid everyone live counts; at the end, everyone sealed."""
        left = request.rooms[len(request.cohorts) :]
        live = [len(self.people.live_in(room)) for room in left]
        first, last = not request.cohorts, len(left) == 1
        return (first or last) and request.members + sum(live) < self.policy.minimum_cohort

    def _give_back(self, request: Request, amount: int) -> None:
        request.escrow -= amount
        self.credits[request.terms.researcher] += amount

    def _end_bond(self, request: Request, forfeit: int) -> None:
        forfeit = min(forfeit, request.bond)
        self.credits[request.terms.researcher] += forfeit
        self.free_bond += request.bond - forfeit
        request.bond = 0

    def _thaw(self, request: Request) -> None:
        for room in request.rooms[len(request.cohorts) :]:
            self.people.thaw(room, request)
