"""The story's rules, step by step: on the embedded chain with SQLite, and at length on anvil with PostgreSQL.

The operator is an object in this process, so that a test can stop between any two of its steps; chain,
custodians and gates are processes.
"""

import itertools
import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from marketplace import peers
from marketplace.api.app import create_app
from marketplace.chain.adapter import RequestStage
from marketplace.chain.sender import Sender
from marketplace.client import messages
from marketplace.config import load_config
from marketplace.errors import Refusal
from marketplace.local import POLICY, QUORUM, ForeignNode, await_health
from marketplace.operator import Operator, Worker, build_operator
from marketplace.pipeline import STEPS
from marketplace.stages import Stage
from marketplace.store.models import ApiNonceRow, ComputedRow, RequestRow
from marketplace.wire.http_client import post
from tests.support.custody_world import served
from tests.support.daily import daily
from tests.support.market_world import (
    COST,
    MEAN,
    PATIENTS,
    Patient,
    World,
    advance_until,
    code_of,
    require_linear,
    running_market,
    step,
    step_to,
)
from tests.support.nodes import anvil_node
from tests.support.postgresql import running_postgresql
from tests.support.slow_answers import drip, server_that_sends, sized

WINDOWS = replace(
    POLICY, freeze_window=120, gate_window=300, turn_window=600, certificate_window=60
)
"""Short enough that tests can let chain time pass them."""
SOON = 240
"""Seconds to a seal deadline: about as near as the operator takes one, on a slow machine too."""
ANVIL = ("--mixed-mining", "--block-time", "1", "--slots-in-an-epoch", "1")
"""`finalized` is then two blocks behind the head."""
NOBODY = "http://127.0.0.1:1"
SPARE = 6
"""Patients above the minimum cohort of 20, or a few fewer."""


@contextmanager
def embedded(folder: Path) -> Iterator[World]:
    with running_market(folder, policy=WINDOWS, chain_options=("--test-clock",)) as world:
        yield world


@contextmanager
def outgrown(folder: Path) -> Iterator[World]:
    """A foreign node, and PostgreSQL instead of SQLite."""
    with ExitStack() as stack:
        node = stack.enter_context(anvil_node(*ANVIL))
        database = stack.enter_context(running_postgresql())
        world = running_market(
            folder / "market",
            policy=WINDOWS,
            node=ForeignNode(node.url, node.funded_key),
            operator_options={"database_url": database},
        )
        yield stack.enter_context(world)


PLACES = {"embedded chain, SQLite": embedded, "anvil, PostgreSQL": outgrown}


@pytest.fixture(scope="module", params=daily(PLACES, ["embedded chain, SQLite"]))
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with PLACES[request.param](tmp_path_factory.mktemp("market")) as world:
        world.local.end("operator")
        yield world


