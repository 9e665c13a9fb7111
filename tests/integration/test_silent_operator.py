"""An operator that seals and does nothing more: what its researcher can do alone, and who pays for it."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import flask
import pytest
from eth_account.signers.local import LocalAccount

from marketplace.chain.adapter import RequestStage
from marketplace.chain.deploy import CommitteeSeat, open_epoch
from marketplace.chain.funding import fund
from marketplace.chain.sender import Sender
from marketplace.client.turning import Asked, Hosts, have_turned
from marketplace.errors import Refusal
from marketplace.gate import keys as gate_keys
from marketplace.wire import http, keyfiles
from marketplace.wire.http_client import post
from tests.support.chain_world import account
from tests.support.custody_world import (
    DICTIONARY,
    PARAMETERS,
    QUORUM,
    CustodyWorld,
    asked_body,
    custody_world,
    served,
    served_custodian,
    served_gate,
)
from tests.support.daily import daily
from tests.support.nodes import EMBEDDED_KEY, ROOT, any_node
from tests.support.refusals import refused

VALUES: list[Mapping[str, Any]] = [{"systolic": Decimal(100 + i), "smoker": "no"} for i in range(3)]
NAMES = [f"patient {i}" for i in range(len(VALUES))]
GATES = 3
ETHER = 10**18
TOKENS = 10**9
NOBODY = "http://127.0.0.1:9"
"""Nothing listens there."""


@dataclass(frozen=True)
class Market:
    """Three custodians and three gates, one of which is drawn; the researcher is not the operator."""

    world: CustodyWorld
    custodians: list[str]
    gates: dict[str, str]  # URL by address
    researcher: LocalAccount

    @property
    def asked(self) -> Asked:
        return Asked(PARAMETERS, DICTIONARY)

    def sealed(self, salt: str) -> bytes:
        """Opened by the researcher, frozen and sealed by the operator, which then draws no gate."""
        world, terms = self.world, self.world.mean_terms(salt)
        offered = world.offered(terms)
        Sender(world.chain, self.researcher).send("ResearchMarket", "open", terms, offered)
        world.tick()
        world.sender.send(
            "ResearchMarket", "freeze", self.researcher.address, terms, world.offered(terms)
        )
        request = terms.request_id(
            world.chain.chain_id, world.chain.market, self.researcher.address
        )
        world.sender.send("ResearchMarket", "sealAll", request)
        world.pass_draw_block()
        return request

    def have_turned(self, request: bytes, **changes: Any) -> list[int]:
        """Places that certify, once the researcher saw to it."""
        hosts = Hosts(changes.pop("gates", list(self.gates.values())), self.custodians)
        asked = changes.pop("asked", self.asked)
        patience = changes.pop("patience", 60.0)
        chain, key = self.world.chain, self.researcher
        return [
            place
            for place, _ in have_turned(chain, key, request, hosts, asked, patience).signatures
        ]

    def pass_to(self, moment: int) -> None:
        node = self.world.chain.node
        node.request("evm_setNextBlockTimestamp", [moment])
        node.mine()


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("silent")
    with any_node(folder) as node, ExitStack() as stack:
        world = custody_world(node, folder)
        seats = [CommitteeSeat(m.signer, m.keys[1]) for m in world.chain.committee().members]
        made = {gate_keys.create(world.data(f"gate{i}"))["signer"]: i for i in range(GATES)}
        world.epoch = open_epoch(world.sender, seats, QUORUM, list(made))
        custodians = [stack.enter_context(served_custodian(world.custodian(i))) for i in range(3)]
        world.enrol_sealed(custodians, NAMES, VALUES)
        gates = {
            address: stack.enter_context(
                served_gate(world.gate(custodians, data=world.data(f"gate{i}")))
            )
            for address, i in made.items()
        }
        yield Market(world, custodians, gates, researching(world))


def researching(world: CustodyWorld) -> LocalAccount:
    """An account with a credential, tokens and gas."""
    made = account("researcher")
    fund(world.chain.node, EMBEDDED_KEY, [made.address], ETHER)
    world.sender.send("ResearcherRegistry", "give", made.address, world.credential())
    world.sender.send("TestEuro", "mint", made.address, TOKENS)
    Sender(world.chain, made).send("TestEuro", "approve", world.chain.market, TOKENS)
    return made


# --- the certified default is not the operator's choice


def test_an_operator_that_seals_and_never_asks_for_a_key_loses_the_bond_to_its_researcher(
    market: Market,
) -> None:
    """By the command line, without one act of the operator's after the seal."""
    world, chain = market.world, market.world.chain
    request = market.sealed("silent")
    operator, sealed = world.sender.address, chain.request(request)
    bond, credit = chain.bond_of(operator), chain.credit_of(market.researcher.address)
    sent = chain.node.request("eth_getTransactionCount", [operator, "latest"])

    recorded = usufruct(market, "record-key", request, gates(market), asked(market))
    assert recorded["certificates"] == [0, 1, 2]
    market.pass_to(sealed.settle_deadline + 1)
    ended = usufruct(market, "default", request)
    assert ended["certified"] is True

    paid = sealed.members * sealed.price
    assert chain.node.request("eth_getTransactionCount", [operator, "latest"]) == sent
    assert chain.request(request).stage is RequestStage.DEFAULTED
    assert chain.bond_of(operator) - bond == sealed.bond - paid
    back = chain.credit_of(market.researcher.address) - credit
    assert back == sealed.escrow + paid  # what was held, and what the patients were paid


