"""Each guard of a gate: what it refuses, by which code; nothing was turned, drawn or kept then."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketplace.analyses import CATALOGUE
from marketplace.analyses.variables import variables_of
from marketplace.gate.opening import Ciphertext
from marketplace.gate.service import Gate
from marketplace.vocabulary import Address, Epoch, address
from marketplace.wire.analysis import parameters_hash
from marketplace.wire.structs import RequestTerms, Settlement
from ml.dp.accounting import NANO
from tests.support.chain_world import DAY, TERMS, account
from tests.support.custody_world import (
    DICTIONARY,
    PARAMETERS,
    CustodyWorld,
    back_up,
    custody_world,
    seats_of,
    served_custodian,
)
from tests.support.daily import daily
from tests.support.lies import After, other_block, other_policy, other_request
from tests.support.modified_client import cell, row_of, seal_bytes
from tests.support.nodes import LyingProxy, any_node, honest
from tests.support.refusals import refused

IN_DOMAIN = 5
OUTSIDE = (59, 261, -1, 0, 999, 10**6, 2**40, 2**62, -(2**62), -(2**63))
"""mm[Hg]; the dictionary's domain is 60 to 260."""
EVERYBODY = {"filters": [{"variable": "smoker", "op": "in", "value": ["no", "yes"]}]}
"""Met by whoever's record opens: of the rows outside their domain, this other variable lies in its own."""
NOISE = 4
"""Discrete Gaussian noise with sigma^2 = 1/2 is further from 0 with a probability of 1.6e-11."""


@dataclass(frozen=True)
class Hosts:
    """A market, its custodians' URLs, and a node that can lie."""

    world: CustodyWorld
    urls: list[str]
    proxy: LyingProxy

    @property
    def operator(self) -> Address:
        return address(self.world.voice.address)

    def gate(self, **changes: Any) -> Gate:
        return self.world.gate(self.urls, **changes)

    def misled(self) -> Gate:
        return self.gate(node_url=self.proxy.url)

    def keyed(self, salt: str, terms: RequestTerms | None = None, **asked: Any) -> bytes:
        """Sealed, and with its gate's key on chain."""
        request = self.world.seal_request(salt, terms or self.mean(salt))
        self.world.record_key(request, self.key(self.gate(), request, **asked))
        return request

    def mean(self, salt: str) -> RequestTerms:
        return replace(self.world.mean_terms(salt), classes=(2,))

    def count(self, salt: str) -> RequestTerms:
        """Of everybody whose record opens, at the highest cost that there is: the least noise."""
        entry = CATALOGUE["count.v1"]
        checked = entry.parse(EVERYBODY, variables_of(self.world.dictionary))
        return replace(
            self.mean(salt),
            release_kind=int(entry.release_kind),
            analysis=entry.analysis_hash(),
            parameters=parameters_hash(entry.canonical(checked)),
            cost=NANO,
            price=1_000,
        )

    def key(
        self, gate: Gate, request: bytes, parameters: Mapping[str, Any] = PARAMETERS
    ) -> dict[str, Any]:
        return gate.key(request, parameters, DICTIONARY)

    def compute(
        self, gate: Gate, request: bytes, parameters: Mapping[str, Any] = PARAMETERS
    ) -> dict[str, Any]:
        records = {
            patient: Ciphertext(sealed.box, sealed.key_commitments)
            for patient, sealed in self.world.records.items()
        }
        return gate.compute(request, self.operator, parameters, DICTIONARY, records)

    def untouched(self, gate: Gate, request: bytes) -> bool:
        """No custodian turned, and this gate kept no answer."""
        turns = [self.world.custodian(place).journal.turn(request) for place in range(3)]
        return turns == [None] * 3 and gate.journal.find(request) is None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("gates")
    with any_node(folder) as node, ExitStack() as stack:
        world = custody_world(node, folder)
        allow_whole_rho(world)
        urls = [stack.enter_context(served_custodian(world.custodian(i))) for i in range(3)]
        names = [f"patient {i}" for i in range(IN_DOMAIN + len(OUTSIDE))]
        patients = [account(name) for name in names]
        for patient, value in zip(patients[:IN_DOMAIN], range(100, 200), strict=False):
            values = {"systolic": Decimal(value), "smoker": "no"}
            world.seal_record(patient.address, values)
        for patient, value in zip(patients[IN_DOMAIN:], OUTSIDE, strict=True):
            seal_outside(world, patient.address, value)
        world.tick()
        world.take_in(urls, patients)
        proxy = LyingProxy(node.url)
        stack.callback(proxy.close)
        yield Hosts(world, urls, proxy)


def allow_whole_rho(world: CustodyWorld) -> None:
    """Patients consent to a class of requests whose noise does not hide what is told apart here."""
    published = world.sender.send(
        "DatasetRegistry", "publishClass", world.dataset, replace(TERMS, max_cost=NANO)
    )
    world.classes = (published.event("ClassPublished").args["class"],)
    world.cap = 100 * NANO


def seal_outside(world: CustodyWorld, patient: str, systolic: int) -> None:
    """Sealed in every way as it should be, by a client that does not look at what it seals."""
    committee = world.chain.committee()
    world.records[patient] = seal_bytes(
        row_of(cell(systolic), cell(1)),
        world.record_context(patient),
        seats_of(committee),
        Epoch(committee.epoch),
        committee.quorum,
    )


@pytest.fixture
def hosts(running: Hosts) -> Iterator[Hosts]:
    yield running
    running.proxy.lie = honest


# --- rows outside their domain


