"""Custodians and gate over HTTP, on a real chain; processes where the rule is about processes."""

import base64
import itertools
import json
import math
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from decimal import Decimal
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import flask
import httpx
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from sqlalchemy import delete

from marketplace.analyses import CATALOGUE, ReleaseKind
from marketplace.analyses.variables import variables_of
from marketplace.custodian import keys as custodian_keys
from marketplace.custodian.journal import Journal, JournalBehind
from marketplace.custodian.main import build
from marketplace.gate.journal import Journal as GateJournal
from marketplace.gate.models import ComputationRow
from marketplace.lanes.vault import Head, Vault
from marketplace.peers import Peer
from marketplace.records import RecordStore
from marketplace.stages import Sealed
from marketplace.store.database import open_database
from marketplace.wire import dictionary as wire
from marketplace.wire.analysis import parameters_hash
from marketplace.wire.auth import Voice
from marketplace.wire.canonical import canonical
from marketplace.wire.feldman import MOST_CUSTODIANS
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.http_client import PeerUnreachable, post
from marketplace.wire.paging import LARGEST_DEPOSITS, MOST_DEPOSITS
from marketplace.wire.sqlite import transaction
from marketplace.wire.stated import Stated
from marketplace.wire.structs import (
    Erasure,
    GateKey,
    Revocation,
    Settlement,
    TurnCertificate,
    recover,
    sign,
)
from tests.support.chain_world import account
from tests.support.custody_world import (
    COST,
    DICTIONARY,
    PARAMETERS,
    CustodyWorld,
    Process,
    asked_body,
    back_up,
    ciphertext_json,
    custody_world,
    served,
    served_custodian,
    served_gate,
)
from tests.support.daily import daily
from tests.support.lies import NODE_LIES
from tests.support.nodes import LyingProxy, any_node, honest
from tests.support.refusals import refused

CANARY = 137  # mm[Hg]; only one member has it
VALUES: list[dict[str, Any]] = [
    {"systolic": Decimal(v), "smoker": "yes"} for v in (CANARY, 101, 102, 103, 104)
]
NAMES = [f"patient {i}" for i in range(len(VALUES))]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CustodyWorld]:
    folder = tmp_path_factory.mktemp("custody")
    with any_node(folder) as node, ExitStack() as stack:
        made = custody_world(node, folder)
        urls = [stack.enter_context(served_custodian(made.custodian(i))) for i in range(3)]
        made.enrol_sealed(urls, NAMES, VALUES)
        yield made


@pytest.fixture(scope="module")
def urls(world: CustodyWorld) -> Iterator[list[str]]:
    with ExitStack() as stack:
        yield [stack.enter_context(served_custodian(world.custodian(i))) for i in range(3)]


@pytest.fixture(scope="module")
def gate(world: CustodyWorld, urls: list[str]) -> Iterator[str]:
    with served_gate(world.gate(urls)) as url:
        yield url


@pytest.fixture
def keyed(world: CustodyWorld, gate: str, request: pytest.FixtureRequest) -> bytes:
    return world.keyed_request(request.node.nodeid, gate)


def everyone(world: CustodyWorld) -> list[str]:
    return [each for each in world.records if world.records[each].context.patient == each]


def compute(world: CustodyWorld, gate: str, request: bytes, **changes: Any) -> dict[str, Any]:
    body = world.computation_body(request, everyone(world)) | changes
    return world.ask_gate(gate, "/computations", body)


def settle_at(url: str, answer: dict[str, Any], **changes: Any) -> dict[str, Any]:
    body = {name: answer[name] for name in ("settlement", "sealed_result", "gate_signature")}
    return post(url, "/settlements", body | changes, timeout=60)


def turn_at(url: str, request: bytes) -> dict[str, Any]:
    return post(url, "/turns", {"request": to_hex(request)}, timeout=60)


def test_one_answer_from_turn_to_settlement_on_chain(
    world: CustodyWorld, urls: list[str], gate: str, keyed: bytes
) -> None:
    answer = compute(world, gate, keyed)
    assert answer["faults"] == []
    assert compute(world, gate, keyed) == answer
    sealed = base64.b64decode(answer["sealed_result"])
    opened = world.open_result(keyed, sealed)
    assert opened.document["cohort_size"] == len(NAMES)
    assert opened.document["analysis"] == "mean.v1"
    require_noised(opened.document["noised"], answer["stated"])
    signatures = [settle_at(url, answer) for url in urls]
    assert [settle_at(url, answer) for url in urls] == signatures
    settlement = Settlement.from_json(answer["settlement"])
    quorum = [(s["place"], bytes.fromhex(s["signature"][2:])) for s in signatures[:2]]
    for turn in answer["turns"]:
        certificate = TurnCertificate(keyed, settlement.root, settlement.epoch)
        signature = bytes.fromhex(turn["signature"][2:])
        signer = recover(certificate, world.chain.domain("ResearchMarket"), signature)
        assert signer == world.chain.committee().members[turn["place"]].signer
    world.sender.send("ResearchMarket", "settle", settlement, sealed, quorum)
    refused("request_ended", turn_at, urls[0], keyed)
    custodian = world.custodian(0)
    custodian.watch.drop_ended()  # a record erased later must not survive in an old envelope
    kept = custodian.journal.turn(keyed)
    assert kept is not None
    assert kept.envelope is None
    assert world.chain.request(keyed).stage.name == "SETTLED"


