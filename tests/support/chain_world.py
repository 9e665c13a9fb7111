"""A small deployed market: one dataset, two classes, three custodians, patients with consent."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from marketplace.chain.adapter import Chain, Finality, Manifest, MarketPolicy
from marketplace.chain.deploy import CommitteeSeat, DeploySettings, deploy, open_epoch
from marketplace.chain.sender import Sender
from marketplace.chain.transactor import Receipt
from marketplace.wire.class_page import ClassPage
from marketplace.wire.structs import (
    ClassTerms,
    Credential,
    Grant,
    Purpose,
    RecordAttestation,
    RequestTerms,
    StorageReceipt,
    sign,
)
from tests.support.nodes import RunningNode

DAY = 86_400
MAX_COST = 10**6  # nano-rho
CAP = 10**7
POLICY = MarketPolicy(
    minimum_cohort=2,
    notice_window=0,
    freeze_window=3_600,
    turn_window=3_600,
    gate_window=3_600,
    certificate_window=DAY,
    unused_freeze_bps=1_000,
    minimum_bond=1_000,
)
PAGE = ClassPage(
    language="en",
    title="Blood pressure",
    what="Your blood pressure.",
    who="Researchers.",
    why="To learn.",
    how_long="A year.",
    how_protected="Sealed.",
    how_to_stop="Press Stop.",
    pay="A little.",
)
TERMS = ClassTerms(
    permission=2,  # GRU
    disease=0,
    modifiers=0,
    research_types=0,
    countries=(),
    months=0,
    users=(),
    projects=(),
    institutions=(),
    release_kinds=0xFFFFFFFF,
    max_cost=MAX_COST,
    floor_per_record=1,
    floor_per_milli_rho=1,
    terms_hash=PAGE.hash(),
)
PURPOSE = Purpose(
    uses=1 << 6,  # DUO:0000037 biomedical research
    diseases=(),
    commercial=False,
    clinical_care=False,
    months=12,
    project=keccak(text="project"),
    ethics_approval=bytes(32),
    duties=0,
)


def account(name: str) -> LocalAccount:
    return Account.from_key(keccak(text=name))


@dataclass
class World:
    """Everything is signed by accounts made from their names, and sent by one."""

    chain: Chain
    sender: Sender
    dataset: bytes = b""
    classes: tuple[bytes, ...] = ()
    epoch: int = 0
    cap: int = CAP  # nano-rho that each patient grants
    custodians: tuple[LocalAccount, ...] = field(
        default_factory=lambda: tuple(account(f"custodian {i}") for i in range(3))
    )
    issuer: LocalAccount = field(default_factory=lambda: account("issuer"))

    @property
    def manifest(self) -> Manifest:
        return self.chain.manifest

    def tick(self) -> None:
        """Passes the second in which a shard was sealed: in it, the shard is still frozen."""
        self.chain.node.request("evm_increaseTime", [2])
        self.chain.node.mine()

    def later(self, seconds: int = DAY) -> int:
        return self.chain.now() + seconds

    def set_up(self) -> None:
        me = self.sender.address
        seats = [CommitteeSeat(each.address, keccak(text=each.address)) for each in self.custodians]
        self.epoch = open_epoch(self.sender, seats, 2, [account("gate").address])
        sent = self.sender.send(
            "DatasetRegistry", "publishDataset", keccak(text="dictionary"), bytes(32), "file:///d"
        )
        self.dataset = sent.event("DatasetPublished").args["dataset"]
        self.classes = tuple(
            self.sender.send("DatasetRegistry", "publishClass", self.dataset, terms)
            .event("ClassPublished")
            .args["class"]
            for terms in (TERMS, replace(TERMS, floor_per_record=2))
        )
        self.sender.send("DatasetRegistry", "addIssuer", self.dataset, self.issuer.address)
        self.sender.send("ResearcherRegistry", "give", me, self.credential())
        self.sender.send("TestEuro", "mint", me, 10**12)
        self.sender.send("TestEuro", "approve", self.manifest.market, 10**12)
        self.sender.send("ResearchMarket", "postBond", 10**9)

    def credential(self) -> Credential:
        mark = keccak(text="credential")
        return Credential(1, b"DE", self.later(365 * DAY), False, mark, mark, mark)

    def enrol(self, names: Sequence[str], class_: int = 0) -> list[LocalAccount]:
        """Attested, stored and granted, in three batches; live unless a cohort is being counted."""
        self.tick()
        patients = [account(name) for name in names]
        self._batch("DatasetRegistry", [self.attestation(each) for each in patients])
        self._batch("DatasetRegistry", [self.storage(each) for each in patients])
        self._batch("ConsentRegistry", [self.grant(each, class_) for each in patients])
        return patients

    def _batch(self, contract: str, calls: Sequence[tuple[str, list[object]]]) -> None:
        outcome = self.sender.batch(contract, calls)
        assert not outcome.refused, outcome.refused

    def attestation(self, patient: LocalAccount) -> tuple[str, list[object]]:
        attested = RecordAttestation(
            self.dataset,
            patient.address,
            keccak(text="person" + patient.address),
            commitment_of(patient),
            1,
            self.issuer.address,
            self.later(),
        )
        signature = sign(attested, self.chain.domain("DatasetRegistry"), self.issuer)
        return "registerRecord", [attested, signature]

    def storage(self, patient: LocalAccount) -> tuple[str, list[object]]:
        stored = StorageReceipt(
            self.dataset, patient.address, commitment_of(patient), 1, self.epoch
        )
        domain = self.chain.domain("DatasetRegistry")
        quorum = [(place, sign(stored, domain, self.custodians[place])) for place in (0, 2)]
        return "confirmStorage", [stored, quorum]

    def grant(
        self, patient: LocalAccount, class_: int = 0, sequence: int = 1
    ) -> tuple[str, list[object]]:
        terms = self.chain.class_terms(self.classes[class_])
        granted = Grant(
            patient.address,
            self.dataset,
            self.classes[class_],
            terms.definition_hash(self.classes[class_]),
            self.cap,
            self.later(365 * DAY),
            sequence,
            self.later(),
        )
        signature = sign(granted, self.chain.domain("ConsentRegistry"), patient)
        return "grantBySig", [granted, patient.address, signature]

    def terms(
        self, salt: str, classes: tuple[int, ...] = (1,), cost: int = MAX_COST
    ) -> RequestTerms:
        return RequestTerms(
            dataset=self.dataset,
            classes=classes,
            lane=1,
            release_kind=1,
            analysis=keccak(text="mean.v1"),
            parameters=keccak(text="parameters"),
            purpose=PURPOSE,
            cost=cost,
            price=5,
            fee=100,
            max_patients=1_000,
            seal_deadline=self.later(DAY),
            settle_deadline=self.later(2 * DAY),
            delivery_key=keccak(text="delivery"),
            salt=keccak(text=salt),
        )

    def offered(self, terms: RequestTerms) -> list[ClassTerms]:
        return [self.chain.class_terms(each) for each in terms.class_ids()]

    def open(self, terms: RequestTerms) -> bytes:
        self.sender.send("ResearchMarket", "open", terms, self.offered(terms))
        return terms.request_id(self.chain.chain_id, self.chain.market, self.sender.address)

    def freeze(self, terms: RequestTerms) -> Receipt:
        self.tick()
        offered = self.offered(terms)
        return self.sender.send("ResearchMarket", "freeze", self.sender.address, terms, offered)

    def sealed(self, salt: str, classes: tuple[int, ...] = (1,)) -> bytes:
        """Opens, freezes and seals, a transaction for every shard. Returns the request's id."""
        terms = self.terms(salt, classes)
        request = self.open(terms)
        self.freeze(terms)
        for _ in self.chain.request_shards(request):
            self.sender.send("ResearchMarket", "seal", request)
        return request


def commitment_of(patient: LocalAccount) -> bytes:
    return keccak(text="commitment" + patient.address)


def world_on(node: RunningNode, *, finality: Finality | None = None) -> World:
    me = Account.from_key(node.funded_key).address
    settings = DeploySettings(
        policy=POLICY,
        minimum_horizon=DAY,
        thaw_gap=0,
        operators=[me],
        pausers=[me],
        stewards=[me],
        authorities=[me],
        admins=[me],
        minters=[me],
    )
    manifest = deploy(node.url, node.funded_key, settings)
    chain = Chain(node.url, manifest, finality=finality)
    world = World(chain, Sender(chain, node.funded_key))
    world.set_up()
    return world
