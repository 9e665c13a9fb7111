"""Receipts against real contracts: built from the chain, verified with nothing but a node."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path as Folder
from typing import Any

import pytest
from click.testing import CliRunner, Result
from eth_utils.crypto import keccak
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.anchors import anchors_of
from marketplace.chain.adapter import Chain, Finality, NotYetFinal, PartialLogs
from marketplace.cli.main import main
from marketplace.cli.verify import RESTS_ON_THE_GATE
from marketplace.client.results import require_answer
from marketplace.errors import Refusal
from marketplace.receipts.build import NotSettled, build_receipt
from marketplace.receipts.verify import (
    STEPS,
    NotCounted,
    ReceiptInvalid,
    StateUnavailable,
    prove_membership,
    verify,
)
from marketplace.vocabulary import Lane
from marketplace.wire.canonical import canonical
from marketplace.wire.roots import RootMismatch
from marketplace.words import LANES
from tests.support.chain_world import account
from tests.support.daily import daily
from tests.support.mutations import Path, at, leaves, nudged, objects, with_value
from tests.support.nodes import LyingProxy, anvil_node, embedded_node
from tests.support.receipt_world import ANALYSIS, PARAMETERS, Settled, settle_one, settled_on

MEMBERS = [f"patient {n}" for n in range(4)] + [f"other patient {n}" for n in range(2)]


@pytest.fixture(scope="module", params=daily(["embedded", "anvil"], ["anvil"]))
def settled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settled]:
    folder = tmp_path_factory.mktemp("receipts")
    with embedded_node(folder) if request.param == "embedded" else anvil_node() as node:
        yield settled_on(node, Finality(use_tag=False))[1]


@pytest.fixture(scope="module")
def receipt(settled: Settled) -> dict[str, Any]:
    return settled.receipt()


@pytest.fixture(scope="module")
def remembering(settled: Settled) -> Iterator[Chain]:
    """The same node, asked everything once, so that thousands of verifications are quick."""
    monkeypatch = pytest.MonkeyPatch()
    chain = Chain(settled.chain.node.url, settled.chain.manifest, finality=Finality(0, False))
    provider = chain.node.web3.provider
    answers: dict[tuple[str, str], Any] = {}
    ask = provider.make_request

    def remember(method: Any, parameters: Any) -> Any:
        key = (method, repr(parameters))
        if key not in answers:
            answers[key] = ask(method, parameters)
        return answers[key]

    monkeypatch.setattr(provider, "make_request", remember)
    yield chain
    monkeypatch.undo()


def refused(document: Any, chain: Chain) -> ReceiptInvalid:
    with pytest.raises(ReceiptInvalid) as raised:
        verify(document, chain)
    assert raised.value.facts["step"] in STEPS
    assert raised.value.field
    return raised.value


# --- what holds


def test_a_settled_request_has_a_receipt_that_passes_every_step(
    settled: Settled, receipt: dict[str, Any]
) -> None:
    verified = verify(canonical(receipt), settled.chain, settled.opened)
    assert verified.steps == (*STEPS, "opened")
    assert verified.places == (0, 2)
    assert verified.receipt.to_json() == receipt


def test_a_receipt_is_the_same_bytes_whenever_it_is_built(
    settled: Settled, receipt: dict[str, Any]
) -> None:
    assert canonical(settled.receipt()) == canonical(receipt)


def test_a_settlement_inside_a_batch_has_a_receipt_too(settled: Settled) -> None:
    batched = settle_one(settled.world, "batched", (1, 2), batched=True)
    assert verify(batched.receipt(), settled.chain).places == (1, 2)


def test_a_request_that_is_not_settled_has_no_receipt(settled: Settled) -> None:
    request = settled.world.open(settled.world.terms("only opened"))
    with pytest.raises(NotSettled) as raised:
        build_receipt(settled.chain, request, ANALYSIS, PARAMETERS)
    assert raised.value.facts["stage"] == "opened"


# --- what a changed receipt meets


def test_no_single_value_can_be_changed(receipt: dict[str, Any], remembering: Chain) -> None:
    verify(receipt, remembering)
    for path in leaves(receipt):
        refused(with_value(receipt, path, nudged(at(receipt, path))), remembering)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_bit_can_be_flipped(
    receipt: dict[str, Any], remembering: Chain, data: st.DataObject
) -> None:
    raw = bytearray(canonical(receipt))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    refused(bytes(raw), remembering)


EXPECTED: dict[Path, tuple[str, str]] = {
    ("chain_id",): ("deployment", "chain_id"),
    ("genesis_hash",): ("deployment", "genesis_hash"),
    ("contracts", "ResearchMarket", "code_hash"): ("deployment", "contracts.ResearchMarket"),
    ("request",): ("request", "request"),
    ("terms", "salt"): ("request", "request"),
    ("price",): ("request", "price"),
    ("parameters",): ("parameters", "parameters"),
    ("analysis",): ("analysis", "analysis"),
    ("cohort", "members"): ("shards", "cohort.members"),
    ("cohort", "shards", 1, "bitmaps"): ("shards", "cohort.shards[1].members"),
    ("cohort", "root"): ("cohort", "cohort.root"),
    ("settlement", "root"): ("settlement", "settlement.root"),
    ("sealed_result",): ("delivery", "sealed_result"),
    ("gate_key",): ("storage", "gate_key"),
    ("settlement", "resultHash"): ("storage", "settlement.result_hash"),
    ("settlement", "ciphertextRoot"): ("events", "settlement"),
    ("committee", "quorum"): ("committee", "committee.quorum"),
    ("blocks", "frozen"): ("events", "blocks.frozen"),
    ("block_hashes", "settled"): ("events", "block_hashes.settled"),
    ("transactions", "opened"): ("events", "transactions.opened"),
    ("signatures", 1, "place"): ("signatures", "signatures[1].place"),
    ("signatures", 0, "signature"): ("signatures", "signatures[0].signature"),
}


@pytest.mark.parametrize(("path", "where"), EXPECTED.items())
def test_the_refusal_says_where(
    path: Path, where: tuple[str, str], receipt: dict[str, Any], remembering: Chain
) -> None:
    refusal = refused(with_value(receipt, path, nudged(at(receipt, path))), remembering)
    assert (refusal.facts["step"], refusal.field) == where


def test_no_object_takes_another_key_or_lacks_one(
    receipt: dict[str, Any], remembering: Chain
) -> None:
    for path in objects(receipt):
        refused(with_value(receipt, (*path, "extra"), "1"), remembering)
        for key in at(receipt, path):
            lacking = with_value(receipt, (*path, key), None)
            del at(lacking, path)[key]
            refused(lacking, remembering)


def test_shards_and_signatures_cannot_be_reordered(
    receipt: dict[str, Any], remembering: Chain
) -> None:
    shards = receipt["cohort"]["shards"][::-1]
    refusal = refused(with_value(receipt, ("cohort", "shards"), shards), remembering)
    assert refusal.facts["step"] == "cohort"
    signatures = receipt["signatures"][::-1]
    refusal = refused(with_value(receipt, ("signatures",), signatures), remembering)
    assert refusal.facts["step"] == "signatures"


def test_one_signature_under_the_quorum_is_refused(
    receipt: dict[str, Any], remembering: Chain
) -> None:
    short = with_value(receipt, ("signatures",), receipt["signatures"][:1])
    assert refused(short, remembering).facts["step"] == "signatures"
    lowered = with_value(short, ("committee", "quorum"), 1)
    assert refused(lowered, remembering).facts["step"] == "committee"


def test_a_signature_cannot_stand_at_another_place(
    receipt: dict[str, Any], remembering: Chain
) -> None:
    moved = with_value(receipt, ("signatures", 0, "place"), 1)
    assert refused(moved, remembering).field == "signatures[0].signature"


def test_the_same_signature_does_not_count_twice(
    receipt: dict[str, Any], remembering: Chain
) -> None:
    doubled = with_value(receipt, ("signatures",), [receipt["signatures"][0]] * 2)
    assert refused(doubled, remembering).facts["step"] == "signatures"


def test_a_signature_beyond_the_quorum_cannot_be_dropped(settled: Settled) -> None:
    three = settle_one(settled.world, "three signatures", (0, 1, 2)).receipt()
    dropped = with_value(three, ("signatures",), three["signatures"][:2])
    assert refused(dropped, settled.chain).facts["step"] == "settle_call"


def test_the_settlement_of_another_request_is_refused(
    settled: Settled, receipt: dict[str, Any]
) -> None:
    other = settle_one(settled.world, "another", (0, 2)).receipt()
    parts = ("settlement", "signatures", "sealed_result")
    grafted = {**receipt, **{name: other[name] for name in parts}}
    assert refused(grafted, settled.chain).field == "settlement.request"
    renamed = with_value(grafted, ("settlement", "request"), receipt["request"])
    renamed = with_value(renamed, ("settlement", "root"), receipt["cohort"]["root"])
    assert refused(renamed, settled.chain).facts["step"] == "storage"


def test_custodians_who_together_sign_a_false_ciphertext_root_are_found_out(
    settled: Settled,
) -> None:
    false = settle_one(settled.world, "false root", (0, 2), ciphertexts=keccak(text="others"))
    refusal = refused(false.receipt(), settled.chain)
    assert refusal.facts["step"] == "ciphertexts"
    assert refusal.field == "settlement.ciphertext_root"


def test_a_manifest_of_another_chain_is_refused_and_says_nothing_of_the_receipt(
    settled: Settled, receipt: dict[str, Any]
) -> None:
    elsewhere = replace(settled.chain.manifest, genesis_hash=keccak(text="elsewhere"))
    with pytest.raises(Refusal) as raised:
        verify(receipt, Chain(settled.chain.node.url, elsewhere))
    assert raised.value.code == "wrong_chain"


@pytest.mark.parametrize("field", ["genesis_hash", "deployed_block"])
def test_a_receipt_of_another_deployment_is_refused(
    settled: Settled, receipt: dict[str, Any], field: str
) -> None:
    other = {"genesis_hash": "0x" + keccak(text="elsewhere").hex(), "deployed_block": 1 << 30}[
        field
    ]
    refusal = refused({**receipt, field: other}, settled.chain)
    assert (refusal.facts["step"], refusal.field) == ("deployment", field)


# --- the opened result


def test_only_the_result_that_was_signed_passes_as_opened(
    settled: Settled, receipt: dict[str, Any], remembering: Chain
) -> None:
    opened = settled.opened
    other = settle_one(settled.world, "another result", (0, 2)).opened
    for wrong in (other, replace(opened, salt=other.salt), replace(opened, result=b"{}")):
        with pytest.raises(ReceiptInvalid) as raised:
            verify(receipt, remembering, wrong)
        assert raised.value.facts["step"] == "opened"


FALSE_CLAIMS: dict[str, dict[str, Any]] = {
    "analysis": {"analysis": "sum.v1"},
    "parameters": {"parameters": {"variable": "diastolic"}},
    "cohort_size": {"cohort_size": len(MEMBERS) + 1},
    "cost_nano_rho": {"noised": {"value": "129.4", "cost_nano_rho": 1 << 40}},
}


@pytest.mark.parametrize(
    "claims",
    daily(FALSE_CLAIMS.values(), [FALSE_CLAIMS["cohort_size"], FALSE_CLAIMS["cost_nano_rho"]]),
    ids=FALSE_CLAIMS,
)
def test_a_signed_result_of_another_question_cohort_or_cost_is_neither_verified_nor_shown(
    settled: Settled, claims: dict[str, Any]
) -> None:
    (part,) = claims
    other = settle_one(settled.world, f"claims {claims}", (0, 2), claims=claims)
    with pytest.raises(ReceiptInvalid) as invalid:
        verify(other.receipt(), settled.chain, other.opened)
    assert invalid.value.facts["step"] == "opened"
    assert (invalid.value.field or "").startswith(f"result.{part}")
    with pytest.raises(Refusal) as refusal:
        require_answer(settled.chain, other.request, other.opened)
    assert refusal.value.code == "another_answer"
    assert part in (refusal.value.field or "") or part == "noised"


def test_a_result_is_shown_only_for_the_request_that_it_was_signed_for(settled: Settled) -> None:
    require_answer(settled.chain, settled.request, settled.opened)
    other = replace(settled.opened, salt=bytes(32))
    with pytest.raises(Refusal) as refusal:
        require_answer(settled.chain, settled.request, other)
    assert refusal.value.code == "result_mismatch"


# --- what a verified receipt is of


def typed(settled: Settled, receipt: dict[str, Any], folder: Folder, *more: str) -> Result:
    """`usufruct verify-receipt`, with the manifest that the settlement's chain was opened with."""
    (folder / "receipt.json").write_bytes(canonical(receipt))
    settled.chain.manifest.save(folder / "manifest.json")
    there = Chain(settled.chain.node.url, settled.chain.manifest)
    while there.finalized() < receipt["blocks"]["settled"]:
        there.node.mine()
    given = ["verify-receipt", str(folder / "receipt.json"), "--node", settled.chain.node.url]
    given += ["--manifest", str(folder / "manifest.json"), *more]
    return CliRunner().invoke(main, given)