def require_noised(noised: Any, stated: Any) -> None:
    """The researcher's copy says what the gate said beside it: the cost paid, and the noise that it buys."""
    assert Stated.from_json(stated) == Stated(
        noised["cost_nano_rho"], tuple((what, scale) for what, scale in noised["noise"])
    )
    assert noised["cost_nano_rho"] == COST
    scales = {what: float(scale) for what, scale in noised["noise"]}
    # A replaced value moves the sum of deviations by at most R = 260 - 60: sigma = R / sqrt(2 rho).
    due = 200 / math.sqrt(2 * COST * 1e-9)
    assert due <= scales["sum of deviations from the middle"] <= 1.001 * due
    assert scales["count"] > 0


def test_a_turn_is_answered_twice_with_the_same_bytes(urls: list[str], keyed: bytes) -> None:
    assert turn_at(urls[0], keyed) == turn_at(urls[0], keyed)


def test_no_turn_before_the_gates_key_is_on_chain(world: CustodyWorld, urls: list[str]) -> None:
    request = world.seal_request("no key")
    refused("gate_key_missing", turn_at, urls[0], request)
    refused("not_sealed", turn_at, urls[0], keccak(text="never opened"))


def test_no_turn_for_an_analysis_that_is_not_known(
    world: CustodyWorld, urls: list[str], gate: str
) -> None:
    terms = world.mean_terms("unknown", analysis="everything.v1")
    request = world.seal_request("unknown", terms)
    refused("wrong_analysis", world.gate_key, gate, request)
    world.record_key(request, careless_key(world, request))
    refused("unknown_analysis", turn_at, urls[0], request)
    refused("wrong_analysis", compute, world, gate, request)


def careless_key(world: CustodyWorld, request: bytes) -> dict[str, str]:
    """What a gate that checks nothing would give out."""
    keys, root = world.gate([]).keys, world.chain.request(request).root
    struct = GateKey(request, root, keys.for_request(request, root).public)
    signature = sign(struct, world.chain.domain("ResearchMarket"), keys.signer.secret)
    return {"key": to_hex(struct.key), "signature": to_hex(signature)}


def test_no_key_and_no_turn_for_another_kind_of_release_than_patients_allowed(
    world: CustodyWorld, urls: list[str], gate: str
) -> None:
    """The chain only sees the kind that the terms state."""
    terms = replace(world.mean_terms("kind"), release_kind=int(ReleaseKind.TABLE))
    request = world.seal_request("kind", terms)
    refused("wrong_release_kind", world.gate_key, gate, request)
    world.record_key(request, careless_key(world, request))
    refused("wrong_release_kind", turn_at, urls[0], request)
    refused("wrong_release_kind", compute, world, gate, request)


def test_no_key_for_what_the_gate_could_never_answer(world: CustodyWorld, gate: str) -> None:
    """With the keys turned, an answer that cannot come would cost the operator its bond."""
    quantile = CATALOGUE["quantile.v1"]
    asked = {"variable": "systolic", "level": "0.5"}
    written = quantile.canonical(quantile.parse(asked, variables_of(world.dictionary)))
    terms = replace(
        world.mean_terms("dear"),
        analysis=quantile.analysis_hash(),
        release_kind=int(quantile.release_kind),
        parameters=parameters_hash(written),
        cost=19,  # nano-rho; the mechanism cannot spend less than 20
    )
    request = world.seal_request("dear", terms)
    body = asked_body(request) | {"parameters": asked}
    assert refused("bad_parameter", world.ask_gate, gate, "/keys", body).field == "cost"


def test_a_gate_answers_only_the_operator_that_froze_the_request(
    world: CustodyWorld, gate: str, keyed: bytes
) -> None:
    stranger, domain = account("stranger"), world.manifest.api_domain
    own = Voice(stranger, stranger.address, domain)
    forged = Voice(stranger, world.voice.address, domain)
    routes: list[tuple[str, dict[str, Any]]] = [
        (f"/computations/{to_hex(keyed)}/records", {"records": []}),
        ("/computations", world.computation_body(keyed, everyone(world))),
    ]
    first = compute(world, gate, keyed)
    for path, body in routes:
        refused("unauthenticated", post, gate, path, body, timeout=60)
        refused("not_the_operator", post, gate, path, body, timeout=60, voice=own)
        refused("bad_signature", post, gate, path, body, timeout=60, voice=forged)
    assert compute(world, gate, keyed) == first


