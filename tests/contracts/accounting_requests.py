"""What researchers and the operator do with requests, in both worlds."""

from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from tests.contracts.accounting_base import SLOTS
from tests.contracts.accounting_patients import PatientSteps
from tests.contracts.accounting_setting import (
    ADMIN,
    BOND,
    CUSTODIANS,
    GATE,
    HIGHEST_COST,
    OPERATOR,
    POLICY,
    RESEARCHERS,
    THAW_GAP,
    TURN_WINDOW,
    WORD,
    ZERO,
    word_of,
)
from tests.contracts.pyrevm_chain import CHAIN_ID
from tests.model.accounting import Address, Room
from tests.model.market import Request, Stage, Terms

VAULT = 1
HASHES = [word_of("noise 0"), word_of("noise 1")]
_GATE_KEY = "GateKey(bytes32 request,bytes32 root,bytes32 key)"
_CERTIFICATE = "TurnCertificate(bytes32 request,bytes32 root,uint32 epoch)"
_SETTLEMENT = (
    "Settlement(bytes32 request,bytes32 root,uint32 epoch,uint8 lane,uint16 schema,"
    "bytes32 ciphertextRoot,bytes32 noise,bytes32 resultHash,bytes32 deliveryHash,address gate)"
)
_SETTLEMENT_TYPES = ["bytes32", "bytes32", "uint32", "uint8", "uint16", *["bytes32"] * 4, "address"]
_NOISE_COMMITMENT = (
    "NoiseCommitment(bytes32 request,bytes32 root,uint32 epoch,uint8 place,bytes32 commitment)"
)
_NOISE_SET = "NoiseSet(bytes32 request,bytes32 root,uint32 epoch,uint16 places,bytes32 noise)"
_NOISE_TYPES = ["string", "uint256", "address", *["bytes32"] * 2, "uint32", "uint16", "bytes32[]"]
_OPEN_STAGES = (Stage.OPENED, Stage.FROZEN, Stage.SEALED)