@pytest.fixture(autouse=True)
def _messages_outlive_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are dated by the wall clock; the chain runs ahead of it by all the time that tests let pass."""
    monkeypatch.setattr(messages, "MESSAGE_LIFE", 86_400)


@pytest.fixture
def operator(world: World) -> Iterator[Operator]:
    """With no worker beside it. Each test leaves no frozen request and the same live patients."""
    with world.operator_here() as operator:
        yield operator
        for request in operator.database.unfinished():
            assert operator.database.request(request).stage == Stage.SUBMITTED, request
        assert world.live() == PATIENTS


def pass_time(world: World, seconds: int) -> None:
    """Counts from the head, which may be ahead of the clock: a busy chain gains a second a block."""
    node = world.chain.node
    node.request("evm_setNextBlockTimestamp", [world.chain.now() + seconds])
    node.request("evm_mine", [])


def reason(operator: Operator, request: str) -> str:
    found = operator.database.request(request).reason
    assert found is not None
    assert found["remedy"]
    return str(found["code"])


def stages(operator: Operator, request: str) -> list[str]:
    log = [(entry.before, entry.after) for entry in operator.database.log(request)]
    require_linear(log)
    return [after for _, after in log]


# --- settle


def test_a_paid_request_settles_once_and_passes_every_stage(
    world: World, operator: Operator
) -> None:
    before = world.books()
    quote = world.ask.quote(world.dataset, [1], "mean.v1", MEAN, cost=COST)
    request = world.open()
    advance_until(operator, request, Stage.SETTLED)
    world.require_settled_once(request, before, PATIENTS)
    require_noised_as_quoted(world.answer(request).result["noised"], quote)
    assert stages(operator, request) == [
        "submitted", "funded", "frozen", "sealed", "keyed", "computed", "cleared", "settled",
    ]  # fmt: skip
    assert operator.pipeline.advance(request) is Stage.SETTLED
    assert world.settlements(request) == 1


def require_noised_as_quoted(noised: Mapping[str, Any], quote: Mapping[str, Any]) -> None:
    """The opened answer states the cost that was quoted, and the noise that the quoted error came from."""
    assert noised["cost_nano_rho"] == quote["cost_nano_rho"] == COST
    assert noised["members"] == quote["members_assumed"] == PATIENTS
    scales = {what: float(scale) for what, scale in noised["noise"]}
    low, high = map(float, MEAN["clip"])
    of_the_sum = scales["sum of deviations from the middle"]
    assert of_the_sum == pytest.approx((high - low) / math.sqrt(2 * COST * 1e-9), rel=1e-3)
    of_the_count = scales["count"] * (high - low) / 2  # as it moves a mean at the edge of the range
    error = min(math.hypot(of_the_sum, of_the_count) / PATIENTS, high - low)
    assert error == pytest.approx(float(quote["expected_error"]["standard_error"]), rel=1e-3)


def test_every_step_may_be_repeated_without_a_second_effect(
    world: World, operator: Operator
) -> None:
    before = world.books()
    request = world.open()
    while operator.database.request(request).stage != Stage.SETTLED:
        here = operator.database.request(request).stage
        leave(operator, request, Stage(here))
        again = replay_from(operator, request, Stage(here))
        assert again in (Stage(here), Stage(operator.database.request(request).stage))
    world.require_settled_once(request, before, PATIENTS)


def leave(operator: Operator, request: str, stage: Stage, seconds: float = 60.0) -> None:
    """Takes the step of a stage until it has done its work: a notice or finality may have to pass."""
    until = time.monotonic() + seconds
    while operator.database.request(request).stage == stage:
        assert time.monotonic() < until, stage
        try:
            step(operator, request)
        except Refusal:
            time.sleep(0.1)


def test_an_answer_that_states_too_little_noise_or_too_high_a_cost_is_signed_by_nobody(
    world: World, operator: Operator
) -> None:
    request = world.open()
    step_to(operator, request, Stage.COMPUTED)
    row = operator.database.computed(request)
    assert row is not None
    assert row.stated is not None
    for stated, code in (
        (row.stated | {"noise": row.stated["noise"][:1]}, "noise_missing"),
        (row.stated | {"cost_nano_rho": COST + 1}, "cost_above_debit"),
        (None, "bad_parameter"),
    ):
        restate(operator, request, stated)
        assert operator.pipeline.advance(request) is Stage.COMPUTED
        assert code_of(lambda: step(operator, request)) == code
        kept = operator.database.computed(request)
        assert kept is not None
        assert all(each["noted"] for each in kept.signatures or [])  # none was taken for verified
    restate(operator, request, row.stated)
    advance_until(operator, request, Stage.SETTLED)


def restate(operator: Operator, request: str, stated: dict[str, Any] | None) -> None:
    with operator.database.session() as session:
        session.get_one(ComputedRow, request).stated = stated


def replay_from(operator: Operator, request: str, stage: Stage) -> Stage:
    """Runs the step of a stage that has been left: as a second worker would, a moment too late."""
    code = code_of(lambda: STEPS[stage](operator.pipeline, request))
    assert code in (None, "wrong_stage", "not_yet_final")
    return Stage(operator.database.request(request).stage)


def test_resume_on_the_command_line_finishes_what_stopped_anywhere(
    world: World, operator: Operator
) -> None:
    stopped = random.choice([Stage.FUNDED, Stage.FROZEN, Stage.SEALED, Stage.KEYED, Stage.COMPUTED])
    before = world.books()
    request = world.open()
    step_to(operator, request, stopped)
    for _ in range(30):
        if usufruct_resume(world)[request] == "settled":
            break
    assert operator.database.request(request).stage == Stage.SETTLED, stopped
    world.require_settled_once(request, before, PATIENTS)
    stages(operator, request)


def usufruct_resume(world: World) -> dict[str, str]:
    command = [sys.executable, "-m", "marketplace.cli", "resume"]
    command += ["--config", str(world.local.config_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def test_two_workers_on_one_database_send_nothing_twice(world: World, operator: Operator) -> None:
    before = world.books()
    request = world.open()
    second = build_operator(load_config(world.local.config_path))
    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(advance_until, each, request, Stage.SETTLED) for each in (operator, second)
        ]
        for each in both:
            each.result()
    second.database.engine.dispose()
    world.require_settled_once(request, before, PATIENTS)
    stages(operator, request)


def test_an_answer_that_the_chain_settled_already_is_found_by_a_database_that_is_behind(
    world: World, operator: Operator
) -> None:
    request = world.open()
    step_to(operator, request, Stage.CLEARED)
    step_to(operator, request, Stage.SETTLED)
    settled = world.answer(request)
    forget(operator, request)
    advance_until(operator, request, Stage.SETTLED)
    assert world.answer(request).receipt == settled.receipt
    assert world.settlements(request) == 1


def forget(operator: Operator, request: str) -> None:
    """As if the database were restored from a copy made when the request was funded."""
    with operator.database.engine.begin() as connection:
        for table in ("computed", "receipts", "stage_log"):
            connection.exec_driver_sql(f"DELETE FROM {table} WHERE request = '{request}'")
        connection.exec_driver_sql(f"UPDATE requests SET stage = 'funded' WHERE id = '{request}'")


# --- refusals


def test_a_cohort_under_the_minimum_is_refused_before_it_is_frozen(
    world: World, operator: Operator
) -> None:
    before = world.books()
    request = world.open()
    leaving = world.patients[:SPARE]
    world.revoke(leaving)
    advance_until(operator, request, Stage.REFUSED)
    assert reason(operator, request) == "cohort_too_small"
    world.ask.cancel(request)
    world.grant(leaving)
    assert world.books().escrows == before.escrows
    assert world.books().spent == before.spent


def test_a_cohort_that_falls_under_the_minimum_while_frozen_is_dissolved_and_paid_back(
    world: World, operator: Operator
) -> None:
    before = world.books()
    request = world.open()
    step_to(operator, request, Stage.FROZEN)
    leaving = world.patients[:SPARE]
    world.revoke(leaving)
    advance_until(operator, request, Stage.RECLAIMED)
    world.grant(leaving)
    after = world.books()
    assert (after.escrows, after.locked_bonds) == (before.escrows, before.locked_bonds)
    assert (after.spent, after.earned) == (before.spent, before.earned)
    assert after.held == after.owed


def test_more_patients_than_were_paid_for_is_refused(world: World, operator: Operator) -> None:
    request = world.open(max_patients=PATIENTS - 1)
    advance_until(operator, request, Stage.REFUSED)
    assert reason(operator, request) == "cohort_too_large"
    world.ask.cancel(request)


def test_a_credential_that_is_withdrawn_after_paying_is_refused(
    world: World, operator: Operator
) -> None:
    request = world.open()
    authority = Sender(world.chain, world.local.key("authority"))
    researcher = world.local.account("researcher")
    credential = world.chain.credential_of(researcher)
    authority.send("ResearcherRegistry", "withdraw", researcher)
    advance_until(operator, request, Stage.REFUSED)
    assert reason(operator, request) == "credential_is_withdrawn"
    world.ask.cancel(request)
    authority.send("ResearcherRegistry", "give", researcher, replace(credential, withdrawn=False))


def test_a_bond_that_is_too_small_is_waited_for(world: World, operator: Operator) -> None:
    key = world.local.key("operator")
    sender = Sender(world.chain, key)
    bond = world.chain.bond_of(sender.address)
    request = world.open()
    sender.send("ResearchMarket", "releaseBond", sender.address, bond)
    for _ in range(3):
        assert operator.pipeline.advance(request) in (Stage.FUNDED, Stage.SUBMITTED)
    sender.send("TestEuro", "approve", world.chain.market, bond)
    sender.send("ResearchMarket", "postBond", bond)
    advance_until(operator, request, Stage.SETTLED)


def test_a_request_that_was_never_paid_is_refused_once_its_deadline_has_passed(
    world: World, operator: Operator
) -> None:
    request, terms = world.submit(seal_deadline=world.chain.nudge().timestamp + SOON)
    assert operator.pipeline.advance(request) is Stage.SUBMITTED
    pass_time(world, SOON + 1)
    assert operator.pipeline.advance(request) is Stage.REFUSED
    assert reason(operator, request) == "never_opened"
    with pytest.raises(Refusal) as refused:
        world.ask.open(terms)
    assert refused.value.code in ("terms_invalid", "seal_deadline_passed")


def test_a_paid_request_whose_seal_deadline_has_passed_is_refused_and_paid_back(
    world: World, operator: Operator
) -> None:
    before = world.books()
    request = world.open(seal_deadline=world.chain.nudge().timestamp + SOON)
    pass_time(world, SOON + 1)
    advance_until(operator, request, Stage.REFUSED)
    assert reason(operator, request) == "seal_deadline_passed"
    Sender(world.chain, world.local.key("researcher")).send(
        "ResearchMarket", "reclaim", bytes.fromhex(request[2:])
    )
    assert world.books().escrows == before.escrows


# --- ends that somebody else decides


def test_a_request_that_its_researcher_cancels_is_cancelled_wherever_it_was_seen_last(
    world: World, operator: Operator
) -> None:
    for seen in (Stage.SUBMITTED, Stage.FUNDED):
        request, terms = world.submit()
        world.ask.open(terms)
        step_to(operator, request, seen)
        world.ask.cancel(request)
        advance_until(operator, request, Stage.CANCELLED)
        assert stages(operator, request) == ["submitted", "funded", "cancelled"]


def test_a_lapsed_freeze_is_reclaimed_and_nobody_paid(world: World, operator: Operator) -> None:
    before = world.books()
    request = world.open()
    step_to(operator, request, Stage.FROZEN)
    pass_time(world, WINDOWS.freeze_window + 1)
    advance_until(operator, request, Stage.RECLAIMED)
    after = world.books()
    assert (after.spent, after.earned, after.earnings) == (
        before.spent,
        before.earned,
        before.earnings,
    )
    assert after.escrows == before.escrows
    assert after.held == after.owed


def test_a_request_that_is_never_settled_defaults_and_patients_keep_their_pay(
    world: World, operator: Operator
) -> None:
    before = world.books()
    now = world.chain.nudge().timestamp
    request = world.open(seal_deadline=now + SOON, settle_deadline=now + SOON + WINDOWS.turn_window)
    step_to(operator, request, Stage.SEALED)
    pass_time(world, SOON + WINDOWS.turn_window + WINDOWS.certificate_window + 1)
    default = Sender(world.chain, world.local.key("stranger"))
    default.send("ResearchMarket", "defaultUncertified", bytes.fromhex(request[2:]))
    advance_until(operator, request, Stage.DEFAULTED)
    after, view = world.books(), world.chain.request(bytes.fromhex(request[2:]))
    assert after.spent - before.spent == view.cost
    assert after.earnings - before.earnings == PATIENTS * view.price
    assert (after.escrows, after.locked_bonds) == (before.escrows, before.locked_bonds)
    assert world.drawn_noise(request) == []


@pytest.mark.long
def test_a_gate_that_goes_silent_after_the_turn_costs_the_operators_bond(
    world: World, operator: Operator
) -> None:
    """The keys were turned, and no answer ever comes: nobody but custodians and chain is asked."""
    before = world.books()
    request = turned_and_left_alone(world, operator)
    assert "[deadline_running]" in usufruct_default(world, request).stderr
    past_settling(world)
    for url in world.local.custodian_urls[:QUORUM]:  # late: no key turns any more
        assert turn_code(url, request) == "deadline_passed"
    done = usufruct_default(world, request)
    assert done.returncode == 0, done.stderr
    said, view = json.loads(done.stdout), world.chain.request(bytes.fromhex(request[2:]))
    assert (said["certified"], said["certificates"]) == (True, [0, 1])
    advance_until(operator, request, Stage.DEFAULTED)
    after, paid = world.books(), PATIENTS * view.price
    assert after.operator_bond == before.operator_bond - paid
    assert after.researcher_credit == before.researcher_credit + view.max_patients * view.price + (
        view.fee
    )
    assert after.earnings - before.earnings == paid  # their budget was spent: patients keep it
    assert (after.escrows, after.locked_bonds) == (before.escrows, before.locked_bonds)
    assert after.held == after.owed


@pytest.mark.long
def test_without_a_quorum_of_certificates_a_default_waits_and_then_leaves_the_bond(
    world: World, operator: Operator
) -> None:
    before = world.books()
    request = turned_and_left_alone(world, operator, turning=QUORUM - 1)
    past_settling(world)
    refused = usufruct_default(world, request).stderr
    assert "[certificate_missing]" in refused
    assert "1 of 2 custodians" in refused
    assert code_of(lambda: world.ask.default(request, [NOBODY, NOBODY + "0"])) == (
        "certificate_missing"
    )
    pass_time(world, WINDOWS.certificate_window + 1)
    only = world.local.custodian_urls[:1]
    assert "[too_few_custodians]" in usufruct_default(world, request, only).stderr
    assert json.loads(usufruct_default(world, request).stdout)["certified"] is False
    advance_until(operator, request, Stage.DEFAULTED)
    after = world.books()
    assert after.operator_bond == before.operator_bond
    assert (after.escrows, after.locked_bonds) == (before.escrows, before.locked_bonds)


@pytest.mark.long
def test_a_researcher_who_has_the_keys_turned_does_an_operator_at_work_no_harm(
    world: World, operator: Operator
) -> None:
    """It finds key and turns done, and settles; what was asked is public at its API."""
    before = world.books()
    request = world.open()
    step_to(operator, request, Stage.SEALED)
    with served(create_app(operator, Worker(operator))) as url:
        done = usufruct_record_key(world, request, url)
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)["certificates"]) >= QUORUM
        advance_until(operator, request, Stage.SETTLED)
        world.require_settled_once(request, before, PATIENTS)
        assert "[nothing_to_turn]" in usufruct_record_key(world, request, url).stderr
    assert "--dictionary" in usufruct_record_key(world, request, None).stderr


def usufruct_record_key(
    world: World, request: str, url: str | None
) -> subprocess.CompletedProcess[str]:
    """What is asked comes from the operator at `url`, if one is given."""
    command = [sys.executable, "-m", "marketplace.cli", "record-key", "--request", request]
    command += ["--node", world.local.node_url, "--manifest", str(world.local.manifest_path)]
    command += ["--key-file", str(world.local.key_path("researcher"))]
    command += [] if url is None else ["--url", url]
    for number, custodian in enumerate(world.local.custodian_urls):
        gate = f"http://127.0.0.1:{world.local.ports.gate + number}"
        command += ["--custodian", custodian, "--gate", gate]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def turned_and_left_alone(world: World, operator: Operator, turning: int = QUORUM) -> str:
    """Sealed and keyed; so many custodians turned, as the gate asked them to, which then says nothing."""
    now = world.chain.nudge().timestamp
    request = world.open(seal_deadline=now + SOON, settle_deadline=now + SOON + WINDOWS.turn_window)
    step_to(operator, request, Stage.KEYED)
    for url in world.local.custodian_urls[:turning]:
        until = time.monotonic() + 60
        while turn_code(url, request) is not None:
            assert time.monotonic() < until, url
            time.sleep(0.1)  # the gate's key is not final yet
    return request


def turn_code(url: str, request: str) -> str | None:
    """With which code a custodian refuses to turn, if it does."""
    return code_of(lambda: post(url, "/turns", {"request": request}, timeout=60))


def past_settling(world: World) -> None:
    pass_time(world, SOON + WINDOWS.turn_window + 1)


def usufruct_default(
    world: World, request: str, custodians: Sequence[str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "marketplace.cli", "default", "--request", request]
    command += ["--node", world.local.node_url, "--manifest", str(world.local.manifest_path)]
    command += ["--key-file", str(world.local.key_path("researcher"))]
    for url in world.local.custodian_urls if custodians is None else custodians:
        command += ["--custodian", url]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# --- patients meanwhile


def test_patients_who_grant_while_a_cohort_is_frozen_take_part_from_the_next_on(
    world: World, operator: Operator
) -> None:
    newcomer = world.patients[0]
    world.revoke([newcomer])
    request = world.open()
    step_to(operator, request, Stage.FROZEN)
    world.grant([newcomer])
    assert world.state_of(newcomer) == "resting"
    advance_until(operator, request, Stage.SETTLED)
    assert world.answer(request).result["cohort_size"] == PATIENTS - 1
    assert world.state_of(newcomer) == "live"


@pytest.mark.long
@pytest.mark.parametrize("end", daily(["reclaimed", "dissolved"], ["dissolved"]))
def test_who_granted_during_a_freeze_that_came_to_nothing_takes_part_in_the_next(
    world: World, operator: Operator, end: str
) -> None:
    newcomer, *leaving = world.patients[: SPARE + 1]
    request = frozen_with_a_newcomer(world, operator, newcomer)
    if end == "dissolved":
        world.revoke(leaving)
    else:
        pass_time(world, WINDOWS.freeze_window + 1)
    advance_until(operator, request, Stage.RECLAIMED)
    if end == "dissolved":
        pass_time(world, 2)
        world.grant(leaving)
    request = world.open()
    advance_until(operator, request, Stage.SETTLED)
    assert world.answer(request).result["cohort_size"] == PATIENTS


def frozen_with_a_newcomer(world: World, operator: Operator, newcomer: Patient) -> str:
    """A request whose cohort is being counted, and who grants meanwhile rests."""
    world.revoke([newcomer])
    request = world.open()
    step_to(operator, request, Stage.FROZEN)
    world.grant([newcomer])
    assert world.state_of(newcomer) == "resting"
    return request


@pytest.mark.long
def test_who_rests_since_a_freeze_that_others_ended_is_woken_by_an_idle_operator(
    world: World, operator: Operator
) -> None:
    """As after a crash between the end of a freeze and the wake: no step of a request is left to do it."""
    newcomer = world.patients[0]
    request = frozen_with_a_newcomer(world, operator, newcomer)
    pass_time(world, WINDOWS.freeze_window + 1)
    stranger = Sender(world.chain, world.local.key("stranger"))
    stranger.send("ResearchMarket", "reclaim", bytes.fromhex(request[2:]))
    advance_until(operator, request, Stage.RECLAIMED)
    pass_time(world, 2)
    assert world.state_of(newcomer) == "resting"
    worker = Worker(operator)
    thread = worker.start()
    await_state(world, newcomer, "live")
    worker.stop()
    thread.join()


def await_state(world: World, patient: Patient, wanted: str) -> None:
    until = time.monotonic() + 60
    while world.state_of(patient) != wanted:
        assert time.monotonic() < until, world.state_of(patient)
        time.sleep(0.1)


@pytest.mark.long
def test_a_suspended_record_is_in_no_cohort_also_where_somebody_woke_its_consent(
    world: World, operator: Operator
) -> None:
    """The contracts' wake does not ask for the record: the operator expels before it freezes and after."""
    *_, suspended, woken = world.patients
    request = frozen_with_a_newcomer(world, operator, woken)
    suspend(world, woken)
    step_to(operator, request, Stage.SEALED)
    pass_time(world, 2)
    stranger = Sender(world.chain, world.local.key("stranger"))
    stranger.send("ConsentRegistry", "wakeWords", world.class_, 0, [0])
    assert world.state_of(woken) == "live"
    advance_until(operator, request, Stage.SETTLED)
    assert world.state_of(woken) == "none"
    suspend(world, suspended)
    assert world.state_of(suspended) == "live"
    request = world.open()
    advance_until(operator, request, Stage.SETTLED)
    assert world.answer(request).result["cohort_size"] == PATIENTS - 2
    assert world.state_of(suspended) == "none"
    del world.patients[-2:]
    pass_time(world, 2)
    world.grant(world.add_patients(2))