def test_no_turn_for_a_cohort_under_the_custodians_own_floor(
    world: CustodyWorld, keyed: bytes
) -> None:
    for floor, code in ((len(NAMES) + 1, "cohort_too_small"), (len(NAMES), None)):
        with served_custodian(world.custodian(2, minimum_cohort=floor)) as url:
            if code is not None:
                refused(code, turn_at, url, keyed)
            else:
                assert turn_at(url, keyed)["place"] == 2


def test_no_turn_by_a_custodian_that_does_not_hold_the_place(
    world: CustodyWorld, keyed: bytes
) -> None:
    stranger = world.custodian_config(0).model_copy(update={"place": 1})
    with served_custodian(build(stranger)) as url:
        said = refused("wrong_epoch", turn_at, url, keyed).message
    assert said.startswith("This is not custodian 2 of epoch 1:")
    assert said.endswith("place 1 on chain.")


def test_no_settlement_without_an_own_turn_and_only_one_ever(
    world: CustodyWorld, urls: list[str], gate: str, keyed: bytes
) -> None:
    with served_gate(world.gate(urls[:2])) as two:
        answer = compute(world, two, keyed)
    refused("not_turned", settle_at, urls[2], answer)
    turn_at(urls[2], keyed)
    assert settle_at(urls[2], answer)["place"] == 2
    settlement = Settlement.from_json(answer["settlement"])
    second = replace(settlement, result_hash=keccak(text="fresh noise"))
    signature = sign(second, world.chain.domain("ResearchMarket"), gate_key(world))
    changes = {"settlement": second.to_json(), "gate_signature": to_hex(signature)}
    refused("equivocation", settle_at, urls[2], answer, **changes)


def gate_key(world: CustodyWorld) -> bytes:
    return world.gate([]).keys.signer.secret


@pytest.mark.parametrize(
    "field",
    daily(
        ["root", "epoch", "lane", "schema", "ciphertextRoot", "noise", "deliveryHash", "gate"],
        ["root", "gate"],
    ),
)
def test_no_settlement_with_a_field_that_is_not_the_chains(
    world: CustodyWorld, urls: list[str], gate: str, field: str
) -> None:
    request = world.keyed_request("settlement " + field, gate)
    with served_gate(world.gate(urls[:2])) as two:
        answer = compute(world, two, request)
    turn_at(urls[2], request)  # and has noted no answer yet
    wrong = {"epoch": 9, "lane": 2, "schema": 2, "gate": world.sender.address}
    document = answer["settlement"] | {field: wrong.get(field, to_hex(b"\7" * 32))}
    changed = Settlement.from_json(document)
    signature = to_hex(sign(changed, world.chain.domain("ResearchMarket"), gate_key(world)))
    found = refused(
        "settlement_mismatch",
        settle_at,
        urls[2],
        answer,
        settlement=document,
        gate_signature=signature,
    )
    assert found.field == field
    stranger = sign(
        Settlement.from_json(answer["settlement"]),
        world.chain.domain("ResearchMarket"),
        account("stranger"),
    )
    refused("bad_signature", settle_at, urls[2], answer, gate_signature=to_hex(stranger))
    refused("settlement_mismatch", settle_at, urls[2], answer, sealed_result=to_base64(b"other"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"parameters": {"variable": "smoker"}}, "bad_parameter"),
        ({"parameters": {"variable": "systolic", "clip": ["100", "110"]}}, "wrong_parameters"),
        ({"dictionary": {**DICTIONARY, "version": 2}}, "wrong_dictionary"),
        ({"dictionary": 7}, "bad_dictionary"),
        ({"parameters": []}, "bad_parameter"),
    ],
)
def test_what_was_not_paid_for_is_not_computed(
    world: CustodyWorld, gate: str, keyed: bytes, change: dict[str, Any], code: str
) -> None:
    refused(code, compute, world, gate, keyed, **change)


def test_records_may_come_in_pages_and_none_may_be_missing_or_another(
    world: CustodyWorld, urls: list[str], gate: str, keyed: bytes
) -> None:
    patients = everyone(world)
    body = {"request": to_hex(keyed), "parameters": PARAMETERS, "dictionary": DICTIONARY}
    bent = ciphertext_json(patients[-1], world.records[patients[0]])  # another member's
    pages = [
        [ciphertext_json(each, world.records[each]) for each in patients[:2]],
        [ciphertext_json(each, world.records[each]) for each in patients[2:-1]],
        [bent],
        [ciphertext_json(patients[-1], world.records[patients[-1]])],
    ]
    for page, withheld in zip(pages, (len(patients) - 2, 1, 1, 0), strict=True):
        path = f"/computations/{to_hex(keyed)}/records"
        held = world.ask_gate(gate, path, {"records": page})["held"]
        if withheld:
            found = refused("ciphertext_withheld", world.ask_gate, gate, "/computations", body)
            assert f"{withheld} of {len(patients)}" in found.message
    assert held == len(patients)
    # Nobody was asked to turn for an answer that the operator bent.
    assert all(world.custodian(place).journal.turn(keyed) is None for place in range(3))
    answer = world.ask_gate(gate, "/computations", body)
    sealed = base64.b64decode(answer["sealed_result"])
    assert world.open_result(keyed, sealed).document["cohort_size"] == len(NAMES)
    stranger = f"/computations/{to_hex(bytes(32))}/records"
    refused("not_sealed", world.ask_gate, gate, stranger, {"records": []})


