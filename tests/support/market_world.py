"""A whole local market for tests: real processes on free ports, a dataset, patients who consent."""

import base64
import contextlib
import itertools
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from eth_utils.crypto import keccak

from marketplace.api import create_app
from marketplace.chain.adapter import Chain, MarketPolicy
from marketplace.client import Answer, Ask, Marketplace
from marketplace.client import steward as stewarding
from marketplace.config import load_config
from marketplace.demo import class_page, class_terms, purpose, researcher_credential
from marketplace.errors import Refusal
from marketplace.fhir.demo import demo_dictionary, tallied_dictionary
from marketplace.local import CUSTODIANS, EUR, POLICY, ForeignNode, Local, Ports, await_health
from marketplace.operator import Operator, Worker, build_operator
from marketplace.pipeline import STEPS
from marketplace.sealing.row import Value
from marketplace.stages import NEXT, Stage
from marketplace.vocabulary import Lane
from marketplace.wire import hpke, keyfiles
from marketplace.wire.terms import RequestTerms, class_id
from tests.support.ports import free_run

PATIENTS = 24
COST = 1_000_000  # nano-rho of one request
CAP = 5_000_000_000
MEAN: Mapping[str, Any] = {"variable": "systolic", "clip": ["80", "200"]}
YEAR = 365 * 86_400


def free_ports() -> Ports:
    """Ports that were free a moment ago: one for chain and operator, three in a row for each kind."""
    return Ports(free_run(1), free_run(1), free_run(CUSTODIANS), free_run(CUSTODIANS))


@dataclass(frozen=True)
class Patient:
    key: bytes = field(repr=False)
    address: str


@dataclass(frozen=True)
class Books:
    """What the chain keeps of one shard and its market, at one moment."""

    spent: int
    earned: int
    earnings: int
    escrows: int
    locked_bonds: int
    operator_credit: int
    researcher_credit: int
    operator_bond: int
    held: int
    owed: int


