"""Rules of whose noise a carrier puts forward, where custodians say different things of the sums."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from marketplace.chain.views import GRACE_SECONDS, ROUNDS_SECONDS
from marketplace.errors import BadParameter, Refusal
from marketplace.peers import Peer
from marketplace.tallying import Revealed, TallyMissing, rounds
from marketplace.tallying.noise import NoiseRounds
from marketplace.tallying.rounds import SILENT, Rounds
from marketplace.tallying.tardy import TARDY_SECONDS, Tardy
from marketplace.wire.http_client import PeerUnreachable
from marketplace.wire.tallying import Reveal, SumsWord
from ml.homomorphic.noise import Contribution

Say = Mapping[int, Mapping[int, str]]
"""By size of the set, by place: what is said; who is not there is silent."""


def early() -> dict[str, Any]:
    """What a carrier knows of a request that was sealed just now, in a window of ten minutes."""
    return at_second(0, 600)


def at_second(now: int, window: int) -> dict[str, Any]:
    chain = SimpleNamespace(now=lambda: now, policy=lambda: SimpleNamespace(gate_window=window))
    return {"_chain": chain, "_view": SimpleNamespace(gate_drawn_at=0)}


class Scripted(NoiseRounds):
    """Custodians that say what is written, for each size that they are asked for."""

    def __init__(self, quorum: int, said: Say) -> None:
        committee: Any = SimpleNamespace(quorum=quorum)
        self._committee = committee
        self._custodians = ()
        self._said = said
        self.faults, self.left_out = {}, {}
        vars(self).update(early())

    def ask(
        self,
        what: str,
        ask: Any,
        enough: Any,
        places: Sequence[int] | None = None,
        **how: object,
    ) -> dict[int, Any]:
        (size, _), asked = ask.args, places or ()
        said = self._said.get(size, {})
        found = {at: revealed(size, said[at]) for at in asked if at in said}
        self.faults = {at: "silent" for at in asked if at not in said}
        return found


class Slow(NoiseRounds):
    """Custodians that say the same; some take their time, in seconds, the first time that they are asked."""

    def __init__(self, quorum: int, number: int, slow: Mapping[int, float]) -> None:
        committee: Any = SimpleNamespace(quorum=quorum)
        self._committee = committee
        self._custodians = [Peer(f"custodian {place + 1}", "") for place in range(number)]
        self._slow = dict(slow)
        self._tell = None
        self.faults, self.left_out = {}, {}
        vars(self).update(early())

    def reveal_of(
        self, size: int, committed: Mapping[int, bytes], place: int, holder: int | None = None
    ) -> Revealed:
        time.sleep(self._slow.pop(place, 0.0))
        return revealed(size, "d")


def revealed(size: int, said: str) -> Revealed:
    digest = said.encode().ljust(32)
    return Revealed(Reveal(size, Contribution(b"", b""), ()), SumsWord(digest, b""))


def chosen(quorum: int, count: int, said: Say) -> tuple[list[int], dict[int, str]]:
    carrier = Scripted(quorum, said)
    return sorted(carrier.reveals(dict.fromkeys(range(count), bytes(32)))), carrier.left_out


COMMITTED: Mapping[int, bytes] = dict.fromkeys(range(3), bytes(32))


def test_whoever_committed_has_longer_than_any_other_step_gives_to_be_in_the_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The set is fixed once: in one of just a quorum a single custodian that stops ends a paid request."""
    monkeypatch.setattr(rounds, "GRACE_SECONDS", 0.05)
    slow = Slow(2, 3, {1: 0.5})
    assert sorted(slow.reveals(COMMITTED)) == [0, 1, 2]
    assert slow.left_out == {}
    assert Slow.set_seconds > 60 + 20  # what restoring takes at most, and adding up


@pytest.mark.parametrize(
    ("now", "seconds"),
    [(0, 120.0), (500, 120.0), (520, 100.0), (590, 30.0), (600, 20.0), (900, 20.0)],
)
def test_nobody_is_waited_for_until_others_may_fix_the_noise(now: int, seconds: float) -> None:
    """After the gate window whoever likes may fix a bare quorum's: who is silent could wait for that. A
    minute and two steps' grace stay for what follows.
    """
    asked: list[float] = []

    class Asked(Scripted):
        def ask(self, *given: Any, **how: Any) -> dict[int, Any]:
            asked.extend([how["grace"]([1])] if "grace" in how else [])
            return super().ask(*given, **how)

    carrier = Asked(2, {3: dict.fromkeys(range(3), "d")})
    vars(carrier).update(at_second(now, 720))
    carrier.reveals(COMMITTED)
    assert asked == [seconds]


