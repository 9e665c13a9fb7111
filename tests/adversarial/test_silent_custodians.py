"""Custodians that note an answer and then say nothing more: it is settled all the same."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from marketplace.chain.adapter import RequestStage
from marketplace.custodian.server import create_app
from marketplace.custodian.service import Custodian
from marketplace.errors import Refusal
from marketplace.pipeline import Pipeline
from marketplace.stages import Stage
from marketplace.store import ComputedRow
from tests.support.custody_world import served
from tests.support.pipeline_world import PipelineWorld, pipeline_world, stage_of


class Mute(Custodian):
    """Turns and notes like any other, and signs no settlement when the operator asks."""

    def __init__(self, of: Custodian) -> None:
        super().__init__(of.chain, of.journal, of.keys, of.rules)
        self.asked = 0

    def settle(self, *_: Any) -> dict[str, Any]:
        self.asked += 1
        raise Refusal(code="storage_unavailable", message="The disk is away.", remedy="Wait.")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineWorld]:
    with pipeline_world(tmp_path_factory.mktemp("mute"), slots=1) as world:
        yield world


@pytest.fixture
def mutes(made: PipelineWorld) -> Iterator[list[Mute]]:
    """In the place of every custodian, for operator and gate."""
    urls, custodians = list(made.urls), made.gate.custodians
    with ExitStack() as stack:
        standing_in = [Mute(each) for each in made.custodians]
        made.urls[:] = [stack.enter_context(served(create_app(each))) for each in standing_in]
        made.gate.custodians = tuple(
            each.model_copy(update={"url": made.urls[each.place]}) for each in custodians
        )
        yield standing_in
        made.urls[:], made.gate.custodians = urls, custodians


def computed(made: PipelineWorld, salt: str) -> tuple[Pipeline, str]:
    pipeline = made.pipeline()
    request, _ = made.submit(pipeline, salt)
    made.reach(pipeline, request, Stage.COMPUTED)
    return pipeline, request


def test_an_answer_that_a_quorum_noted_settles_though_every_custodian_then_stays_silent(
    made: PipelineWorld, mutes: list[Mute]
) -> None:
    """Else the honest operator would lose its bond by the certified default: the keys were turned."""
    pipeline, request = computed(made, "silent")
    made.finish(pipeline, request)
    made.require_settled_once(pipeline, request)
    assert [each.asked for each in mutes] == [0, 0, 0]


def test_signatures_that_a_gate_made_up_count_for_nothing_and_custodians_are_asked(
    made: PipelineWorld, mutes: list[Mute]
) -> None:
    pipeline, request = computed(made, "made up")
    row = pipeline.database.computed(request)
    assert row is not None
    true = list(row.signatures or [])
    assert len(true) >= 2
    swapped = [
        {**each, "signature": other["signature"]}
        for each, other in zip(true, [*true[1:], true[0]], strict=True)
    ]
    keep(pipeline, request, [*swapped, {**true[0], "place": 9}])
    assert pipeline.advance(request) is Stage.COMPUTED
    waiting = pipeline.waits.of(request)
    assert waiting is not None
    assert waiting["code"] == "quorum_missing"
    assert all(each.asked for each in mutes)
    keep(pipeline, request, true)
    made.finish(pipeline, request)


def test_one_noted_signature_and_one_custodian_that_is_asked_are_a_quorum(
    made: PipelineWorld,
) -> None:
    pipeline, request = computed(made, "one of each")
    row = pipeline.database.computed(request)
    assert row is not None
    first = (row.signatures or [])[0]
    keep(pipeline, request, [first])
    others = [place for place in range(3) if place != first["place"]]
    silent = replace(pipeline.custodians[others[0]], url="http://127.0.0.1:9")
    custodians = list(pipeline.custodians)
    custodians[others[0]] = custodians[first["place"]] = silent
    alone = replace(pipeline, custodians=tuple(custodians))
    made.finish(alone, request)
    made.require_settled_once(alone, request)


def test_what_was_only_noted_is_not_taken_for_what_was_verified(made: PipelineWorld) -> None:
    """A settlement that a reorganisation took away is cleared again, from the answer on."""
    pipeline, request = computed(made, "not verified")
    pipeline.database.move(request, Stage.CLEARED, "as if the chain had settled it")
    assert made.step(pipeline, request) is not None
    assert stage_of(pipeline, request) is Stage.COMPUTED
    made.finish(pipeline, request)
    assert made.chain.request(bytes.fromhex(request[2:])).stage is RequestStage.SETTLED


def keep(pipeline: Pipeline, request: str, signatures: list[dict[str, Any]]) -> None:
    with pipeline.database.session() as session:
        mine = ComputedRow.request == request
        session.execute(update(ComputedRow).where(mine).values(signatures=signatures))
