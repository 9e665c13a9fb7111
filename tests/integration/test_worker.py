"""The worker's rules: several requests at a time, no fault that ends it, two of them on one database.

On anvil and PostgreSQL; custodians and gates are processes, and the operators objects in this one.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak
from sqlalchemy import update
from structlog.testing import capture_logs

from marketplace import operator as operator_module
from marketplace.chain import offers
from marketplace.config import load_config
from marketplace.local import ForeignNode
from marketplace.operator import Operator, Worker, build_operator
from marketplace.pipeline import STEPS, Pipeline
from marketplace.stages import Stage
from marketplace.store import RequestRow
from marketplace.wire import keyfiles
from tests.support.daily import daily
from tests.support.market_world import (
    COST,
    PATIENTS,
    World,
    require_linear,
    running_market,
    step_to,
)
from tests.support.nodes import anvil_node
from tests.support.postgresql import running_postgresql

DEADLINE = 180.0
"""Seconds for a request to settle; generous, for slow machines."""
SECRET = "canary 118 mmHg"
ONCE = ("RequestFrozen", "RequestSealed", "GateDrawn", "GateKeyRecorded", "RequestSettled")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        options = ("--mixed-mining", "--block-time", "1", "--slots-in-an-epoch", "1")
        node = stack.enter_context(anvil_node(*options))
        database = stack.enter_context(running_postgresql())
        market = running_market(
            tmp_path_factory.mktemp("market"),
            node=ForeignNode(node.url, node.funded_key),
            operator_options={"database_url": database},
        )
        world = stack.enter_context(market)
        world.local.end("operator")
        yield world


@pytest.fixture
def operator(world: World) -> Iterator[Operator]:
    with world.operator_here() as operator:
        yield operator


@contextmanager
def at_work(*operators: Operator) -> Iterator[list[Worker]]:
    """Each with a worker of its own, which has ended afterwards."""
    workers = [Worker(each) for each in operators]
    threads = [each.start() for each in workers]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()


def stage(operator: Operator, request: str) -> Stage:
    return Stage(operator.database.request(request).stage)


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


def settles(operator: Operator, request: str) -> None:
    until(lambda: stage(operator, request) is Stage.SETTLED)


class Panic(BaseException):
    """As a library in another language raises it."""


@pytest.mark.parametrize("fault", daily([KeyError, Panic], [KeyError]))
def test_a_step_that_fails_in_an_unforeseen_way_stops_no_other_request_and_is_tried_again(
    world: World,
    operator: Operator,
    fault: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poisoned, cured, freeze = world.open(), threading.Event(), STEPS[Stage.FUNDED]

    def step(pipeline: Pipeline, request: str) -> None:
        if request == poisoned and not cured.is_set():
            raise fault(SECRET)
        freeze(pipeline, request)

    monkeypatch.setitem(STEPS, Stage.FUNDED, step)
    monkeypatch.setattr(operator_module, "FAULT_SECONDS", 0.2)
    with capture_logs() as logs, at_work(operator) as (worker,):
        until(lambda: stage(operator, poisoned) is Stage.FUNDED)
        settles(operator, world.open())
        assert stage(operator, poisoned) is Stage.FUNDED
        cured.set()
        settles(operator, poisoned)
    faults = [each for each in logs if each["event"] == "worker_fault"]
    assert {each["kind"] for each in faults} == {fault.__name__}
    assert {each["request"] for each in faults} == {poisoned}
    assert worker.faults == len(faults)
    assert SECRET not in repr(logs)


def test_a_database_that_fails_in_an_unforeseen_way_does_not_end_the_worker(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, unfinished = threading.Event(), type(operator.database).unfinished

    def broken(database: Any) -> list[str]:
        if not failed.is_set():
            failed.set()
            raise RuntimeError(SECRET)
        return unfinished(database)

    monkeypatch.setattr(type(operator.database), "unfinished", broken)
    request = world.open()
    with capture_logs() as logs, at_work(operator):
        settles(operator, request)
    assert failed.is_set()
    assert SECRET not in repr(logs)


def test_a_worker_deletes_the_ciphertext_of_an_erased_record_and_again_when_it_starts_on_a_backup(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_module, "FOLLOW_SECONDS", 0.2)
    records, key = operator.erasures.records, keyfiles.new_signing_key()
    upload = attested(world, keyfiles.Signer.of(key).address)
    assert world.market.upload([upload])[0]["outcome"] == "stored"
    name = str(upload["attestation"]["commitment"])
    commitment = bytes.fromhex(name[2:])
    box = records.get(commitment)
    assert box is not None
    with at_work(operator):
        world.relay([world.market.erasure_message(key, world.dataset, 1)])
        until(lambda: records.get(commitment) is None)
    assert world.market.upload([upload])[0]["code"] == "wrong_record_version"
    assert operator.database.records([name])[name].state == "erased"
    assert records.get(commitment) is None
    folder = Path(records.url.removeprefix("file://"))
    folder.joinpath(f"{commitment.hex()}.box").write_bytes(box)
    restarted = build_operator(load_config(world.local.config_path))
    with at_work(restarted):
        until(lambda: records.get(commitment) is None)
    restarted.database.engine.dispose()
    assert len(operator.database.record_history(name)) == 1


def attested(world: World, patient: str) -> dict[str, Any]:
    """A sealed record with its issuer's word, as it is uploaded."""
    record = world.market.sealer(world.dataset)(patient, {"systolic": Decimal(120)}, 1)
    person = keccak(patient.encode())
    return dict(world.market.attest(record, person, world.local.key("issuer")))


