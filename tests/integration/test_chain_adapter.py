"""The adapter and the sender against real contracts, on our own node and on anvil."""

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from eth_utils.crypto import keccak

from marketplace.chain import offers, transactor
from marketplace.chain.adapter import (
    Chain,
    ConsentState,
    ContractRefusal,
    Finality,
    ForgedLogs,
    Manifest,
    NodeFault,
    NodeUnreachable,
    NotSealed,
    NotYetFinal,
    PartialLogs,
    Reorganised,
    RequestStage,
    StaleHead,
    WrongChain,
    WrongCode,
)
from marketplace.chain.deploy import DeploySettings, deploy
from marketplace.chain.manifest import Deployed
from marketplace.chain.outcome import OutcomeUnknown
from marketplace.chain.rpc import Node
from marketplace.chain.sender import Sender
from marketplace.errors import Refusal
from marketplace.wire.roots import prove_inclusion
from marketplace.wire.structs import EarningsWithdrawal, Revocation, dataset_id, sign
from tests.contracts.hostile_code import assemble
from tests.support.chain_world import POLICY, TERMS, World, account, commitment_of, world_on
from tests.support.daily import daily
from tests.support.nodes import LyingProxy, anvil_node, embedded_node, honest

STRANGER = "0x00000000000000000000000000000000000000AA"


@pytest.fixture(scope="module", params=daily(["embedded", "anvil"], ["anvil"]))
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("chain")
    with embedded_node(folder) if request.param == "embedded" else anvil_node() as node:
        made = world_on(node)
        made.enrol([f"patient {number}" for number in range(6)])
        yield made


@pytest.fixture(scope="module")
def sealed(world: World) -> bytes:
    return world.sealed("first")


@pytest.fixture
def liar(world: World) -> Iterator[LyingProxy]:
    proxy = LyingProxy(world.chain.node.url)
    yield proxy
    proxy.close()


def through(proxy: LyingProxy, world: World, **options: Any) -> Chain:
    return Chain(proxy.url, world.manifest, **options)


# --- cohorts


def test_a_sealed_cohort_is_the_consenting_patients_in_place_order(
    world: World, sealed: bytes
) -> None:
    cohort = world.chain.sealed_cohort(sealed)
    expected = [account(f"patient {number}").address for number in range(6)]
    assert list(cohort.patients)[:6] == expected
    assert cohort.root == world.chain.request(sealed).root
    assert cohort.seal_block_hash == world.chain.block_hash(cohort.seal_block)


def test_every_member_has_an_inclusion_proof_that_leads_to_the_root_on_chain(
    world: World, sealed: bytes
) -> None:
    cohort, shards = world.chain.sealed_cohort(sealed), world.chain.sealed_shards(sealed)
    for member in cohort.members:
        proof = prove_inclusion(shards, 0, member.place)
        proof.verify(world.chain.chain_id, world.chain.market, sealed, cohort.root)


def test_a_place_that_changes_hands_after_the_seal_still_names_who_was_sealed(world: World) -> None:
    mover, newcomer = world.enrol(["mover"])[0], "newcomer"
    request = world.sealed("changes hands")
    place = world.chain.consent_of(world.dataset, mover.address).place
    world.tick()
    world._batch("ConsentRegistry", [world.grant(mover, 1, sequence=2)])
    taker = world.enrol([newcomer])[0]
    assert world.chain.consent_of(world.dataset, taker.address).place == place
    patients = world.chain.sealed_cohort(request).patients
    assert mover.address in patients
    assert taker.address not in patients


