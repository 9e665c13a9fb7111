"""A market in the eyes of somebody who holds its operator's key: whom to aim at, and how to sign."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from tests.contracts.accounting_requests import HASHES
from tests.contracts.accounting_setting import (
    ADMIN,
    CUSTODIANS,
    HIGHEST_COST,
    OPERATOR,
    PATIENTS,
    WEALTH,
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
    "noises": "NoiseRegistry",
    "market": "ResearchMarket",
    "committee": "CustodianCommittee",
}

Arguments = tuple[Any, ...]
PASSER_BY = Key.number(991)
# Slot 0 asks class 1 at its highest cost, slot 1 asks classes 2 and 3; both can be frozen at once.
OPEN, OPEN_TWO, NOTICE = ("open", 2, 1, 0), ("open", 5, 6, 0), ("pass", 4, 0, 0)
FREEZE, FREEZE_TWO = ("progress", 0, 0, 1), ("progress", 1, 0, 1)
SEAL, SEAL_ALL, A_WHILE = ("seal", 0, 0, 0), ("seal", 0, 0, 3), ("pass", 8, 0, 0)
SEALED: list[Step] = [OPEN_TWO, NOTICE, FREEZE_TWO, SEAL_ALL]
# The second request is in the homomorphic lane; so long after its seal anybody may bring in the noise.
ON_CIPHERTEXT: list[Step] = [OPEN, *SEALED, A_WHILE]
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
    "sealed on ciphertext": ON_CIPHERTEXT,
    "noise committed": ON_CIPHERTEXT,
    "noise fixed": ON_CIPHERTEXT,
}
READY = ("gate ready", "never answered", "noise fixed")


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

    def sign(
        self,
        on: str,
        kind: str,
        values: Arguments,
        by: Key | None = None,
        kinds: Sequence[str] = (),
    ) -> bytes:
        """`kinds`: as they are encoded, where a field is of a dynamic type and given as its hash."""
        encoded = kinds or [field.split(" ")[0] for field in SIGNED[kind].split(",")]
        typed, name = f"{kind}({SIGNED[kind]})", f"Usufruct {_DOMAINS[on]}"
        digest = self.contract(on).digest(name, typed, list(encoded), list(values))
        return (by or self.me).sign(digest)

    @property
    def signers(self) -> list[Key]:
        """Two, which would be a quorum: the custodians if they sign, else the thief."""
        return CUSTODIANS[:2] if self.genuine else [self.me] * 2

    def quorum(
        self, on: str, kind: str, values: Arguments, kinds: Sequence[str] = ()
    ) -> list[tuple[int, bytes]]:
        return [
            (place, self.sign(on, kind, values, signer, kinds))
            for place, signer in enumerate(self.signers)
        ]

    def commitments(self, a: int) -> Arguments:
        """What `commitNoise` takes."""
        root = self.s.market.view("requestOf", self.id(a))["root"]
        said = [(self.id(a), root, 1, place, hash_) for place, hash_ in enumerate(HASHES)]
        signed = [
            (*each[3:], self.sign("noises", "NoiseCommitment", each, signer))
            for each, signer in zip(said, self.signers, strict=True)
        ]
        return self.id(a), signed

    def settlement(self, a: int) -> Arguments:
        told = self.s.market.view("requestOf", self.id(a))
        _, noise = self.s.noises.ask("noiseOf", self.id(a))
        words = (word_of("ciphertexts"), noise, word_of("result"), keccak(RESULT))
        return (self.id(a), told["root"], 1, told["lane"], 1, *words, told["gate"])


def found(setting: Setting, how: str, *, genuine: bool = False) -> Theft:
    """A market as the thief finds it, with a passer-by who has as much money as an operator.

    genuine: custodians sign what they are asked to, as they do where the answer is a true one.
    """
    world = World(setting)
    world.run(FOUND[how])
    for request in world.model.requests:
        if request.stage is Stage.SEALED and how in READY:
            world.make_ready(request)
        elif request.stage is Stage.SEALED and how == "noise committed":
            world.commit_noise(request)
    setting.chain.at(world.people.now, setting.chain.block + 2)
    t = Theft(world, genuine=genuine)
    if how == "gate drawn":
        setting.market.send(PASSER_BY.address, "drawGate", t.id(0))
        world.run([A_WHILE])
    setting.token.send(ADMIN.address, "mint", PASSER_BY.address, 2 * WEALTH)
    setting.token.send(PASSER_BY.address, "approve", setting.market.address, 2**256 - 1)
    setting.market.send(PASSER_BY.address, "postBond", WEALTH)
    return t
