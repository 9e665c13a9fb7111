"""Rules of refusals that are remembered: for one question, one block and one state of the journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marketplace.custodian import refusals
from marketplace.custodian.checks import TurnRefused
from marketplace.custodian.journal import Journal
from marketplace.custodian.refusals import Refusals
from marketplace.errors import Refusal


class Asking:
    """A journal of its own, a chain of which only the head is looked at, and work that always refuses."""

    def __init__(self, folder: Path) -> None:
        self.head = b"\1" * 32
        chain: Any = SimpleNamespace(head=lambda: SimpleNamespace(hash=self.head))
        self.journal = Journal.open(folder)
        self.refusals = Refusals(chain, self.journal)
        self.worked = 0

    def ask(self, *question: bytes, code: str = "records_missing", **facts: object) -> Refusal:
        with pytest.raises(Refusal) as refused, self.refusals.remembered(*question):
            self._work(code, facts)
        return refused.value

    def _work(self, code: str, facts: dict[str, object]) -> None:
        self.worked += 1
        raise TurnRefused(
            code=code, message="It lacks some.", remedy="Bring it.", field="at", facts=facts
        )

    def note(self) -> None:
        with self.journal.writing() as session:
            self.journal.append(session, "share-stored", {})


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    return Asking(tmp_path)


def test_the_same_question_is_worked_out_once_and_told_the_same(asking: Asking) -> None:
    first, second = (asking.ask(b"reveal", b"r", b"3", places=[1]) for _ in range(2))
    assert asking.worked == 1
    assert (type(second), second.reason()) == (TurnRefused, first.reason())
    assert second.facts == {"places": [1]}
    assert second is not first


@pytest.mark.parametrize(
    "change",
    [
        lambda asking: setattr(asking, "head", b"\2" * 32),
        lambda asking: asking.note(),
    ],
    ids=["another block", "another journal"],
)
def test_what_may_have_changed_is_worked_out_anew(
    asking: Asking, change: Callable[[Asking], None]
) -> None:
    asking.ask(b"reveal", b"r")
    change(asking)
    asking.ask(b"reveal", b"r")
    assert asking.worked == 2


def test_another_question_is_another(asking: Asking) -> None:
    for question in ((b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"abc", b"")):
        asking.ask(*question)
    assert asking.worked == 4


@pytest.mark.parametrize(
    "code", ["not_yet_final", "noise_missing", "dictionary_missing", "node_fault", "equivocation"]
)
def test_what_time_or_others_cure_is_never_remembered(asking: Asking, code: str) -> None:
    for _ in range(2):
        asking.ask(b"reveal", b"r", code=code)
    assert asking.worked == 2


def test_no_more_than_so_many_are_remembered(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "MOST", 3)
    for number in range(5):
        asking.ask(b"%d" % number, commitments=["0x"] * 1_000)
    assert len(asking.refusals._kept) == 3
    assert all(not each.facts for _, each in asking.refusals._kept.values())
    asking.ask(b"4")
    assert asking.worked == 5
    asking.ask(b"0")
    assert asking.worked == 6
