"""What a request waits for is shown, told once, and told in words."""

import time
from typing import Any

import pytest

from marketplace.client import waiting
from marketplace.client.http import Api, OperatorUnreachable
from marketplace.client.waiting import Teller, waiting_words
from marketplace.errors import Refusal
from marketplace.waits import SHOWN_AFTER, AtWork, Waits

NOON = 1_790_000_000  # 2026-09-21 14:13:20 UTC
NOTICE = {"code": "notice_still_running", "message": f"Not before {NOON}.", "until": NOON}
REQUEST = "0x" + "11" * 32


def refusal(code: str, **facts: object) -> Refusal:
    return Refusal(code=code, message=f"It is {code}.", remedy="Wait.", facts=facts)


def test_a_wait_is_news_once_until_another_comes_or_it_ends() -> None:
    waits = Waits()
    assert waits.of(REQUEST) is None
    assert waits.note(REQUEST, refusal("not_yet_final"))
    assert not waits.note(REQUEST, refusal("not_yet_final"))
    assert waits.note(REQUEST, refusal("peer_unreachable"))
    assert (waits.changes(), waits.codes()) == (2, ["peer_unreachable"])
    assert waits.of(REQUEST) == {
        "code": "peer_unreachable",
        "message": "It is peer_unreachable.",
        "remedy": "Wait.",
    }
    waits.clear(REQUEST)
    waits.clear(REQUEST)
    assert waits.of(REQUEST) is None
    assert (waits.changes(), waits.codes()) == (3, [])
    assert waits.note(REQUEST, refusal("peer_unreachable"))


def test_a_wait_says_until_when_where_that_is_known_and_keeps_no_other_fact() -> None:
    waits = Waits()
    waits.note(REQUEST, refusal("notice_still_running", until=NOON, other="not shown"))
    assert waits.of(REQUEST) == {
        "code": "notice_still_running",
        "message": "It is notice_still_running.",
        "remedy": "Wait.",
        "until": NOON,
    }


def test_work_is_shown_once_it_lasts_beside_what_the_request_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [float(NOON)]
    monkeypatch.setattr(time, "time", lambda: now[0])
    waits = Waits()
    waits.note(REQUEST, refusal("quorum_missing"))
    before = waits.changes()
    waits.work(REQUEST, AtWork("Custodian 2 is asked.", now[0]))
    now[0] += SHOWN_AFTER - 0.1
    assert (waits.at_work(REQUEST), waits.changes()) == (None, before)
    now[0] += 10.1
    shown = waits.changes()
    assert shown != before
    assert waits.at_work(REQUEST) == {
        "message": "Custodian 2 is asked.",
        "since": NOON,
        "seconds": 12,
    }
    assert waits.changes() == shown
    waits.work(REQUEST, AtWork("Custodian 2 answered.", NOON))
    assert waits.changes() not in (before, shown)
    assert (waits.of(REQUEST) or {})["code"] == "quorum_missing"
    waits.work(REQUEST, None)
    waits.work(REQUEST, None)
    assert (waits.at_work(REQUEST), waits.changes()) == (None, before)


def test_a_wait_is_told_with_a_date() -> None:
    assert waiting_words(NOTICE) == "Not before 2026-09-21 14:13:20 UTC."
    assert waiting_words({"code": "x", "message": "It waits."}) == "It waits."


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test moves: its only entry is the time."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def test_a_short_wait_is_not_told_and_a_long_one_once(clock: list[float]) -> None:
    told: list[str] = []
    teller = Teller(told.append)
    teller.look("funded", NOTICE)
    clock[0] += waiting.TOLD_AFTER / 2
    teller.look("funded", NOTICE)
    assert told == ["funded"]
    for _ in range(3):
        clock[0] += waiting.TOLD_AFTER
        teller.look("funded", NOTICE)
    assert told[1:] == [f"funded, waiting: {waiting_words(NOTICE)} [notice_still_running]"]
    clock[0] += waiting.PULSE
    teller.look("funded", NOTICE)
    assert told[2:] == ["still funded"]
    teller.look("frozen", None)
    assert told[3:] == ["frozen"]


class Scripted(Api):
    """An operator that answers from a list, and is away where it holds None; the last repeats."""

    def __init__(self, *answers: str | None) -> None:
        super().__init__("http://127.0.0.1:1")
        self.answers = list(answers)

    def get(self, path: str) -> dict[str, Any]:
        assert path == f"/api/v1/requests/{REQUEST}"
        stage = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if stage is None:
            raise OperatorUnreachable(message="Away.", remedy="Wait.")
        return {"stage": stage, "reason": None, "waiting": None}


@pytest.mark.usefixtures("clock")
def test_an_operator_that_is_away_for_a_while_is_waited_for() -> None:
    told: list[str] = []
    api = Scripted("funded", *[None] * 40, "settled")
    assert waiting.wait(api, REQUEST, seen=told.append)["stage"] == "settled"
    assert told == ["funded", "funded, waiting: Away. [operator_unreachable]", "settled"]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("answer", "field"),
    [
        ({}, "stage"),
        ({"stage": None}, "stage"),
        ({"stage": ["settled"]}, "stage"),
        ({"stage": "funded", "waiting": "long"}, "waiting"),
        ({"stage": "refused", "reason": ["no"]}, "reason"),
    ],
)
def test_what_an_operator_tells_and_nobody_can_read_is_refused_by_field(
    answer: dict[str, Any], field: str
) -> None:
    class Nonsense(Api):
        def get(self, path: str) -> dict[str, Any]:
            assert path.endswith(REQUEST)
            return answer

    with pytest.raises(Refusal) as caught:
        waiting.wait(Nonsense("http://127.0.0.1:1"), REQUEST)
    assert (caught.value.code, caught.value.field) == ("malformed_answer", field)


@pytest.mark.parametrize("until", [-1, 1 << 37, 10**30, "soon", None])
def test_a_time_that_no_calendar_knows_is_told_as_it_came(until: Any) -> None:
    told = {"code": "x", "message": f"Not before {until}.", "until": until}
    assert waiting_words(told) == f"Not before {until}."


def test_an_operator_that_never_answered_is_not_waited_for() -> None:
    with pytest.raises(OperatorUnreachable):
        waiting.wait(Scripted(None), REQUEST)


@pytest.mark.usefixtures("clock")
def test_who_stops_waiting_is_told_how_the_answer_is_fetched_later() -> None:
    with pytest.raises(Refusal) as refused:
        waiting.wait(Scripted("frozen"), REQUEST, patience=30)
    assert refused.value.code == "still_running"
    assert "frozen after 30 seconds" in refused.value.message
    assert f"usufruct result --request {REQUEST}" in refused.value.remedy