def test_whoever_verifies_a_receipt_is_told_what_it_is_of(
    settled: Settled, receipt: dict[str, Any], tmp_path: Folder
) -> None:
    shown = json.loads(typed(settled, receipt, tmp_path).stdout)
    view, block = settled.chain.request(settled.request), receipt["blocks"]["settled"]
    time = datetime.fromtimestamp(settled.chain.node.header(block).timestamp, UTC)
    assert shown == {
        "verified": True,
        "in_words": [LANES[Lane.VAULT], RESTS_ON_THE_GATE.format(gate=view.gate)],
        "lane": "vault",
        "steps": list(STEPS),
        "request": "0x" + settled.request.hex(),
        "researcher": view.researcher,
        "dataset": "0x" + view.dataset.hex(),
        "analysis": ANALYSIS,
        "parameters": PARAMETERS.decode(),
        "cohort_size": len(MEMBERS),
        "cost_nano_rho": view.cost,
        "settled": {"block": block, "time": time.strftime("%Y-%m-%d %H:%M:%S UTC")},
    }


def test_a_genuine_receipt_of_another_request_does_not_pass_for_the_one_meant(
    settled: Settled, receipt: dict[str, Any], tmp_path: Folder
) -> None:
    own, another = "0x" + settled.request.hex(), "0x" + "11" * 32
    assert typed(settled, receipt, tmp_path, "--request", own).exit_code == 0
    said = typed(settled, receipt, tmp_path, "--request", another)
    assert said.exit_code == 1
    assert "[another_receipt] (field request)" in said.output
    assert "verified" not in said.stdout


