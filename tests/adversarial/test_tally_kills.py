"""Custodians killed at every message of an answer in the homomorphic lane: it goes on, as it began."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from marketplace.chain.adapter import NotYetFinal
from marketplace.custodian.tally_routes import ROUTES
from marketplace.errors import Refusal
from marketplace.peers import Peer
from marketplace.tallying import Decrypted, TallyMissing, settlement_body
from marketplace.wire.http import to_hex
from marketplace.wire.http_client import PeerUnreachable, post
from tests.support.tally_world import PEOPLE, TallyWorld, tally_processes

MEAN = {"variable": "systolic"}
TRIES = 40


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TallyWorld]:
    with tally_processes(tmp_path_factory.mktemp("tally-kills")) as made:
        made.enrol({f"p{i}": each for i, each in enumerate(PEOPLE)})
        yield made


def restart(market: TallyWorld, place: int) -> None:
    market.processes[place].kill()
    market.processes[place].start()
    market.urls[place] = market.processes[place].url


@dataclass(frozen=True)
class Here(Peer):
    """A custodian wherever it listens by now."""

    market: TallyWorld = field(kw_only=True)
    place: int = field(kw_only=True)

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        return post(self.market.urls[self.place], path, body, timeout=60)


@dataclass(frozen=True)
class Dying(Here):
    """One that is killed once it has answered on one route; nobody hears that answer."""

    route: str = field(kw_only=True)
    died: threading.Event = field(default_factory=threading.Event)

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        answer = super().post(path, body, most=most)
        if path == self.route and not self.died.is_set():
            self.died.set()
            restart(self.market, self.place)
            raise PeerUnreachable(message="It was killed.", remedy="It starts again.")
        return answer


def here(market: TallyWorld, place: int) -> Here:
    return Here(f"custodian {place + 1}", "", market=market, place=place)


def finished(market: TallyWorld, request: bytes, peers: Sequence[Peer]) -> Decrypted:
    """Step by step, as an operator tries again."""
    for _ in range(TRIES):
        tallying = market.tallying(request, "mean.v1", MEAN, peers)
        try:
            return tallying.decrypt(tallying.see_to_noise(market.world.sender, MEAN), MEAN)
        except (TallyMissing, NotYetFinal) as refusal:
            print(refusal.message)
    raise AssertionError("no answer came")


def assert_opens(market: TallyWorld, request: bytes, found: Decrypted) -> None:
    shares = market.question(request, "mean.v1", MEAN).shares
    room, far = 3 * shares.bound(3), 200 * len(PEOPLE)
    deviation, _ = market.opened(found.sealed_result, -room - far, room + far)
    exact = sum(2 * (systolic - 60) - 200 for systolic, _ in PEOPLE)
    assert abs(deviation - exact) <= room


ALWAYS = ("/partials",)
"""The message that decrypts; the long campaign has the others."""
AT_LENGTH = sorted(ROUTES - {*ALWAYS, "/tally-settlements"})


@pytest.mark.parametrize(
    "route", [*ALWAYS, *(pytest.param(each, marks=pytest.mark.long) for each in AT_LENGTH)]
)
def test_two_custodians_die_after_one_answer_and_the_request_is_answered_all_the_same(
    market: TallyWorld, route: str
) -> None:
    request = market.sealed(f"dying {route}", "mean.v1", MEAN)
    dying = [
        Dying(f"custodian {place + 1}", "", market=market, place=place, route=route)
        for place in range(2)
    ]
    found = finished(market, request, [*dying, here(market, 2)])
    assert all(each.died.is_set() for each in dying)
    assert_opens(market, request, found)
    committed = market.world.chain.noise_commitments(request)
    for place in committed:
        body = {"request": to_hex(request), "parameters": MEAN}
        again = post(market.urls[place], "/noise-commitments", body, timeout=60)
        assert bytes.fromhex(again["commitment"][2:]) == committed[place]
    partials = [_partial(market, place, request) for place in range(2)]
    for place in range(2):
        restart(market, place)
        assert _partial(market, place, request) == partials[place]


@pytest.mark.long
def test_a_custodian_that_dies_while_it_signs_signs_the_same_answer_afterwards(
    market: TallyWorld,
) -> None:
    request = market.sealed("dying settlement", "mean.v1", MEAN)
    found = finished(market, request, market.peers)
    body = settlement_body(found)
    first = post(market.urls[0], "/tally-settlements", body, timeout=60)
    restart(market, 0)
    assert post(market.urls[0], "/tally-settlements", body, timeout=60) == first


@pytest.mark.long
def test_custodians_die_at_any_moment(market: TallyWorld) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance, stop = random.Random(seed), threading.Event()

    def kill() -> None:
        while not stop.wait(chance.uniform(0.5, 4)):
            restart(market, chance.randrange(3))

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        for number in range(20):
            request = market.sealed(f"any moment {seed} {number}", "mean.v1", MEAN)
            found = finished(market, request, [here(market, place) for place in range(3)])
            assert_opens(market, request, found)
    finally:
        stop.set()
        killer.join()


def _partial(market: TallyWorld, place: int, request: bytes) -> Any:
    for _ in range(TRIES):
        try:
            return post(market.urls[place], "/partials", {"request": to_hex(request)}, timeout=60)[
                "partial"
            ]
        except Refusal as refusal:
            print(refusal.code)
            time.sleep(1)
    raise AssertionError("it does not answer")