@dataclass
class World:
    """One running market with a dataset of consenting patients, and a researcher who asks."""

    local: Local
    patients: list[Patient] = field(default_factory=list)
    dataset: bytes = b""
    lane: Lane = Lane.VAULT
    """In which it asks; the dataset is encoded where that is not the vault lane."""

    @cached_property
    def market(self) -> Marketplace:
        return Marketplace(self.local.url, self.local.node_url)

    @property
    def chain(self) -> Chain:
        return self.market.chain

    @cached_property
    def ask(self) -> Ask:
        return Ask(self.market, self.local.key("researcher"), hpke.generate())

    @property
    def class_(self) -> bytes:
        return class_id(self.dataset, 1)

    # --- a dataset, its patients, their consent

    def publish(self) -> None:
        chain, local = self.chain, self.local
        dictionary = demo_dictionary() if self.lane is Lane.VAULT else tallied_dictionary()
        steward = local.key("steward")
        self.dataset = stewarding.publish_dataset(chain, steward, dictionary, bytes(32))
        terms = replace(class_terms(), floor_per_record=EUR // 100, floor_per_milli_rho=1)
        stewarding.publish_class(chain, steward, self.dataset, terms)
        stewarding.add_issuer(chain, steward, self.dataset, local.account("issuer"))
        stewarding.hand_over_dictionary(self.market.api, dictionary)
        stewarding.hand_over_page(self.market.api, class_page())
        credential = researcher_credential(chain.now())
        researcher = local.account("researcher")
        stewarding.give_credential(chain, local.key("authority"), researcher, credential)
        for role in ("operator", "researcher"):
            stewarding.mint(chain, local.key("deployer"), local.account(role), 100_000 * EUR)
        stewarding.post_bond(chain, local.key("operator"), 10_000 * EUR)

    def add_patients(self, count: int) -> list[Patient]:
        """Sealed, attested and stored at the custodians; not yet consenting."""
        sealer, issuer = self.market.sealer(self.dataset), self.local.key("issuer")
        new = [_patient() for _ in range(count)]
        entries = []
        for patient in new:
            values: dict[str, Value] = {"systolic": Decimal(random.randrange(90, 180))}
            record = sealer(patient.address, values, 1)
            entries.append(self.market.attest(record, keccak(patient.address.encode()), issuer))
        outcomes = self.market.upload(entries)
        assert all(each["outcome"] == "stored" for each in outcomes), outcomes
        self.patients += new
        return new

    def grant(self, patients: Sequence[Patient]) -> None:
        class_ = self.market.dataset(self.dataset).classes[0].named
        expiry = self.chain.now() + YEAR
        messages = []
        for each in patients:
            sequence = self.market.consent(self.dataset, each.address)["sequence"] + 1
            messages.append(self.market.grant_message(each.key, class_, CAP, expiry, sequence))
        self.relay(messages)

    def revoke(self, patients: Sequence[Patient]) -> None:
        messages = []
        for each in patients:
            sequence = self.market.consent(self.dataset, each.address)["sequence"]
            messages.append(self.market.revocation_message(each.key, self.dataset, sequence))
        self.relay(messages)

    def relay(self, messages: Sequence[Mapping[str, Any]]) -> None:
        outcomes = self.market.relay(messages)
        assert not stewarding.refusals(outcomes), outcomes

    def state_of(self, patient: Patient) -> str:
        return str(self.market.consent(self.dataset, patient.address)["state"])

    def live(self) -> int:
        return sum(shard.live for shard in self.chain.shards(self.class_))

    # --- asking

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Of a mean: sums cannot be clipped."""
        return MEAN if self.lane is Lane.VAULT else {"variable": "systolic"}

    def terms(self, **changed: Any) -> RequestTerms:
        """Terms for a mean; `changed` replaces fields of the quoted ones."""
        asked = (self.dataset, [1], "mean.v1", self.parameters)
        quote = self.ask.quote(*asked, cost=COST, lane=self.lane)
        return replace(self.ask.terms(self.dataset, [1], quote, purpose()), **changed)

    def submit(self, **changed: Any) -> tuple[str, RequestTerms]:
        """Handed in, not yet paid."""
        terms = self.terms(**changed)
        return self.ask.submit(terms, self.parameters), terms

    def open(self, **changed: Any) -> str:
        """Handed in and paid."""
        request, terms = self.submit(**changed)
        assert self.ask.open(terms) == request
        return request

    def answer(self, request: str) -> Answer:
        """Opened, and proved against the hash on chain."""
        return self.ask.answer(request)

    # --- looking

    def books(self) -> Books:
        chain = self.chain
        shard, owed = chain.shard(self.class_, 0), chain.liabilities()
        operator = self.local.account("operator")
        return Books(
            spent=shard.spent,
            earned=shard.earned,
            earnings=owed.earnings,
            escrows=owed.escrows,
            locked_bonds=owed.locked_bonds,
            operator_credit=chain.credit_of(operator),
            researcher_credit=chain.credit_of(self.local.account("researcher")),
            operator_bond=chain.bond_of(operator),
            held=chain.balance_of(chain.market),
            owed=owed.total,
        )

    def settlements(self, request: str) -> int:
        """How many RequestSettled events the chain has of this request."""
        names, topic = ["RequestSettled"], bytes.fromhex(request[2:])
        first = self.chain.manifest.deployed_block
        events = self.chain.events(first, contracts=["ResearchMarket"], names=names, topics=[topic])
        return len(list(events))

    def gate_number(self, request: str) -> int | None:
        """Which gate was drawn, once one is."""
        drawn = self.chain.request(bytes.fromhex(request[2:])).gate
        config = load_config(self.local.config_path)
        addresses = [gate.address.lower() for gate in config.gates]
        return addresses.index(drawn.lower()) if drawn.lower() in addresses else None

    def require_settled_once(self, request: str, before: Books, members: int) -> None:
        """One noise, one debit, one payment; and the answer opens to what the chain has."""
        after, view = self.books(), self.chain.request(bytes.fromhex(request[2:]))
        assert self.settlements(request) == 1
        assert view.members == members
        assert after.spent - before.spent == view.cost == COST
        assert after.earned - before.earned == view.price
        assert after.earnings - before.earnings == members * view.price
        assert after.operator_credit - before.operator_credit == view.fee
        rest = (view.max_patients - members) * view.price
        assert after.researcher_credit - before.researcher_credit == rest
        assert (after.escrows, after.locked_bonds) == (before.escrows, before.locked_bonds)
        assert after.operator_bond == before.operator_bond
        assert after.held == after.owed
        assert self.answer(request).result["cohort_size"] == members
        assert len(self.drawn_noise(request)) == 1

    def drawn_noise(self, request: str) -> list[bytes]:
        """Sealed results in the gates' journals: one for every time that noise was drawn and kept. In the
        homomorphic lane, whose noise the chain fixes once, the one that it delivered.
        """
        if self.lane is Lane.HOMOMORPHIC:
            receipt = self.market.api.get(f"/api/v1/requests/{request}/receipt")
            return [base64.b64decode(receipt["sealed_result"])]
        found: list[bytes] = []
        for number in range(CUSTODIANS):
            journal = self.local.folder / f"gate-{number}" / "gate.sqlite"
            query = "SELECT sealed_result FROM computations WHERE request = ?"
            found += [row[0] for row in read_sqlite(journal, query, bytes.fromhex(request[2:]))]
        return found

    # --- an operator in this process, whose steps a test takes one by one

    @contextmanager
    def operator_here(self) -> Iterator[Operator]:
        """The operator as an object; its API answers in this process, and no worker runs."""
        operator = build_operator(load_config(self.local.config_path))
        here = Marketplace(self.local.url, self.local.node_url)
        app = create_app(operator, Worker(operator))
        here.api.transport = httpx.WSGITransport(app=app)
        served, self.__dict__["market"] = self.market, here
        self.__dict__.pop("ask", None)
        try:
            yield operator
        finally:
            self.__dict__["market"] = served
            self.__dict__.pop("ask", None)
            operator.database.engine.dispose()

    def close(self) -> None:
        self.local.stop()


@contextmanager
def running_market(
    folder: Path,
    *,
    policy: MarketPolicy = POLICY,
    node: ForeignNode | None = None,
    chain_options: tuple[str, ...] = (),
    operator_options: Mapping[str, Any] | None = None,
    patients: int = PATIENTS,
    lane: Lane = Lane.VAULT,
) -> Iterator[World]:
    """A started market whose patients' consents are live."""
    options = {"poll_interval": 0.1, **(operator_options or {})}
    local = Local(folder, free_ports(), policy, node, chain_options, options)
    world = World(local, lane=lane)
    try:
        local.start()
        await_health([local.url])
        world.publish()
        world.grant(world.add_patients(patients))
        assert world.live() == patients
        yield world
    finally:
        world.close()


def advance_until(operator: Operator, request: str, wanted: Stage, seconds: float = 60.0) -> None:
    """Advances, again and again, until the request is there."""
    until = time.monotonic() + seconds
    while operator.pipeline.advance(request) is not wanted:
        assert time.monotonic() < until, operator.database.request(request).stage
        time.sleep(0.1)


def step(operator: Operator, request: str) -> None:
    """Takes one step of the table, and only one."""
    STEPS[Stage(operator.database.request(request).stage)](operator.pipeline, request)


def step_to(operator: Operator, request: str, wanted: Stage, seconds: float = 60.0) -> None:
    """Takes single steps until the request stands exactly at `wanted`."""
    until = time.monotonic() + seconds
    while operator.database.request(request).stage != wanted:
        assert time.monotonic() < until, operator.database.request(request).stage
        try:
            step(operator, request)
        except Refusal:
            time.sleep(0.1)


def code_of(act: Callable[[], object]) -> str | None:
    """The code it was refused with, if it was."""
    try:
        act()
    except Refusal as refusal:
        return refusal.code
    return None


def require_linear(stages: Sequence[tuple[str | None, str]]) -> None:
    """A stage log that starts at submitted, leaves no gap, and goes only where NEXT leads."""
    assert stages[0] == (None, Stage.SUBMITTED)
    for (_, reached), (before, after) in itertools.pairwise(stages):
        assert before == reached
        assert Stage(after) in NEXT[Stage(before)]
    assert len({after for _, after in stages}) == len(stages)


def read_sqlite(path: Path, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """Rows, read beside the process that owns the file."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return list(connection.execute(query, arguments))


def _patient() -> Patient:
    key = keyfiles.new_signing_key()
    return Patient(key, keyfiles.Signer.of(key).address)
