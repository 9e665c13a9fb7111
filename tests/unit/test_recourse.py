"""What comes back of a request without an answer: by stage and clock, and never more than is there."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.chain.adapter import MarketPolicy, RequestStage, RequestView
from marketplace.recourse import Recourse, Way, recourse

POLICY = MarketPolicy(certificate_window=500, unused_freeze_bps=1_000)
NOBODY = "0x" + "00" * 20
VIEW = RequestView(
    researcher=NOBODY,
    stage_number=int(RequestStage.OPENED),
    lane=1,
    opened_at=1,
    seal_deadline=100,
    settle_deadline=200,
    cost=1,
    price=5,
    max_patients=10,
    fee=7,
    dataset=bytes(32),
    operator=NOBODY,
    epoch=1,
    shards=2,
    sealed_shards=0,
    members=0,
    escrow=57,
    bond=1_000,
    seal_block=0,
    root=bytes(32),
    gate=NOBODY,
    gate_draw=0,
    gate_drawn_at=0,
    frozen_until=150,
    draw_block=0,
    gate_key=bytes(32),
    result_hash=bytes(32),
)
DEADLINES = {
    RequestStage.OPENED: (100, Way.CANCEL, Way.RECLAIM),
    RequestStage.FROZEN: (150, Way.WAIT, Way.RECLAIM),
    RequestStage.SEALED: (200, Way.WAIT, Way.CERTIFY),
}


def at(stage: RequestStage, now: int, **changes: int) -> Recourse:
    return recourse(replace(VIEW, stage_number=int(stage), **changes), POLICY, now)


@pytest.mark.parametrize("stage", DEADLINES)
def test_the_second_of_the_deadline_is_still_in_time_as_the_market_has_it(
    stage: RequestStage,
) -> None:
    deadline, in_time, late = DEADLINES[stage]
    assert (at(stage, deadline).way, at(stage, deadline).until) == (in_time, deadline)
    assert (at(stage, deadline + 1).way, at(stage, deadline + 1).since) == (late, deadline)


def test_without_certificates_a_sealed_one_ends_only_after_their_window() -> None:
    before, after = (at(RequestStage.SEALED, now, members=4) for now in (700, 701))
    assert (before.way, before.until) == (Way.CERTIFY, 700)
    assert (after.way, after.held, after.bond) == (Way.DEFAULT, 57, 20)


def test_an_unused_freeze_brings_part_of_the_bond_and_a_half_used_one_what_was_paid() -> None:
    assert at(RequestStage.FROZEN, 151).bond == 100
    assert at(RequestStage.FROZEN, 151, members=40).bond == 200
    assert at(RequestStage.FROZEN, 151, members=400).bond == 1_000


def test_nothing_is_promised_of_what_has_ended_or_never_began() -> None:
    for stage in set(RequestStage) - set(DEADLINES):
        found = at(stage, 10**6)
        assert (found.held, found.bond, found.until) == (0, 0, None)
        assert found.way in (Way.NOTHING_PAID, Way.ANSWERED, Way.CREDITED)


@given(
    st.sampled_from(RequestStage),
    st.integers(0, 10**4),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)
def test_no_more_is_promised_than_is_held_and_bonded(
    stage: RequestStage, now: int, members: int, escrow: int, bond: int
) -> None:
    found = at(stage, now, members=members, escrow=escrow, bond=bond)
    assert found.held in (0, escrow)
    assert 0 <= found.bond <= bond
