"""No key turns for what the chain may still take back, and what it took back is done again.

On anvil with epochs of 32 slots a block is final 64 blocks later, so every reorganisation of up to 64
blocks can happen to a request here. Depths 1, 7 and 64 run always, all 64 in the long campaign.
"""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from marketplace.chain.adapter import RequestStage
from marketplace.cli.main import main
from marketplace.custodian.finality import FinalityViolated
from marketplace.errors import Refusal
from marketplace.pipeline import Pipeline
from marketplace.stages import Stage
from marketplace.wire import http_client
from marketplace.wire.http import to_hex
from marketplace.wire.http_client import post
from tests.support.custody_world import COST
from tests.support.daily import daily
from tests.support.pipeline_world import PipelineWorld, history, pipeline_world, stage_of

SLOTS = 32
FINAL = 2 * SLOTS
DEPTH = pytest.mark.parametrize("depth", daily(range(1, FINAL + 1), [1, FINAL]))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineWorld]:
    with pipeline_world(tmp_path_factory.mktemp("finality"), slots=SLOTS) as world:
        yield world


@pytest.fixture(scope="module")
def pipeline(made: PipelineWorld) -> Pipeline:
    return made.pipeline()


@pytest.fixture
def request_(made: PipelineWorld, pipeline: Pipeline, request: pytest.FixtureRequest) -> str:
    """Opened, and that for good."""
    opened, _ = made.submit(pipeline, request.node.nodeid)
    made.finalise()
    return opened


def refused(url: str, path: str, request: str) -> str:
    """The code with which a custodian or gate refuses."""
    with pytest.raises(Refusal) as caught:
        post(url, path, {"request": request}, timeout=60)
    return caught.value.code


def no_key(made: PipelineWorld, request: str) -> str:
    """The code with which the gate refuses its key."""
    with pytest.raises(Refusal) as caught:
        made.world.gate_key(made.gate_url, _id(request))
    return caught.value.code


def nobody_opens(made: PipelineWorld, request: str, code: str) -> None:
    """Every custodian refuses with this code, and nobody let anything out."""
    assert {refused(url, "/turns", request) for url in made.urls} == {code}
    assert made.released(request) == []


def lose(made: PipelineWorld, depth: int) -> None:
    """Buries the newest block under others until a reorganisation of this depth just takes it away."""
    made.mine(depth - 1)
    made.reorganise(depth)


@DEPTH
def test_whatever_a_reorganisation_takes_is_done_again_once_and_nothing_opens_before_finality(
    made: PipelineWorld, pipeline: Pipeline, depth: int
) -> None:
    """One request that loses its opening, freeze, seal, gate key and settlement, each at this depth."""
    made.finalise()
    spent, earned = made.spent(), made.earned()
    request, terms = made.submit(pipeline, f"depth {depth}")
    lose_opening(made, pipeline, request, depth)
    made.world.open(terms)
    made.finalise()
    lose_freeze(made, pipeline, request, depth)
    lose_seal(made, pipeline, request, depth)
    lose_gate_key(made, pipeline, request, depth)
    lose_settlement(made, pipeline, request, depth)
    made.finish(pipeline, request)
    assert (made.spent(), made.earned()) == (spent + COST, earned + terms.price)
    made.require_settled_once(pipeline, request)


def lose_opening(made: PipelineWorld, pipeline: Pipeline, request: str, depth: int) -> None:
    """Funded, and then the chain does not know the request: it waits to be opened again."""
    made.reach(pipeline, request, Stage.FUNDED)
    lose(made, depth)
    assert pipeline.advance(request) is Stage.SUBMITTED
    assert pipeline.advance(request) is Stage.SUBMITTED
    assert history(pipeline, request)[-1] == "funded -> submitted: NONE on chain"


def lose_freeze(made: PipelineWorld, pipeline: Pipeline, request: str, depth: int) -> None:
    made.reach(pipeline, request, Stage.FROZEN)
    lose(made, depth)
    assert made.chain.request(_id(request)).stage is RequestStage.OPENED
    nobody_opens(made, request, "not_sealed")
    waits(made, pipeline, request, "reorganised")
    assert history(pipeline, request)[-1] == "frozen -> funded: OPENED on chain"


