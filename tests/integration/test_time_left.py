"""A freeze that no seal can follow costs the operator's bond, so it does not happen.

On anvil with Ethereum's twelve seconds a block; the operator's pipeline, three custodians and a gate are the
real ones. What is too large for that is counted in `tests/unit/test_time_left.py`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from marketplace import consent
from marketplace.chain.adapter import RequestStage
from marketplace.chain.sender import Sender
from marketplace.errors import Refusal
from marketplace.peers import Peer
from marketplace.pipeline import Pipeline, deadlines, submission
from marketplace.pipeline.deadlines import PAY_SECONDS, SEAL_SECONDS
from marketplace.stages import Stage
from marketplace.store import RequestRow
from marketplace.wire.terms import RequestTerms
from tests.support.chain_world import MAX_COST, POLICY, World, world_on
from tests.support.custody_world import PARAMETERS
from tests.support.nodes import ANVIL_KEY, anvil_node
from tests.support.pipeline_world import PipelineWorld, history, pipeline_world

BLOCK = 12
"""Seconds, as on Ethereum."""
DEADLINE = 120.0
"""Seconds that a test waits for what must come; generous, for slow machines."""
NOBODY = "http://127.0.0.1:1"
WORDS = 3
"""Of the class that is tidied in as many transactions."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineWorld]:
    with pipeline_world(tmp_path_factory.mktemp("time"), slots=1) as world:
        world.chain.node.request("anvil_setBlockTimestampInterval", [BLOCK])
        yield world


