"""Whatever happens at once, or is done from an old copy: one debit, one noise, the cohort that consented.

Pipelines, patients and blocks move in threads of their own, on anvil with a finality of two blocks.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from marketplace.pipeline import Pipeline
from marketplace.stages import TERMINAL, WAYS, Stage
from marketplace.vocabulary import Lane
from tests.support.custody_world import COST
from tests.support.daily import daily
from tests.support.pipeline_world import PipelineWorld, history, pipeline_world, stage_of

PATIENTS = [f"patient {number}" for number in range(6)]
STEADY = 3
AT_WORK = [each for each in WAYS[Lane.VAULT] if each not in TERMINAL]
"""Patients who never change their minds, so that every cohort is large enough."""
BLOCK_SECONDS = 0.15
PATIENCE = 120.0
"""Seconds that a pipeline gets on a busy machine."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineWorld]:
    folder = tmp_path_factory.mktemp("races")
    with pipeline_world(folder, slots=1, names=PATIENTS) as world:
        yield world


@contextmanager
def blocks_go_on(made: PipelineWorld) -> Iterator[None]:
    """A block now and then, from a thread of its own."""
    stop = threading.Event()

    def mine() -> None:
        while not stop.wait(BLOCK_SECONDS):
            made.mine(1)

    thread = threading.Thread(target=mine, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def drive(pipeline: Pipeline, request: str) -> Stage:
    """As a worker does, until the request has ended."""
    end = time.monotonic() + PATIENCE
    while (stage := pipeline.advance(request)) not in TERMINAL:
        assert time.monotonic() < end, history(pipeline, request)
        time.sleep(0.05)
    return stage


def together(*acts: Callable[[], object]) -> list[object]:
    """Runs all at once; raises what any of them raised."""
    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.result() for future in [pool.submit(act) for act in acts]]


def reference_cohort(made: PipelineWorld, request: str) -> set[str]:
    """Who was live when the request's shard was sealed, told from the consents' own events alone."""
    live: set[str] = set()
    first = made.world.manifest.deployed_block
    for event in made.chain.events(first, contracts=["ConsentRegistry"]):
        if event.name == "ShardSealed" and event.args["request"] == bytes.fromhex(request[2:]):
            return live
        patient = str(event.args.get("patient"))
        if event.name == "Woken" or (event.name == "Granted" and event.args["live"]):
            live.add(patient)
        elif event.name in ("Granted", "Revoked", "Rested", "Expired", "Expelled"):
            live.discard(patient)
    raise AssertionError("the request was never sealed")


def cohort(made: PipelineWorld, request: str) -> list[str]:
    return list(made.chain.sealed_cohort(bytes.fromhex(request[2:])).patients)


def lifetime(made: PipelineWorld) -> dict[str, int]:
    """Nano-rho that each patient's record ever spent."""
    dataset = made.world.dataset
    return {p.address: made.chain.consent_of(dataset, p.address).spent for p in made.patients}


# --- at once


def test_two_requests_over_one_shard_go_one_after_the_other_and_each_is_debited_once(
    made: PipelineWorld,
) -> None:
    one, two = made.pipeline("first"), made.pipeline("second")
    first, _ = made.submit(one, "race one")
    second, _ = made.submit(two, "race two")
    spent, before = made.spent(), lifetime(made)
    with blocks_go_on(made):
        ends = together(lambda: drive(one, first), lambda: drive(two, second))
    assert ends == [Stage.SETTLED, Stage.SETTLED]
    assert made.spent() == spent + 2 * COST
    for pipeline, request in ((one, first), (two, second)):
        made.require_settled_once(pipeline, request)
        assert set(cohort(made, request)) == reference_cohort(made, request)
    assert lifetime(made) == {patient: was + 2 * COST for patient, was in before.items()}
    assert never_frozen_together(made, first, second)