def lose_seal(made: PipelineWorld, pipeline: Pipeline, request: str, depth: int) -> None:
    """As final as a seal can be without being so, nobody turns; and its debit goes with it."""
    made.reach(pipeline, request, Stage.FROZEN)
    made.finalise()
    spent = made.spent()
    waits(made, pipeline, request, "not_yet_final")
    assert made.spent() == spent + COST
    made.mine(depth - 1)
    nobody_opens(made, request, "not_yet_final")
    assert no_key(made, request) == "not_yet_final"
    made.reorganise(depth)
    assert made.chain.request(_id(request)).stage is RequestStage.FROZEN
    assert made.spent() == spent
    nobody_opens(made, request, "not_sealed")
    assert no_key(made, request) == "not_sealed"


def lose_gate_key(made: PipelineWorld, pipeline: Pipeline, request: str, depth: int) -> None:
    """The seal is final, the key is not: custodians were asked to turn, and the key then goes."""
    made.reach(pipeline, request, Stage.KEYED)
    made.mine(depth - 1)
    waits(made, pipeline, request, "not_yet_final")
    nobody_opens(made, request, "not_yet_final")
    body = made.world.computation_body(_id(request), list(made.world.records))
    with pytest.raises(Refusal) as caught:
        made.world.ask_gate(made.gate_url, "/computations", body)
    assert caught.value.code == "gate_key_missing"
    made.reorganise(depth)
    nobody_opens(made, request, "gate_key_missing")
    waits(made, pipeline, request, "reorganised")
    assert history(pipeline, request)[-1] == "keyed -> sealed: SEALED on chain"


def lose_settlement(made: PipelineWorld, pipeline: Pipeline, request: str, depth: int) -> None:
    """Settled again with the same bytes: result, gate's signature, custodians' signatures."""
    made.reach(pipeline, request, Stage.CLEARED)
    made.finalise()
    waits(made, pipeline, request, "not_yet_final")
    assert pipeline.database.receipt(request) is None  # no receipt of what may still go
    first = settle_call(made, request)
    lose(made, depth)
    assert made.chain.request(_id(request)).stage is RequestStage.SEALED
    waits(made, pipeline, request, "not_yet_final")
    assert settle_call(made, request) == first


def waits(made: PipelineWorld, pipeline: Pipeline, request: str, code: str) -> None:
    """The next step does what it can, and then waits for this reason."""
    refusal = made.step(pipeline, request)
    assert refusal is not None
    assert refusal.code == code, refusal


def settle_call(made: PipelineWorld, request: str) -> bytes:
    """The call data that settled the request on the chain as it is now."""
    found = made.chain.events(
        made.world.manifest.deployed_block,
        contracts=["ResearchMarket"],
        names=["RequestSettled"],
        topics=[_id(request)],
    )
    sent = made.chain.node.transaction_input(next(found).transaction)
    assert sent is not None
    return sent


def test_a_patient_who_leaves_after_a_lost_seal_is_not_in_the_one_that_counts(
    made: PipelineWorld, pipeline: Pipeline, request_: str
) -> None:
    leaver = made.patients[-1]
    made.reach(pipeline, request_, Stage.FROZEN)
    waits(made, pipeline, request_, "not_yet_final")
    lost = made.chain.request(_id(request_))
    made.reorganise(2)
    made.revoke(leaver)
    made.finish(pipeline, request_)
    view = made.chain.request(_id(request_))
    assert view.members == lost.members - 1
    assert view.root != lost.root
    patients = made.chain.sealed_cohort(_id(request_)).patients
    assert leaver.address not in map(str, patients)
    made.require_settled_once(pipeline, request_)
    made.pass_freeze()
    made.grant(leaver)
    made.finalise()