# --- nodes that cannot answer


def test_a_settlement_that_is_not_final_is_not_verified(
    settled: Settled, receipt: dict[str, Any]
) -> None:
    patient = Finality(confirmations=10_000, use_tag=False)
    with pytest.raises(NotYetFinal):
        verify(receipt, Chain(settled.chain.node.url, settled.chain.manifest, finality=patient))


def test_a_node_that_pruned_the_state_of_the_seal_verifies_from_its_logs() -> None:
    with anvil_node("--prune-history", "8") as node:
        settled = settled_on(node, Finality(use_tag=False))[1]
        receipt = settled.receipt()
        settled.chain.node.request("anvil_mine", [20])
        assert verify(receipt, settled.chain).steps == STEPS
        assert settled.receipt() == receipt


def test_a_node_that_has_neither_state_nor_logs_of_the_records_is_told_apart() -> None:
    with anvil_node("--prune-history", "8") as node:
        settled = settled_on(node, Finality(use_tag=False))[1]
        receipt = settled.receipt()
        settled.chain.node.request("anvil_mine", [20])
        registry = settled.chain.manifest.address("DatasetRegistry").lower()

        def refuse(method: str, result: Any) -> Any:
            about = result[:1] if method == "eth_getLogs" else []
            return "pruned" if any(log["address"].lower() == registry for log in about) else result

        with lying(settled, refuse) as chain, pytest.raises(StateUnavailable) as raised:
            verify(receipt, chain)
        assert raised.value.code == "state_unavailable"
        assert "archive node" in raised.value.remedy


