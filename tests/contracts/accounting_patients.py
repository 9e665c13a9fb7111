"""What patients, issuers, stewards, pausers and passers-by do, in both worlds."""

from tests.contracts.accounting_base import Base
from tests.contracts.accounting_setting import (
    ADMIN,
    HIGHEST_COST,
    HORIZON,
    NEW_ISSUER,
    PATIENTS,
    PEOPLE,
    SPARES,
    UNIT,
    word_of,
)
from tests.model.accounting import LARGEST_CAP, Address, Wish

_ROTATION = "Rotation(bytes32 dataset,address from,address to,uint40 deadline)"
_REVOCATION = "Revocation(address patient,bytes32 dataset,uint32 sequence)"


class PatientSteps(Base):
    """Each `do_` takes three small numbers and makes of them what it needs."""

    def do_grant(self, a: int, b: int, c: int) -> None:
        who, class_ = self.owner[a % PATIENTS], b % 3 + 1
        account, cost = self.people.accounts[who], HIGHEST_COST[b % 3 + 1]
        caps = (
            account.spent + cost,
            account.spent + 2 * cost + UNIT,
            account.cap + cost,
            account.cap,
            max(0, account.spent + cost - 1),
            3 * cost,
            LARGEST_CAP,
            LARGEST_CAP + 1,
        )
        lasts = (HORIZON, HORIZON + 30, 200, 400, 400, 400, 400, HORIZON - 1)[c // 8 % 8]
        step = (1, 1, 1, 1, 1, 1, 2, 0)[c // 64 % 8]
        self.grant(who, class_, caps[c % 8], self.people.now + lasts, account.sequence + step)

    def grant(self, who: Address, class_: int, cap: int, expiry: int, sequence: int) -> None:
        (definition,) = self.s.datasets.ask("definitionOf", self.s.class_id(class_))
        wish = Wish(class_, cap, expiry, sequence, self.people.now)
        patient, id_ = self.address(who), self.s.class_id(class_)
        grant = (patient, self.s.dataset, id_, definition, cap, expiry, sequence, wish.deadline)
        self.both(
            "grant", lambda: self.people.grant(who, wish), self.s.consents, patient, "grant", grant
        )

    def do_revoke(self, a: int, b: int, c: int) -> None:
        who = self.someone(a, b)
        patient = self.address(who)
        outcome = self.both(
            "revoke",
            lambda: self.people.revoke(who),
            self.s.consents,
            patient,
            "revoke",
            patient,
            self.s.dataset,
        )
        assert outcome is not None, "a revocation was refused"
        assert outcome[1] == (outcome[0],)

    def do_revoke_signed(self, a: int, b: int, c: int) -> None:
        who = self.someone(a, b)
        sequence = max(0, self.people.accounts[who].sequence + (0, 5, -1)[c % 3])
        values = [self.address(who), self.s.dataset, sequence]
        digest = self.s.consents.digest(
            "Usufruct ConsentRegistry", _REVOCATION, ["address", "bytes32", "uint32"], values
        )
        arguments = (tuple(values), self.address(who), PEOPLE[who].sign(digest))
        self.both(
            "revoke_signed",
            lambda: self.people.revoke(who, sequence),
            self.s.consents,
            ADMIN.address,
            "revokeBySig",
            *arguments,
        )

    def do_rest(self, a: int, b: int, c: int) -> None:
        self.rest(self.someone(a, b))

    def rest(self, who: Address) -> None:
        patient = self.address(who)
        self.both(
            "rest",
            lambda: self.people.rest(who),
            self.s.consents,
            patient,
            "rest",
            patient,
            self.s.dataset,
        )

    def do_wake(self, a: int, b: int, c: int) -> None:
        who = self.resting(a) if c % 4 else self.someone(a, b)
        patient = self.address(who)
        self.both(
            "wake",
            lambda: self.people.wake(who),
            self.s.consents,
            patient,
            "wake",
            patient,
            self.s.dataset,
        )

    def do_erase(self, a: int, b: int, c: int) -> None:
        who = self.someone(a, b)
        outcome = self.both(
            "erase",
            lambda: self.people.erase(who),
            self.s.consents,
            self.address(who),
            "erase",
            self.s.dataset,
        )
        assert outcome is not None, "an erasure was refused"

    def do_rotate(self, a: int, b: int, c: int) -> None:
        old = self.someone(a, b)
        new = self.owner[c % PATIENTS] if c % 5 == 0 else self.spare
        if new >= PATIENTS + SPARES:
            return
        values = [self.s.dataset, self.address(old), self.address(new), self.people.now]
        kinds = ["bytes32", "address", "address", "uint40"]
        digest = self.s.consents.digest("Usufruct ConsentRegistry", _ROTATION, kinds, values)
        signatures = (PEOPLE[old].sign(digest), PEOPLE[new].sign(digest))
        arguments = (tuple(values), *signatures)
        outcome = self.both(
            "rotate",
            lambda: self.people.rotate(old, new),
            self.s.consents,
            ADMIN.address,
            "rotate",
            *arguments,
        )
        if outcome is not None:
            self.owner[self.owner.index(old)] = new
            self.spare += 1

    def do_withdraw(self, a: int, b: int, c: int) -> None:
        paid = [who for who, account in self.people.accounts.items() if account.owed]
        who = paid[a % len(paid)] if paid and c % 4 else self.someone(a, b)
        patient = self.address(who)
        arguments = (self.s.dataset, patient)
        self.both(
            "withdraw",
            lambda: self.model.withdraw_earnings(who),
            self.s.market,
            patient,
            "withdrawEarnings",
            *arguments,
        )

    def do_attest(self, a: int, b: int, c: int) -> None:
        person = a % PATIENTS
        who = self.owner[person]
        self.s.attest(PEOPLE[who], word_of(f"person {person}"), NEW_ISSUER)
        self.people.attest(who)
        self.done["attest"] += 1

    def do_suspend(self, a: int, b: int, c: int) -> None:
        who = self.someone(a, b)
        arguments = (self.s.dataset, self.address(who))
        self.both(
            "suspend",
            lambda: self.people.suspend(who),
            self.s.datasets,
            ADMIN.address,
            "suspendRecord",
            *arguments,
        )

    def do_expel(self, a: int, b: int, c: int) -> None:
        unusable = [w for w, account in self.people.accounts.items() if not account.usable]
        who = unusable[a % len(unusable)] if unusable and c % 4 else self.someone(a, b)
        arguments = (self.s.dataset, self.address(who))
        self.both(
            "expel",
            lambda: self.people.expel(who),
            self.s.consents,
            ADMIN.address,
            "expel",
            *arguments,
        )

    def do_wake_words(self, a: int, b: int, c: int) -> None:
        rooms = [room for rooms in self.people.rooms.values() for room in rooms]
        waited = [room for room in rooms if self.people.waiting_in(room)]
        room = waited[a % len(waited)] if waited and c % 8 else rooms[a % len(rooms)]
        if c % 2:
            self.at(max(self.people.now, room.frozen_until + 1))
        words = self.some_words(room, b)
        arguments = (self.s.class_id(room.class_), room.index, words)
        outcome = self.both(
            "wake_words",
            lambda: self.people.wake_room(room, self.people_of(room, words)),
            self.s.consents,
            ADMIN.address,
            "wakeWords",
            *arguments,
        )
        if outcome is not None:
            assert outcome[1] == (outcome[0],)
            self.done["wake_words_woke"] += outcome[0]

    def do_pause(self, a: int, b: int, c: int) -> None:
        self._switch("pause", a)

    def do_unpause(self, a: int, b: int, c: int) -> None:
        self._switch("unpause", a)

    def _switch(self, function: str, which: int) -> None:
        """Consents, the market, or (mostly) both."""
        if which % 4 != 1:
            on_model = getattr(self.people, function)
            self.both(function, on_model, self.s.consents, ADMIN.address, function)
        if which % 4 != 2:
            on_model = getattr(self.model, function)
            self.both(function, on_model, self.s.market, ADMIN.address, function)

    def do_pass(self, a: int, b: int, c: int) -> None:
        self.at(self.people.now + (1, 1, 2, 4, 6, 4, 12, 1, 45)[a % 9])
        self.done["pass"] += 1