def test_a_patient_who_revoked_before_the_seal_is_in_no_cohort(
    world: World, liar: LyingProxy
) -> None:
    leaver = world.enrol(["leaver"])[0]
    place = world.chain.consent_of(world.dataset, leaver.address).place
    revocation = Revocation(leaver.address, world.dataset, 1)
    signature = sign(revocation, world.chain.domain("ConsentRegistry"), leaver)
    world.sender.send("ConsentRegistry", "revokeBySig", revocation, leaver.address, signature)
    assert world.chain.consent_of(world.dataset, leaver.address).state is ConsentState.NONE
    request = world.sealed("left")
    assert leaver.address not in world.chain.sealed_cohort(request).patients

    def put_back(method: str, _: list[Any], result: Any) -> Any:
        """In the seal event, the one who left stands in for another: the numbers still agree."""
        for log in result if method == "eth_getLogs" else []:
            data = bytearray.fromhex(log["data"][2:])
            data[-13] ^= 1  # seat 0; behind the word lie 12 bytes of padding
            data[-13 - place // 8] ^= 1 << place % 8
            log["data"] = "0x" + data.hex()
        return result

    liar.lie = put_back
    with pytest.raises(ForgedLogs):
        through(liar, world).sealed_cohort(request)


def test_two_classes_sealed_in_different_blocks_make_one_cohort_in_the_requests_order(
    world: World,
) -> None:
    other = world.enrol(["in class two"], class_=1)[0]
    request = world.sealed("two classes", classes=(1, 2))
    cohort = world.chain.sealed_cohort(request)
    assert [ref.class_ for ref in world.chain.request_shards(request)] == [1, 2]
    assert [member.shard.class_ for member in cohort.members] == sorted(
        member.shard.class_ for member in cohort.members
    )
    assert cohort.patients[-1] == other.address
    assert (
        Chain(world.chain.node.url, world.manifest, page_blocks=1).sealed_cohort(request) == cohort
    )


def test_an_unsealed_or_unknown_request_has_no_cohort(world: World) -> None:
    request = world.open(world.terms("only opened"))
    with pytest.raises(NotSealed) as refused:
        world.chain.sealed_cohort(request)
    assert refused.value.facts["stage"] == "opened"
    with pytest.raises(NotSealed):
        world.chain.sealed_cohort(keccak(text="nothing"))


# --- other reads


def test_terms_read_from_the_event_are_those_that_were_opened(world: World) -> None:
    terms = world.terms("terms")
    request = world.open(terms)
    assert world.chain.request_terms(request) == terms
    told = world.chain.call("ResearchMarket", "requestId", world.sender.address, terms)
    assert told == request
    assert world.chain.request(request).stage is RequestStage.OPENED
    with pytest.raises(Refusal, match="no request"):
        world.chain.request_terms(keccak(text="nothing"))


def test_datasets_classes_committee_and_policy_read_as_published(world: World) -> None:
    dataset = world.chain.dataset(world.dataset)
    assert (dataset.uri, dataset.classes, dataset.retired) == ("file:///d", 2, False)
    assert dataset.dictionary == keccak(text="dictionary")
    assert world.chain.datasets() == (world.dataset,)
    registry, steward = world.manifest.address("DatasetRegistry"), world.sender.address
    dictionary = keccak(text="dictionary")
    expected = dataset_id(world.chain.chain_id, registry, steward, dictionary, bytes(32))
    assert expected == world.dataset
    assert world.chain.class_ids(world.dataset) == world.classes
    assert world.chain.class_terms(world.classes[0]) == TERMS
    committee = world.chain.committee()
    assert [each.signer for each in committee.members] == [c.address for c in world.custodians]
    assert committee.members[1].keys[1] == keccak(text=world.custodians[1].address)
    assert (committee.quorum, committee.gates) == (2, (account("gate").address,))
    assert world.chain.policy() == POLICY


def test_commitments_are_read_in_pages_and_in_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    patients = [account(f"patient {number}") for number in range(6)]
    addresses = [each.address for each in patients] + [STRANGER]
    monkeypatch.setattr("marketplace.chain.reads.pages_of", lambda items: [items[:4], items[4:]])
    stored = world.chain.commitments_of(world.dataset, addresses)
    assert [each.patient for each in stored] == addresses
    assert [each.commitment for each in stored[:6]] == [commitment_of(each) for each in patients]
    assert [each.usable for each in stored] == [True] * 6 + [False]


def test_events_are_the_same_whatever_the_page_size(world: World, sealed: bytes) -> None:
    small = Chain(world.chain.node.url, world.manifest, page_blocks=3)
    first, last = world.manifest.deployed_block, world.chain.request(sealed).seal_block
    events = list(world.chain.events(first, last))
    assert list(small.events(first, last)) == events
    assert {"DatasetPublished", "RequestOpened", "ShardSealed"} <= {each.name for each in events}
    named = list(small.events(first, last, names=["RequestSealed"]))
    assert named == [each for each in events if each.name == "RequestSealed"]


def test_liabilities_never_exceed_the_markets_balance(world: World, sealed: bytes) -> None:
    assert 0 < world.chain.liabilities().total <= world.chain.balance_of(world.chain.market)


def test_reads_at_an_old_block_show_the_old_state(world: World, sealed: bytes) -> None:
    block = world.chain.request(sealed).seal_block
    assert world.chain.request(sealed, block - 1).stage is RequestStage.FROZEN
    assert world.chain.request(sealed, block).stage is RequestStage.SEALED


# --- sending


def test_a_refusal_found_before_sending_says_what_and_costs_nothing(world: World) -> None:
    head = world.chain.head().number
    with pytest.raises(ContractRefusal) as refused:
        world.sender.send("ResearchMarket", "releaseBond", STRANGER, 10**12)
    assert refused.value.code == "bond_too_small"
    assert refused.value.facts["needed"] == 10**12
    assert world.chain.head().number == head


def test_a_refusal_found_in_the_block_says_the_same(world: World) -> None:
    with pytest.raises(ContractRefusal) as refused:
        world.sender.send("ResearchMarket", "releaseBond", STRANGER, 10**12, gas=300_000)
    assert refused.value.code == "bond_too_small"


def test_a_transaction_that_runs_out_of_gas_says_so(world: World) -> None:
    with pytest.raises(ContractRefusal) as refused:
        world.sender.send("TestEuro", "mint", world.sender.address, 1, gas=30_000)
    assert refused.value.code == "out_of_gas"


def test_one_bad_entry_of_a_batch_does_not_sink_the_rest(world: World) -> None:
    good, bad = account("batched"), account("never stored")
    world._batch("DatasetRegistry", [world.attestation(good)])
    world._batch("DatasetRegistry", [world.storage(good)])
    world.tick()
    outcome = world.sender.batch("ConsentRegistry", [world.grant(bad), world.grant(good)])
    assert {n: each.code for n, each in outcome.refused.items()} == {0: "record_not_stored"}
    assert outcome.refused[0].paid
    assert world.chain.consent_of(world.dataset, good.address).state is ConsentState.LIVE


@pytest.mark.parametrize("entry_gas", [50_000, 90_000])  # the whole batch starves, or its end
def test_a_batch_starved_of_gas_is_finished_entry_by_entry(world: World, entry_gas: int) -> None:
    names = [f"starved {entry_gas} {number}" for number in range(6)]
    calls = [world.attestation(account(name)) for name in names]
    outcome = world.sender.batch("DatasetRegistry", calls, entry_gas=entry_gas)
    assert not outcome.refused
    assert len(outcome.receipts) > 1
    for name in names:
        record = world.chain.record_of(world.dataset, account(name).address)
        assert record.pending == commitment_of(account(name))


def test_an_entry_that_no_transaction_has_room_for_sinks_no_other(world: World) -> None:
    """Nor does one that is too large for a batch only: it goes alone, and is judged by the contract."""
    domain, patients = world.chain.domain("ConsentRegistry"), [account("first"), account("last")]
    ending = [Revocation(each.address, world.dataset, 1) for each in patients]
    calls: list[tuple[str, list[Any]]] = [
        ("revokeBySig", [each, who.address, sign(each, domain, who)])
        for each, who in zip(ending, patients, strict=True)
    ]
    for size in (121_000, 119_776):
        calls.insert(1, ("revokeBySig", [ending[0], patients[0].address, bytes(size)]))
    outcome = world.sender.batch("ConsentRegistry", calls)
    assert {n: (each.code, each.paid) for n, each in outcome.refused.items()} == {
        1: ("bad_signature", False),
        2: ("transaction_too_large", False),
    }
    assert set(outcome.carried_by) == outcome.offered == {0, 3}
    for each in patients:
        assert world.chain.consent_of(world.dataset, each.address).sequence == 2


def test_an_entry_that_needs_more_gas_than_a_transaction_has_is_refused_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was paid for: its batch failed for it, in a block."""
    calls = [world.attestation(account(f"too greedy {number}")) for number in range(6)]
    monkeypatch.setattr(transactor, "GAS_LIMIT", 60_000)
    outcome = world.sender.batch("DatasetRegistry", calls, entry_gas=90_000)
    assert {(each.code, each.paid) for each in outcome.refused.values()} == {("too_much_gas", True)}
    assert set(outcome.refused) == outcome.offered == set(range(6))
    assert outcome.receipts == []


def test_a_wallet_that_burns_a_batchs_gas_sinks_no_entry_beside_it(world: World) -> None:
    """The contract gives a wallet 400,000 gas, which is more than an entry's part."""
    greedy = assemble("0 1000000 MSTORE")
    head = bytes.fromhex(f"61{len(greedy):04x}80600c6000396000f3")
    wallet = world.sender._transactor.transact(None, head + greedy, None).created
    assert wallet is not None
    patient = account("behind a greedy wallet")
    bad, good = (Revocation(each, world.dataset, 1) for each in (wallet, patient.address))
    signature = sign(good, world.chain.domain("ConsentRegistry"), patient)
    outcome = world.sender.batch(
        "ConsentRegistry",
        [("revokeBySig", [bad, wallet, b""]), ("revokeBySig", [good, patient.address, signature])],
    )
    assert {n: (each.code, each.paid) for n, each in outcome.refused.items()} == {
        0: ("bad_signature", True)
    }
    assert world.chain.consent_of(world.dataset, patient.address).sequence == 2


def test_a_failed_transaction_is_told_and_that_it_was_paid_for_though_its_replay_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To some nodes a call that burns all its gas is no revert, but a fault."""

    def fail(*_: object) -> bytes:
        raise NodeFault(message="Out of gas.", remedy="Ask another node.")

    with pytest.raises(ContractRefusal) as refused:
        world.sender.send("ResearchMarket", "releaseBond", STRANGER, 10**12)
    assert not refused.value.paid  # found by the estimate
    monkeypatch.setattr(Node, "call", fail)
    with pytest.raises(ContractRefusal) as refused:
        world.sender.send("ResearchMarket", "releaseBond", STRANGER, 10**12, gas=300_000)
    assert (refused.value.code, refused.value.paid) == ("reverted_without_reason", True)


@pytest.mark.parametrize("like_processes", [False, True])
def test_concurrent_senders_of_one_account_each_get_their_transaction_in(
    world: World, like_processes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if like_processes:  # no lock in common: only the retry is left

        class Apart(defaultdict[Any, Any]):
            def __getitem__(self, key: Any) -> Any:
                return offers.Line()

        monkeypatch.setattr(offers, "lines", Apart())
    to = account(f"concurrent {like_processes}").address
    with ThreadPoolExecutor(6) as pool:
        sent = [pool.submit(world.sender.send, "TestEuro", "mint", to, 1) for _ in range(18)]
        receipts = [each.result() for each in sent]
    assert len({each.transaction for each in receipts}) == 18
    assert world.chain.balance_of(to) == 18


def test_an_account_without_funds_is_told_so(world: World) -> None:
    poor = Sender(world.chain, account("poor"))
    with pytest.raises(Refusal) as refused:
        poor.send("ResearchMarket", "postBond", 0, gas=100_000)
    assert refused.value.code == "insufficient_funds"
    assert poor.address in refused.value.message
    assert int(str(refused.value.facts["wei"])) > 100_000


def test_earnings_are_withdrawn_by_a_signature_that_anyone_carries(
    world: World, sealed: bytes
) -> None:
    patient, to = account("patient 0"), account("destination").address
    owed = world.chain.consent_of(world.dataset, patient.address).owed
    message = EarningsWithdrawal(patient.address, world.dataset, to, 7, world.later())
    signature = sign(message, world.chain.domain("ResearchMarket"), patient)
    world.sender.send("ResearchMarket", "withdrawEarningsBySig", message, signature)
    assert world.chain.balance_of(to) == owed > 0
    assert world.chain.is_nonce_used("ResearchMarket", patient.address, 7)


# --- deployment


def test_a_manifest_survives_its_file_and_the_check(world: World, tmp_path: Path) -> None:
    world.manifest.save(tmp_path / "manifest.json")
    assert Manifest.load(tmp_path / "manifest.json") == world.manifest
    assert world.chain.require_healthy().number == world.chain.head().number


def test_another_chain_id_genesis_or_code_is_refused(world: World) -> None:
    node, true = world.chain.node, world.manifest
    with pytest.raises(WrongChain):
        replace(true, chain_id=true.chain_id + 1).check(node)
    with pytest.raises(WrongChain):
        replace(true, genesis_hash=keccak(text="other")).check(node)
    moved = {**true.contracts, "ConsentRegistry": Deployed(true.token, true.genesis_hash)}
    with pytest.raises(WrongCode) as refused:
        replace(true, contracts=moved).check(node)
    assert refused.value.facts["contract"] == "ConsentRegistry"


def test_code_is_held_against_the_manifest_in_every_block_once(
    world: World, liar: LyingProxy
) -> None:
    chain, contracts = through(liar, world), len(world.manifest.contracts)
    for _ in range(2):
        chain.require_healthy()
        assert liar.methods.count("eth_getCode") == contracts
    world.chain.node.mine()
    chain.require_healthy()
    assert liar.methods.count("eth_getCode") == 2 * contracts

    def other_code(method: str, _: list[Any], result: Any) -> Any:
        return "0x00" if method == "eth_getCode" else result

    liar.lie = other_code
    world.chain.node.mine()
    for _ in range(2):  # what was refused is not taken for seen
        with pytest.raises(WrongCode):
            chain.require_healthy()
    liar.lie = honest
    chain.require_healthy()


def test_a_node_that_turns_to_another_chain_is_refused_in_the_same_block(
    world: World, liar: LyingProxy
) -> None:
    chain = through(liar, world)
    chain.require_healthy()

    def another(method: str, parameters: list[Any], result: Any) -> Any:
        if method == "eth_getBlockByNumber" and parameters[0] == "0x0":
            result["hash"] = "0x" + "ab" * 32
        return result

    liar.lie = another
    with pytest.raises(WrongChain):
        chain.require_healthy()


def test_an_invalid_policy_or_token_is_refused_by_name(world: World) -> None:
    key, url = account("nobody"), world.chain.node.url
    with pytest.raises(Refusal, match="no contract"):
        deploy(url, key, DeploySettings(token=STRANGER))


# --- nodes that lie, hang or lag


def test_a_node_that_hangs_is_unreachable_within_the_time_limit(
    world: World, liar: LyingProxy
) -> None:
    chain = through(liar, world, timeout=0.3)
    liar.hang_seconds = 1.5
    with pytest.raises(NodeUnreachable):
        chain.require_healthy()
    liar.hang_seconds = 0
    chain.require_healthy()


def test_a_dead_node_is_unreachable(world: World) -> None:
    with pytest.raises(NodeUnreachable):
        Chain("http://127.0.0.1:9", world.manifest).head()


@pytest.mark.parametrize("raw", [b"<html>", b"[]", b'{"jsonrpc":"2.0","id":1,"result":"0xzz"}'])
def test_an_unreadable_answer_is_a_fault_of_the_node(
    world: World, liar: LyingProxy, raw: bytes
) -> None:
    liar.raw = raw
    with pytest.raises((NodeFault, NodeUnreachable)):
        through(liar, world).head()


def test_a_node_that_serves_old_blocks_is_stale(world: World, liar: LyingProxy) -> None:
    def old(method: str, _: list[Any], result: Any) -> Any:
        if method == "eth_getBlockByNumber":
            result["timestamp"] = hex(int(result["timestamp"], 16) - 10_000)
        return result

    liar.lie = old
    with pytest.raises(StaleHead) as refused:
        through(liar, world, max_head_age=120).require_healthy()
    assert refused.value.facts["age"] > 9_000  # type: ignore[operator]


def test_missing_seal_events_are_partial_logs(
    world: World, sealed: bytes, liar: LyingProxy
) -> None:
    liar.lie = lambda method, _, result: [] if method == "eth_getLogs" else result
    with pytest.raises(PartialLogs):
        through(liar, world).sealed_cohort(sealed)
    with pytest.raises(PartialLogs):
        through(liar, world).request_terms(sealed)
    with pytest.raises(PartialLogs):
        through(liar, world).class_terms(world.classes[0])


def test_a_seal_event_with_one_bit_changed_is_forged(
    world: World, sealed: bytes, liar: LyingProxy
) -> None:
    def flip(method: str, _: list[Any], result: Any) -> Any:
        for log in result if method == "eth_getLogs" else []:
            data = bytearray.fromhex(log["data"][2:])
            data[-13] ^= 0x40  # the last byte of the one word
            log["data"] = "0x" + data.hex()
        return result

    liar.lie = flip
    with pytest.raises(ForgedLogs):
        through(liar, world).sealed_cohort(sealed)


def test_logs_given_twice_change_no_cohort(world: World, sealed: bytes, liar: LyingProxy) -> None:
    liar.lie = lambda method, _, result: result * 2 if method == "eth_getLogs" else result
    assert through(liar, world).sealed_cohort(sealed) == world.chain.sealed_cohort(sealed)


def test_logs_from_elsewhere_are_forged(world: World, sealed: bytes, liar: LyingProxy) -> None:
    def elsewhere(method: str, _: list[Any], result: Any) -> Any:
        for log in result if method == "eth_getLogs" else []:
            log["address"] = STRANGER.lower()
        return result

    liar.lie = elsewhere
    with pytest.raises(ForgedLogs):
        through(liar, world).sealed_cohort(sealed)


@pytest.mark.parametrize("asked", ["names", "topics"])
def test_events_that_were_not_asked_for_are_forged(
    world: World, liar: LyingProxy, asked: str
) -> None:
    """The contract's own, of the right blocks, true to the last bit."""
    everything: dict[str, Any] = {"contracts": ["DatasetRegistry"], "names": ["RecordAttested"]}
    true = list(world.chain.events(world.manifest.deployed_block, **everything))
    assert true
    node = world.chain.node.url

    def unfiltered(method: str, parameters: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        call = {"jsonrpc": "2.0", "id": 1, "method": method}
        call["params"] = [parameters[0] | {"topics": []}]
        return requests.post(node, json=call, timeout=30).json()["result"]

    liar.lie = unfiltered
    narrow = {"names": {"names": ["RecordErased"]}, "topics": {"topics": [keccak(text="other")]}}
    with pytest.raises(ForgedLogs):
        list(through(liar, world).events(true[0].block, **everything | narrow[asked]))


def test_a_block_that_changes_while_it_is_read_is_a_reorganisation(
    world: World, sealed: bytes, liar: LyingProxy
) -> None:
    seal_block = hex(world.chain.request(sealed).seal_block)
    seen = 0

    def other_hash(method: str, parameters: list[Any], result: Any) -> Any:
        nonlocal seen
        if method == "eth_getBlockByNumber" and parameters[0] == seal_block:
            seen += 1
            if seen > 2:
                result["hash"] = "0x" + "ab" * 32
        return result

    liar.lie = other_hash
    with pytest.raises(Reorganised):
        through(liar, world).sealed_cohort(sealed)


def test_a_forged_receipt_is_not_believed(world: World, liar: LyingProxy) -> None:
    def forge(method: str, _: list[Any], result: Any) -> Any:
        if method == "eth_getTransactionReceipt" and result:
            result["blockHash"] = "0x" + "cd" * 32
        return result

    liar.lie = forge
    me = Sender(through(liar, world), account_key(world), timeout=0.5)
    with pytest.raises(OutcomeUnknown):
        me.send("TestEuro", "mint", me.address, 1)


def account_key(world: World) -> Any:
    return world.sender._transactor._account


# --- finality and reorganisations, which only anvil has


@pytest.fixture(scope="module")
def final_world() -> Iterator[World]:
    with anvil_node("--slots-in-an-epoch", "2") as node:
        made = world_on(node, finality=Finality(confirmations=1, use_tag=True))
        made.enrol([f"patient {number}" for number in range(3)])
        yield made


def test_a_seal_is_final_only_once_the_node_says_so(final_world: World) -> None:
    cohort = final_world.chain.sealed_cohort(final_world.sealed("final"))
    with pytest.raises(NotYetFinal):
        final_world.chain.require_final(cohort.seal_block)
    final_world.chain.node.request("anvil_mine", [8])
    final_world.chain.require_final(cohort.seal_block)


def test_confirmations_are_asked_for_beside_the_tag(final_world: World) -> None:
    chain = final_world.chain
    deep = Chain(chain.node.url, chain.manifest, finality=Finality(30, use_tag=True))
    assert deep.finalized() == chain.head().number - 30 < chain.finalized()
    shallow = Chain(chain.node.url, chain.manifest, finality=Finality(0, use_tag=False))
    assert shallow.finalized() == chain.head().number


def test_a_seal_that_was_reorganised_away_is_no_cohort_and_is_noticed(final_world: World) -> None:
    chain = final_world.chain
    request = final_world.sealed("reorganised")
    cohort = chain.sealed_cohort(request)
    chain.node.request("anvil_reorg", [1, []])
    with pytest.raises(Reorganised):
        chain.require_same_block(cohort.seal_block, cohort.seal_block_hash)
    with pytest.raises(NotSealed):
        chain.sealed_cohort(request)
    final_world.sender.send("ResearchMarket", "seal", request)
    assert chain.sealed_cohort(request).patients == cohort.patients