def test_a_node_without_the_settling_transaction_is_told_apart(
    settled: Settled, receipt: dict[str, Any]
) -> None:
    def forget(method: str, result: Any) -> Any:
        return None if method == "eth_getTransactionByHash" else result

    with lying(settled, forget) as chain, pytest.raises(StateUnavailable) as raised:
        verify(receipt, chain)
    assert raised.value.field == "transactions.settled"


def test_a_node_without_the_logs_is_told_apart(settled: Settled, receipt: dict[str, Any]) -> None:
    def forget(method: str, result: Any) -> Any:
        return [] if method == "eth_getLogs" else result

    with lying(settled, forget) as chain, pytest.raises(PartialLogs):
        verify(receipt, chain)


def test_what_a_receipt_is_held_against_is_all_of_it_or_what_the_node_still_has(
    settled: Settled, receipt: dict[str, Any]
) -> None:
    whole = anchors_of(settled.chain, settled.request)
    told = whole["receipt"]
    assert (whole["stage"], whole["final"]) == ("settled", True)
    named = {"blocks", "block_hashes", "transactions", "settlement", "signatures"}
    assert all(told[name] == receipt[name] for name in told if name != "cohort")
    assert told.keys() >= named
    for gone, empty in (("eth_getLogs", []), ("eth_getTransactionByHash", None)):
        answer = partial(without, gone, empty)
        with lying(settled, answer) as chain:
            less = anchors_of(chain, settled.request)
        kept = {name: part for name, part in told.items() if name not in named}
        assert (less["receipt"], less["final"]) == (kept, False)