def suspend(world: World, patient: Patient) -> None:
    """By the steward, who stops trusting the issuer for as long as it takes."""
    steward, issuer = (
        Sender(world.chain, world.local.key("steward")),
        world.local.account("issuer"),
    )
    steward.send("DatasetRegistry", "withdrawIssuer", world.dataset, issuer)
    steward.send("DatasetRegistry", "suspendRecord", world.dataset, patient.address)
    steward.send("DatasetRegistry", "addIssuer", world.dataset, issuer)


@pytest.mark.long
def test_a_request_that_somebody_else_seals_goes_on(world: World, operator: Operator) -> None:
    before = world.books()
    request = world.open()
    step_to(operator, request, Stage.FROZEN)
    operator.sender.send("ResearchMarket", "sealAll", bytes.fromhex(request[2:]))
    advance_until(operator, request, Stage.SETTLED)
    world.require_settled_once(request, before, PATIENTS)


# --- hosts that fail


@pytest.mark.long
def test_with_one_custodian_down_a_quorum_still_answers(world: World, operator: Operator) -> None:
    before = world.books()
    request = world.open()
    world.local.end("custodian-0")
    advance_until(operator, request, Stage.SETTLED)
    world.require_settled_once(request, before, PATIENTS)
    world.local.start_custodian(0)
    await_health(world.local.custodian_urls)


