"""Custodians and gate over HTTP, on a real chain; processes where the rule is about processes."""

import base64
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account
from eth_utils.crypto import keccak

from marketplace.chain.deploy import CommitteeSeat, open_epoch
from marketplace.custodian import keys as custodian_keys
from marketplace.custodian.journal import Journal, JournalBehind
from marketplace.custodian.main import build
from marketplace.custodian.rewrap import rewrap
from marketplace.errors import Refusal
from marketplace.wire.canonical import canonical, parse
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.http_client import PeerUnreachable, post
from marketplace.wire.structs import (
    Erasure,
    Revocation,
    Settlement,
    TurnCertificate,
    recover,
    sign,
)
from tests.support.chain_world import account
from tests.support.custody_world import (
    DICTIONARY,
    PARAMETERS,
    CustodyWorld,
    Process,
    ciphertext_json,
    custody_world,
    served_custodian,
    served_gate,
)
from tests.support.nodes import embedded_node

CANARY = 137  # mm[Hg]; only one member has it
VALUES: list[dict[str, Any]] = [
    {"systolic": Decimal(v), "smoker": "yes"} for v in (CANARY, 101, 102, 103, 104)
]
NAMES = [f"patient {i}" for i in range(len(VALUES))]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CustodyWorld]:
    folder = tmp_path_factory.mktemp("custody")
    with embedded_node(folder) as node, ExitStack() as stack:
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
    return post(gate, "/computations", body, timeout=120)


def settle_at(url: str, answer: dict[str, Any], **changes: Any) -> dict[str, Any]:
    body = {name: answer[name] for name in ("settlement", "sealed_result", "gate_signature")}
    return post(url, "/settlements", body | changes, timeout=60)


def turn_at(url: str, request: bytes) -> dict[str, Any]:
    return post(url, "/turns", {"request": to_hex(request)}, timeout=60)