# --- one answer, whatever a gate forgets


def test_a_gate_restored_from_a_backup_lets_no_second_draw_out(
    world: CustodyWorld, urls: list[str], gate: str, keyed: bytes, tmp_path: Path
) -> None:
    backup = tmp_path / "restored"
    back_up(world.data("gate"), backup)
    answer = compute(world, gate, keyed)
    restored = world.gate(urls, data=backup)
    with served_gate(restored) as url:
        refused("answered_before", compute, world, url, keyed)
        refused("answered_before", compute, world, url, keyed)
    second = restored.journal.find(keyed)
    assert second is not None
    assert (
        to_base64(second.sealed_result) != answer["sealed_result"]
    )  # it was drawn, and stays inside
    assert compute(world, gate, keyed) == answer
    assert [settle_at(url, answer)["place"] for url in urls] == [0, 1, 2]


def test_no_answer_leaves_before_a_quorum_of_custodians_has_noted_it(
    world: CustodyWorld, urls: list[str], gate: str, keyed: bytes
) -> None:
    with (
        served(turning_only(urls[0])) as first,
        served(turning_only(urls[1])) as second,
        served_gate(world.gate([first, second, urls[2]])) as url,
    ):
        found = refused("quorum_missing", compute, world, url, keyed)
    assert "1 of 2" in found.message
    kept = world.gate([]).journal.find(keyed)
    assert kept is not None
    answer = compute(world, gate, keyed)  # the custodians are back: the kept answer goes out
    assert answer["sealed_result"] == to_base64(kept.sealed_result)


def turned(**changes: Any) -> dict[str, Any]:
    """A turn as a gate passes it on, of which only this is different."""
    head = {"height": 7, "head": "0x" + "11" * 32, "signature": "0x" + "22" * 65}
    return {"place": 0, **changes, "journal": head | changes.get("journal", {})}


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"settlement": None}, "gate_answer_unreadable", "settlement"),
        ({"settlement": [1]}, "gate_answer_unreadable", "settlement"),
        ({"stated": None}, "gate_answer_unreadable", "stated"),
        ({"stated": [1]}, "gate_answer_unreadable", "stated"),
        ({"signatures": None}, "gate_answer_unreadable", "signatures"),
        ({"signatures": [{"place": 0}]}, "gate_answer_unreadable", "signatures"),
        ({"signatures": [{"place": -1, "signature": "0x"}]}, "bad_parameter", "place"),
        ({"signatures": [{"place": 0, "signature": 7}]}, "bad_parameter", "signature"),
        ({"sealed_result": "?"}, "bad_parameter", "sealed_result"),
        ({"gate_signature": 7}, "bad_parameter", "gate_signature"),
        ({"turns": None}, "gate_answer_unreadable", "turns"),
        ({"turns": [1]}, "gate_answer_unreadable", "turns"),
        ({"turns": [{"place": 0}]}, "gate_answer_unreadable", "turns"),
        ({"turns": [{"place": 0, "journal": [1]}]}, "gate_answer_unreadable", "turns"),
        ({"turns": [{"place": 0, "journal": {"height": 1}}]}, "gate_answer_unreadable", "turns"),
        ({"turns": [turned(place="0")]}, "bad_parameter", "place"),
        ({"turns": [turned(journal={"height": "1"})]}, "bad_parameter", "height"),
        ({"turns": [turned(journal={"head": 7})]}, "bad_parameter", "head"),
        ({"turns": [turned(journal={"signature": None})]}, "bad_parameter", "signature"),
    ],
)
def test_a_gate_that_answers_nonsense_is_refused_by_the_operator(
    vault: Vault,
    sealed: Sealed,
    world: CustodyWorld,
    changes: dict[str, Any],
    code: str,
    field: str,
) -> None:
    with answering({**BARE, **changes}) as url:
        asked = replace(vault, gates={sealed.gate.lower(): Peer("gate", url)})
        found = refused(code, asked.compute, sealed, PARAMETERS, world.dictionary)
    assert found.field == field
    assert found.remedy