@pytest.mark.long
def test_with_one_custodian_that_drips_its_answers_two_honest_ones_settle(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "TIMEOUT_SECONDS", 3_600.0)
    monkeypatch.setattr(peers, "HEALTH_SECONDS", 3_600.0)
    before = world.books()
    request = world.open()
    with server_that_sends(drip(sized(10**6)), 0.05) as url:
        custodians = (peers.Peer("custodian 0", url), *operator.pipeline.custodians[1:])
        pipeline = replace(operator.pipeline, custodians=custodians)
        advance_until(replace(operator, pipeline=pipeline), request, Stage.SETTLED)
    world.require_settled_once(request, before, PATIENTS)


def test_nothing_is_frozen_or_spent_while_too_few_custodians_could_turn(
    world: World, operator: Operator
) -> None:
    before = world.books()
    request = world.open()
    for place in (0, 2):
        world.local.end(f"custodian-{place}")
    assert operator.pipeline.advance(request) is Stage.FUNDED
    assert world.chain.request(bytes.fromhex(request[2:])).stage is RequestStage.OPENED
    for place in (0, 2):
        world.local.start_custodian(place)
    await_health(world.local.custodian_urls)
    advance_until(operator, request, Stage.SETTLED)
    world.require_settled_once(request, before, PATIENTS)