class RequestSteps(PatientSteps):
    """As for patients. A step that wants a request in some stage takes one, if there is one."""

    def do_open(self, a: int, b: int, c: int) -> None:
        slot, now = a % SLOTS, self.people.now
        current = self.slots[slot]
        if current is not None and current.stage in _OPEN_STAGES:
            return
        seal_deadline = now + POLICY.notice_window + (20, 60, 120)[a % 3]
        classes = tuple(i for i in (1, 2, 3) if (b or 1) >> (i - 1) & 1) or (1, 2)
        highest = min(HIGHEST_COST[class_] for class_ in classes)
        fields: dict[str, Any] = {
            "classes": classes,
            "cost": (highest, highest, highest // 2, highest // 3 + 1, highest - 7, highest + 1)[
                c % 6
            ],
            "price": (10**9, 7, 2**40 + 3, 0)[c // 6 % 4],
            "fee": (5, 0)[c // 24 % 2],
            "max_patients": (12, 24, 24, 12, 24, 24, 24, 3)[c // 48 % 8],
            "seal_deadline": seal_deadline,
            "settle_deadline": seal_deadline + TURN_WINDOW,
        }
        terms = Terms(researcher=f"researcher {slot}", **fields)
        order = len(self.model.requests)
        chain_terms = self.s.request_terms(fields, order)
        listed = [self.s.class_terms(class_) for class_ in classes]
        caller = RESEARCHERS[slot].address
        outcome = self.both(
            "open",
            lambda: self.model.open(terms),
            self.s.market,
            caller,
            "open",
            chain_terms,
            listed,
        )
        if outcome is not None:
            self.slots[slot], (self.ids[order],) = outcome

    def do_progress(self, a: int, b: int, c: int) -> None:
        """The natural next step of a request, waiting for its time where that is all it needs."""
        request = self.slots[a % SLOTS]
        if self.model.paused and c % 4 == 1:
            self.do_unpause(0, b, c)
        elif request is None or request.stage not in _OPEN_STAGES:
            self.do_open(a, b, c)
        elif request.stage is Stage.OPENED:
            if c % 8:
                self.at(max(self.people.now, self._freezable_at(request)))
            self.do_freeze(self.slots.index(request), b, c)
        elif request.stage is Stage.SEALED:
            (self.do_settle if c % 4 else self.do_default)(a, b, c)
        elif c % 3 == 0:
            self.do_tidy(a, len(request.cohorts), 0)
        else:
            self.do_seal(a, b, c)

    def _freezable_at(self, request: Request) -> int:
        """When its notice is over and no other request's freeze is in the way."""
        rooms = [room for c in request.terms.classes for room in self.people.rooms[c]]
        free = [r.frozen_until + THAW_GAP + 1 for r in rooms if r.frozen_for is None]
        return max([request.opened_at + POLICY.notice_window, *free])

    def do_cancel(self, a: int, b: int, c: int) -> None:
        if (request := self.request_in(a, Stage.OPENED)) is None:
            return
        caller = self.researcher_of(request)
        self.both(
            "cancel",
            lambda: self.model.cancel(request),
            self.s.market,
            caller,
            "cancel",
            self.id_of(request),
        )

    def do_freeze(self, a: int, b: int, c: int) -> None:
        if (request := self.request_in(a, Stage.OPENED)) is None:
            return
        fields = dict(vars(request.terms))
        terms = self.s.request_terms(fields, self.model.requests.index(request))
        listed = [self.s.class_terms(class_) for class_ in request.terms.classes]
        arguments = (self.researcher_of(request), terms, listed)
        self.both(
            "freeze",
            lambda: self.model.freeze(request),
            self.s.market,
            OPERATOR.address,
            "freeze",
            *arguments,
        )

    def do_tidy(self, a: int, b: int, c: int) -> None:
        if (request := self.request_in(a, Stage.FROZEN)) is None or not request.rooms:
            return
        place = b % len(request.rooms)
        room = request.rooms[place]
        words = self.some_words(room, c)
        arguments = (self.id_of(request), place, words)
        people = self.people_of(room, words)
        outcome = self.both(
            "tidy",
            lambda: self.model.tidy(request, room, people),
            self.s.market,
            ADMIN.address,
            "tidy",
            *arguments,
        )
        if outcome is not None:
            assert self.s.market.logged("RequestTidied") == [(place, outcome[0])]
            self.done["tidy_left"] += outcome[0]

    def do_seal(self, a: int, b: int, c: int) -> None:
        """The next shard, or all that are left at once."""
        request = self.request_in(a, Stage.FROZEN)
        if request is None or len(request.cohorts) == len(request.rooms):
            return
        left = request.rooms[len(request.cohorts) :]
        every = c % 4 == 3
        rooms = left if every else left[:1]
        sure = all(self.people.must_pass(room) for room in rooms)
        root = self._root_before(request)
        function = "sealAll" if every else "seal"
        id_ = self.id_of(request)
        refused, _ = self.call(self.s.market, OPERATOR.address, function, id_)
        # The earliest values of a word may err low: before a tidy they may refuse what could pay.
        if refused == "WordStale" and not sure:
            self.refused["seal: WordStale"] += 1
            return
        logged = self.s.consents.logged("ShardSealed") if refused is None else []
        on_model = self.model.seal_all if every else lambda r: [self.model.seal(r)]
        cohorts, allowed = self.agree(function, refused, lambda: on_model(request))
        if allowed:
            for room, cohort, log in zip(rooms, cohorts, logged, strict=True):
                root = self._check_seal(room, cohort, root, log)
            assert self.s.market.view("requestOf", id_)["root"] == root

    def _check_seal(
        self, room: Room, cohort: frozenset[Address], before: bytes, logged: tuple[Any, ...]
    ) -> bytes:
        """The sealed bitmaps name exactly the model's cohort; the cohort root with this shard."""
        shard, members, root, bitmaps = logged
        class_id = self.s.class_id(room.class_)
        (sealed,) = self.s.consents.ask("patientsAt", class_id, shard, _places(bitmaps))
        assert sorted(sealed) == sorted(self.address(who).lower() for who in cohort)
        assert (shard, members) == (room.index, len(cohort))
        assert len(bitmaps) == 20 * -(-room.opened // WORD)
        chunks = [keccak(bitmaps[i : i + 5120]) for i in range(0, len(bitmaps), 5120)]
        kinds = ["string", "bytes32", "uint16", "uint32", "bytes32[]"]
        values = ["usufruct/shard/1", class_id, shard, members, chunks]
        assert root == keccak(encode(kinds, values))
        return keccak(encode(["bytes32", "bytes32"], [before, root]))

    def _root_before(self, request: Request) -> bytes:
        if request.cohorts:
            return bytes(self.s.market.view("requestOf", self.id_of(request))["root"])
        kinds = ["string", "uint256", "address", "bytes32", "uint16"]
        head = ["usufruct/cohort/1", CHAIN_ID, self.s.market.address, self.id_of(request)]
        return keccak(encode(kinds, [*head, len(request.rooms)]))

    def do_settle(self, a: int, b: int, c: int) -> None:
        """Now and then once more what is settled already."""
        wanted = Stage.SETTLED if c % 4 == 3 else Stage.SEALED
        if (request := self.request_in(a, wanted)) is None:
            return
        if request.stage is Stage.SEALED:
            self.make_ready(request)
        told = self.s.market.view("requestOf", self.id_of(request))
        _, noise = self.s.noises.ask("noiseOf", self.id_of(request))
        result = b"sealed result"
        values = [self.id_of(request), told["root"], 1, told["lane"], 1, word_of("ciphertexts")]
        values += [noise, word_of("result"), keccak(result), told["gate"]]
        signed = self.s.quorum(
            self.s.market, "ResearchMarket", _SETTLEMENT, _SETTLEMENT_TYPES, values
        )
        arguments = (tuple(values), result, signed)
        name = "settle" if told["lane"] == VAULT else "settle on ciphertext"
        self.both(
            name if request.stage is not Stage.SETTLED else f"{name} again",
            lambda: self.model.settle(request),
            self.s.market,
            OPERATOR.address,
            "settle",
            *arguments,
        )

    def make_ready(self, request: Request) -> None:
        """All that a settlement waits for, by its lane."""
        in_vault = self.s.market.view("requestOf", self.id_of(request))["lane"] == VAULT
        (self.open_gate if in_vault else self.fix_noise)(request)

    def commit_noise(self, request: Request) -> None:
        """Custodians 0 and 1 commit: no money moves."""
        id_, noises = self.id_of(request), self.s.noises
        root = self.s.market.view("requestOf", id_)["root"]
        kinds = ["bytes32", "bytes32", "uint32", "uint8", "bytes32"]
        signed = []
        for place, hash_ in enumerate(HASHES):
            said = [id_, root, 1, place, hash_]
            digest = noises.digest("Usufruct NoiseRegistry", _NOISE_COMMITMENT, kinds, said)
            signed.append((place, hash_, CUSTODIANS[place].sign(digest)))
        noises.send(OPERATOR.address, "commitNoise", id_, signed)

    def fix_noise(self, request: Request) -> None:
        """Their set is the one that counts. After the settle deadline there is nothing left to do."""
        id_, noises = self.id_of(request), self.s.noises
        over = self.s.market.view("requestOf", id_)["settleDeadline"] < self.people.now
        if over or noises.ask("noiseOf", id_) != (0, ZERO):
            return
        self.commit_noise(request)
        root = self.s.market.view("requestOf", id_)["root"]
        values = [id_, root, 1, 0b11, noise_hash(self.s.market.address, id_, root)]
        kinds = ["bytes32", "bytes32", "uint32", "uint16", "bytes32"]
        signed = self.s.quorum(noises, "NoiseRegistry", _NOISE_SET, kinds, values)
        noises.send(OPERATOR.address, "fixNoise", id_, 0b11, signed)

    def open_gate(self, request: Request) -> None:
        """Draws the gate and records its key: no money moves."""
        id_ = self.id_of(request)
        if self.s.market.view("requestOf", id_)["gateKey"] != ZERO:
            return
        self.chain.at(self.people.now, self.chain.block + 2)
        self.s.market.send(ADMIN.address, "drawGate", id_)
        root = self.s.market.view("requestOf", id_)["root"]
        values = [id_, root, word_of("gate key")]
        digest = self.s.market.digest("Usufruct ResearchMarket", _GATE_KEY, ["bytes32"] * 3, values)
        arguments = (id_, values[2], GATE.sign(digest))
        self.s.market.send(ADMIN.address, "recordGateKey", *arguments)

    def do_default(self, a: int, b: int, c: int) -> None:
        if (request := self.request_in(a, Stage.SEALED)) is None:
            return
        if c % 3 and request.stage is Stage.SEALED:
            self.at(max(self.people.now, request.terms.settle_deadline + (1, 32)[b % 2]))
        certified = b % 2 == 0
        function = "defaultCertified" if certified else "defaultUncertified"
        self.both(
            function,
            lambda: self.model.default(request, certified=certified),
            self.s.market,
            ADMIN.address,
            function,
            self.id_of(request),
            *([self._certificate(request)] if certified else []),
        )

    def _certificate(self, request: Request) -> list[tuple[int, bytes]]:
        root = self.s.market.view("requestOf", self.id_of(request))["root"]
        values, kinds = [self.id_of(request), root, 1], ["bytes32", "bytes32", "uint32"]
        return self.s.quorum(self.s.market, "ResearchMarket", _CERTIFICATE, kinds, values)

    def do_reclaim(self, a: int, b: int, c: int) -> None:
        if (request := self.request_in(a, Stage.FROZEN)) is None:
            return
        if c % 3 == 0 and request.stage is Stage.FROZEN:
            self.at(max(self.people.now, request.frozen_until + 1))
        self.both(
            "reclaim",
            lambda: self.model.reclaim(request),
            self.s.market,
            ADMIN.address,
            "reclaim",
            self.id_of(request),
        )

    def do_dissolve(self, a: int, b: int, c: int) -> None:
        if (request := self.request_in(a, Stage.FROZEN)) is None:
            return
        self.both(
            "dissolve",
            lambda: self.model.dissolve(request),
            self.s.market,
            ADMIN.address,
            "dissolve",
            self.id_of(request),
        )

    def do_exodus(self, a: int, b: int, c: int) -> None:
        """All but one of those that a frozen request counts take a rest; it may be dissolved."""
        request = self.request_in(a, Stage.FROZEN)
        if request is None or request.stage is not Stage.FROZEN:
            return self.do_progress(a, b, c)
        live = sorted(who for room in request.rooms for who in self.people.live_in(room))
        for who in live[1:]:
            self.rest(who)
        if c % 2:
            self.do_dissolve(a, b, c)
        return None

    def do_withdraw_credit(self, a: int, b: int, c: int) -> None:
        names = ("operator", "researcher 0", "researcher 1")
        credited = [i for i in range(3) if self.model.credits[names[i]]]
        i = credited[a % len(credited)] if credited and c % 4 else a % 3
        name, key = names[i], (OPERATOR, *RESEARCHERS)[i]
        arguments = (key.address,)
        self.both(
            "credit",
            lambda: self.model.withdraw_credit(name),
            self.s.market,
            key.address,
            "withdrawCredit",
            *arguments,
        )

    def do_bond(self, a: int, b: int, c: int) -> None:
        me, posted = OPERATOR.address, self.model.free_bond
        if a % 3:
            amount = (BOND, 10**10)[b % 2]
            self.both(
                "post_bond",
                lambda: self.model.post_bond(amount),
                self.s.market,
                me,
                "postBond",
                amount,
            )
        else:
            amount = (posted // 2, posted // 3, posted, posted + 1)[b % 4]
            self.both(
                "release_bond",
                lambda: self.model.release_bond(amount),
                self.s.market,
                me,
                "releaseBond",
                me,
                amount,
            )


def noise_hash(market: str, request: bytes, root: bytes) -> bytes:
    """Of the set of custodians 0 and 1, as the registry must compute it."""
    head = ["usufruct/noise/1", CHAIN_ID, market, request, root, 1, 0b11]
    return keccak(encode(_NOISE_TYPES, [*head, HASHES]))


def _places(bitmaps: bytes) -> list[int]:
    """The set bits, 160 a word of 20 bytes, bit i of a word being its place i."""
    words = [bitmaps[i : i + 20] for i in range(0, len(bitmaps), 20)]
    return [
        index * WORD + bit
        for index, word in enumerate(words)
        if any(word)
        for bit in range(WORD)
        if int.from_bytes(word, "big") >> bit & 1
    ]