def usufruct(market: Market, command: str, request: bytes, *more: list[str]) -> dict[str, Any]:
    """What a command of the researcher's says."""
    key = market.world.folder / "researcher.key"
    keyfiles.create(key, bytes(market.researcher.key))
    words = [sys.executable, "-m", "marketplace.cli", command, "--request", "0x" + request.hex()]
    words += ["--node", market.world.node_url, "--key-file", str(key)]
    words += ["--manifest", str(market.world.folder / "manifest.json")]
    words += [word for url in market.custodians for word in ("--custodian", url)]
    words += [word for part in more for word in part]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def gates(market: Market) -> list[str]:
    return [word for url in market.gates.values() for word in ("--gate", url)]


def asked(market: Market) -> list[str]:
    dictionary = market.world.folder / "dictionary.json"
    dictionary.write_bytes(market.world.dictionary.to_bytes())
    return ["--parameters", json.dumps(PARAMETERS), "--dictionary", str(dictionary)]


def test_whoever_asks_gets_the_gates_key_that_the_operator_gets(market: Market) -> None:
    world = market.world
    request = market.sealed("anybody")
    world.sender.send("ResearchMarket", "drawGate", request)
    url = market.gates[world.chain.request(request).gate]
    unsigned = post(url, "/keys", asked_body(request), timeout=60)
    assert unsigned == world.gate_key(url, request)
    world.record_key(request, unsigned)
    assert "0x" + world.chain.request(request).gate_key.hex() == unsigned["key"]


def test_a_key_that_anybody_recorded_ends_the_operators_redraws(market: Market) -> None:
    """It cannot wait for a gate of its liking any more."""
    world, chain = market.world, market.world.chain
    request = market.sealed("redraw")
    assert market.have_turned(request) == [0, 1, 2]
    drawn = chain.request(request)
    market.pass_to(drawn.gate_drawn_at + chain.policy().gate_window + 1)
    refused("gate_key_already_recorded", world.sender.send, "ResearchMarket", "redrawGate", request)
    assert chain.request(request).gate == drawn.gate
    assert market.have_turned(request) == [0, 1, 2]  # repeated: nothing is left to do


# --- what it does not do


def test_a_drawn_gate_that_stays_silent_is_replaced_once_its_window_has_passed(
    market: Market,
) -> None:
    world, chain = market.world, market.world.chain
    request = market.sealed("dead gate")
    world.sender.send("ResearchMarket", "drawGate", request)
    first = chain.request(request)
    others = [url for address, url in market.gates.items() if address != first.gate]
    away = [NOBODY, *others]
    found = refused("gate_silent", market.have_turned, request, gates=away, patience=0)
    assert first.gate in found.message
    assert chain.request(request).gate == first.gate
    market.pass_to(first.gate_drawn_at + chain.policy().gate_window + 1)
    assert market.have_turned(request, gates=away) == [0, 1, 2]
    assert chain.request(request).gate != first.gate