@pytest.mark.long
def test_with_fewer_custodians_than_the_quorum_nothing_opens_until_one_is_back(
    world: World, operator: Operator
) -> None:
    before = world.books()
    request = world.open()
    step_to(operator, request, Stage.KEYED)
    for place in (0, 2):
        world.local.end(f"custodian-{place}")
    assert operator.pipeline.advance(request) is Stage.KEYED
    assert operator.database.computed(request) is None
    assert world.drawn_noise(request) == []
    for place in (0, 2):
        world.local.start_custodian(place)
    await_health(world.local.custodian_urls)
    advance_until(operator, request, Stage.SETTLED)
    world.require_settled_once(request, before, PATIENTS)


@pytest.mark.long
def test_a_gate_that_stays_silent_is_replaced_by_another_draw(
    world: World, operator: Operator
) -> None:
    before = world.books()
    request = world.open()
    step_to(operator, request, Stage.SEALED)
    ended = [f"gate-{i}" for i in range(3)]
    for name in ended:
        world.local.end(name)
    assert operator.pipeline.advance(request) is Stage.SEALED
    first = world.chain.request(bytes.fromhex(request[2:]))
    assert first.gate_drawn_at > 0
    pass_time(world, WINDOWS.gate_window + 1)
    for number in range(3):
        world.local.start_gate(number)
    await_health([f"http://127.0.0.1:{world.local.ports.gate + i}" for i in range(3)])
    advance_until(operator, request, Stage.SETTLED)
    redrawn = world.chain.request(bytes.fromhex(request[2:]))
    assert redrawn.gate_drawn_at > first.gate_drawn_at
    world.require_settled_once(request, before, PATIENTS)


