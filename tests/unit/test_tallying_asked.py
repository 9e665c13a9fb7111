"""Whoever looks at a request is told who is asked for what meanwhile, and who has not answered."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from marketplace.errors import Refusal
from marketplace.peers import Peer
from marketplace.tallying.asked import Asked
from marketplace.tallying.rounds import Rounds
from marketplace.waits import AtWork

NAMES = {0: "custodian 1", 1: "custodian 2", 2: "custodian 3"}
ALL = "Custodian 1, custodian 2 and custodian 3 are asked for noise"
GIVE_UP = 60.0


class Carrier(Rounds):
    """Has three custodians, and no chain."""

    def __init__(self, tell: Any) -> None:
        self._custodians = [Peer(name, "") for name in NAMES.values()]
        self._tell = tell
        self.faults = {}


def test_one_that_is_frozen_is_named_until_nobody_waits_for_it_any_longer() -> None:
    told: list[AtWork | None] = []
    thaw, refused, seen = threading.Event(), threading.Event(), threading.Event()
    late: list[threading.Thread] = []

    def answer(place: int) -> int:
        if place == 1:
            late.append(threading.current_thread())
            thaw.wait(GIVE_UP)
        if place == 2:
            refused.wait(GIVE_UP)
            raise Refusal(code="busy", message="It is at work.", remedy="Wait.")
        return place

    def tell(at_work: AtWork | None) -> None:
        told.append(at_work)
        if at_work is not None and "custodian 2 and custodian 3 have" in at_work.message:
            refused.set()
        if at_work is not None and "custodian 2 has" in at_work.message:
            seen.set()

    def enough(good: Mapping[int, int]) -> bool:
        return seen.wait(GIVE_UP) and bool(good)

    found = Carrier(tell).ask("for noise", answer, enough, grace=0.0)
    assert found == {0: 0}
    rest = [each.message.removeprefix(ALL) for each in told if each is not None]
    assert rest == [
        "; no answer is there yet.",
        "; custodian 2 and custodian 3 have not answered yet.",
        "; custodian 2 has not answered yet.",
    ]
    assert len({each.since for each in told if each is not None}) == 1
    assert told[-1] is None
    said = len(told)
    thaw.set()
    late[0].join(GIVE_UP)
    assert len(told) == said


def test_a_round_that_fails_is_over_all_the_same() -> None:
    told: list[AtWork | None] = []

    def enough(_: Mapping[int, int]) -> bool:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Carrier(told.append).ask("for noise", lambda place: place, enough)
    assert told[-1] is None


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ({4: "custodian 5"}, "Custodian 5 is asked to sign; no answer is there yet."),
        ({0: "a", 1: "b"}, "A and b are asked to sign; no answer is there yet."),
    ],
)
def test_few_are_named_in_a_sentence_too(names: dict[int, str], sentence: str) -> None:
    told: list[Any] = []
    asked = Asked("to sign", names, told.append)
    assert told[-1].message == sentence
    for place in names:
        asked.answered(place)
    assert told[-1].message.endswith("; every answer is there.")


def test_nobody_is_told_of_a_round_in_which_nobody_is_asked() -> None:
    told: list[Any] = []
    Asked("to sign", {}, told.append).end()
    assert told == [None]