def test_a_window_that_is_deployed_leaves_time_for_one_who_is_silent_at_every_step() -> None:
    steps = ["to commit", "journals' heads", "to reveal for a smaller set", "to take others' noise"]
    assert Rounds.set_seconds + len(steps) * GRACE_SECONDS + 60 <= ROUNDS_SECONDS


def test_who_freezes_after_committing_is_done_without_once_that_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Slow, "set_seconds", 0.2)
    frozen = Slow(2, 3, {1: 20.0})
    assert sorted(frozen.reveals(COMMITTED)) == [0, 2]
    assert "in time" in frozen.left_out[1]


def test_who_kept_others_waiting_is_waited_for_so_long_once_an_hour_and_no_more() -> None:
    """One that commits and says nothing cost every request two minutes."""
    now = [0.0]
    tardy, given = Tardy(lambda: now[0]), list[Any]()

    class Asked(Scripted):
        def ask(self, *asked: Any, **how: Any) -> dict[int, Any]:
            given.extend([how["grace"]] if "grace" in how else [])
            return super().ask(*asked, **how)

    def carried(*there: int) -> Callable[[Collection[int]], float]:
        """How long others are waited for by a request at which these reveal, before any has."""
        said = dict.fromkeys(there, "d")
        carrier = Asked(2, dict.fromkeys((2, 3, 4), said))
        carrier.tardy = tardy
        carrier.reveals(dict.fromkeys(range(4), bytes(32)))
        found: Callable[[Collection[int]], float] = given[-1]
        return found

    seconds = carried(0, 2, 3)
    assert (seconds([1]), seconds([1, 2]), seconds([2])) == (20.0, 120.0, 120.0)
    now[0] += TARDY_SECONDS / 2
    carried(0, 2, 3)
    now[0] += TARDY_SECONDS - 1
    assert seconds([1]) == 20.0, "each time anew"
    now[0] += 1
    assert seconds([1]) == 120.0
    assert carried(0, 2, 3)([1]) == 20.0
    assert carried(0, 1, 2, 3)([1]) == 120.0, "in time once, it has all of it again"


@pytest.mark.parametrize(("took", "seconds"), [(0.1, 120.0), (30.0, 20.0)])
def test_who_refuses_at_once_keeps_nobody_waiting(took: float, seconds: float) -> None:
    carrier = Scripted(2, {3: dict.fromkeys((0, 2), "d"), 2: dict.fromkeys((0, 2), "d")})
    carrier.took, carrier.tardy = {1: took}, Tardy()
    carrier.reveals(COMMITTED)
    assert carrier.tardy.are_all([1]) is (seconds == 20.0)


def test_it_is_known_how_long_each_took_and_who_did_not_end() -> None:
    never, carrier = threading.Event(), Slow(2, 3, {})

    def ask(place: int) -> int:
        never.wait([0.0, 0.2, 60.0][place])
        return place

    assert carrier.ask("for noise", ask, lambda good: len(good) > 1, grace=0) == {0: 0, 1: 1}
    never.set()
    assert sorted(carrier.took) == [0, 1]
    assert carrier.took[1] >= 0.2


class Fixing(Scripted):
    """Of three custodians one takes the others' noise too slowly, and therefore does not agree to the set."""

    sent: tuple[Any, ...] = ()

    def ask(self, what: str, *given: Any, **how: Any) -> dict[int, Any]:
        if what == "for noise":
            return super().ask(what, *given, **how)
        self.faults = {2: SILENT if "take" in what else "It lacks the noise of place 0."}
        return dict.fromkeys(range(2), bytes(65))

    def _noise_set(self, chosen: Mapping[int, bytes]) -> Any:
        return None


def test_who_takes_the_others_noise_more_slowly_than_a_quorum_is_not_named_for_it() -> None:
    carrier, sent = Fixing(2, {3: dict.fromkeys(range(3), "d")}), list[tuple[Any, ...]]()
    vars(carrier)["_request"] = bytes(32)
    sender: Any = SimpleNamespace(send=lambda *given: sent.append(given))
    carrier._fix(sender, {}, COMMITTED)
    assert sent[0][3] == 0b111
    assert carrier.left_out == {}