def test_a_row_outside_its_domain_counts_as_null_in_the_answer_and_fails_nothing(
    hosts: Hosts,
) -> None:
    """Counted, the ten of them would move the answer by ten; see NOISE."""
    request = hosts.keyed("outside", hosts.count("outside"), parameters=EVERYBODY)
    answer = hosts.compute(hosts.gate(), request, EVERYBODY)
    assert answer["faults"] == []
    sealed = base64.b64decode(answer["sealed_result"])
    document: Any = hosts.world.open_result(request, sealed).document
    assert document["cohort_size"] == IN_DOMAIN + len(OUTSIDE)
    assert document["noised"]["members"] == IN_DOMAIN + len(OUTSIDE)
    assert abs(int(document["noised"]["estimates"][0]["value"]) - IN_DOMAIN) <= NOISE


# --- requests that have ended


def test_a_settled_request_gets_no_key_and_no_second_answer(hosts: Hosts, tmp_path: Path) -> None:
    """Not even of a gate that forgot the first one."""
    request = hosts.keyed("settled")
    back_up(hosts.world.data("gate"), tmp_path / "gate")
    answer = hosts.compute(hosts.gate(), request)
    settle(hosts, answer)
    forgetful = hosts.gate(data=tmp_path / "gate")
    refused("request_ended", hosts.key, forgetful, request)
    refused("request_ended", hosts.compute, forgetful, request)
    refused("request_ended", forgetful.stage, request, hosts.operator, {})
    assert forgetful.journal.find(request) is None
    assert hosts.compute(hosts.gate(), request) == answer


def settle(hosts: Hosts, answer: Mapping[str, Any]) -> None:
    settlement, sealed = Settlement.from_json(answer["settlement"]), answer["sealed_result"]
    signature = bytes.fromhex(answer["gate_signature"][2:])
    delivered = base64.b64decode(sealed)
    signed = [hosts.world.custodian(i).settle(settlement, delivered, signature) for i in (0, 1)]
    quorum = [(each["place"], bytes.fromhex(each["signature"][2:])) for each in signed]
    hosts.world.sender.send("ResearchMarket", "settle", settlement, delivered, quorum)


def test_no_key_and_no_answer_after_the_settle_deadline_nor_after_the_default(hosts: Hosts) -> None:
    world, gate, request = hosts.world, hosts.gate(), hosts.keyed("late")
    deadline = world.chain.request(request).settle_deadline
    pass_to(world, deadline)
    assert hosts.key(gate, request)["key"]
    pass_to(world, deadline + 1)
    refused("request_ended", hosts.key, gate, request)
    refused("request_ended", hosts.compute, gate, request)
    pass_to(world, deadline + DAY + 1)
    world.sender.send("ResearchMarket", "defaultUncertified", request)
    assert world.chain.request(request).stage.name == "DEFAULTED"
    refused("request_ended", hosts.key, gate, request)
    refused("request_ended", hosts.compute, gate, request)
    assert hosts.untouched(gate, request)


def pass_to(world: CustodyWorld, moment: int) -> None:
    world.chain.node.request("evm_setNextBlockTimestamp", [moment])
    world.chain.node.mine()
    assert world.chain.now() == moment


# --- what a gate looks at itself


def test_no_cohort_under_the_gates_own_floor_or_the_markets_is_opened(hosts: Hosts) -> None:
    request = hosts.keyed("floors")
    members = hosts.world.chain.request(request).members
    strict = hosts.gate(minimum_cohort=members + 1)
    refused("cohort_too_small", hosts.compute, strict, request)
    misled = hosts.misled()
    assert misled.patience.minimum_cohort < members
    hosts.proxy.lie = other_policy(minimum_cohort=members + 1)
    refused("cohort_too_small", hosts.compute, misled, request)
    assert hosts.untouched(misled, request)
    hosts.proxy.lie = other_policy(minimum_cohort=members)
    exact = hosts.gate(node_url=hosts.proxy.url, minimum_cohort=members)
    assert hosts.compute(exact, request)["faults"] == []


def test_no_request_of_another_lane_is_opened(hosts: Hosts) -> None:
    """Today's market takes the vault lane only; a gate does not lean on that."""
    request, gate = hosts.keyed("lane"), hosts.misled()
    hosts.proxy.lie = other_request(lane=2)
    refused("wrong_lane", hosts.key, gate, request)
    refused("wrong_lane", hosts.compute, gate, request)
    assert hosts.untouched(gate, request)


@pytest.mark.parametrize(
    "field", daily(["root", "epoch", "members", "seal_block"], ["root", "seal_block"])
)
def test_nothing_is_opened_for_a_request_that_is_not_of_the_seal_whose_cohort_was_read(
    hosts: Hosts, field: str
) -> None:
    """Another seal took its place between two reads."""
    request, gate = hosts.keyed(f"other {field}"), hosts.misled()
    for act in (hosts.key, hosts.compute):
        lie = other_request(**{field: 7})
        hosts.proxy.lie = After("ConsentRegistry", "patientsAt", lie)
        refused("reorganised", act, gate, request)
    assert hosts.untouched(gate, request)


def test_nothing_is_opened_where_the_seals_block_was_replaced_while_it_was_read(
    hosts: Hosts,
) -> None:
    request, gate = hosts.keyed("replaced"), hosts.misled()
    seal = hosts.world.chain.request(request).seal_block
    hosts.proxy.lie = After("DatasetRegistry", "commitmentsOf", other_block(seal))
    refused("reorganised", hosts.compute, gate, request)
    assert hosts.untouched(gate, request)
