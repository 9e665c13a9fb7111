"""A custodian whose node lies for a while: afterwards every erased share is gone, and no other is lost."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from structlog.testing import capture_logs

from marketplace.chain import artifacts
from marketplace.chain.rpc import Node
from marketplace.custodian import main, watch
from marketplace.custodian.journal import Journal
from marketplace.custodian.models import TurnRow
from marketplace.custodian.service import Custodian
from marketplace.custodian.tallies import Tallies
from marketplace.errors import Refusal
from marketplace.wire.http_client import post
from marketplace.wire.structs import Rotation, sign
from tests.support.chain_world import account
from tests.support.custody_world import CustodyWorld, custody_world, served_custodian
from tests.support.daily import daily
from tests.support.lies import no_logs, other_block, other_request, too_high, wrong_chain
from tests.support.nodes import Lie, LyingProxy, any_node, honest
from tests.support.refusals import refused

VALUES: dict[str, Any] = {"systolic": Decimal(120), "smoker": "no"}
CANARY = "canary-text-of-an-unknown-fault"
EVENTS = artifacts.load("DatasetRegistry").events
MOVED = "0x" + EVENTS["RecordMoved"].topic.hex()
NUMBERS = itertools.count()
NOT_FINAL = 10
"""Blocks: more than an enrolment takes."""


@dataclass(frozen=True)
class Host:
    """A market, its custodians by place, and the node of the last one, which can lie."""

    world: CustodyWorld
    urls: list[str]
    proxy: LyingProxy
    custodian: Custodian

    @property
    def journal(self) -> Journal:
        return self.custodian.journal

    def enrol(self, name: str) -> LocalAccount:
        return self.world.enrol_sealed(self.urls, [name], [VALUES])[0]

    def renew(self, patient: LocalAccount, version: int) -> bytes:
        """A newer version of a record, its shares with every custodian. Returns its commitment."""
        sealed = self.world.seal_record(patient.address, VALUES, version=version)
        self.world.attest([patient.address], version=version)
        bodies = [self.world.deposit_body(patient.address, place) for place in range(3)]
        answers = [
            post(url, "/shares", body, timeout=60)
            for url, body in zip(self.urls, bodies, strict=True)
        ]
        self.world.confirm({patient.address: answers})
        return sealed.commitment

    def rotate(self, before: LocalAccount, name: str) -> LocalAccount:
        world, after = self.world, account(name)
        world.tick()
        message = Rotation(world.dataset, before.address, after.address, world.later())
        domain = world.chain.domain("ConsentRegistry")
        both = [sign(message, domain, each) for each in (before, after)]
        world.sender.send("ConsentRegistry", "rotate", message, *both)
        return after

    def commitment(self, patient: LocalAccount) -> bytes:
        return self.world.records[patient.address].commitment

    def told(self, lie: Lie) -> None:
        """One look at the chain while the node says this."""
        self.proxy.lie = lie
        self.custodian.watch.catch_up()
        self.proxy.lie = honest

    def holds(self, commitment: bytes) -> bool:
        return self.journal.share(commitment) is not None

    def holder(self, commitment: bytes) -> str:
        row = self.journal.share(commitment)
        assert row is not None
        return row.holder

    def begin_again(self) -> None:
        """As after a lie that a cursor outlived."""
        followed = self.journal.followed()
        assert followed is not None
        with self.journal.writing() as session:
            self.journal.set_followed(session, followed[0], bytes(32))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("watch")
    with any_node(folder) as node, ExitStack() as stack:
        world = custody_world(node, folder)
        proxy = LyingProxy(node.url)
        stack.callback(proxy.close)
        urls = [stack.enter_context(served_custodian(world.custodian(i))) for i in range(2)]
        misled = world.custodian(2, node_url=proxy.url)
        urls.append(stack.enter_context(served_custodian(misled)))
        yield Host(world, urls, proxy, misled)


@pytest.fixture
def host(running: Host) -> Iterator[Host]:
    running.custodian.watch.catch_up()
    yield running
    running.proxy.lie = honest


# --- the thread that follows erasures


@contextmanager
def followed(host: Host) -> Iterator[threading.Thread]:
    """By the thread of a custodian that has just started."""
    watch = host.world.custodian(2, node_url=host.proxy.url).watch
    thread = watch.run(0.1)
    try:
        yield thread
    finally:
        watch.stop()
        thread.join(60)
        assert not thread.is_alive()


def unasked_event(_: Host) -> Lie:
    """Each erasure or move that is asked for comes as the attestation of a record."""
    attested = "0x" + EVENTS["RecordAttested"].topic.hex()

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        log = {
            "address": parameters[0]["address"][0],
            "topics": [attested, "0x" + "11" * 32, "0x" + "22".zfill(64)],
            "data": "0x" + "33" * 32 + "1".zfill(64),
            "blockNumber": parameters[0]["fromBlock"],
            "blockHash": "0x" + "44" * 32,
            "transactionHash": "0x" + "55" * 32,
            "transactionIndex": "0x0",
            "logIndex": "0x0",
            "removed": False,
        }
        return [log]

    return lie


def unknown_stage(host: Host) -> Lie:
    """Of a request that this custodian turned for."""
    row = TurnRow(
        request=b"\x66" * 32,
        root=bytes(32),
        epoch=1,
        gate_key=bytes(32),
        envelope=b"e",
        signature=b"s",
        journal_height=0,
        journal_head=bytes(32),
        journal_signature=b"s",
    )
    with host.journal.writing() as session:
        session.merge(row)
    return other_request(stage_number=9)


def no_blocks(method: str, _: list[Any], result: Any) -> Any:
    return None if method == "eth_getBlockByNumber" else result


def says_no_blocks(_: Host) -> Lie:
    return no_blocks


def says_wrong_chain(_: Host) -> Lie:
    return wrong_chain


@pytest.mark.parametrize(
    "odd",
    daily(
        [unasked_event, unknown_stage, says_no_blocks, says_wrong_chain],
        [unasked_event, says_no_blocks],
    ),
    ids=["unasked event", "unknown stage", "no blocks", "wrong chain"],
)
def test_whatever_the_node_says_the_watch_goes_on_when_it_tells_the_truth_again(
    host: Host, odd: Callable[[Host], Lie]
) -> None:
    patient = host.enrol(f"odd {next(NUMBERS)}")
    gone = host.commitment(patient)
    host.proxy.lie = odd(host)
    with followed(host) as thread, capture_logs() as logs:
        host.world.tick()
        wait_until(lambda: "chain_not_followed" in {each["event"] for each in logs})
        assert thread.is_alive()
        host.world.erase(patient)
        host.proxy.lie = honest
        wait_until(lambda: host.journal.is_erased(gone))


def wait_until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "in vain"
        time.sleep(0.1)


def test_a_fault_that_nobody_thought_of_does_not_end_the_watch_and_only_its_kind_is_told(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = host.enrol("thought of")
    gone = host.commitment(patient)
    true, faults = Journal.followed, iter([True])

    def faulty(journal: Journal) -> Any:
        if next(faults, False):
            raise KeyError(CANARY)
        return true(journal)

    host.world.erase(patient)
    monkeypatch.setattr(Journal, "followed", faulty)
    with capture_logs() as logs, followed(host):
        wait_until(lambda: host.journal.is_erased(gone))
    assert {"event": "chain_not_followed", "kind": "KeyError", "log_level": "error"} in logs
    assert CANARY not in str(logs)


FULL = Refusal(code="storage_full", message="The disk is full.", remedy="Free disk space.")


@pytest.mark.parametrize("fault", [OSError("no space"), FULL, ValueError(CANARY)])
def test_a_disk_that_cannot_be_wiped_keeps_nobodys_erasure_from_being_followed(
    host: Host, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    kind = type(fault).__name__
    first, second = host.enrol(f"first, {kind}"), host.enrol(f"second, {kind}")

    def fails(_: Tallies) -> None:
        raise fault

    wiped: list[int] = []
    journal_wipe = Journal.wipe_destroyed

    def wipes(journal: Journal) -> None:
        journal_wipe(journal)
        wiped.append(1)

    monkeypatch.setattr(watch, "REST_SECONDS", 0.0)
    with monkeypatch.context() as broken, capture_logs() as logs, followed(host):
        broken.setattr(Tallies, "wipe", fails)
        broken.setattr(Journal, "wipe_destroyed", wipes)
        for patient in (first, second):
            host.world.erase(patient)
            wait_until(lambda at=patient: host.journal.is_erased(host.commitment(at)))
        before = len(wiped)
        host.proxy.lie = no_blocks
        wait_until(lambda: len(wiped) > before + 1)  # whatever the columns' disk and the node say
        host.proxy.lie = honest
    assert "shares_not_yet_destroyed" in {each["event"] for each in logs}
    assert CANARY not in str(logs)


def test_after_a_wipe_that_failed_the_disk_is_left_alone_for_a_while(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It rewrites a whole file: tried with every look at the chain, it would fill a nearly full disk."""
    patient, tried = host.enrol("left alone"), list[int]()
    monkeypatch.setattr(watch, "REST_SECONDS", 600.0)
    monkeypatch.setattr(host.custodian.watch, "_wipe_at", float("-inf"))

    def fails(_: Tallies) -> None:
        tried.append(1)
        raise FULL

    with monkeypatch.context() as broken, capture_logs() as logs, followed(host):
        broken.setattr(Tallies, "wipe", fails)
        host.world.erase(patient)
        wait_until(lambda: host.journal.is_erased(host.commitment(patient)))
        looked = len(logs)
        host.proxy.lie = no_blocks
        wait_until(lambda: sum(each["event"] == "chain_not_followed" for each in logs[looked:]) > 5)
        host.proxy.lie = honest
    assert len(tried) == 1