@pytest.mark.parametrize(
    ("fixed", "anchored", "asked"),
    [
        ((), {0, 1}, [[2]]),
        ((0, 1, 2), {0, 1}, []),  # nobody waits for the third's head
        ((0, 1), {0, 1}, []),
        ((0, 2), {0, 1}, [[2]]),  # and here no quorum decrypts without it
        ((0, 1, 2), {0}, [[1, 2]]),
    ],
)
def test_once_the_set_is_fixed_only_journals_that_a_quorum_lacks_are_waited_for(
    fixed: tuple[int, ...], anchored: set[int], asked: list[list[int]]
) -> None:
    carrier, heads = Scripted(2, {}), list[list[int]]()
    members = [SimpleNamespace(place=place, signer=place) for place in range(3)]
    chain = SimpleNamespace(
        noise_set=lambda _: (fixed, bytes(32)),
        journal_of=lambda signer: (int(signer in anchored), bytes(32)),
    )

    def ask(_: str, __: Any, ___: Any, places: list[int], **____: object) -> dict[int, Any]:
        heads.append(places)
        return {}

    committee = SimpleNamespace(quorum=2, members=members)
    known = {"_chain": chain, "_committee": committee, "_custodians": (None,) * 3, "ask": ask}
    vars(carrier).update(known, _request=bytes(32))
    nobody: Any = None
    carrier._anchor_first(nobody, COMMITTED)
    assert heads == asked


def test_all_that_agree_are_the_set() -> None:
    assert chosen(2, 3, {3: dict.fromkeys(range(3), "d")}) == ([0, 1, 2], {})


def test_the_largest_group_is_asked_first_and_the_others_are_named() -> None:
    said = {4: {0: "x", 1: "d", 2: "d", 3: "d"}, 3: dict.fromkeys(range(4), "d")}
    places, left_out = chosen(2, 4, said)
    assert places == [1, 2, 3]
    assert list(left_out) == [0]
    assert "not those of the others" in left_out[0]


def test_who_sides_with_a_faulty_minority_and_then_is_silent_stops_nobody() -> None:
    """The colluder at place 0 and the faulty one at place 3 come first; the two honest ones answer."""
    said = {4: {0: "x", 1: "d", 2: "d", 3: "x"}, 2: {1: "d", 2: "d", 3: "x"}}
    places, left_out = chosen(2, 4, said)
    assert places == [1, 2]
    assert sorted(left_out) == [0, 3]


def test_a_minority_of_seven_with_two_colluders_stops_nobody() -> None:
    said = {
        7: {0: "x", 1: "x", 2: "x", 3: "x", 4: "d", 5: "d", 6: "d"},
        4: {2: "x", 3: "x"},
        3: {4: "d", 5: "d", 6: "d"},
    }
    assert chosen(3, 7, said)[0] == [4, 5, 6]


def test_who_says_something_else_at_another_size_is_left_out() -> None:
    said = {3: {0: "d", 1: "d", 2: "d"}} | {}
    said[3].pop(2)
    said[2] = {0: "d", 1: "y"}
    with pytest.raises(TallyMissing):
        chosen(2, 3, said)


@dataclass(frozen=True)
class Declining(Peer):
    """Takes nothing, for one reason."""

    why: Refusal = field(kw_only=True)

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        raise self.why


def test_noise_that_is_not_taken_stops_nobody_and_a_custodian_that_is_gone_is_named() -> None:
    """The one is named by the step after; of the other every message more would take as long again."""
    carrier = Scripted(2, {})
    carrier._request = bytes(32)
    reasons = Refusal(code="sums_differ", message="No.", remedy=""), gone()
    carrier._custodians = [Declining("one", "", why=why) for why in reasons]
    carrier.hand_over(0, 1, revealed(3, "d"))
    with pytest.raises(PeerUnreachable):
        carrier.hand_over(1, 0, revealed(3, "d"))


def gone() -> PeerUnreachable:
    return PeerUnreachable(message="It does not answer.", remedy="Start it.")


def test_where_no_quorum_agrees_everybody_is_named_with_the_reason() -> None:
    carrier = Scripted(2, {3: {0: "a", 1: "b"}})
    with pytest.raises(TallyMissing):
        carrier.reveals(dict.fromkeys(range(3), bytes(32)))
    assert carrier.faults[2] == "silent"
    assert "Too few others" in carrier.faults[0]
    assert "Too few others" in carrier.faults[1]
    assert issubclass(TallyMissing, Refusal)
    assert not issubclass(TallyMissing, BadParameter)
