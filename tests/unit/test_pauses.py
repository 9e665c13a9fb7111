"""A step that failed on chain, and so was paid for, is tried again later and later, and still in time."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.chain.adapter import Chain, ContractRefusal, NodeUnreachable, RequestView
from marketplace.pipeline.deadlines import SEAL_SECONDS
from marketplace.pipeline.pauses import FIRST, LONGEST, SHARE, Pauses, deadline_of, pause
from tests.unit.test_release import VIEW

REQUEST, OTHER = "0x" + "11" * 32, "0x" + "22" * 32
START = 1_000_000
HOUR = 3_600
FAILED = ContractRefusal(message="It failed.", remedy="Try again.")


@dataclass
class Clocked(Chain):
    """A chain that is asked for nothing but a request and the time, which goes on as the clock does."""

    view: RequestView = field(default_factory=lambda: replace(VIEW, settle_deadline=START + HOUR))
    seconds: float = 0.0
    is_away: bool = False

    def request(self, *_: Any, **__: Any) -> RequestView:
        if self.is_away:
            raise NodeUnreachable(message="Away.", remedy="Wait.")
        return self.view

    def now(self) -> int:
        return START + int(self.seconds)


@pytest.fixture
def chain() -> Clocked:
    return Clocked()


@pytest.fixture
def pauses(chain: Clocked) -> Pauses:
    return Pauses(chain, clock=lambda: chain.seconds)


def waited(chain: Clocked, pauses: Pauses) -> float:
    """Seconds until the next try."""
    before = chain.seconds
    while pauses.holds(REQUEST):
        chain.seconds += 0.5
    return chain.seconds - before


def test_each_failure_at_the_same_point_doubles_the_wait(chain: Clocked, pauses: Pauses) -> None:
    assert waited(chain, pauses) == 0
    found = []
    for _ in range(11):
        pauses.start(REQUEST, FAILED)
        found.append(waited(chain, pauses))
    assert found == [1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256]
    assert not pauses.holds(OTHER)


def test_a_request_that_fails_for_ever_is_paid_for_a_few_dozen_times_and_to_the_last_second(
    chain: Clocked, pauses: Pauses
) -> None:
    tries, last = 0, 0.0
    while chain.seconds < HOUR:
        tries, last = tries + 1, chain.seconds
        pauses.start(REQUEST, FAILED)
        chain.seconds += 0.5  # the try itself
        waited(chain, pauses)
    assert 30 < tries < 60
    assert last >= HOUR - 2


def test_a_wait_ends_at_once_where_the_request_went_on_and_begins_anew_there(
    chain: Clocked, pauses: Pauses
) -> None:
    for _ in range(6):
        pauses.start(REQUEST, FAILED)
    assert pauses.holds(REQUEST)
    chain.view = replace(chain.view, gate_draw=1)
    assert not pauses.holds(REQUEST)
    pauses.start(REQUEST, FAILED)
    assert waited(chain, pauses) == FIRST


def test_a_node_that_is_away_ends_no_wait_and_begins_none(chain: Clocked, pauses: Pauses) -> None:
    pauses.start(REQUEST, FAILED)
    chain.is_away = True
    assert pauses.holds(REQUEST)
    pauses.start(OTHER, FAILED)
    chain.is_away = False
    assert not pauses.holds(OTHER)
    assert waited(chain, pauses) == FIRST


def test_what_has_ended_is_forgotten(chain: Clocked, pauses: Pauses) -> None:
    for _ in range(4):
        pauses.start(REQUEST, FAILED)
    pauses.forget(REQUEST)
    assert not pauses.holds(REQUEST)
    pauses.start(REQUEST, FAILED)
    assert waited(chain, pauses) == FIRST


@given(st.integers(1, 10**6), st.integers(-(10**6), 10**7))
def test_no_wait_takes_more_than_its_share_of_what_is_left(failures: int, left: int) -> None:
    found = pause(failures, left)
    assert FIRST <= found <= LONGEST
    assert left <= 0 or found <= max(FIRST, left / SHARE)
    assert found <= pause(failures + 1, left)


def test_what_is_due_has_the_deadline_of_its_own_stage() -> None:
    view = replace(VIEW, seal_deadline=1_000, frozen_until=990, settle_deadline=2_000)
    found = [deadline_of(replace(view, stage_number=stage)) for stage in (1, 2, 3)]
    assert found == [1_000 - SEAL_SECONDS, 990, 2_000]