@pytest.mark.long
def test_a_gate_that_the_operator_has_no_url_for_is_waited_for(
    world: World, operator: Operator
) -> None:
    request = world.open()
    step_to(operator, request, Stage.SEALED)
    stranger = replace(operator.pipeline, vault=replace(operator.pipeline.vault, gates={}))
    assert stranger.advance(request) is Stage.SEALED
    with pytest.raises(Refusal) as refused:
        stranger.vault.gate(world.chain.request(bytes.fromhex(request[2:])).gate)
    assert refused.value.code == "gate_unknown"
    advance_until(operator, request, Stage.SETTLED)


def test_with_the_chain_unreachable_nothing_moves_and_nothing_is_refused(
    world: World, operator: Operator, tmp_path: Path
) -> None:
    request = world.open()
    step_to(operator, request, Stage.FUNDED)
    config = load_config(world.local.config_path)
    away = build_operator(config)
    away.chain.node = type(away.chain.node)("http://127.0.0.1:1")
    assert away.pipeline.advance(request) is Stage.FUNDED
    away.database.engine.dispose()
    advance_until(operator, request, Stage.SETTLED)


def test_a_full_database_stops_a_request_and_it_goes_on_once_there_is_room(
    world: World, operator: Operator
) -> None:
    before = world.books()
    request = world.open()
    step_to(operator, request, Stage.KEYED)
    full_database = {"sqlite": full_sqlite, "postgresql": full_postgresql}
    with full_database[operator.database.engine.dialect.name](world, operator) as full:
        until = time.monotonic() + 60
        while (
            code_of(lambda: step(full, request)) != "storage_full"
        ):  # the key may not be final yet
            assert time.monotonic() < until
            assert full.pipeline.advance(request) is Stage.KEYED
        assert operator.database.computed(request) is None
        assert stages(operator, request)[-1] == Stage.KEYED
    advance_until(operator, request, Stage.SETTLED)
    world.require_settled_once(request, before, PATIENTS)


