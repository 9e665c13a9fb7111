"""For whom custodians turn, and what they show of a turn for ever."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import pytest
from eth_utils.crypto import keccak

from marketplace.chain.funding import fund
from marketplace.chain.sender import Sender
from marketplace.wire import hpke
from marketplace.wire.http import to_hex
from marketplace.wire.http_client import get, post
from marketplace.wire.structs import GateKey, RequestTerms, TurnCertificate, recover, sign
from tests.support.custody_world import (
    CustodyWorld,
    custody_world,
    served_custodian,
    served_gate,
)
from tests.support.nodes import EMBEDDED_KEY, any_node
from tests.support.refusals import refused

VALUES: list[dict[str, Any]] = [{"systolic": Decimal(100 + i), "smoker": "no"} for i in range(4)]
NAMES = [f"patient {i}" for i in range(len(VALUES))]
ETHER = 10**18
BOND = 10**9


@dataclass(frozen=True)
class Hosts:
    """A market with its custodians by place, and its one gate."""

    world: CustodyWorld
    urls: list[str]
    gate: str

    def turn(self, place: int, request: bytes) -> dict[str, Any]:
        return post(self.urls[place], "/turns", {"request": to_hex(request)}, timeout=60)

    def certificate(self, place: int, request: bytes) -> dict[str, Any]:
        return get(self.urls[place], f"/certificates/{to_hex(request)}", timeout=60)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("rules")
    with any_node(folder) as node, ExitStack() as stack:
        world = custody_world(node, folder)
        urls = [stack.enter_context(served_custodian(world.custodian(i))) for i in range(3)]
        world.enrol_sealed(urls, NAMES, VALUES)
        gate = stack.enter_context(served_gate(world.gate(urls)))
        yield Hosts(world, urls, gate)


# --- a gate is never the operator's


def test_no_turn_for_a_gate_that_is_the_operators(hosts: Hosts) -> None:
    """The gate's account freezes and seals a request, and is drawn for it."""
    world = hosts.world
    host = world.gate([]).keys.signer
    operator = operating(world, host.secret)
    request = sealed_by(world, operator, world.mean_terms("own gate"))
    view = world.chain.request(request)
    assert view.gate == view.operator == host.address

    def ask_key() -> None:
        hosts.world.gate_key(hosts.gate, request)

    refused("gate_is_the_operators", ask_key)
    key = hpke.generate().public
    domain = world.chain.domain("ResearchMarket")
    signature = sign(GateKey(request, view.root, key), domain, host.secret)
    operator.send("ResearchMarket", "recordGateKey", request, key, signature)
    for place in range(3):
        refused("gate_is_the_operators", hosts.turn, place, request)
        refused("not_turned", hosts.certificate, place, request)


def operating(world: CustodyWorld, key: bytes) -> Sender:
    """Makes the account of a key an operator with a bond."""
    operator = Sender(world.chain, key)
    fund(world.chain.node, EMBEDDED_KEY, [operator.address], ETHER)
    role = keccak(text="OPERATOR")
    world.sender.send("ResearchMarket", "grantRole", role, operator.address)
    world.sender.send("TestEuro", "mint", operator.address, BOND)
    operator.send("TestEuro", "approve", world.chain.market, BOND)
    operator.send("ResearchMarket", "postBond", BOND)
    return operator


def sealed_by(world: CustodyWorld, operator: Sender, terms: RequestTerms) -> bytes:
    request = world.open(terms)
    world.tick()
    opened = (world.sender.address, terms, world.offered(terms))
    operator.send("ResearchMarket", "freeze", *opened)
    operator.send("ResearchMarket", "sealAll", request)
    world.tick()
    world.chain.node.mine()  # anvil makes a call at the head, which lacks the hash to draw from
    operator.send("ResearchMarket", "drawGate", request)
    return request


# --- what stays shown of a turn


def test_a_turns_certificate_is_shown_at_any_time_and_holds_no_share(hosts: Hosts) -> None:
    request = hosts.world.keyed_request("certified", hosts.gate)
    refused("not_turned", hosts.certificate, 0, request)
    turned = hosts.turn(0, request)
    shown = hosts.certificate(0, request)
    assert set(shown) == {"place", "epoch", "root", "signature"}
    assert shown["signature"] == turned["signature"]
    view = hosts.world.chain.request(request)
    certificate = TurnCertificate(request, view.root, view.epoch)
    signature = bytes.fromhex(shown["signature"][2:])
    signer = recover(certificate, hosts.world.chain.domain("ResearchMarket"), signature)
    assert signer == hosts.world.chain.committee().members[0].signer
    away = hosts.world.custodian(0, node_url="http://127.0.0.1:9", node_timeout=1.0)
    with served_custodian(away) as url:  # no node, no operator: what was done stays shown
        assert get(url, f"/certificates/{to_hex(request)}", timeout=60) == shown
    assert httpx.get(hosts.urls[0] + "/certificates/0x12", timeout=60).status_code == 400