BARE: dict[str, Any] = {
    "settlement": {},
    "stated": {},
    "sealed_result": "",
    "gate_signature": "0x",
    "turns": [],
}


def test_a_gate_names_neither_place_nor_epoch_of_a_journal_nor_more_than_a_committee_has(
    vault: Vault, sealed: Sealed, world: CustodyWorld
) -> None:
    foreign = turned(place=1, journal={"epoch": 99, "place": 9, "more": "x"})
    with answering({**BARE, "turns": [foreign] * 1_000}) as url:
        asked = replace(vault, gates={sealed.gate.lower(): Peer("gate", url)})
        _, heads = asked.compute(sealed, PARAMETERS, world.dictionary)
    only = Head(1, sealed.epoch, 7, b"\x11" * 32, b"\x22" * 65)
    assert heads == [only] * MOST_CUSTODIANS


@pytest.fixture(scope="module")
def sealed(world: CustodyWorld, gate: str) -> Sealed:
    request = world.keyed_request("nonsense", gate)
    view = world.chain.request(request)
    return Sealed(request, view.root, view.members, view.epoch, view.gate)


@pytest.fixture(scope="module")
def vault(world: CustodyWorld) -> Iterator[Vault]:
    database = open_database(f"sqlite:///{world.data('operator.sqlite')}")
    yield Vault(world.chain, {}, RecordStore(world.data("records").as_uri(), database))
    database.engine.dispose()


@contextmanager
def answering(document: dict[str, Any]) -> Iterator[str]:
    """A gate that answers every computation with this."""
    app = flask.Flask("nonsense")
    app.add_url_rule("/computations", "c", lambda: flask.jsonify(document), methods=["POST"])
    with served(app) as url:
        yield url


def turning_only(target: str) -> flask.Flask:
    """A custodian that dies between its turn and the answer."""
    app = flask.Flask("turning")

    @app.post("/turns")
    def turn() -> Any:
        return flask.jsonify(post(target, "/turns", flask.request.get_json(), timeout=60))

    return app


# --- storage


def test_a_share_is_acknowledged_twice_with_the_same_receipt(
    world: CustodyWorld, urls: list[str]
) -> None:
    body = world.deposit_body(everyone(world)[0], 1)
    assert post(urls[1], "/shares", body, timeout=60) == post(urls[1], "/shares", body, timeout=60)


def test_a_share_that_the_chain_or_the_dealer_contradicts_is_refused(
    world: CustodyWorld, urls: list[str]
) -> None:
    newcomer = account("not attested").address
    world.seal_record(newcomer, VALUES[0])
    body = world.deposit_body(newcomer, 0)
    del world.records[newcomer]
    refused("not_attested", post, urls[0], "/shares", body, timeout=60)
    mine = world.deposit_body(everyone(world)[0], 0)
    refused("wrong_place", post, urls[1], "/shares", mine, timeout=60)
    foreign = {**mine["record"], "chain_id": 1}
    refused("wrong_market", post, urls[0], "/shares", mine | {"record": foreign}, timeout=60)
    late = {**mine["record"], "epoch": 9}
    refused("wrong_epoch", post, urls[0], "/shares", mine | {"record": late}, timeout=60)
    other = {**mine["record"], "box_hash": to_hex(bytes(32))}
    refused("record_unreadable", post, urls[0], "/shares", mine | {"record": other}, timeout=60)


def test_no_share_is_acknowledged_before_an_operator_answers_for_the_ciphertext(
    world: CustodyWorld, urls: list[str]
) -> None:
    """Else a patient who uploads nothing would be paid, and would hold up every request."""
    newcomer = account("never uploaded").address
    world.seal_record(newcomer, VALUES[0])
    world.attest([newcomer])
    body = world.deposit_body(newcomer, 0)
    bare = {key: value for key, value in body.items() if key != "held"}
    refused("ciphertext_not_held", post, urls[0], "/shares", bare, timeout=60)
    stranger = world.held(newcomer, bytes(account("stranger").key))
    refused("ciphertext_not_held", post, urls[0], "/shares", body | {"held": stranger}, timeout=60)
    other = world.held(everyone(world)[0], world.operator)
    refused("bad_signature", post, urls[0], "/shares", body | {"held": other}, timeout=60)
    assert post(urls[0], "/shares", body, timeout=60)["place"] == 0
    del world.records[newcomer]


def test_no_share_of_a_record_sealed_for_another_dictionary_is_acknowledged(
    world: CustodyWorld, urls: list[str]
) -> None:
    newcomer = account("another dictionary").address
    true = world.dictionary
    world.dictionary = wire.from_json({**DICTIONARY, "version": 2})
    world.seal_record(newcomer, VALUES[0])
    world.dictionary = true
    world.attest([newcomer])
    body = world.deposit_body(newcomer, 0)
    del world.records[newcomer]
    refused("wrong_dictionary", post, urls[0], "/shares", body, timeout=60)