def never_frozen_together(made: PipelineWorld, *requests: str) -> bool:
    """Of a shard's freezes and seals, each freeze is followed by its own request's end."""
    ids = {bytes.fromhex(each[2:]) for each in requests}
    events = made.chain.events(
        made.world.manifest.deployed_block,
        contracts=["ConsentRegistry"],
        names=["ShardFrozen", "ShardSealed", "ShardThawed"],
    )
    holder: bytes | None = None
    for event in (each for each in events if each.args["request"] in ids):
        if event.name == "ShardFrozen":
            if holder is not None:
                return False
            holder = event.args["request"]
        elif event.args["request"] != holder:
            return False
        else:
            holder = None
    return holder is None


def test_two_pipelines_on_one_request_seal_compute_and_settle_it_once(made: PipelineWorld) -> None:
    """Two operator processes with a database each: neither gives the request up."""
    pipelines = [made.pipeline("left"), made.pipeline("right")]
    request, terms = made.submit(pipelines[0], "both")
    parameters = pipelines[0].database.request(request).parameters
    assert pipelines[1].submit(made.world.sender.address, terms, parameters) == request
    spent = made.spent()
    with blocks_go_on(made):
        ends = together(*[lambda p=each: drive(p, request) for each in pipelines])
    assert ends == [Stage.SETTLED, Stage.SETTLED]
    assert made.spent() == spent + COST
    made.require_settled_once(pipelines[0], request)
    receipts = [each.database.receipt(request) for each in pipelines]
    assert receipts[0] is not None
    assert receipts[1] is not None
    assert receipts[0].receipt == receipts[1].receipt


@pytest.mark.long
def test_two_workers_on_one_database_move_a_request_along_once(made: PipelineWorld) -> None:
    """The server's worker and a `usufruct resume` beside it."""
    pipeline = made.pipeline("shared")
    request, _ = made.submit(pipeline, "shared")
    with blocks_go_on(made):
        together(lambda: drive(pipeline, request), lambda: drive(pipeline, request))
    assert stage_of(pipeline, request) is Stage.SETTLED
    made.require_settled_once(pipeline, request)
    entered = [row.after for row in pipeline.database.log(request)]
    assert len(entered) == len(set(entered)), history(pipeline, request)


def test_grants_and_revocations_during_a_request_count_exactly_those_live_at_the_seal(
    made: PipelineWorld,
) -> None:
    pipeline = made.pipeline("first")
    restless = made.patients[STEADY:]
    stop = threading.Event()

    def change_minds() -> int:
        changes = 0
        while not stop.is_set():
            for patient in restless:
                made.revoke(patient)
                made.grant(patient)
                changes += 2
        return changes

    def ask(salts: list[str]) -> list[str]:
        try:
            asked = []
            for salt in salts:
                request, _ = made.submit(pipeline, salt)
                asked.append(request)
                assert drive(pipeline, request) is Stage.SETTLED
            return asked
        finally:
            stop.set()

    spent, before = made.spent(), lifetime(made)
    with blocks_go_on(made):
        asked, changes = together(lambda: ask(["busy 1", "busy 2"]), change_minds)
    assert isinstance(asked, list)
    assert isinstance(changes, int)
    assert changes >= len(restless)  # or nothing was raced
    counted = {request: cohort(made, request) for request in asked}
    for request, patients in counted.items():
        assert len(patients) == len(set(patients))
        assert set(patients) == reference_cohort(made, request)
        made.require_settled_once(pipeline, request)
    assert made.spent() == spent + COST * len(asked)
    assert lifetime(made) == {
        patient: was + COST * sum(patient in patients for patients in counted.values())
        for patient, was in before.items()
    }


# --- from an old copy of the operator's database


@pytest.fixture(scope="module")
def copies(made: PipelineWorld) -> tuple[str, dict[Stage, str]]:
    """A settled request, and for each stage the name of a copy of the database as it was then."""
    pipeline = made.pipeline("copied")
    request, _ = made.submit(pipeline, "copied")
    names = {}
    for stage in AT_WORK:
        made.reach(pipeline, request, stage)
        names[stage] = copy(made, "copied", f"copy-{stage}")
    made.finish(pipeline, request)
    made.require_settled_once(pipeline, request)
    return request, names


def copy(made: PipelineWorld, name: str, to: str) -> str:
    """A backup of a database in use, as SQLite makes it."""
    folder = made.world.folder
    with (
        closing(sqlite3.connect(folder / f"operator-{name}.sqlite")) as source,
        closing(sqlite3.connect(folder / f"operator-{to}.sqlite")) as target,
    ):
        source.backup(target)
    return to