def without(gone: str, empty: object, method: str, result: object) -> object:
    return empty if method == gone else result


@contextmanager
def lying(settled: Settled, lie: Any) -> Iterator[Chain]:
    proxy = LyingProxy(settled.chain.node.url)
    proxy.lie = lambda method, _, result: lie(method, result)
    try:
        yield Chain(proxy.url, settled.chain.manifest, finality=Finality(use_tag=False))
    finally:
        proxy.close()


# --- membership


def test_every_member_can_prove_to_have_been_counted(
    settled: Settled, receipt: dict[str, Any]
) -> None:
    request, root = (
        bytes.fromhex(receipt["request"][2:]),
        settled.chain.request(settled.request).root,
    )
    for name in MEMBERS:
        proof = prove_membership(receipt, settled.chain, account(name).address)
        proof.verify(settled.chain.chain_id, settled.chain.market, request, root)
        with pytest.raises(RootMismatch):
            proof.verify(settled.chain.chain_id, settled.chain.market, request, keccak(root))


def test_nobody_else_can(settled: Settled, receipt: dict[str, Any]) -> None:
    with pytest.raises(NotCounted):
        prove_membership(receipt, settled.chain, account("stranger").address)


def test_no_refusal_repeats_the_sealed_result(receipt: dict[str, Any], remembering: Chain) -> None:
    broken = with_value(receipt, ("sealed_result",), receipt["sealed_result"][:-8])
    with pytest.raises(Refusal) as raised:
        verify(broken, remembering)
    assert receipt["sealed_result"][:24] not in str(raised.value) + json.dumps(raised.value.facts)