def test_bodies_are_bounded_and_errors_say_what_to_do(
    world: CustodyWorld, urls: list[str], gate: str
) -> None:
    answer = httpx.post(f"{urls[0]}/turns", content=b"x" * 300_000)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert httpx.post(f"{gate}/keys", content=b"x" * 3_000_000, timeout=30).status_code == 413
    large = {"request": "x" * 17_000_000}
    refused("body_too_large", world.ask_gate, gate, "/keys", large)
    answer = httpx.post(urls[0] + "/turns", content=b'{"request":"0x00"}')
    assert answer.status_code == 400
    assert {"type", "title", "status", "detail", "code", "remedy", "field"} == set(answer.json())
    for body in (b"", b"[]", b'{"request":1.5}', b"{" * 5000, b'{"request":"a","request":"b"}'):
        answer = httpx.post(urls[0] + "/turns", content=body)
        assert answer.status_code == 400
        assert answer.json()["code"] in ("malformed_json", "bad_parameter")
    assert httpx.get(urls[0] + "/nowhere").json()["code"] == "no_such_route"


def test_a_custodians_process_takes_the_largest_upload_and_refuses_a_larger_one_unread(
    world: CustodyWorld, tmp_path: Path
) -> None:
    custodian = Process("custodian", world.custodian_config(0), tmp_path)
    good = world.deposit_body(everyone(world)[0], 0)
    answer = httpx.post(custodian.url + "/deposits", content=padded(good), timeout=120)
    assert answer.status_code == 200, answer.text
    first, *others = answer.json()["outcomes"]
    assert first["place"] == 0
    assert {each["code"] for each in others} == {"bad_parameter"}
    for claim in (LARGEST_DEPOSITS + 1, 10 * 2**30):
        found = claimed(custodian.url, "/deposits", claim)
        assert (found.pop("status"), found.pop("code")) == (413, "body_too_large")
        assert found.pop("field") == "body"
        assert "Send less" in found.pop("remedy")
        assert set(found) == {"type", "title", "detail"}
    assert claimed(custodian.url, "/" + "x" * 300_000, 0)["code"] == "headers_too_large"
    assert custodian.stop() == 0


def padded(good: dict[str, Any]) -> bytes:
    """One good deposit and many that are none, of the largest size that the route takes."""
    listed = [good, *["x" * 8_000] * (MOST_DEPOSITS - 2)]
    room = LARGEST_DEPOSITS - len(canonical({"deposits": [*listed, ""]}))
    return canonical({"deposits": [*listed, "x" * room]})


def claimed(url: str, path: str, length: int) -> dict[str, Any]:
    """The problem document that a mere header is answered with, over a socket."""
    where = httpx.URL(url)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    with socket.create_connection((where.host, where.port or 0), timeout=60) as connection:
        connection.sendall(head.encode())
        with HTTPResponse(connection) as response:
            response.begin()
            assert response.getheader("content-type") == "application/problem+json"
            found: dict[str, Any] = json.loads(response.read())
    return found


# --- what patients can always do


def fund(world: CustodyWorld, place: int) -> None:
    """Gas money for a custodian's relay account."""
    web3 = world.chain.node.web3
    payer = Account.from_key(b"\1" * 32)
    transaction = {
        "to": custodian_keys.load(world.data(f"custodian{place}")).relay.address,
        "value": 10**18,
        "gas": 21_000,
        "gasPrice": 10**10,
        "nonce": web3.eth.get_transaction_count(payer.address),
        "chainId": world.chain.chain_id,
    }
    web3.eth.send_raw_transaction(payer.sign_transaction(transaction).raw_transaction)


@pytest.mark.parametrize("place", daily(range(3), [1]))
def test_every_custodian_relays_a_revocation_also_when_it_refuses_to_turn(
    world: CustodyWorld, urls: list[str], keyed: bytes, place: int
) -> None:
    (patient,) = world.enrol_sealed(urls, [f"leaves {place}"], [VALUES[1]])
    fund(world, place)
    body = revocation_body(world, patient)
    with misled_custodian(world, place) as (url, proxy):
        refused("stale_head", turn_at, url, keyed)
        assert httpx.get(url + "/health", timeout=60).json()["reasons"] == ["stale_head"]
        assert post(url, "/revocations", body, timeout=60)["block"] > 0
        refused("stale_head", turn_at, url, keyed)  # still
        assert world.custodian(place).journal.turn(keyed) is None
        proxy.lie = honest
        assert turn_at(url, keyed)["place"] == place
    assert world.chain.consent_of(world.dataset, patient.address).state_number == 0
    refused("superseded_revocation", post, urls[place], "/revocations", body, timeout=60)
    del world.records[patient.address]


