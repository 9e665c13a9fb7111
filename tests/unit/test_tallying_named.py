"""Rules of who is named: whoever a quorum goes on without while noise is committed to and agreed on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from marketplace.chain.views import MarketPolicy
from marketplace.errors import Refusal
from marketplace.peers import Peer
from marketplace.tallying import Revealed, TallyMissing, rounds
from marketplace.tallying.noise import NoiseRounds
from marketplace.tallying.rounds import DIFFERS, SILENT
from marketplace.wire.structs import NoiseSet
from tests.unit.test_tallying_groups import revealed

WRONG = "The signature is not that of its custodian."
GONE = "It does not answer."
T = TypeVar("T")


class Chosen(NoiseRounds):
    """Four custodians, of which two are a quorum; what they do at a step is written, and really asked for.

    `steps` says by step and place why one refuses; None, that it is silent; who is not there does its part.
    The silent are so until `ended`; the good speak a while after those that refuse.
    """

    def __init__(self, steps: Mapping[str, Mapping[int, str | None]]) -> None:
        committee: Any = SimpleNamespace(quorum=2)
        self._committee = committee
        self._custodians = [Peer(f"custodian {place + 1}", "") for place in range(4)]
        self._request = bytes(32)
        drawn: Any = SimpleNamespace(gate_drawn_at=0)
        chain: Any = SimpleNamespace(policy=MarketPolicy, now=lambda: 0)
        self._view, self._chain = drawn, chain
        self._steps = steps
        self.faults, self.left_out = {}, {}
        self._tell = None
        self.ended = threading.Event()
        self.sent: list[tuple[Any, ...]] = []

    def send(self, *given: Any) -> None:
        """As a `Sender` does."""
        self.sent.append(given)

    def _said(self, step: str, place: int, good: T) -> T:
        scripted = self._steps.get(step, {})
        why = scripted.get(place, "")
        if why is None:
            self.ended.wait(60)
        elif why:
            raise Refusal(code="wrong", message=why, remedy="")
        if any(scripted.values()):
            time.sleep(0.3)
        return good

    def _commitment(self, place: int, body: Mapping[str, Any]) -> tuple[bytes, bytes]:
        return self._said("commit", place, (bytes([place]) * 32, b""))

    def reveal_of(
        self, size: int, committed: Mapping[int, bytes], place: int, holder: int | None = None
    ) -> Revealed:
        return self._said("reveal", place, revealed(size, "d"))

    def _spread(self, *_: object) -> None:
        """Everybody has it."""

    def _noise_set(self, _: object) -> Any:
        return None

    def _agreement(self, place: int, struct: NoiseSet, places: Sequence[int]) -> bytes:
        return self._said("agree", place, b"")

    def commit(self) -> None:
        sender: Any = self
        self._commit(sender, {})

    def fix(self, places: list[int]) -> None:
        sender: Any = self
        self._fix(sender, {}, dict.fromkeys(places, bytes(32)))


Script = Callable[..., Chosen]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "GRACE_SECONDS", 1.0)


@pytest.fixture
def scripted() -> Iterator[Script]:
    made: list[Chosen] = []

    def script(**steps: Mapping[int, str | None]) -> Chosen:
        made.append(Chosen(steps))
        return made[-1]

    yield script
    for each in made:
        each.ended.set()


def test_who_commits_to_nothing_that_counts_is_named_and_so_is_who_is_silent(
    scripted: Script,
) -> None:
    found = scripted(commit={1: WRONG, 3: None})
    found.commit()
    assert found.left_out == {1: WRONG, 3: SILENT}
    ((_, _, _, listed),) = found.sent
    assert [place for place, *_ in listed] == [0, 2]


def test_who_is_named_for_its_commitment_still_is_once_the_others_have_revealed(
    scripted: Script,
) -> None:
    found = scripted(commit={1: WRONG}, reveal={3: GONE})
    found.commit()
    found.fix([0, 2, 3])
    assert found.left_out == {1: WRONG, 3: GONE}
    assert found.sent[1][3] == 0b101


def test_who_agrees_wrongly_is_named_and_who_is_only_slower_is_not(scripted: Script) -> None:
    """Two of four are enough, and nobody waits for the others."""
    found = scripted(agree={1: WRONG, 3: None})
    found.fix([0, 1, 2, 3])
    assert found.left_out == {1: WRONG}
    assert [place for place, _ in found.sent[0][4]] == [0, 2]


def test_the_first_reason_is_the_one_that_is_named(scripted: Script) -> None:
    """Whose noise is left out agrees to no set, either: that follows from it."""
    found = scripted(reveal={1: DIFFERS}, agree={1: "It lacks the noise of the others."})
    found.fix([0, 1, 2])
    assert found.left_out == {1: DIFFERS}


@pytest.mark.parametrize("step", ["commit", "agree"])
def test_where_nothing_goes_on_nobody_was_done_without(scripted: Script, step: str) -> None:
    """All are named by what is raised: the step is tried again with whoever answers then."""
    found = scripted(**{step: {0: WRONG, 1: WRONG, 3: GONE}})
    with pytest.raises(TallyMissing) as missing:
        found.commit() if step == "commit" else found.fix([0, 1, 2, 3])
    assert missing.value.facts["faults"] == {"0": WRONG, "1": WRONG, "3": GONE}
    assert found.left_out == {}
    assert found.sent == []