def test_a_cohort_that_fell_under_the_minimum_after_a_lost_seal_is_dissolved(
    made: PipelineWorld, pipeline: Pipeline, request_: str
) -> None:
    made.reach(pipeline, request_, Stage.FROZEN)
    waits(made, pipeline, request_, "not_yet_final")
    made.reorganise(1)
    for leaver in made.patients[1:]:
        made.revoke(leaver)
    waits(made, pipeline, request_, "not_yet_final")
    made.reorganise(1)  # takes the end away, too
    assert stage_of(pipeline, request_) is Stage.FROZEN
    assert made.chain.request(_id(request_)).stage is RequestStage.FROZEN
    waits(made, pipeline, request_, "not_yet_final")
    made.finalise()
    assert pipeline.advance(request_) is Stage.RECLAIMED
    assert made.released(request_) == []
    made.pass_freeze()
    for patient in made.patients[1:]:
        made.grant(patient)
    made.finalise()


def test_a_turn_is_refused_one_block_before_finality_and_given_at_it(
    made: PipelineWorld, pipeline: Pipeline, request_: str
) -> None:
    made.reach(pipeline, request_, Stage.KEYED)
    made.mine(FINAL - 1)
    nobody_opens(made, request_, "not_yet_final")
    made.mine(1)
    answers = [post(url, "/turns", {"request": request_}, timeout=60) for url in made.urls]
    assert [answer["place"] for answer in answers] == [0, 1, 2]
    made.finish(pipeline, request_)


@pytest.mark.long
def test_a_custodian_that_trusted_the_head_would_have_turned_too_early(
    made: PipelineWorld, pipeline: Pipeline, request_: str
) -> None:
    """The other side of the rules above: it is finality that holds the keys back, nothing else."""
    made.reach(pipeline, request_, Stage.KEYED)
    nobody_opens(made, request_, "not_yet_final")
    hasty = made.world.custodian(1, use_finalized_tag=False)
    assert hasty.turn(_id(request_))["place"] == 1
    made.finish(pipeline, request_)


def test_a_custodian_whose_seal_is_taken_back_past_finality_serves_nobody_until_its_owner_resolves(
    made: PipelineWorld, pipeline: Pipeline, request_: str
) -> None:
    """One turned, and the chain then breaks its word; the others turned for nothing that is gone."""
    made.reach(pipeline, request_, Stage.KEYED)
    made.finalise()
    url, turned = made.urls[0], post(made.urls[0], "/turns", {"request": request_}, timeout=60)
    other = keyed_beside(made, pipeline)
    seal = made.chain.request(_id(request_)).seal_block
    made.reorganise(made.chain.head().number - seal + 1)
    made.mine(FINAL)
    for asked in (request_, other):
        assert refused(url, "/turns", asked) == "finality_violated"
    assert health(url) == ["finality_violated"]
    assert refused(made.urls[1], "/turns", request_) == "not_sealed"
    certificate = http_client.get(url, f"/certificates/{request_}", timeout=60)
    assert certificate["signature"] == turned["signature"]  # what was done stays shown
    restarted = made.world.custodian(0)
    with pytest.raises(FinalityViolated):
        restarted.require_current()
    assert resolved(made) == [request_]
    assert health(url) == []
    restarted.journal.require_intact()
    made.finish(pipeline, request_)
    made.require_settled_once(pipeline, request_)


def keyed_beside(made: PipelineWorld, pipeline: Pipeline) -> str:
    """Another request, which nobody has been asked to turn for."""
    request, _ = made.submit(pipeline, "beside")
    made.reach(pipeline, request, Stage.KEYED)
    made.finalise()
    return request


def health(url: str) -> list[str]:
    return list(http_client.get(url, "/health", timeout=60)["reasons"])


def resolved(made: PipelineWorld) -> list[str]:
    """What the owner's command says: the requests whose turns the chain does not have."""
    path = made.world.folder / "custodian-0.json"
    config = made.world.custodian_config(0)
    path.write_text(json.dumps(config.model_dump(mode="json")))
    arguments = ["custodian", "resolve-finality", "--config", str(path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return list(json.loads(result.stdout)["turns_of_another_chain"])


def _id(request: str) -> bytes:
    raw = bytes.fromhex(request[2:])
    assert to_hex(raw) == request
    return raw
