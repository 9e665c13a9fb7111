"""Custodians that lie, vanish or speak for another; nodes that lie to a custodian."""

import base64
import copy
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import flask
import pytest

from marketplace.custodian.models import ShareRow
from marketplace.custodian.server import create_app
from marketplace.custodian.service import Custodian
from marketplace.errors import Refusal
from marketplace.wire.feldman import Share
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.http_client import post
from tests.support.custody_world import (
    CustodyWorld,
    custody_world,
    served,
    served_custodian,
    served_gate,
)
from tests.support.daily import daily
from tests.support.lies import NODE_LIES
from tests.support.nodes import LyingProxy, any_node, honest
from tests.support.refusals import refused

VALUES: list[dict[str, Any]] = [{"systolic": Decimal(100 + i), "smoker": "no"} for i in range(3)]
DEAD = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CustodyWorld]:
    folder = tmp_path_factory.mktemp("liars")
    with any_node(folder) as node, ExitStack() as stack:
        made = custody_world(node, folder)
        urls = [stack.enter_context(served_custodian(made.custodian(i))) for i in range(3)]
        made.enrol_sealed(urls, [f"patient {i}" for i in range(3)], VALUES)
        yield made


@pytest.fixture(scope="module")
def urls(world: CustodyWorld) -> Iterator[list[str]]:
    with ExitStack() as stack:
        yield [stack.enter_context(served_custodian(world.custodian(i))) for i in range(3)]


def sealed(world: CustodyWorld, salt: str) -> bytes:
    with served_gate(world.gate([])) as gate:
        return world.keyed_request(salt, gate)


def compute(world: CustodyWorld, urls: list[str], request: bytes) -> dict[str, Any]:
    body = world.computation_body(request, list(world.records))
    with served_gate(world.gate(urls, turn_timeout=20.0)) as gate:
        return world.ask_gate(gate, "/computations", body)


def faults(answer: dict[str, Any]) -> dict[int, str]:
    return {fault["place"]: fault["code"] for fault in answer["faults"]}


Lie = Callable[[dict[str, Any], list[dict[str, Any]]], Any]
"""(own true answer, everybody's true answers) -> what is said instead."""

LIES: dict[str, tuple[Lie, str]] = {
    "certificate of another place": (
        lambda own, all_: own | {"signature": all_[1]["signature"]},
        "bad_signature",
    ),
    "no certificate": (lambda own, _: own | {"signature": "0x"}, "bad_signature"),
    "envelope of another place": (
        lambda own, all_: own | {"envelope": all_[1]["envelope"]},
        "envelope_unreadable",
    ),
    "envelope cut short": (
        lambda own, _: own | {"envelope": to_base64(base64.b64decode(own["envelope"])[:-1])},
        "envelope_unreadable",
    ),
    "not base64": (lambda own, _: own | {"envelope": "?"}, "bad_parameter"),
    "journal of text": (
        lambda own, _: own | {"journal": own["journal"] | {"height": "much"}},
        "bad_parameter",
    ),
    "missing keys": (lambda own, _: {"place": own["place"]}, "bad_parameter"),
    "a list": (lambda _own, _all: [1], "peer_unreachable"),
}


@pytest.mark.parametrize(
    "name", daily(sorted(LIES), ["a list", "certificate of another place", "envelope cut short"])
)
def test_a_custodian_that_lies_is_named_and_the_quorum_goes_on(
    world: CustodyWorld, urls: list[str], name: str
) -> None:
    lie, code = LIES[name]
    request = sealed(world, name)
    truth = [post(url, "/turns", {"request": to_hex(request)}, timeout=60) for url in urls]
    app = flask.Flask("liar")

    @app.post("/turns")
    def turn() -> Any:
        return flask.jsonify(lie(copy.deepcopy(truth[0]), truth))

    with served(app) as liar:
        answer = compute(world, [liar, *urls[1:]], request)
        assert faults(answer) == {0: code}
        assert [each["place"] for each in answer["turns"]] == [1, 2]


class WrongShares(Custodian):
    """Turns, with good certificates, shares that it was never given."""

    def _shares(self, sealed: Any) -> list[Share | None]:
        return [Share(self.vault.index, 41 + i) for i, _ in enumerate(super()._shares(sealed))]


def wrong_shares(world: CustodyWorld, place: int, folder: Any) -> Custodian:
    true = world.custodian(place)
    return WrongShares(true.chain, true.journal, true.keys, true.rules, folder)


