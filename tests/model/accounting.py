"""The accounting of consents as a reference model: people, rooms and plain sums.

It is written from the design, not from the contracts, and shares no idea with them but the words: no
bitmaps, no words of 160 seats, no meters read by subtraction, no earliest values. A patient's
`spent` and `owed` are numbers that grow when a cohort is sealed; a cohort is a set of people. The
contracts are held against it by `tests/contracts/test_accounting_model.py`.

Whatever is refused raises `Refused` with every name that would be a true reason, since the order in
which a contract checks is nobody's promise, and changes nothing.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from tests.model.refusals import Pausable, refuse_if

LARGEST_CAP = 2**48 - 1

Address = int
Class = int


class State(IntEnum):
    """Where a consent stands; the numbers are those that the contract's view tells."""

    NONE = 0
    LIVE = 1
    RESTING = 2
    RESTED = 3  # by the patient, who alone can wake it
    MOVED = 4


@dataclass(eq=False)
class Room:
    """A shard: so many chairs, and at most one request that counts who sits in them."""

    class_: Class
    index: int
    opened: int = 0  # chairs that ever had an owner
    vacated: int = 0  # of those, chairs whose owner went to another class
    spent: int = 0
    earned: int = 0
    frozen_until: int = 0
    frozen_for: object = None
    tidied: set[Address] = field(default_factory=set)  # in this freeze, and stayed


@dataclass(eq=False)
class Account:
    """One patient address. `cap`, `spent` in nano-rho, `owed` and `drawn` in token units."""

    state: State = State.NONE
    sequence: int = 0
    cap: int = 0
    spent: int = 0  # over a lifetime
    owed: int = 0
    expiry: int = 0
    room: Room | None = None  # whose chair this patient owns, also after a revocation
    waiting: bool = False  # resting, and to be looked at by whoever wakes the room
    largest_cap: int = 0  # that this patient ever agreed to
    attested: bool = False  # an issuer named a person for this address, for ever
    stored: bool = False  # custodians hold a record
    suspended: bool = False
    vouched: bool = True  # the record's issuer is still trusted

    @property
    def usable(self) -> bool:
        return self.stored and not self.suspended

    @property
    def left(self) -> int:
        return self.cap - self.spent


@dataclass(frozen=True)
class Wish:
    """What a grant says."""

    class_: Class
    cap: int
    expiry: int
    sequence: int
    deadline: int