@contextmanager
def full_sqlite(world: World, operator: Operator) -> Iterator[Operator]:
    """A second operator on the same file, which may have no more pages than it has."""
    keep_large_answer(operator)
    with operator.database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    full = build_operator(
        load_config(world.local.config_path).model_copy(update={"database_max_pages": pages})
    )
    fill(full)
    yield full
    full.database.engine.dispose()
    with operator.database.engine.begin() as connection:
        for table in (
            "api_nonces",
            f"computed WHERE request = '{LARGE}'",
            f"requests WHERE id = '{LARGE}'",
        ):
            connection.exec_driver_sql(f"DELETE FROM {table}")


LARGE = "0xlarge"


def keep_large_answer(operator: Operator) -> None:
    """Of a whole page, so that the next answer needs a page of its own."""
    now = datetime.now(UTC)
    request = RequestRow(
        id=LARGE,
        researcher="",
        stage=Stage.CANCELLED,
        terms={},
        analysis="",
        parameters={},
        submitted_at=now,
    )
    row = ComputedRow(request=LARGE, settlement={}, sealed_result=bytes(3600), gate_signature=b"")
    with operator.database.session() as session:
        session.add(request)
        session.flush()
        session.add(row)


@contextmanager
def full_postgresql(_world: World, operator: Operator) -> Iterator[Operator]:
    """Its disk is not really full, which would take a file system of its own: a trigger refuses every new
    answer with SQLSTATE 53100 (disk_full), in the words and at the place of a real one."""
    raising = """RAISE EXCEPTION 'could not extend file "base/5/1": No space left on device'
        USING ERRCODE = '53100';"""
    with operator.database.engine.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {raising} END$$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER no_space BEFORE INSERT ON computed EXECUTE FUNCTION no_space()"
        )
    yield operator
    with operator.database.engine.begin() as connection:
        connection.exec_driver_sql("DROP FUNCTION no_space CASCADE")


def fill(operator: Operator) -> None:
    """Leaves no free page, and little room in any: with nonces that are not old enough to be forgotten."""
    nonces = itertools.count()
    for at_once in (1000, 1):  # many a transaction first, since each waits for the disk
        while (code := code_of(lambda n=at_once: use_nonces(operator, nonces, n))) is None:
            pass
        assert code == "storage_full"


def use_nonces(operator: Operator, numbers: Iterator[int], count: int) -> None:
    deadline = int(time.time()) + 3600
    with operator.database.session() as session:
        for number in itertools.islice(numbers, count):
            session.add(ApiNonceRow(address="0xfull", nonce=f"{number:066d}", deadline=deadline))