def refused(code: str, act: Any, *arguments: Any, **named: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        act(*arguments, **named)
    assert caught.value.code == code, caught.value
    return caught.value


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
    world.record_key(request, post(gate, "/keys", {"request": to_hex(request)}, timeout=60))
    refused("unknown_analysis", turn_at, urls[0], request)
    refused("wrong_analysis", compute, world, gate, request)


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
        refused("wrong_epoch", turn_at, url, keyed)


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
    ["root", "epoch", "lane", "schema", "ciphertextRoot", "noise", "deliveryHash", "gate"],
)
def test_no_settlement_with_a_field_that_is_not_the_chains(
    world: CustodyWorld, urls: list[str], gate: str, field: str
) -> None:
    request = world.seal_request("settlement " + field)
    world.record_key(request, post(gate, "/keys", {"request": to_hex(request)}, timeout=60))
    answer = compute(world, gate, request)
    wrong = {"epoch": 9, "lane": 2, "schema": 2, "gate": world.sender.address}
    document = answer["settlement"] | {field: wrong.get(field, to_hex(b"\7" * 32))}
    changed = Settlement.from_json(document)
    signature = to_hex(sign(changed, world.chain.domain("ResearchMarket"), gate_key(world)))
    found = refused(
        "settlement_mismatch",
        settle_at,
        urls[0],
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
    refused("bad_signature", settle_at, urls[0], answer, gate_signature=to_hex(stranger))
    refused("settlement_mismatch", settle_at, urls[0], answer, sealed_result=to_base64(b"other"))


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


def test_records_may_come_in_pages_and_missing_ones_are_null(
    world: CustodyWorld, gate: str, keyed: bytes
) -> None:
    patients = everyone(world)
    pages = [patients[:2], patients[2:3]]
    for page in pages:
        records = [ciphertext_json(each, world.records[each]) for each in page]
        path = f"/computations/{to_hex(keyed)}/records"
        held = post(gate, path, {"records": records}, timeout=60)["held"]
    assert held == 3
    body = {"request": to_hex(keyed), "parameters": PARAMETERS, "dictionary": DICTIONARY}
    answer = post(gate, "/computations", body, timeout=120)
    sealed = base64.b64decode(answer["sealed_result"])
    assert world.open_result(keyed, sealed).document["cohort_size"] == len(NAMES)
    stranger = f"/computations/{to_hex(bytes(32))}/records"
    refused("not_drawn", post, gate, stranger, {"records": []}, timeout=60)


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


def test_bodies_are_bounded_and_errors_say_what_to_do(urls: list[str], gate: str) -> None:
    for url, size in ((urls[0], 300_000), (gate, 17_000_000)):
        answer = httpx.post(url + "/keys", content=b"x" * size, timeout=30)
        assert answer.status_code in (404, 413)
        answer = httpx.post(f"{url}/turns" if url != gate else f"{url}/keys", content=b"x" * size)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
    answer = httpx.post(urls[0] + "/turns", content=b'{"request":"0x00"}')
    assert answer.status_code == 400
    assert {"type", "title", "status", "detail", "code", "remedy", "field"} == set(answer.json())
    for body in (b"", b"[]", b'{"request":1.5}', b"{" * 5000, b'{"request":"a","request":"b"}'):
        answer = httpx.post(urls[0] + "/turns", content=body)
        assert answer.status_code == 400
        assert answer.json()["code"] in ("malformed_json", "bad_parameter")
    assert httpx.get(urls[0] + "/nowhere").json()["code"] == "no_such_route"


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


def test_every_custodian_relays_a_revocation_also_when_it_refuses_to_turn(
    world: CustodyWorld, urls: list[str]
) -> None:
    patient = world.enrol_sealed(urls, ["leaves"], [VALUES[1]])[0]
    fund(world, 0)
    revocation = Revocation(patient.address, world.dataset, 1)
    signature = sign(revocation, world.chain.domain("ConsentRegistry"), patient)
    body = {
        "revocation": revocation.to_json(),
        "signer": patient.address,
        "signature": to_hex(signature),
    }
    with served_custodian(world.custodian(0, max_head_age=1)) as url:
        world.tick()
        assert post(url, "/revocations", body, timeout=60)["block"] > 0
    assert world.chain.consent_of(world.dataset, patient.address).state_number == 0
    refused("superseded_revocation", post, urls[0], "/revocations", body, timeout=60)
    del world.records[patient.address]


# --- crashes, erasure, backups


def test_sigkill_and_restart_change_no_byte_of_a_turn_or_an_answer(
    world: CustodyWorld, urls: list[str], tmp_path: Path
) -> None:
    custodian = Process("custodian", world.custodian_config(0), tmp_path)
    gate = Process("gate", world.gate_config([custodian.url, *urls[1:]]), tmp_path)
    request = world.keyed_request("sigkill", gate.url)
    key = post(gate.url, "/keys", {"request": to_hex(request)}, timeout=60)
    turn = turn_at(custodian.url, request)
    custodian.kill()
    custodian.start()
    assert turn_at(custodian.url, request) == turn
    gate.kill()
    gate = Process("gate", world.gate_config([custodian.url, *urls[1:]]), tmp_path)
    assert post(gate.url, "/keys", {"request": to_hex(request)}, timeout=60) == key
    answer = compute(world, gate.url, request)
    gate.kill()
    gate.start()
    assert compute(world, gate.url, request) == answer
    assert settle_at(custodian.url, answer)["place"] == 0
    assert custodian.stop() == 0
    assert gate.stop() == 0
    logs = custodian.log.read_bytes() + gate.log.read_bytes()
    assert str(CANARY).encode() not in logs


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
    assert "Free disk space" in found.remedy
    assert full.journal.head() == before
    assert full.journal.turn(keyed) is None
    with served_custodian(world.custodian(1)) as url:
        assert turn_at(url, keyed)["place"] == 1


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
    shutil.copytree(world.data("custodian2"), backup)
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
    answer = compute(world, gate, keyed)
    assert answer["faults"] == []
    del world.records[patient.address]


def test_shares_go_over_to_the_next_epochs_key_and_open_as_before(
    world: CustodyWorld, urls: list[str], gate: str
) -> None:
    seats = []
    for place in range(3):
        made = custodian_keys.create(world.data(f"custodian{place}"), 2)
        seats.append(CommitteeSeat(made["signer"], bytes.fromhex(made["x25519"][2:])))
    successor = custodian_keys.create(world.data("successor"), 2)
    seats[1] = CommitteeSeat(successor["signer"], bytes.fromhex(successor["x25519"][2:]))
    epoch = open_epoch(world.sender, seats, 2, world.chain.committee().gates)
    old = world.custodian(1)
    lines = list(rewrap(world.chain, old.journal, old.vault, epoch))
    height = old.journal.head().height
    assert len(lines) == len(list(rewrap(world.chain, old.journal, old.vault, epoch)))
    assert old.journal.head().height == height
    with served_custodian(world.custodian(1, data=world.data("successor"))) as heir:
        for line in lines:
            given = post(heir, "/shares", parse(line, limit=100_000), timeout=60)
            assert given["receipt"]["epoch"] == epoch
            assert canonical(parse(line, limit=100_000)) == line
        refused("wrong_epoch", post, urls[1], "/shares", parse(lines[0], limit=9**9), timeout=60)
        request = world.keyed_request("rotated", gate)
        with served_gate(world.gate([urls[0], heir])) as new_gate:
            answer = compute(world, new_gate, request)
    assert [turn["place"] for turn in answer["turns"]] == [0, 1]
    assert {fault["place"]: fault["code"] for fault in answer["faults"]} == {2: "peer_unreachable"}


def test_a_peer_that_is_not_there_is_a_refusal() -> None:
    with pytest.raises(PeerUnreachable):
        post("http://127.0.0.1:9", "/turns", {}, timeout=2)
