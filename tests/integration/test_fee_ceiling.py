"""An operator whose fee ceiling the chain has passed: requests wait and say why, and are settled later."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from marketplace.chain.sender import Sender
from marketplace.pipeline import Pipeline
from marketplace.stages import Stage
from tests.support.nodes import ANVIL_KEY
from tests.support.pipeline_world import PipelineWorld, pipeline_world, stage_of

CEILING = 10 * 10**9
CHEAP, DEAR = 10**9, 40 * 10**9
"""Base fees, wei a gas, on both sides of the ceiling."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineWorld]:
    with pipeline_world(tmp_path_factory.mktemp("ceiling"), slots=1) as world:
        yield world


@pytest.fixture
def pipeline(made: PipelineWorld) -> Pipeline:
    plain = made.pipeline()
    return replace(plain, sender=Sender(plain.chain, ANVIL_KEY, timeout=60, max_fee=CEILING))


def mine_at(made: PipelineWorld, wei: int) -> None:
    made.chain.node.request("anvil_setNextBlockBaseFeePerGas", [hex(wei)])
    made.chain.node.mine()


def test_a_step_above_the_ceiling_waits_with_its_reason_and_goes_on_once_fees_fall(
    made: PipelineWorld, pipeline: Pipeline
) -> None:
    request, _ = made.submit(pipeline, "dear")
    made.reach(pipeline, request, Stage.FUNDED)
    sent = made.chain.node.transaction_count(pipeline.sender.address)
    mine_at(made, DEAR)
    with capture_logs() as logs:
        assert pipeline.advance(request) is Stage.FUNDED
        assert pipeline.advance(request) is Stage.FUNDED
    waiting = pipeline.waits.of(request)
    assert waiting is not None
    assert waiting["code"] == "fee_above_ceiling"
    assert "at most 10" in waiting["message"]
    told = [each for each in logs if each["event"] == "step_waits"]
    assert [each["code"] for each in told] == ["fee_above_ceiling"]  # once, not at every try
    assert made.chain.node.transaction_count(pipeline.sender.address) == sent
    mine_at(made, CHEAP)
    made.finish(pipeline, request)
    assert stage_of(pipeline, request) is Stage.SETTLED
    assert pipeline.waits.of(request) is None


def test_whoever_resumes_can_follow_it_from_request_to_request(
    made: PipelineWorld, pipeline: Pipeline
) -> None:
    request, _ = made.submit(pipeline, "followed")
    began: list[str] = []

    def followed(unfinished: Sequence[str]) -> Iterator[str]:
        for each in unfinished:
            began.append(each)
            yield each

    assert request in pipeline.resume(followed)
    assert request in began
    made.finish(pipeline, request)
    assert request not in pipeline.resume()
