"""Laws of the reference model itself, which Hypothesis tries to break without any contract.

A model that broke a law would excuse contracts that break it too.
"""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.model.accounting import Account, Accounting, Address, Room, State, Wish
from tests.model.market import Market, Policy, Request, Stage, Terms
from tests.model.refusals import Refused

PATIENTS = 8
HIGHEST_COST = {1: 10, 2: 6, 3: 4}
CHAIRS = 3  # so that classes open second rooms
WEALTH = 10**9
POLICY = Policy(
    minimum_cohort=2,
    notice_window=1,
    freeze_window=6,
    certificate_window=3,
    unused_freeze_bps=1000,
    minimum_bond=50,
)

UNFINISHED = (Stage.OPENED, Stage.FROZEN, Stage.SEALED)

people = st.integers(0, PATIENTS - 1)
classes = st.sampled_from(sorted(HIGHEST_COST))


class Laws(RuleBasedStateMachine):
    """Random lives of eight patients and their requests."""

    def __init__(self) -> None:
        super().__init__()
        self.people = Accounting(HIGHEST_COST, now=1000, horizon=2, thaw_gap=1, chairs=CHAIRS)
        self.market = Market(self.people, POLICY)
        self.market.wallets.update({"researcher": WEALTH, "operator": WEALTH})
        self.frozen: dict[Room, tuple[object, set[Address]]] = {}
        self.owner = list(range(PATIENTS))
        self.signed = [0] * PATIENTS
        self.charged = [0] * PATIENTS

    @initialize(first=st.lists(classes, min_size=PATIENTS, max_size=PATIENTS))
    def arrive(self, first: list[int]) -> None:
        for who, class_ in enumerate(first):
            self.people.accounts[who] = Account(attested=True, stored=True)
            self.grant(who, class_, cap=10, lasts=30, step=1)
        self.market.post_bond(10_000)

    # --- patients

    @rule(
        who=people,
        class_=classes,
        cap=st.integers(0, 40),
        lasts=st.integers(0, 40),
        step=st.sampled_from((1, 1, 1, 2)),
    )
    def grant(self, who: int, class_: int, cap: int, lasts: int, step: int) -> None:
        address, now = self.owner[who], self.people.now
        before = self.people.accounts[address].spent
        paused = self.people.paused
        sequence = self.people.accounts[address].sequence + step
        try:
            self.people.grant(address, Wish(class_, cap, now + lasts, sequence, now))
        except Refused:
            return
        assert not paused, "a pause stops grants"
        self.signed[who] = max(self.signed[who], cap)
        assert self.people.accounts[address].spent == before, "a grant changed what was spent"

    @rule(who=people, ahead=st.integers(0, 3))
    def revoke(self, who: int, ahead: int) -> None:
        account = self.people.accounts[self.owner[who]]
        held_back = account.sequence + 1
        self.people.revoke(self.owner[who], account.sequence + ahead)
        assert account.state is State.NONE
        assert account.sequence >= held_back, "a grant that was held back could follow"

    @rule(who=people)
    def rest(self, who: int) -> None:
        self._try(lambda: self.people.rest(self.owner[who]))

    @rule(who=people)
    def wake(self, who: int) -> None:
        self._try(lambda: self.people.wake(self.owner[who]))

    @rule(who=people)
    def rotate(self, who: int) -> None:
        new = max(self.people.accounts) + 1
        if self._try(lambda: self.people.rotate(self.owner[who], new)):
            self.owner[who] = new

    @rule(who=people)
    def withdraw(self, who: int) -> None:
        self._try(lambda: self.market.withdraw_earnings(self.owner[who]))

    @rule(class_=classes)
    def wake_rooms(self, class_: int) -> None:
        for room in self.people.rooms[class_]:
            self._try(self.people.wake_room, room, set(self.people.accounts))

    @rule(consents=st.booleans())
    def pause(self, consents: bool) -> None:
        """Pauses, or lifts the pause that is on."""
        stopped = self.people if consents else self.market
        if not self._try(stopped.pause):
            stopped.unpause()

    @rule()
    def unpause(self) -> None:
        self._try(self.people.unpause)
        self._try(self.market.unpause)

    @rule(seconds=st.integers(1, 5))
    def pass_time(self, seconds: int) -> None:
        self.people.now += seconds

    # --- requests

    @rule(
        wanted=st.sets(classes, min_size=1),
        cost=st.integers(1, 6),
        price=st.integers(0, 100),
        fee=st.integers(0, 9),
    )
    def open(self, wanted: set[int], cost: int, price: int, fee: int) -> None:
        now, asked = self.people.now, tuple(sorted(wanted))
        terms = Terms("researcher", asked, cost, price, fee, PATIENTS, now + 12, now + 20)
        self._try(lambda: self.market.open(terms))

    @rule(steps=st.integers(1, 4), tidy=st.booleans(), wait=st.booleans())
    def progress(self, steps: int, tidy: bool, wait: bool) -> None:
        """The newest unfinished request does what it can, so many times."""
        for _ in range(steps):
            unfinished = [r for r in self.market.requests if r.stage in UNFINISHED]
            if not unfinished:
                self.open({1, 2, 3}, cost=4, price=7, fee=1)
            elif wait and unfinished[-1].stage is Stage.OPENED:
                self.pass_time(POLICY.notice_window)
            any(self._advance(request, tidy) for request in reversed(unfinished))

    def _advance(self, request: Request, tidy: bool) -> bool:
        if request.stage is Stage.OPENED:
            return self._try(self.market.freeze, request) and self._remember(request)
        if request.stage is Stage.SEALED:
            return self._try(self.market.settle, request)
        return self._seal_next(request, tidy)

    def _seal_next(self, request: Request, tidy: bool) -> bool:
        room = request.rooms[len(request.cohorts)]
        if tidy:
            everyone = set(self.people.accounts)
            self._try(lambda: self.market.tidy(request, room, everyone))
        before = self.people.live_in(room)
        sealed = self._try(self.market.seal, request)
        if sealed:
            assert request.cohorts[-1] == before, "a cohort is who was live"
            for who in request.cohorts[-1]:
                self.charged[self.owner.index(who)] += request.terms.cost
        return sealed

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if not self.market.requests:
            return
        request = data.draw(st.sampled_from(self.market.requests))
        certified = data.draw(st.booleans())
        ends = {
            "cancel": lambda: self.market.cancel(request),
            "reclaim": lambda: self.market.reclaim(request),
            "dissolve": lambda: self.market.dissolve(request),
            "default": lambda: self.market.default(request, certified=certified),
        }
        self._try(ends[data.draw(st.sampled_from(sorted(ends)))])

    @rule(account=st.sampled_from(("researcher", "operator")))
    def withdraw_credit(self, account: str) -> None:
        self._try(lambda: self.market.withdraw_credit(account))

    # --- laws

    @invariant()
    def nobody_spends_more_than_was_signed(self) -> None:
        for who, address in enumerate(self.owner):
            account = self.people.accounts[address]
            assert account.spent == self.charged[who], "lifetime spend is what was charged"
            assert account.spent <= account.cap <= self.signed[who], "above the cap that was signed"

    @invariant()
    def money_is_conserved_and_owed_to_somebody(self) -> None:
        held = self.market.holdings
        assert min(held.values()) >= 0
        assert sum(held.values()) + self.market.wallets.total() == 2 * WEALTH

    @invariant()
    def frozen_cohorts_only_lose_members(self) -> None:
        for room, (request, members) in list(self.frozen.items()):
            if room.frozen_for is not request or not self.people.frozen(room):
                del self.frozen[room]
                continue
            now = self.people.live_in(room)
            assert now <= members, "somebody joined a cohort that was being counted"
            self.frozen[room] = (request, now)

    @invariant()
    def a_settled_request_keeps_nothing(self) -> None:
        for request in self.market.requests:
            if request.stage not in UNFINISHED:
                assert request.escrow == request.bond == 0

    def _remember(self, request: Request) -> bool:
        for room in request.rooms:
            self.frozen[room] = (request, self.people.live_in(room))
        return True

    def _try(self, act: Callable[..., object], *arguments: object) -> bool:
        try:
            act(*arguments)
        except Refused:
            return False
        return True


TestLaws = Laws.TestCase
TestLaws.settings = settings(max_examples=200, stateful_step_count=50, deadline=None, database=None)