@pytest.fixture
def pipeline(made: PipelineWorld, request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    """With a database of its own. No shard is frozen before, nor any bond lost after."""
    made.pass_freeze()
    bond = made.chain.bond_of(made.world.sender.address)
    yield made.pipeline(request.node.name)
    assert made.chain.bond_of(made.world.sender.address) == bond


def asked(made: PipelineWorld, salt: str, left: int) -> RequestTerms:
    """Terms whose seal deadline is so many seconds away."""
    made.mine(1)
    seal = clock(made) + left
    settle = seal + POLICY.turn_window
    return replace(made.world.mean_terms(salt), seal_deadline=seal, settle_deadline=settle)


def clock(made: PipelineWorld) -> int:
    return max(made.chain.now(), int(time.time()))


def pass_time(made: PipelineWorld, until: int) -> None:
    made.chain.node.request("evm_setNextBlockTimestamp", [until])
    made.mine(1)


def submit(made: PipelineWorld, pipeline: Pipeline, terms: RequestTerms) -> str:
    return pipeline.submit(made.world.sender.address, terms, PARAMETERS)


def reason(pipeline: Pipeline, request: str) -> dict[str, Any]:
    found = pipeline.database.request(request).reason
    assert found is not None, history(pipeline, request)
    return found


def waits_for(pipeline: Pipeline, request: str) -> str | None:
    found = pipeline.waits.of(request)
    return None if found is None else str(found["code"])


def comes_back_whole(made: PipelineWorld, request: str, terms: RequestTerms) -> None:
    """The researcher cancels, and has paid nothing."""
    me, key = made.world.sender.address, bytes.fromhex(request[2:])
    credit = made.chain.credit_of(me)
    made.world.sender.send("ResearchMarket", "cancel", key)
    assert made.chain.credit_of(me) - credit == terms.escrow


# --- before payment


@pytest.mark.parametrize("left", [14, 20, 32, SEAL_SECONDS, SEAL_SECONDS + PAY_SECONDS - 2 * BLOCK])
def test_terms_that_leave_no_time_to_seal_are_refused_before_they_are_paid(
    made: PipelineWorld, pipeline: Pipeline, left: int
) -> None:
    with pytest.raises(Refusal) as caught:
        submit(made, pipeline, asked(made, f"squeeze {left}", left))
    assert caught.value.code == "seal_deadline_too_near"
    assert caught.value.field == "terms.sealDeadline"
    assert f"{SEAL_SECONDS + PAY_SECONDS} seconds ahead" in caught.value.remedy
    assert pipeline.database.requests() == []


def test_terms_with_little_more_time_than_that_are_sealed_and_settled(
    made: PipelineWorld, pipeline: Pipeline
) -> None:
    """Every transaction here takes a block of twelve seconds."""
    terms = asked(made, "just enough", SEAL_SECONDS + PAY_SECONDS + 10 * BLOCK)
    request = submit(made, pipeline, terms)
    made.world.open(terms)
    made.finish(pipeline, request)
    sealed = made.chain.request(bytes.fromhex(request[2:])).seal_block
    assert made.chain.node.header(sealed).timestamp <= terms.seal_deadline


# --- before the freeze


def test_a_request_that_is_paid_too_late_is_refused_and_its_operator_loses_nothing(
    made: PipelineWorld, pipeline: Pipeline
) -> None:
    terms = asked(made, "paid late", 10 * SEAL_SECONDS)
    request = submit(made, pipeline, terms)
    pass_time(made, terms.seal_deadline - 32)
    made.world.open(terms)
    assert pipeline.advance(request) is Stage.REFUSED
    assert reason(pipeline, request)["code"] == "seal_deadline_too_near"
    assert "cancel" in reason(pipeline, request)["remedy"]
    comes_back_whole(made, request, terms)


@pytest.mark.parametrize(
    ("wait", "field"), [("quorum_missing", "custodians"), ("bond_too_small", "bond")]
)
def test_an_honest_wait_does_not_end_in_a_freeze_that_comes_too_late(
    made: PipelineWorld, pipeline: Pipeline, wait: str, field: str
) -> None:
    terms = asked(made, wait, 10 * SEAL_SECONDS)
    request = submit(made, pipeline, terms)
    made.world.open(terms)
    me = made.world.sender.address
    bond = made.chain.bond_of(me)
    waiting = pipeline
    if wait == "quorum_missing":
        waiting = replace(pipeline, custodians=(Peer("custodian 0", NOBODY),) * 3)
    else:
        made.world.sender.send("ResearchMarket", "releaseBond", me, bond)
    assert waiting.advance(request) is Stage.FUNDED
    assert waits_for(waiting, request) == wait
    told = made.step(waiting, request)
    assert told is not None
    assert (told.code, told.field) == (wait, field)
    assert told.remedy
    pass_time(made, terms.seal_deadline - SEAL_SECONDS + 2)
    if wait == "bond_too_small":
        made.world.sender.send("ResearchMarket", "postBond", bond)
    assert pipeline.advance(request) is Stage.REFUSED
    assert reason(pipeline, request)["code"] == "seal_deadline_too_near"
    comes_back_whole(made, request, terms)


def test_a_cohort_too_large_to_be_tidied_in_time_is_refused_and_its_operator_loses_nothing(
    made: PipelineWorld, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = made.world.mean_terms("too large")
    request = submit(made, pipeline, terms)
    made.world.open(terms)
    blocks = POLICY.freeze_window // BLOCK
    monkeypatch.setattr(consent, "work_ahead", lambda *_: consent.Work(blocks, 1))
    with pytest.raises(Refusal) as caught:
        submit(made, pipeline, replace(terms, salt=bytes(32)))
    assert caught.value.code == "too_much_to_tidy"
    assert pipeline.advance(request) is Stage.REFUSED
    assert reason(pipeline, request)["code"] == "too_much_to_tidy"
    comes_back_whole(made, request, terms)


def test_a_freeze_that_is_still_on_its_way_is_sealed_however_little_time_is_left_for_another(
    made: PipelineWorld, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its outcome was not known in time; were the request refused, nobody would seal what is frozen then."""
    terms = asked(made, "on its way", 20 * SEAL_SECONDS)
    request = submit(made, pipeline, terms)
    made.world.open(terms)
    hasty = replace(pipeline, sender=Sender(pipeline.chain, ANVIL_KEY, timeout=1))
    made.chain.node.request("evm_setAutomine", [False])
    try:
        assert hasty.advance(request) is Stage.FUNDED
        assert waits_for(hasty, request) == "outcome_unknown"
        monkeypatch.setattr(deadlines, "SEAL_SECONDS", POLICY.freeze_window)
        assert hasty.advance(request) is Stage.FUNDED
        assert waits_for(hasty, request) == "seal_deadline_too_near"
        made.mine(1)
    finally:
        made.chain.node.request("evm_setAutomine", [True])
    assert made.chain.request(bytes.fromhex(request[2:])).stage is RequestStage.FROZEN
    made.finish(pipeline, request)


# --- a class of several words


@pytest.fixture(scope="module")
def crowd() -> Iterator[World]:
    """As many patients as fill some words; anvil mines when it is told to."""
    with anvil_node("--hardfork", "prague") as node:
        world = world_on(node)
        world.cap = MAX_COST
        world.enrol([f"crowd {number}" for number in range(160 * (WORDS - 1) + 2)])
        yield world


@pytest.mark.long
def test_stale_words_are_tidied_side_by_side_and_not_a_block_each(
    crowd: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them wait in the pool before anything is mined: none was awaited before the next was sent."""
    monkeypatch.setattr(consent, "TIDY_GAS", consent.TIDY_WORD_GAS)
    spend(crowd)
    stale = replace(crowd.terms("stale", cost=MAX_COST), salt=b"\1" * 32)
    assert consent.work_ahead(crowd.chain, stale, stale.seal_deadline) == consent.Work(WORDS, 1)
    request = crowd.open(stale)
    crowd.freeze(stale)
    view = crowd.chain.request(request)
    node = crowd.chain.node
    node.request("evm_setAutomine", [False])
    try:
        tidied: list[int] = []

        def work() -> None:
            tidied.append(consent.tidy(crowd.chain, crowd.sender, request, view))

        thread = threading.Thread(target=work)
        thread.start()
        until(lambda: int(node.request("txpool_status", [])["pending"], 16) == WORDS)
        crowd.chain.node.mine()
        thread.join(DEADLINE)
        assert tidied == [WORDS]
    finally:
        node.request("evm_setAutomine", [True])
    assert crowd.chain.shard(crowd.classes[0], 0).live == 0
    assert consent.work_ahead(crowd.chain, stale, stale.seal_deadline) == consent.Work(0, 1)


def spend(crowd: World) -> None:
    """A first request, after which nobody can afford the class's dearest one."""
    terms = crowd.terms("first", cost=1)
    request = crowd.open(terms)
    crowd.freeze(terms)
    crowd.sender.send("ResearchMarket", "sealAll", request)
    crowd.tick()


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


# --- requests that nobody pays


def test_one_researcher_leaves_no_more_than_so_many_requests_unpaid(
    made: PipelineWorld, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "UNPAID_AT_ONCE", 2)
    first, second, third = (made.world.mean_terms(f"unpaid {number}") for number in range(3))
    taken = submit(made, pipeline, first)
    submit(made, pipeline, second)
    with pytest.raises(Refusal) as caught:
        submit(made, pipeline, third)
    assert (caught.value.code, caught.value.field) == ("too_many_unpaid", "Usufruct-Auth.address")
    assert caught.value.remedy
    assert len(pipeline.database.requests()) == 2
    assert submit(made, pipeline, first) == taken  # no further one
    made.world.open(first)
    assert pipeline.advance(taken) is not Stage.SUBMITTED
    submit(made, pipeline, third)
    made.finish(pipeline, taken)


def test_a_request_that_is_paid_already_is_taken_however_many_are_not(
    made: PipelineWorld, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "UNPAID_AT_ONCE", 0)
    terms = made.world.mean_terms("paid before it was handed in")
    made.world.open(terms)
    made.finish(pipeline, submit(made, pipeline, terms))


def test_after_an_hour_an_unpaid_request_no_longer_counts_and_is_served_when_it_is_paid(
    made: PipelineWorld, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "UNPAID_AT_ONCE", 1)
    terms = made.world.mean_terms("paid in the end")
    late = submit(made, pipeline, terms)
    age(pipeline, late)
    submit(made, pipeline, made.world.mean_terms("another"))
    made.world.open(terms)
    made.finish(pipeline, late)


def age(pipeline: Pipeline, request: str) -> None:
    """As if it had been handed in two hours ago."""
    then = datetime.now(UTC) - timedelta(hours=2)
    with pipeline.database.session() as session:
        change = update(RequestRow).where(RequestRow.id == request).values(submitted_at=then)
        session.execute(change)