class Accounting(Pausable):
    """All consents of one dataset. A pause stops grants and wakes, and nothing else.

    `highest_cost` is the class's highest cost of one request (nano-rho); `horizon` the least duration
    of a grant, `thaw_gap` the least time between two freezes (s); `chairs` how many a room has.
    """

    def __init__(
        self, highest_cost: dict[Class, int], *, now: int, horizon: int, thaw_gap: int, chairs: int
    ) -> None:
        self.highest_cost = highest_cost
        self.now = now
        self.horizon = horizon
        self.thaw_gap = thaw_gap
        self.chairs = chairs
        self.accounts: dict[Address, Account] = {}
        self.rooms: dict[Class, list[Room]] = {class_: [] for class_ in highest_cost}

    # --- what is

    def frozen(self, room: Room) -> bool:
        """Also in the second of the seal itself: within it no chair changes hands."""
        return self.now <= room.frozen_until

    def live_in(self, room: Room) -> set[Address]:
        return {a for a, c in self.accounts.items() if c.state is State.LIVE and c.room is room}

    def waiting_in(self, room: Room) -> set[Address]:
        return {a for a, c in self.accounts.items() if c.waiting and c.room is room}

    def must_pass(self, room: Room) -> bool:
        """Whether everyone counted was looked at by a tidy: then nothing stale can refuse a seal."""
        return self.live_in(room) <= room.tidied

    # --- patients

    def grant(self, who: Address, wish: Wish) -> None:
        account = self.accounts[who]
        refuse_if(
            self.when_paused,
            (account.state is State.MOVED, "AddressMoved"),
            (self.now > wish.deadline, "DeadlinePassed"),
            (wish.sequence != account.sequence + 1, "WrongSequence"),
            (wish.expiry < self.now + self.horizon, "ExpiryTooSoon"),
            (wish.cap > LARGEST_CAP, "CapTooLarge"),
            (not account.usable, "RecordUnusable"),
            (wish.cap - account.spent < self.highest_cost[wish.class_], "BudgetTooSmall"),
        )
        self._stand_up(account)
        self._take_chair(account, wish.class_)
        account.sequence = wish.sequence
        account.cap = wish.cap
        account.expiry = wish.expiry
        account.largest_cap = max(account.largest_cap, wish.cap)
        self._sit_down(account)

    def revoke(self, who: Address, sequence: int | None = None) -> bool:
        """Whether a consent ended. `sequence` is what a signed revocation names."""
        account = self.accounts[who]
        named = account.sequence if sequence is None else sequence
        refuse_if((named < account.sequence, "SupersededRevocation"))
        if account.state is State.MOVED:
            return False
        ended = account.state is not State.NONE
        self._stand_up(account)
        account.sequence = named + 1
        return ended

    def rest(self, who: Address) -> None:
        account = self.accounts[who]
        refuse_if((account.state not in (State.LIVE, State.RESTING), "NothingToRest"))
        self._stand_up(account)
        account.state = State.RESTED

    def wake(self, who: Address) -> None:
        account = self.accounts[who]
        dormant = account.state in (State.RESTED, State.RESTING)
        refuse_if(self.when_paused, (not dormant, "NothingToWake"))
        assert account.room is not None
        refuse_if(
            (account.expiry <= self.now, "ConsentIsExpired"),
            (not account.usable, "RecordUnusable"),
            (account.left < self.highest_cost[account.room.class_], "BudgetTooSmall"),
        )
        self._stand_up(account)
        self._sit_down(account)

    def erase(self, who: Address) -> bool:
        """Whether a consent ended; the record is gone in any case."""
        self.accounts[who].stored = False
        return self.revoke(who)

    def rotate(self, old: Address, new: Address) -> None:
        account, target = self.accounts[old], self.accounts.get(new, Account())
        pristine = target.state is State.NONE and target.sequence == 0 and target.room is None
        refuse_if(
            (account.state is State.MOVED, "AddressMoved"),
            (not pristine or old == new, "AddressInUse"),
            (target.attested, "RecordExists"),
            (account.room is not None and self.frozen(account.room), "ShardIsFrozen"),
        )
        self.accounts[new] = account
        gone = Account(state=State.MOVED, sequence=account.sequence)
        self.accounts[old] = gone
        for room in self._all_rooms():
            if old in room.tidied:
                room.tidied.remove(old)
                room.tidied.add(new)

    # --- steward, issuer, anyone

    def attest(self, who: Address) -> None:
        """A trusted issuer's new version of the record, and the custodians' receipt for it."""
        account = self.accounts[who]
        refuse_if((account.state is State.MOVED, "RecordUnusable"))
        account.stored, account.suspended, account.vouched = True, False, True

    def suspend(self, who: Address) -> None:
        account = self.accounts[who]
        refuse_if(
            (not account.stored, "RecordNotStored"),
            (account.vouched, "IssuerStillTrusted"),
        )
        account.suspended = True

    def expel(self, who: Address) -> None:
        account = self.accounts[who]
        refuse_if((account.usable, "StillUsable"))
        if account.state is not State.MOVED:
            self._stand_up(account)

    def wake_room(self, room: Room, people: set[Address]) -> int:
        """Wakes those of `people` who wait and can; the others wait no longer. How many woke."""
        refuse_if(self.when_paused, (self.frozen(room), "ShardIsFrozen"))
        woken = 0
        for who in people & self.waiting_in(room):
            account = self.accounts[who]
            account.waiting = False
            if account.expiry > self.now and account.left >= self.highest_cost[room.class_]:
                account.state = State.LIVE
                woken += 1
        return woken

    # --- the market

    def freeze(self, room: Room, request: object, until: int) -> int:
        resting = room.frozen_until and self.now <= room.frozen_until + self.thaw_gap
        refuse_if((bool(resting), "ShardIsFrozen"))
        room.frozen_until, room.frozen_for = until, request
        room.tidied = set()
        return len(self.live_in(room))

    def thaw(self, room: Room, request: object) -> None:
        if room.frozen_for is request:
            room.frozen_for = None
            room.frozen_until = min(room.frozen_until, self.now)

    def tidy(self, room: Room, request: object, people: set[Address], cost: int) -> int:
        """Ends what expires within the freeze, rests who cannot pay. How many left."""
        refuse_if(*self.not_frozen_for(room, request))
        left = 0
        for who in people & self.live_in(room):
            account = self.accounts[who]
            if account.expiry <= room.frozen_until:
                account.state = State.NONE
            elif account.left < cost:
                account.state = State.RESTING
            else:
                room.tidied.add(who)
                continue
            left += 1
        return left

    def seal(self, room: Room, request: object, cost: int, price: int) -> frozenset[Address]:
        """The cohort: everyone live here, each charged `cost` and paid `price` at this moment."""
        refuse_if(*self.not_frozen_for(room, request), *self.not_sealable(room, cost))
        cohort = frozenset(self.live_in(room))
        for who in cohort:
            self.accounts[who].spent += cost
            self.accounts[who].owed += price
        room.spent += cost
        room.earned += price
        room.frozen_until, room.frozen_for = self.now, None
        return cohort

    def collect(self, who: Address) -> int:
        amount, self.accounts[who].owed = self.accounts[who].owed, 0
        return amount

    def not_frozen_for(self, room: Room, request: object) -> list[tuple[bool, str]]:
        return [
            (room.frozen_for is not request, "ShardNotFrozenFor"),
            (not self.frozen(room), "FreezeLapsed"),
        ]

    def not_sealable(self, room: Room, cost: int) -> list[tuple[bool, str]]:
        members = [self.accounts[who] for who in self.live_in(room)]
        cannot = any(m.expiry <= self.now or m.left < cost for m in members)
        return [(cannot, "WordStale")]

    # --- chairs

    def _stand_up(self, account: Account) -> None:
        account.state = State.NONE
        account.waiting = False

    def _sit_down(self, account: Account) -> None:
        assert account.room is not None
        account.waiting = self.frozen(account.room)
        account.state = State.RESTING if account.waiting else State.LIVE

    def _take_chair(self, account: Account, class_: Class) -> None:
        if account.room is not None and account.room.class_ == class_:
            return
        if account.room is not None:
            account.room.vacated += 1
        account.room = self._room_with_a_chair(class_)

    def _room_with_a_chair(self, class_: Class) -> Room:
        rooms = self.rooms[class_]
        if rooms and rooms[-1].vacated and not self.frozen(rooms[-1]):
            rooms[-1].vacated -= 1
            return rooms[-1]
        if not rooms or rooms[-1].opened == self.chairs:
            rooms.append(Room(class_, len(rooms)))
        rooms[-1].opened += 1
        return rooms[-1]

    def _all_rooms(self) -> list[Room]:
        return [room for rooms in self.rooms.values() for room in rooms]