def revocation_body(world: CustodyWorld, patient: LocalAccount) -> dict[str, Any]:
    revocation = Revocation(patient.address, world.dataset, 1)
    signature = sign(revocation, world.chain.domain("ConsentRegistry"), patient)
    return {
        "revocation": revocation.to_json(),
        "signer": patient.address,
        "signature": to_hex(signature),
    }


@contextmanager
def misled_custodian(world: CustodyWorld, place: int) -> Iterator[tuple[str, LyingProxy]]:
    """It sees the chain through a node whose head is years old, until the proxy is told otherwise."""
    proxy = LyingProxy(world.node_url)
    proxy.lie, _ = NODE_LIES["stale"]
    try:
        with served_custodian(world.custodian(place, node_url=proxy.url)) as url:
            yield url, proxy
    finally:
        proxy.close()


# --- crashes, erasure, backups


def test_sigkill_and_restart_change_no_byte_of_a_turn_or_an_answer(
    world: CustodyWorld, urls: list[str], tmp_path: Path
) -> None:
    custodian = Process("custodian", world.custodian_config(0), tmp_path)
    gate = Process("gate", world.gate_config([custodian.url, *urls[1:]]), tmp_path)
    request = world.keyed_request("sigkill", gate.url)
    key = world.gate_key(gate.url, request)
    turn = turn_at(custodian.url, request)
    custodian.kill()
    custodian.start()
    assert turn_at(custodian.url, request) == turn
    gate.kill()
    gate = Process("gate", world.gate_config([custodian.url, *urls[1:]]), tmp_path)
    assert world.gate_key(gate.url, request) == key
    answer = compute(world, gate.url, request)
    gate.kill()
    gate.start()
    assert compute(world, gate.url, request) == answer
    assert settle_at(custodian.url, answer)["place"] == 0
    assert custodian.stop() == 0
    assert gate.stop() == 0
    logs = custodian.log.read_text() + gate.log.read_text()
    told = [json.loads(line) for line in logs.splitlines()]
    by_chance = {
        "time",
        "url",
        "request",
        "seconds",
    }  # whose digits are a clock's, a port's, a hash's
    facts = [{name: line[name] for name in line.keys() - by_chance} for line in told]
    assert "serving" in str(facts)
    assert str(CANARY) not in str(facts)
    acts = [line for line in told if "outcome" in line]
    assert {line["request"] for line in acts} == {to_hex(request)}
    came_of = {name: [line["outcome"] for line in acts if line["event"] == name] for name in ACTS}
    for name, (first, *others) in came_of.items():
        assert first == ACTS[name]
        assert set(others) == {"repeated"}, f"{name}: {others}"


ACTS = {"turn": "turned", "signature": "signed", "answer": "answered"}
"""What came of each act on a request when it was done first."""


@pytest.mark.long
def test_a_custodian_starts_without_its_chain_says_so_and_recovers(
    world: CustodyWorld, keyed: bytes, tmp_path: Path
) -> None:
    config = world.custodian_config(0, node_url="http://127.0.0.1:9", node_timeout=1.0)
    custodian = Process("custodian", config, tmp_path)
    health = httpx.get(custodian.url + "/health", timeout=30).json()
    assert health == {"ready": False, "reasons": ["node_unreachable"]}
    refused("node_unreachable", turn_at, custodian.url, keyed)
    assert custodian.stop() == 0
    custodian = Process("custodian", world.custodian_config(0), tmp_path)
    assert httpx.get(custodian.url + "/health", timeout=30).json()["ready"] is True
    assert turn_at(custodian.url, keyed)["place"] == 0
    assert custodian.stop() == 0


def test_a_full_disk_refuses_a_turn_and_releases_nothing(world: CustodyWorld, keyed: bytes) -> None:
    full = world.custodian(1, max_pages=1)  # SQLite takes what the file has for the least
    full.watch.catch_up()
    fill(full.journal)
    before = full.journal.head()
    with served_custodian(full) as url:
        found = refused("storage_full", turn_at, url, keyed)
    assert found.field == "disk"
    assert "Free disk space" in found.remedy
    assert full.journal.head() == before
    assert full.journal.turn(keyed) is None
    with served_custodian(world.custodian(1)) as url:
        assert turn_at(url, keyed)["place"] == 1


def test_a_gate_with_a_full_disk_answers_nothing_and_later_one_answer(
    world: CustodyWorld, urls: list[str], gate: str, keyed: bytes
) -> None:
    full = world.gate(urls, max_pages=1)  # SQLite takes what the file has for the least
    fill_gate(full.journal)
    with served_gate(full) as url:
        found = refused("storage_full", compute, world, url, keyed)
    assert found.field == "disk"
    assert "Free disk space" in found.remedy
    assert full.journal.find(keyed) is None
    with transaction(full.journal.engine) as session:
        session.execute(delete(ComputationRow).where(ComputationRow.gate_signature == FILLER))
    with served_gate(world.gate(urls)) as url:
        answer = compute(world, url, keyed)
        assert compute(world, url, keyed) == answer
    # Whoever had noted another answer before would sign no second one.
    assert [settle_at(url, answer)["place"] for url in urls] == [0, 1, 2]