@pytest.mark.parametrize("stage", AT_WORK)
def test_an_old_copy_of_the_database_finds_the_settled_request_and_draws_and_pays_nothing(
    made: PipelineWorld, copies: tuple[str, dict[Stage, str]], stage: Stage
) -> None:
    request, names = copies
    restored = made.pipeline(names[stage])
    assert stage_of(restored, request) is stage
    spent, blocks = made.spent(), made.chain.head().number
    answers = noises(made)
    while restored.advance(request) not in TERMINAL:
        pytest.fail(f"it waits: {history(restored, request)}")
    assert stage_of(restored, request) is Stage.SETTLED
    original, again = (made.database(n).receipt(request) for n in ("copied", names[stage]))
    assert original is not None
    assert again is not None
    assert again.receipt == original.receipt
    assert (made.spent(), noises(made)) == (spent, answers)
    assert made.chain.head().number == blocks  # it sent nothing


def noises(made: PipelineWorld) -> int:
    """How many answers this gate ever drew."""
    with closing(sqlite3.connect(made.world.folder / "gate" / "gate.sqlite")) as journal:
        (number,) = journal.execute("select count(*) from computations").fetchone()
    return int(number)


@pytest.mark.parametrize("reached", daily([Stage.COMPUTED, Stage.CLEARED], [Stage.COMPUTED]))
def test_an_old_copy_from_before_the_answer_goes_on_with_the_same_bytes(
    made: PipelineWorld, reached: Stage
) -> None:
    """The answer was drawn, perhaps signed; the copy knows nothing of it and asks the gate again."""
    pipeline = made.pipeline(f"lost-{reached}")
    request, _ = made.submit(pipeline, f"lost {reached}")
    made.reach(pipeline, request, Stage.KEYED)
    made.finalise()
    name = copy(made, f"lost-{reached}", f"found-{reached}")
    made.reach(pipeline, request, reached)
    kept = pipeline.database.computed(request)
    spent, answers = made.spent(), noises(made)
    restored = made.pipeline(name)
    assert restored.database.computed(request) is None
    made.finish(restored, request)
    again = restored.database.computed(request)
    assert kept is not None
    assert again is not None
    assert (again.settlement, again.sealed_result) == (kept.settlement, kept.sealed_result)
    assert (made.spent(), noises(made)) == (spent, answers)
    made.require_settled_once(restored, request)


def test_an_old_copy_from_before_the_seal_does_not_seal_again(made: PipelineWorld) -> None:
    pipeline = made.pipeline("sealed")
    request, _ = made.submit(pipeline, "sealed")
    made.reach(pipeline, request, Stage.FUNDED)
    name = copy(made, "sealed", "unsealed")
    made.reach(pipeline, request, Stage.KEYED)
    spent = made.spent()
    restored = made.pipeline(name)
    made.finish(restored, request)
    assert made.spent() == spent
    made.require_settled_once(restored, request)
    made.finish(pipeline, request)  # and the first one finds it settled


def test_a_database_that_lost_its_answer_after_a_lost_settlement_asks_for_the_same_bytes(
    made: PipelineWorld,
) -> None:
    """An old copy that saw the settlement on chain, which a reorganisation then took."""
    pipeline = made.pipeline("answered")
    request, _ = made.submit(pipeline, "answered")
    made.reach(pipeline, request, Stage.KEYED)
    made.finalise()
    name = copy(made, "answered", "unanswered")
    made.reach(pipeline, request, Stage.CLEARED)
    made.step(pipeline, request)
    kept = pipeline.database.computed(request)
    restored = made.pipeline(name)
    assert made.step(restored, request) is None
    assert made.step(restored, request) is None
    assert stage_of(restored, request) is Stage.CLEARED
    made.reorganise(1)
    answers = noises(made)
    made.finish(restored, request)
    again = restored.database.computed(request)
    assert kept is not None
    assert again is not None
    assert again.sealed_result == kept.sealed_result
    assert noises(made) == answers
    made.require_settled_once(restored, request)