def test_a_fault_that_nobody_thought_of_does_not_end_the_anchoring_of_the_journal(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def anchor() -> bool:
        asked.append("")
        if len(asked) < 3:
            raise KeyError(CANARY)
        raise SystemExit  # for the test to end

    monkeypatch.setattr(host.custodian, "anchor", anchor)
    config = host.world.custodian_config(2)
    with capture_logs() as logs, pytest.raises(SystemExit):
        main._anchor(host.custodian, config)
    assert [(each["event"], each["kind"]) for each in logs] == [
        ("journal_not_anchored", "KeyError")
    ] * 2
    assert CANARY not in str(logs)


# --- moves


def test_an_erasure_after_a_move_that_was_passed_over_is_made_up_for(host: Host) -> None:
    """Nor does the move of a record that stays lose it."""
    erases, stays = host.enrol("moves, then erases"), host.enrol("moves, and stays")
    gone, kept = host.commitment(erases), host.commitment(stays)
    host.told(honest)
    between = host.rotate(erases, "between")
    stays_at = host.rotate(stays, "stays at")
    host.told(no_logs)
    after = host.rotate(between, "after")
    host.world.erase(after)
    host.told(honest)
    assert host.holds(gone)
    assert host.custodian.watch.sweep() == 1
    assert host.journal.is_erased(gone)
    assert host.holder(kept) == stays_at.address
    assert host.custodian.watch.sweep() == 0


def moves_of(pairs: list[tuple[str, str]], host: Host) -> Lie:
    """Who asks for moves is told of these, too, in the last block asked about."""

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        if method != "eth_getLogs" or MOVED not in str(parameters[0]["topics"][0]):
            return result
        words = [[MOVED, "0x" + host.world.dataset.hex(), *map(word, pair)] for pair in pairs]
        return result + [
            {
                "address": parameters[0]["address"][0],
                "topics": topics,
                "data": "0x",
                "blockNumber": parameters[0]["toBlock"],
                "blockHash": "0x" + "44" * 32,
                "transactionHash": "0x" + "55" * 32,
                "transactionIndex": "0x0",
                "logIndex": hex(90 + index),
                "removed": False,
            }
            for index, topics in enumerate(words)
        ]

    return lie


def word(address: str) -> str:
    return "0x" + address[2:].lower().zfill(64)


def test_a_move_of_a_record_that_is_where_it_was_is_not_believed(host: Host) -> None:
    patient = host.enrol("never moved")
    kept = host.commitment(patient)
    host.proxy.lie = moves_of([(patient.address, account("elsewhere").address)], host)
    refused("forged_logs", host.custodian.watch.catch_up)
    assert host.holder(kept) == patient.address
    host.told(honest)
    host.world.erase(patient)
    host.told(honest)
    assert host.journal.is_erased(kept)


@pytest.mark.parametrize("to", daily(["nobody", "one who erased"], ["one who erased"]))
def test_a_sweep_believes_no_move_of_a_record_that_is_not_final_yet(host: Host, to: str) -> None:
    """Under another's address no erasure would find its share; under one that was erased it would go."""
    other = host.enrol(f"erased before {to}")
    host.world.erase(other)
    for _ in range(NOT_FINAL):
        host.world.chain.node.mine()
    patient = host.enrol(f"new, moves to {to}")
    kept, after = host.commitment(patient), other if to == "one who erased" else account("nobody")
    late = host.world.custodian(2, node_url=host.proxy.url, confirmations=NOT_FINAL).watch
    host.proxy.lie = moves_of([(patient.address, after.address)], host)
    refused("forged_logs", late.sweep)
    assert host.holder(kept) == patient.address
    host.proxy.lie = honest
    assert late.sweep() == 0
    host.world.erase(patient)
    host.told(honest)
    assert host.journal.is_erased(kept)


def test_a_sweep_follows_no_move_to_where_the_registry_has_nothing(host: Host) -> None:
    """The node keeps the second of two moves to itself: the next sweep has the share follow both."""
    patient = host.enrol("moves twice")
    kept = host.commitment(patient)
    host.told(honest)
    between = host.rotate(patient, "half the way")
    after = host.rotate(between, "all the way")
    host.told(no_logs)
    host.proxy.lie = no_logs_of(after.address)
    refused("partial_logs", host.custodian.watch.sweep)
    assert host.holder(kept) == patient.address
    host.proxy.lie = honest
    assert host.custodian.watch.sweep() == 0
    assert host.holder(kept) == after.address


def test_who_erased_came_back_and_moved_loses_the_erased_share_only(host: Host) -> None:
    """Also where the chain is read again from the beginning, and the move was passed over before."""
    patient = host.enrol("comes back")
    gone = host.commitment(patient)
    host.world.erase(patient)
    host.proxy.lie = no_logs
    kept = host.renew(patient, 2)
    after = host.rotate(patient, "came back and moved")
    host.told(no_logs)
    host.begin_again()
    host.proxy.lie = no_moves
    refused("partial_logs", host.custodian.watch.catch_up)
    assert host.holds(kept)
    host.told(honest)
    assert host.journal.is_erased(gone)
    assert host.holder(kept) == after.address


def moved_at_the_head(before: str, after: str, host: Host) -> Lie:
    """The registry's head has under the one address what is under the other: in a block that is replaced."""
    plain, moved = word(before)[2:], word(after)[2:]

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        data = str(parameters[0]["data"]).lower() if method == "eth_call" else ""
        if moved not in data:
            return result
        asked = {**parameters[0], "data": data.replace(moved, plain)}
        return Node(host.proxy.target).request("eth_call", [asked, *parameters[1:]])

    return lie


@pytest.mark.parametrize("first", ["never moved", "moved for good"])
def test_a_move_that_a_reorganisation_took_back_hides_no_later_erasure(
    host: Host, first: str
) -> None:
    """A share that came meanwhile is under an address that no event names any more."""
    patient = at = host.enrol(f"{first}, then taken back")
    kept = host.commitment(patient)
    if first == "moved for good":
        at = host.rotate(patient, f"{first}, to here")
    host.told(honest)
    assert host.holder(kept) == at.address
    after = account(f"{first}, to nowhere")
    body = {**host.world.deposit_body(patient.address, 2), "holder": after.address}

    def deposited() -> None:
        host.proxy.lie = moved_at_the_head(at.address, after.address, host)
        post(host.urls[2], "/shares", body, timeout=60)
        host.proxy.lie = honest
        assert host.holder(kept) == after.address

    deposited()
    assert host.custodian.watch.sweep() == 0
    assert host.holder(kept) == at.address
    deposited()
    host.world.erase(at)
    host.told(honest)
    assert host.holds(kept)
    assert host.custodian.watch.sweep() == 1
    assert host.journal.is_erased(kept)


def no_logs_of(address: str) -> Lie:
    def lie(method: str, _: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        return [log for log in result if word(address) not in log["topics"]]

    return lie


def no_moves(method: str, _: list[Any], result: Any) -> Any:
    if method != "eth_getLogs":
        return result
    return [log for log in result if log["topics"][0] != MOVED]


# --- how far the chain was followed


@pytest.mark.parametrize("other", [other_block, too_high], ids=["another chain", "too high"])
def test_a_cursor_that_another_chain_moved_is_not_believed(
    host: Host, other: Callable[[int], Lie]
) -> None:
    """Without a sweep: the chain is read again from the beginning."""
    erased = host.enrol(f"erased on the true chain {next(NUMBERS)}")
    gone, kept = host.commitment(erased), host.commitment(host.enrol(f"stays {next(NUMBERS)}"))
    host.world.erase(erased)
    elsewhere = other(host.world.chain.finalized())
    host.told(lambda *asked: no_logs(*asked[:2], elsewhere(*asked)))
    assert host.holds(gone)
    host.told(honest)
    assert host.journal.is_erased(gone)
    assert host.holds(kept)
    final = host.world.chain.finalized()
    assert host.journal.followed() == (final, host.world.chain.block_hash(final))


def test_a_node_of_another_chain_moves_no_cursor(host: Host) -> None:
    before = host.journal.followed()
    host.world.tick()
    host.proxy.lie = wrong_chain
    refused("wrong_chain", host.custodian.watch.catch_up)
    refused("wrong_chain", host.custodian.watch.sweep)
    assert host.journal.followed() == before


def test_a_cursor_of_before_its_hash_was_kept_is_not_believed(host: Host) -> None:
    patient = host.enrol("of before")
    gone = host.commitment(patient)
    host.world.erase(patient)
    host.told(no_logs)
    with host.journal.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE cursor SET block_hash = NULL")
    host.told(honest)
    assert host.journal.is_erased(gone)
