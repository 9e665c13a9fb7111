"""The transition table: what may follow what, and the diagram that is drawn from it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.pipeline import CHAIN_ENDS, STEPS
from marketplace.stages import LIVE, NEXT, TERMINAL, WAYS, Stage, diagram, route
from marketplace.vocabulary import Lane

stages = st.sampled_from(list(Stage))


def test_the_table_names_every_stage() -> None:
    assert set(NEXT) == set(Stage)


def test_every_stage_can_be_reached_from_submitted() -> None:
    followers = set().union(*NEXT.values())
    assert followers | {Stage.SUBMITTED} == set(Stage)


def test_every_stage_that_is_not_terminal_has_a_step_and_no_terminal_one_has() -> None:
    assert set(STEPS) == set(Stage) - TERMINAL == set(LIVE)


def test_what_is_settled_cancelled_reclaimed_or_defaulted_stays_so() -> None:
    ended = {stage for stage, following in NEXT.items() if not following}
    assert ended == TERMINAL - {Stage.REFUSED}


def test_a_refused_request_can_only_get_its_money_back() -> None:
    assert NEXT[Stage.REFUSED] == {Stage.CANCELLED, Stage.RECLAIMED}


def test_nothing_is_refused_once_it_is_frozen() -> None:
    refusable = {stage for stage, following in NEXT.items() if Stage.REFUSED in following}
    assert refusable == {Stage.SUBMITTED, Stage.FUNDED}


def test_the_table_has_no_cycle() -> None:
    ends = {Stage.SUBMITTED}
    for _ in Stage:
        ends = set().union(*(NEXT[stage] for stage in ends))
    assert not ends


@pytest.mark.parametrize("lane", Lane)
def test_the_stages_of_a_lane_follow_each_other(lane: Lane) -> None:
    for before, after in itertools.pairwise(WAYS[lane]):
        assert after in NEXT[before]


def test_every_stage_at_work_is_of_some_lane() -> None:
    assert set(LIVE) == {each for way in WAYS.values() for each in way} - TERMINAL


@given(stages, stages)
def test_a_route_goes_only_where_the_table_leads_and_never_through_a_refusal(
    before: Stage, after: Stage
) -> None:
    way = route(before, after)
    for one, other in itertools.pairwise([before, *way]):
        assert other in NEXT[one]
    assert way[-1:] in ([], [after])
    assert Stage.REFUSED not in way


@pytest.mark.parametrize("end", CHAIN_ENDS.values())
def test_from_submitted_there_is_a_route_to_every_end_that_the_chain_knows(end: Stage) -> None:
    assert route(Stage.SUBMITTED, end)[-1] is end


def test_no_route_leaves_an_end_or_leads_back() -> None:
    assert route(Stage.SETTLED, Stage.DEFAULTED) == []
    assert route(Stage.SEALED, Stage.FUNDED) == []
    assert route(Stage.SEALED, Stage.CANCELLED) == []


def test_the_diagram_has_one_arrow_for_each_transition() -> None:
    lines = diagram().splitlines()
    arrows = [f"    {before} --> {after}" for before in NEXT for after in NEXT[before]]
    assert lines[0] == "stateDiagram-v2"
    assert set(arrows) <= set(lines)
    assert len(lines) == len(arrows) + 2 + sum(not following for following in NEXT.values())
