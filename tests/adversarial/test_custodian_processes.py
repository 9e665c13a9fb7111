"""Three custodians, each a process with its own keys, journal and node URL; one of the nodes lies, or two."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketplace.chain.adapter import RequestStage
from marketplace.custodian.journal import Journal
from marketplace.errors import Refusal
from marketplace.vocabulary import CustodianIndex, RequestId
from marketplace.wire import hpke
from marketplace.wire.http import to_hex
from marketplace.wire.http_client import post
from marketplace.wire.structs import Settlement
from marketplace.wire.turn import TurnContext, open_turn
from tests.support.custody_world import (
    PLACES,
    QUORUM,
    CustodyWorld,
    Process,
    custody_world,
    served_gate,
)
from tests.support.daily import daily_rows
from tests.support.lies import NODE_LIES, other_request
from tests.support.nodes import Lie, LyingProxy, any_node, honest

VALUES: list[dict[str, Any]] = [{"systolic": Decimal(100 + i), "smoker": "no"} for i in range(3)]
NAMES = [f"patient {i}" for i in range(len(VALUES))]


@dataclass(frozen=True)
class Hosts:
    """The processes by place, and the node that each of them asks, alone."""

    world: CustodyWorld
    nodes: list[LyingProxy]
    custodians: list[Process]

    def ask(self, place: int, request: bytes) -> dict[str, Any]:
        return post(self.custodians[place].url, "/turns", {"request": to_hex(request)}, timeout=120)

    def keyed(self, salt: str) -> bytes:
        with served_gate(self.world.gate([])) as url:
            return self.world.keyed_request(salt, url)

    def compute(self, request: bytes) -> dict[str, Any]:
        body = self.world.computation_body(request, list(self.world.records))
        urls = [custodian.url for custodian in self.custodians]
        with served_gate(self.world.gate(urls)) as gate:
            return self.world.ask_gate(gate, "/computations", body)

    def settle(self, answer: Mapping[str, Any]) -> None:
        """With the signatures of those that turned."""
        body = {name: answer[name] for name in ("settlement", "sealed_result", "gate_signature")}
        places = [turn["place"] for turn in answer["turns"]]
        signed = [
            post(self.custodians[place].url, "/settlements", body, timeout=120) for place in places
        ]
        settlement = Settlement.from_json(answer["settlement"])
        quorum = [(each["place"], bytes.fromhex(each["signature"][2:])) for each in signed]
        sealed = base64.b64decode(answer["sealed_result"])
        self.world.sender.send("ResearchMarket", "settle", settlement, sealed, quorum)

    def turned(self, request: bytes) -> list[int]:
        """Places whose own journals have a turn."""
        return [place for place in range(PLACES) if self.journal(place).turn(request) is not None]

    def journal(self, place: int) -> Journal:
        return Journal.open(self.world.data(f"custodian{place}"))

    @contextmanager
    def lying(self, lies: Mapping[int, Lie]) -> Iterator[None]:
        """The nodes of these places lie meanwhile."""
        for place, lie in lies.items():
            self.nodes[place].lie = lie
        try:
            yield
        finally:
            for node in self.nodes:
                node.lie = honest


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("processes")
    with any_node(folder) as node, ExitStack() as stack:
        made = Hosts(custody_world(node, folder), [], [])
        for place in range(PLACES):
            own = LyingProxy(node.url)
            stack.callback(own.close)
            made.nodes.append(own)
            made.custodians.append(custodian(made.world, folder, place, own))
            stack.callback(made.custodians[place].stop)
        made.world.enrol_sealed([process.url for process in made.custodians], NAMES, VALUES)
        yield made


def custodian(world: CustodyWorld, folder: Path, place: int, node: LyingProxy) -> Process:
    """It asks its node only when it is asked itself, so that a test knows why."""
    config = world.custodian_config(place, node_url=node.url, watch_interval=3_600.0)
    return Process("custodian", config, folder)


def test_each_custodian_has_keys_a_journal_and_a_node_of_its_own(hosts: Hosts) -> None:
    """And asks no node but its own."""
    request = hosts.keyed("own nodes")
    assert len({process.process.pid for process in hosts.custodians}) == PLACES
    committee = hosts.world.chain.committee()
    assert len({member.signer for member in committee.members}) == PLACES
    for place in range(PLACES):
        for node in hosts.nodes:
            node.methods.clear()
        assert hosts.ask(place, request)["place"] == place
        assert hosts.turned(request) == list(range(place + 1))
        asked = ["eth_call" in node.methods for node in hosts.nodes]
        assert asked == [other == place for other in range(PLACES)]


@pytest.mark.parametrize(
    ("liar", "name"), daily_rows([(0, "forged logs"), (1, "no logs"), (2, "stale")], [0])
)
def test_one_whose_node_lies_refuses_and_the_two_others_release_and_settle(
    hosts: Hosts, liar: int, name: str
) -> None:
    lie, codes = NODE_LIES[name]
    others = [place for place in range(PLACES) if place != liar]
    request = hosts.keyed(f"one lies: {name}")
    with hosts.lying({liar: lie}):
        answer = hosts.compute(request)
        assert [fault["place"] for fault in answer["faults"]] == [liar]
        assert answer["faults"][0]["code"] in codes
        assert [turn["place"] for turn in answer["turns"]] == others
        hosts.settle(answer)
    assert hosts.turned(request) == others
    view = hosts.world.chain.request(request)
    assert view.stage is RequestStage.SETTLED
    assert to_hex(view.result_hash) == answer["settlement"]["resultHash"]


def test_two_whose_nodes_lie_leave_no_quorum_and_nothing_is_released(hosts: Hosts) -> None:
    told = {0: "wrong chain", 2: "forged logs"}
    request = hosts.keyed("two lie")
    with hosts.lying({place: NODE_LIES[name][0] for place, name in told.items()}):
        with pytest.raises(Refusal) as caught:
            hosts.compute(request)
        assert caught.value.code == "quorum_missing"
        assert caught.value.field == "custodians"
        assert "Start or repair these custodians" in caught.value.remedy
        assert f"1 of {QUORUM}" in caught.value.message
        for place, name in told.items():
            codes = NODE_LIES[name][1]
            assert any(f"{place} ({code})" in caught.value.message for code in codes)
    assert hosts.turned(request) == [1]
    assert hosts.world.gate([]).journal.find(request) is None
    assert hosts.world.chain.request(request).stage is RequestStage.SEALED
    answer = hosts.compute(request)  # it ends, and the request is answered
    assert answer["faults"] == []
    hosts.settle(answer)


def test_one_that_is_shown_a_thiefs_gate_key_is_outvoted_and_gives_the_thief_nothing_to_open(
    hosts: Hosts,
) -> None:
    """Its node is all it can ask: it turns, to the thief. One share of each key says nothing (k = 2)."""
    liar, request, thief = 0, hosts.keyed("thief"), hpke.generate()
    with hosts.lying({liar: other_request(gate_key=thief.public)}):
        answer = hosts.compute(request)
    assert answer["faults"] == [{"place": liar, "code": "envelope_unreadable"}]
    assert [turn["place"] for turn in answer["turns"]] == [p for p in range(PLACES) if p != liar]
    stolen = [thief_opens(hosts, place, request, thief) for place in range(PLACES)]
    assert [shares is not None for shares in stolen] == [place == liar for place in range(PLACES)]
    hosts.settle(answer)


def thief_opens(
    hosts: Hosts, place: int, request: bytes, thief: hpke.SecretKey
) -> tuple[object, ...] | None:
    """The shares in this custodian's turn, if the thief can read them."""
    chain, turn = hosts.world.chain, hosts.journal(place).turn(request)
    assert turn is not None
    assert turn.envelope is not None
    cohort = chain.sealed_cohort(request)
    context = TurnContext(
        chain_id=chain.chain_id,
        market=chain.manifest.market,
        request=RequestId(request),
        root=cohort.root,
        epoch=cohort.epoch,
        index=CustodianIndex(place + 1),
        gate_key=thief.public,
    )
    try:
        return open_turn(turn.envelope, thief, context, len(cohort.members))
    except Refusal:
        return None