@pytest.mark.parametrize("place", daily([0, 1], [0]))
def test_wrong_shares_are_named_and_two_honest_custodians_suffice(
    world: CustodyWorld, urls: list[str], place: int, tmp_path: Any
) -> None:
    request = sealed(world, f"wrong shares {place}")
    with served(create_app(wrong_shares(world, place, tmp_path))) as liar:
        asked = [liar if i == place else url for i, url in enumerate(urls)]
        answer = compute(world, asked, request)
    assert faults(answer) == {place: "wrong_share"}
    assert [each["place"] for each in answer["turns"]] == [i for i in range(3) if i != place]


def test_wrong_shares_without_a_second_honest_custodian_are_no_quorum_and_no_answer(
    world: CustodyWorld, urls: list[str], tmp_path: Any
) -> None:
    request = sealed(world, "liar and dead")
    with served(create_app(wrong_shares(world, 0, tmp_path))) as liar:
        found = refused("quorum_missing", compute, world, [liar, urls[1], DEAD], request)
    assert "0 (wrong_share)" in found.message
    assert "2 (peer_unreachable)" in found.message
    require_told_whom_to_repair(found)
    assert world.gate([]).journal.find(request) is None


@pytest.mark.long
def test_a_dead_custodian_is_named_and_the_others_suffice(
    world: CustodyWorld, urls: list[str]
) -> None:
    request = sealed(world, "dead")
    answer = compute(world, [urls[0], DEAD, urls[2]], request)
    assert faults(answer) == {1: "peer_unreachable"}
    assert [each["place"] for each in answer["turns"]] == [0, 2]


def test_no_k_minus_one_custodians_open_anything(world: CustodyWorld, urls: list[str]) -> None:
    request = sealed(world, "alone")
    for alone in range(3):
        asked = [urls[i] if i == alone else DEAD for i in range(3)]
        found = refused("quorum_missing", compute, world, asked, request)
        assert "1 of 2" in found.message
        dead = [f"{i} (peer_unreachable)" for i in range(3) if i != alone]
        assert ", ".join(dead) in found.message
        require_told_whom_to_repair(found)
    thrice = [urls[1], urls[1], urls[1]]
    require_told_whom_to_repair(refused("quorum_missing", compute, world, thrice, request))
    assert faults(compute(world, urls, request)) == {}


def require_told_whom_to_repair(found: Refusal) -> None:
    """The field is the one of the gate's configuration; the message names each of its places at fault."""
    assert found.field == "custodians"
    assert "Start or repair these custodians" in found.remedy


@pytest.mark.long
def test_every_pair_of_custodians_gives_one_and_the_same_kept_answer(
    world: CustodyWorld, urls: list[str]
) -> None:
    request = sealed(world, "pairs")
    answers = [
        compute(world, [urls[i] if i in pair else DEAD for i in range(3)], request)
        for pair in itertools.combinations(range(3), 2)
    ]
    assert answers[0] == answers[1] == answers[2]


def test_a_share_that_was_tampered_with_on_disk_is_never_sent(
    world: CustodyWorld, urls: list[str]
) -> None:
    request = sealed(world, "tampered")
    custodian = world.custodian(2)
    commitment = next(iter(world.records.values())).commitment
    with custodian.journal.writing() as session:
        row = session.get_one(ShareRow, commitment)
        true, row.sealed = row.sealed, row.sealed[:-1] + bytes([row.sealed[-1] ^ 1])
    with served_custodian(custodian) as url, pytest.raises(Refusal) as caught:
        post(url, "/turns", {"request": to_hex(request)}, timeout=60)
    assert caught.value.code == "share_damaged"
    assert custodian.journal.turn(request) is None
    with custodian.journal.writing() as session:
        session.get_one(ShareRow, commitment).sealed = true


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(NODE_LIES))
def test_a_custodian_whose_node_lies_turns_nothing_and_recovers(
    world: CustodyWorld, urls: list[str], name: str
) -> None:
    lie, codes = NODE_LIES[name]
    request = sealed(world, name)
    proxy = LyingProxy(world.node_url)
    try:
        custodian = world.custodian(1, node_url=proxy.url)
        proxy.lie = lie
        with served_custodian(custodian) as url:
            with pytest.raises(Refusal) as caught:
                post(url, "/turns", {"request": to_hex(request)}, timeout=60)
            assert caught.value.code in codes, caught.value
            assert custodian.journal.turn(request) is None
            proxy.lie = honest
            assert post(url, "/turns", {"request": to_hex(request)}, timeout=60)["place"] == 1
    finally:
        proxy.close()