FILLER = b"filler"


def fill_gate(journal: GateJournal) -> None:
    """Answers, smaller and smaller, until none fits any more."""
    numbers = itertools.count()

    def add_until_full(size: int) -> None:
        while True:
            request = next(numbers).to_bytes(32, "big")
            row = ComputationRow(
                request=request,
                settlement="x" * size,
                sealed_result=b"",
                gate_signature=FILLER,
                turns="",
            )
            journal.keep_first(row)

    for size in (3000, 100, 1):
        refused("storage_full", add_until_full, size)


def fill(journal: Journal) -> None:
    """Entries, smaller and smaller, until none fits any more."""

    def add_until_full(size: int) -> None:
        while True:
            with journal.writing() as session:
                journal.append(session, "filler", {"text": "x" * size})

    for size in (3000, 100):
        refused("storage_full", add_until_full, size)


def test_an_erased_share_is_gone_also_from_a_restored_backup(
    world: CustodyWorld, urls: list[str], gate: str, tmp_path: Path
) -> None:
    patient = world.enrol_sealed(urls, ["erases"], [VALUES[2]])[0]
    commitment = world.records[patient.address].commitment
    deposit = world.deposit_body(patient.address, 2)
    keyed = world.keyed_request("erasure", gate)
    custodian = world.custodian(2)
    backup = tmp_path / "backup"
    back_up(world.data("custodian2"), backup)
    fund(world, 2)
    erasure = Erasure(patient.address, world.dataset, 1)
    signature = sign(erasure, world.chain.domain("ConsentRegistry"), patient)
    body = {"erasure": erasure.to_json(), "signature": to_hex(signature)}
    post(urls[2], "/erasures", body, timeout=60)

    def holds(data: Path) -> bool:
        restored = world.custodian(2, data=data)
        return restored.journal.share(commitment) is not None

    assert turn_at(urls[2], keyed)["place"] == 2  # the cohort was sealed; this member is null
    assert not holds(world.data("custodian2"))
    assert custodian.anchor()
    assert holds(backup)
    restored = world.custodian(2, data=backup)
    with served_custodian(restored) as url:
        assert httpx.get(url + "/health", timeout=30).json()["reasons"] == ["journal_behind"]
        refused("journal_behind", turn_at, url, keyed)
        refused("journal_behind", post, url, "/shares", deposit, timeout=60)
    with pytest.raises(JournalBehind):
        restored.require_current()
    restored.watch.catch_up()  # even a backup that was never anchored learns of it from the chain
    assert not holds(backup)
    refused("record_erased", post, urls[2], "/shares", deposit, timeout=60)
    del world.records[patient.address]
    answer = compute(world, gate, keyed)  # its ciphertext may be gone too: it counts as null
    assert answer["faults"] == []


def test_a_restored_custodian_destroys_what_was_erased_before_anybody_asks_it(
    world: CustodyWorld, urls: list[str], tmp_path: Path
) -> None:
    patient = world.enrol_sealed(urls, ["erases too"], [VALUES[3]])[0]
    commitment = world.records.pop(patient.address).commitment
    backup = tmp_path / "backup"
    back_up(world.data("custodian1"), backup)
    world.erase(patient)
    restored = world.custodian(1, data=backup)
    assert restored.journal.share(commitment) is not None
    process = Process("custodian", world.custodian_config(1, data=backup), tmp_path)
    try:
        wait_until(lambda: restored.journal.is_erased(commitment))
    finally:
        assert process.stop() == 0
    assert restored.journal.share(commitment) is None


def test_an_erasure_that_becomes_final_late_spares_the_record_that_came_after_it(
    world: CustodyWorld, urls: list[str]
) -> None:
    patient = world.enrol_sealed(urls, ["comes back"], [VALUES[3]])[0]
    erased = world.records[patient.address].commitment
    late = world.custodian(2, confirmations=5)  # sees as final what is five blocks old
    world.erase(patient)
    world.seal_record(patient.address, VALUES[4], version=2)
    world.attest([patient.address], version=2)
    with served_custodian(late) as url:
        body = world.deposit_body(patient.address, 2)
        assert post(url, "/shares", body, timeout=60)["receipt"]["version"] == 2
    fresh = world.records.pop(patient.address).commitment
    for _ in range(6):
        world.tick()
    late.watch.catch_up()
    assert late.journal.is_erased(erased)
    assert late.journal.share(fresh) is not None


def wait_until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "in vain"
        time.sleep(0.1)


def test_a_peer_that_is_not_there_is_a_refusal() -> None:
    with pytest.raises(PeerUnreachable):
        post("http://127.0.0.1:9", "/turns", {}, timeout=2)