@pytest.mark.long
def test_a_request_whose_gate_is_slow_holds_up_no_other(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, computing, answer, compute = (
        world.open(),
        threading.Event(),
        threading.Event(),
        STEPS[Stage.KEYED],
    )

    def step(pipeline: Pipeline, request: str) -> None:
        if request == slow:
            computing.set()
            assert answer.wait(2 * DEADLINE)
        compute(pipeline, request)

    monkeypatch.setitem(STEPS, Stage.KEYED, step)
    with at_work(operator):
        try:
            assert computing.wait(DEADLINE)
            settles(operator, world.open())
            assert stage(operator, slow) is Stage.KEYED
        finally:
            answer.set()
        settles(operator, slow)


@pytest.mark.long
def test_requests_that_nobody_paid_hold_up_none_that_is_paid(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than the worker has hands, and each takes for ever to look at."""
    unpaid = {world.submit()[0] for _ in range(operator_module.AT_ONCE + 1)}
    paid, released, fund = world.open(), threading.Event(), STEPS[Stage.SUBMITTED]
    step_to(operator, paid, Stage.FUNDED)

    def step(pipeline: Pipeline, request: str) -> None:
        if request in unpaid:
            assert released.wait(2 * DEADLINE)
        fund(pipeline, request)

    monkeypatch.setitem(STEPS, Stage.SUBMITTED, step)
    with at_work(operator):
        try:
            settles(operator, paid)
        finally:
            released.set()


@pytest.mark.long
def test_every_request_is_looked_at_until_it_is_paid_and_an_old_one_seldom(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = [world.submit()[0] for _ in range(2 * operator_module.NEW_AT_ONCE + 1)]
    old, terms = world.submit()
    age(operator, old)
    looks: Counter[str] = Counter()
    fund = STEPS[Stage.SUBMITTED]

    def step(pipeline: Pipeline, request: str) -> None:
        looks[request] += 1
        fund(pipeline, request)

    monkeypatch.setitem(STEPS, Stage.SUBMITTED, step)
    with at_work(operator):
        until(lambda: all(looks[each] > 2 for each in new))
    assert looks[old] <= 1
    world.ask.open(terms)
    monkeypatch.setattr(operator_module, "UNPAID_SECONDS", 0.2)
    with at_work(operator):
        settles(operator, old)


def age(operator: Operator, request: str) -> None:
    """As if it had been handed in two hours ago."""
    then = datetime.now(UTC) - timedelta(hours=2)
    change = update(RequestRow).where(RequestRow.id == request).values(submitted_at=then)
    with operator.database.session() as session:
        session.execute(change)


@pytest.mark.long
def test_two_full_workers_on_one_database_and_one_account_do_nothing_twice(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Apart(defaultdict[Any, Any]):
        """As in two processes: nothing in common but the account."""

        def __getitem__(self, key: Any) -> Any:
            return offers.Line()

    monkeypatch.setattr(offers, "lines", Apart())
    before = world.books()
    second = build_operator(load_config(world.local.config_path))
    requests = [world.open() for _ in range(3)]
    with at_work(operator, second):
        for request in requests:
            settles(operator, request)
    second.database.engine.dispose()
    for request in requests:
        assert happened(world, request) == dict.fromkeys(ONCE, 1)
        assert len(world.drawn_noise(request)) == 1
        log = [(entry.before, entry.after) for entry in operator.database.log(request)]
        require_linear(log)
        assert [after for _, after in log].count(Stage.SETTLED) == 1
    after = world.books()
    assert after.spent - before.spent == len(requests) * COST
    price = world.chain.request(bytes.fromhex(requests[0][2:])).price
    assert after.earnings - before.earnings == len(requests) * PATIENTS * price
    assert (after.escrows, after.locked_bonds) == (before.escrows, before.locked_bonds)
    assert after.held == after.owed


def happened(world: World, request: str) -> dict[str, int]:
    """How often each step of the request took effect on chain."""
    first = world.chain.manifest.deployed_block
    topic = [bytes.fromhex(request[2:])]
    return {
        name: len(
            list(
                world.chain.events(first, contracts=["ResearchMarket"], names=[name], topics=topic)
            )
        )
        for name in ONCE
    }
