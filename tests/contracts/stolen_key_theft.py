"""A market in the eyes of somebody who holds its operator's key: whom to aim at, and how to sign."""

from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from tests.contracts.accounting_setting import (
    ADMIN,
    CUSTODIANS,
    GATE,
    HIGHEST_COST,
    OPERATOR,
    PATIENTS,
    WEALTH,
    ZERO,
    Setting,
    word_of,
)
from tests.contracts.accounting_world import Step, World
from tests.contracts.market_terms import SIGNED
from tests.contracts.pyrevm_chain import Contract, Key
from tests.model.market import Request, Stage

RESULT = b"sealed result"
_DOMAINS = {
    "datasets": "DatasetRegistry",
    "consents": "ConsentRegistry",
    "market": "ResearchMarket",
}

Arguments = tuple[Any, ...]
PASSER_BY = Key.number(991)
# Slot 0 asks class 1 at its highest cost, slot 1 asks classes 2 and 3; both can be frozen at once.
OPEN, OPEN_TWO, NOTICE = ("open", 2, 1, 0), ("open", 5, 6, 0), ("pass", 4, 0, 0)
FREEZE, FREEZE_TWO = ("progress", 0, 0, 1), ("progress", 1, 0, 1)
SEAL, SEAL_ALL, A_WHILE = ("seal", 0, 0, 0), ("seal", 0, 0, 3), ("pass", 8, 0, 0)
SEALED: list[Step] = [OPEN_TWO, NOTICE, FREEZE_TWO, SEAL_ALL]
FOUND: dict[str, list[Step]] = {
    "opened": [OPEN, OPEN_TWO, NOTICE],
    "frozen": [OPEN, OPEN_TWO, NOTICE, FREEZE, ("rest", 5, 0, 0)],
    "half sealed": [OPEN_TWO, NOTICE, FREEZE_TWO, SEAL, OPEN],
    "sealed": [*SEALED, OPEN, NOTICE, ("suspend", 1, 0, 0)],
    "gate drawn": SEALED,
    "gate ready": [*SEALED, OPEN, NOTICE],
    "a freeze lapsed": [OPEN, FREEZE, ("grant", 11, 0, 25), A_WHILE],
    "nobody left": [OPEN, FREEZE, ("exodus", 0, 0, 0)],
    "never answered": [*SEALED, *[A_WHILE] * 5],
}
GATE_READY = ("gate ready", "never answered")


@dataclass
class Theft:
    """What the thief knows. `genuine` says whether custodians' own signatures are at hand as well."""

    world: World
    me: Key = OPERATOR
    genuine: bool = False

    @property
    def s(self) -> Setting:
        return self.world.s

    @property
    def dataset(self) -> bytes:
        return self.s.dataset

    @property
    def soon(self) -> int:
        return self.s.chain.now + 1_000

    def contract(self, name: str) -> Contract:
        found = getattr(self.s, name)
        assert isinstance(found, Contract)
        return found

    def victim(self, a: int) -> str:
        return self.world.address(self.world.owner[a % PATIENTS])

    def class_id(self, a: int) -> bytes:
        return self.s.class_id(a % len(HIGHEST_COST) + 1)

    def request(self, a: int) -> Request:
        """One that was opened; the latest first."""
        requests = self.world.model.requests
        return requests[-1 - a % len(requests)]

    def id(self, a: int) -> bytes:
        return self.world.id_of(self.request(a))

    def asked(self, a: int) -> Arguments:
        """A request's terms and class terms, as they were opened."""
        request = self.request(a)
        order = self.world.model.requests.index(request)
        said = self.s.request_terms(dict(vars(request.terms)), order)
        return said, [self.s.class_terms(class_) for class_ in request.terms.classes]

    def words(self, a: int) -> list[int]:
        """All words of a class in which anybody sits."""
        return self.world.words_of(self.world.people.rooms[a % len(HIGHEST_COST) + 1][0])

    def sequence(self, a: int) -> int:
        return int(self.s.consents.view("consentOf", self.dataset, self.victim(a))["sequence"])

    def grant(self, a: int, b: int) -> Arguments:
        class_id = self.class_id(b)
        (definition,) = self.s.datasets.ask("definitionOf", class_id)
        cap, expiry = 2**48 - 1, self.s.chain.now + 10_000
        sequence = self.sequence(a) + 1
        return (
            self.victim(a),
            self.dataset,
            class_id,
            definition,
            cap,
            expiry,
            sequence,
            self.soon,
        )

    def record(self, a: int) -> dict[str, Any]:
        return self.s.datasets.view("recordOf", self.dataset, self.victim(a))

    def sign(self, on: str, kind: str, values: Arguments, by: Key | None = None) -> bytes:
        kinds = [field.split(" ")[0] for field in SIGNED[kind].split(",")]
        typed = f"{kind}({SIGNED[kind]})"
        digest = self.contract(on).digest(f"Usufruct {_DOMAINS[on]}", typed, kinds, list(values))
        return (by or self.me).sign(digest)

    def quorum(self, on: str, kind: str, values: Arguments) -> list[tuple[int, bytes]]:
        """Two signatures, which would be a quorum: the custodians' if they sign, else the thief's."""
        signers = CUSTODIANS if self.genuine else [self.me] * 2
        return [(place, self.sign(on, kind, values, signers[place])) for place in (0, 1)]

    def settlement(self, a: int) -> Arguments:
        root = self.s.market.view("requestOf", self.id(a))["root"]
        words = (word_of("ciphertexts"), ZERO, word_of("result"), keccak(RESULT))
        return (self.id(a), root, 1, 1, 1, *words, GATE.address)


def found(setting: Setting, how: str, *, genuine: bool = False) -> Theft:
    """A market as the thief finds it, with a passer-by who has as much money as an operator.

    genuine: custodians sign what they are asked to, as they do where the gate's answer is a true one.
    """
    world = World(setting)
    world.run(FOUND[how])
    for request in world.model.requests:
        if request.stage is Stage.SEALED and how in GATE_READY:
            world.open_gate(request)
    setting.chain.at(world.people.now, setting.chain.block + 2)
    t = Theft(world, genuine=genuine)
    if how == "gate drawn":
        setting.market.send(PASSER_BY.address, "drawGate", t.id(0))
        world.run([A_WHILE])
    setting.token.send(ADMIN.address, "mint", PASSER_BY.address, 2 * WEALTH)
    setting.token.send(PASSER_BY.address, "approve", setting.market.address, 2**256 - 1)
    setting.market.send(PASSER_BY.address, "postBond", WEALTH)
    return t
