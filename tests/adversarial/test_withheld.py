"""An operator that leaves out the ciphertext of a member who moved to another address since the seal."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from marketplace.chain import artifacts
from marketplace.errors import Refusal
from marketplace.wire.structs import Rotation, sign
from tests.support.chain_world import account
from tests.support.custody_world import (
    CustodyWorld,
    custody_world,
    served_custodian,
    served_gate,
)
from tests.support.lies import no_logs
from tests.support.nodes import LyingProxy, any_node, honest

VALUES: list[dict[str, Any]] = [{"systolic": Decimal(100 + i), "smoker": "no"} for i in range(4)]
MOVED = artifacts.load("DatasetRegistry").events["RecordMoved"].topic.hex()


@dataclass
class Hosts:
    """A market, its custodians, and a gate whose node can lie. `patients` by name of today."""

    world: CustodyWorld
    urls: list[str]
    gate: str
    proxy: LyingProxy
    patients: list[LocalAccount]

    def rotate(self, old: LocalAccount, name: str) -> LocalAccount:
        world, new = self.world, account(name)
        domain = world.chain.domain("ConsentRegistry")
        message = Rotation(world.dataset, old.address, new.address, world.later())
        world.tick()
        signatures = (sign(message, domain, old), sign(message, domain, new))
        world.sender.send("ConsentRegistry", "rotate", message, *signatures)
        return new

    def settle_in(self, old: LocalAccount, new: LocalAccount) -> None:
        """The next seal finds this patient at the new address."""
        self.world.records[new.address] = self.world.records.pop(old.address)

    def compute(self, request: bytes, without: LocalAccount | None) -> dict[str, Any]:
        """As the operator asks it, of whom the seal found, perhaps but for one."""
        left_out = without.address if without is not None else ""
        members = [each for each in self.members if each != left_out]
        body = self.world.computation_body(request, members)
        return self.world.ask_gate(self.gate, "/computations", body)

    @property
    def members(self) -> list[str]:
        return list(self.world.records)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("withheld")
    with any_node(folder) as node, ExitStack() as stack:
        world = custody_world(node, folder)
        urls = [stack.enter_context(served_custodian(world.custodian(i))) for i in range(3)]
        names = [f"patient {i}" for i in range(len(VALUES))]
        patients = world.enrol_sealed(urls, names, VALUES)
        proxy = LyingProxy(node.url)
        stack.callback(proxy.close)
        gate = stack.enter_context(served_gate(world.gate(urls, node_url=proxy.url)))
        yield Hosts(world, urls, gate, proxy, patients)


@pytest.fixture
def hosts(running: Hosts) -> Iterator[Hosts]:
    yield running
    running.proxy.lie = honest


def withheld(hosts: Hosts, request: bytes, patient: LocalAccount) -> None:
    """Refused, naming whom the seal found, and no custodian was asked to turn."""
    with pytest.raises(Refusal) as caught:
        hosts.compute(request, without=patient)
    assert caught.value.code == "ciphertext_withheld", caught.value
    assert f"1 of {len(hosts.members)}" in caught.value.message
    turns = [hosts.world.custodian(place).journal.turn(request) for place in range(3)]
    assert turns == [None] * 3


def test_a_member_who_moved_since_the_seal_is_not_left_out_however_often_they_moved(
    hosts: Hosts,
) -> None:
    patient = hosts.patients[0]
    request = hosts.world.keyed_request("moved", hosts.gate)
    elsewhere = hosts.rotate(patient, "elsewhere")
    withheld(hosts, request, patient)
    further_on = hosts.rotate(elsewhere, "further on")
    withheld(hosts, request, patient)
    assert hosts.compute(request, without=None)["faults"] == []
    hosts.settle_in(patient, further_on)


def test_a_node_that_keeps_the_move_to_itself_helps_to_leave_nobody_out(hosts: Hosts) -> None:
    patient = hosts.patients[1]
    request = hosts.world.keyed_request("hidden", hosts.gate)
    elsewhere = hosts.rotate(patient, "not seen")
    hidden = NoMoves()
    hosts.proxy.lie = hidden
    withheld(hosts, request, patient)
    assert hidden.hid
    hosts.proxy.lie = honest
    assert hosts.compute(request, without=None)["faults"] == []
    hosts.settle_in(patient, elsewhere)


@dataclass
class NoMoves:
    """Every log is given but those of records that moved; `hid`: there were some."""

    hid: bool = False

    def __call__(self, method: str, parameters: list[Any], result: Any) -> Any:
        if method != "eth_getLogs" or not result or not self._moves(parameters):
            return result
        self.hid = True
        return no_logs(method, parameters, result)

    @staticmethod
    def _moves(parameters: list[Any]) -> bool:
        return MOVED in str(parameters[0]["topics"][0])


@pytest.mark.long
def test_moves_in_a_circle_end_and_are_refused(hosts: Hosts) -> None:
    patient = hosts.patients[3]
    request = hosts.world.keyed_request("circle", hosts.gate)
    elsewhere = hosts.rotate(patient, "round the corner")
    hosts.proxy.lie = _and_back
    with pytest.raises(Refusal) as caught:
        hosts.compute(request, without=patient)
    assert caught.value.code == "forged_logs", caught.value
    hosts.proxy.lie = honest
    withheld(hosts, request, patient)
    hosts.settle_in(patient, elsewhere)


def _and_back(method: str, parameters: list[Any], result: Any) -> Any:
    """Whoever moved is said to have come back."""
    if method != "eth_getLogs" or MOVED not in str(parameters[0]["topics"][0]):
        return result
    moves = [log for log in result if log["topics"][0] == "0x" + MOVED]
    return result + [log | {"topics": [*log["topics"][:2], *log["topics"][:1:-1]]} for log in moves]


def test_who_moved_and_then_erased_the_record_is_null(hosts: Hosts) -> None:
    patient = hosts.patients[2]
    request = hosts.world.keyed_request("erased", hosts.gate)
    elsewhere = hosts.rotate(patient, "gone")
    withheld(hosts, request, patient)
    hosts.world.erase(elsewhere)
    assert hosts.compute(request, without=patient)["faults"] == []