@contextmanager
def saying(answer: Mapping[str, str]) -> Iterator[str]:
    """A gate's host that says this whenever it is asked for a key: a refusal, where it is a code."""
    app = flask.Flask("liar")

    @app.post("/keys")
    def keys() -> flask.Response:
        if "code" in answer:
            return http.problem(Refusal(code=answer["code"], message="No.", remedy="None."))
        return http.answer(answer)

    with served(app) as url:
        yield url


@pytest.mark.parametrize(
    "answer",
    daily(
        [
            {"code": "not_drawn"},
            {"code": "node_fault"},
            {"code": "gate_is_the_operators"},
            {"code": "wrong_parameters"},
            {"key": "0x" + "11" * 32, "signature": "0x" + "22" * 65},
            {"key": ""},
        ],
        [{"code": "wrong_parameters"}, {"key": "0x" + "11" * 32, "signature": "0x" + "22" * 65}],
    ),
    ids=lambda answer: answer.get("code") or f"{len(answer)} fields",
)
def test_a_drawn_gate_that_answers_and_gives_no_key_is_replaced_as_a_silent_one(
    market: Market, answer: Mapping[str, str]
) -> None:
    world, chain = market.world, market.world.chain
    request = market.sealed(f"liar {answer}")
    world.sender.send("ResearchMarket", "drawGate", request)
    drawn = chain.request(request)
    market.pass_to(drawn.gate_drawn_at + chain.policy().gate_window + 1)
    with saying(answer) as liar:
        urls = [liar, *(url for address, url in market.gates.items() if address != drawn.gate)]
        found = refused("gate_redrawn", market.have_turned, request, gates=urls, patience=0)
        assert drawn.gate in found.message
        assert market.have_turned(request, gates=urls) == [0, 1, 2]
    assert chain.request(request).gate != drawn.gate


@pytest.mark.parametrize("code", daily([None, "wrong_parameters"], [None]))
def test_what_another_gate_answers_keeps_the_drawn_one_from_nothing(
    market: Market, code: str | None
) -> None:
    world = market.world
    request = market.sealed(f"nonsense {code}")
    world.sender.send("ResearchMarket", "drawGate", request)
    own = market.gates[world.chain.request(request).gate]
    nonsense = {"key": "0x" + "11" * 32, "signature": "0x" + "22" * 65}
    with saying(nonsense if code is None else {"code": code}) as liar:
        alone = refused(code or "bad_signature", market.have_turned, request, gates=[liar])
        assert liar in alone.message
        assert market.have_turned(request, gates=[liar, own]) == [0, 1, 2]


def test_a_gate_that_is_not_named_is_no_reason_to_draw_another(market: Market) -> None:
    world, chain = market.world, market.world.chain
    request = market.sealed("not named")
    world.sender.send("ResearchMarket", "drawGate", request)
    drawn = chain.request(request)
    market.pass_to(drawn.gate_drawn_at + chain.policy().gate_window + 1)
    others = [url for address, url in market.gates.items() if address != drawn.gate]
    refused("gate_silent", market.have_turned, request, gates=others)  # at once: time cures nothing
    assert chain.request(request) == drawn


def test_what_is_not_of_the_request_is_refused_by_the_gate_and_turns_nothing(
    market: Market,
) -> None:
    request = market.sealed("other question")
    other = Asked({**PARAMETERS, "clip": ["100", "110"]}, DICTIONARY)
    found = refused("wrong_parameters", market.have_turned, request, asked=other)
    assert market.gates[market.world.chain.request(request).gate] in found.message
    assert not any(market.world.chain.request(request).gate_key)
    assert market.have_turned(request) == [0, 1, 2]


def test_keys_turn_for_no_request_that_has_ended(market: Market) -> None:
    request = market.sealed("ended")
    deadline = market.world.chain.request(request).settle_deadline
    market.pass_to(deadline + 1)
    refused("nothing_to_turn", market.have_turned, request)
    refused("nothing_to_turn", market.have_turned, bytes(32))
