"""What came of each act is one line of the log; strangers who ask without end do not fill a disk."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from marketplace.errors import Refusal
from marketplace.wire.outcomes import FAULT, MINUTE, MOST_A_MINUTE, REPEATED, Outcomes

REQUEST = bytes.fromhex("2c" * 32)
SECRET = "734.918273645"


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outcomes(clock: Clock) -> Iterator[Outcomes]:
    return Outcomes("marketplace.custodian", clock)


def refuse(outcomes: Outcomes, times: int = 1) -> None:
    for _ in range(times):
        with suppress(Refusal), outcomes.of("turn", REQUEST):
            raise Refusal(code="not_sealed", message=f"Not sealed: {SECRET}", remedy="Wait.")


def test_a_line_says_which_act_on_which_request_and_what_came_of_it(
    outcomes: Outcomes, clock: Clock
) -> None:
    with capture_logs() as lines, outcomes.of("turn", REQUEST) as act:
        act.done("turned")
        clock.now += 1.23456
    expected = {"event": "turn", "outcome": "turned", "request": "0x" + "2c" * 32}
    assert lines == [{**expected, "seconds": 1.235, "log_level": "info"}]


def test_what_was_done_before_is_told_as_repeated(outcomes: Outcomes) -> None:
    with capture_logs() as lines, outcomes.of("signature", REQUEST):
        pass
    assert [(line["event"], line["outcome"]) for line in lines] == [("signature", REPEATED)]


def test_a_refusal_goes_on_and_is_told_by_its_code_alone(outcomes: Outcomes) -> None:
    with capture_logs() as lines, pytest.raises(Refusal), outcomes.of("turn", REQUEST):
        raise Refusal(code="not_sealed", message=f"Not sealed: {SECRET}", remedy="Wait.")
    assert [line["outcome"] for line in lines] == ["not_sealed"]
    assert SECRET not in str(lines)


def test_a_refusal_after_the_act_is_what_came_of_it(outcomes: Outcomes) -> None:
    with capture_logs() as lines, suppress(Refusal), outcomes.of("turn", REQUEST) as act:
        act.done("turned")
        raise Refusal(code="equivocation", message="Another.", remedy="None.")
    assert [line["outcome"] for line in lines] == ["equivocation"]


def test_a_fault_of_this_process_goes_on_and_its_text_is_not_told(outcomes: Outcomes) -> None:
    with capture_logs() as lines, pytest.raises(KeyError), outcomes.of("answer", REQUEST):
        raise KeyError(SECRET)
    assert [line["outcome"] for line in lines] == [FAULT]
    assert SECRET not in str(lines)


def test_who_asks_for_refusals_without_end_gets_so_many_lines_a_minute(
    outcomes: Outcomes, clock: Clock
) -> None:
    with capture_logs() as lines:
        refuse(outcomes, MOST_A_MINUTE + 500)
    assert len(lines) == MOST_A_MINUTE
    clock.now += MINUTE
    with capture_logs() as lines:
        refuse(outcomes, 2)
    assert [line.get("not_logged_before") for line in lines] == [500, None]


def test_what_is_new_is_told_however_many_were_refused(outcomes: Outcomes) -> None:
    refuse(outcomes, MOST_A_MINUTE + 7)
    with capture_logs() as lines, outcomes.of("turn", REQUEST) as act:
        act.done("turned")
    assert [(line["outcome"], line["not_logged_before"]) for line in lines] == [("turned", 7)]
