"""Custodians killed at every message of the homomorphic lane, their work on disk and the answer not sent: all
goes on as it began.
"""

from __future__ import annotations

import itertools
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import delete, select

from marketplace.chain.adapter import NotYetFinal
from marketplace.custodian.journal import Journal
from marketplace.custodian.models import EntryRow, RestoredRow, ShareRow, TallyRow
from marketplace.custodian.tally_routes import BESIDE, ROUTES
from marketplace.errors import Refusal
from marketplace.peers import Peer
from marketplace.tallying import Decrypted, TallyMissing, settlement_body
from marketplace.tallying.restoring import restore
from marketplace.wire.canonical import canonical
from marketplace.wire.header import RecordHeader
from marketplace.wire.http import to_hex
from marketplace.wire.http_client import PeerUnreachable, post
from tests.support.chain_world import account
from tests.support.daily import daily
from tests.support.tally_world import PEOPLE, Mortal, TallyWorld, tally_processes

MEAN = {"variable": "systolic"}
TRIES = 40


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TallyWorld]:
    with tally_processes(tmp_path_factory.mktemp("tally-kills"), Mortal) as made:
        made.enrol({f"p{i}": each for i, each in enumerate(PEOPLE)})
        yield made


def restart(market: TallyWorld, place: int) -> None:
    market.processes[place].kill()
    market.processes[place].start()
    market.urls[place] = market.processes[place].url


def die(market: TallyWorld, place: int, path: str, body: Mapping[str, Any]) -> None:
    """Asks what this custodian does, and does not live to answer. It stays down.

    Raises:
        Refusal: it refused, and lives.
    """
    process = market.processes[place]
    assert isinstance(process, Mortal)
    process.die_at(path)
    try:
        post(market.urls[place], path, body, timeout=60)
    except PeerUnreachable:
        assert process.wait() == -signal.SIGKILL
    else:
        raise AssertionError("it answered, and lives")


@dataclass(frozen=True)
class Here(Peer):
    """A custodian wherever it listens by now."""

    market: TallyWorld = field(kw_only=True)
    place: int = field(kw_only=True)

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        return post(self.market.urls[self.place], path, body, timeout=60)


@dataclass(frozen=True)
class Dying(Here):
    """One that dies on one route, once, and is started again."""

    route: str = field(kw_only=True)
    died: threading.Event = field(default_factory=threading.Event)
    alone: threading.Lock = field(default_factory=threading.Lock)

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        if path == self.route:
            with self.alone:
                if not self.died.is_set():
                    die(self.market, self.place, path, body)
                    restart(self.market, self.place)
                    self.died.set()
                    raise PeerUnreachable(message="It was killed.", remedy="It starts again.")
        return super().post(path, body, most=most)


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


MESSAGES = sorted(ROUTES - {"/tally-settlements"})
DYING = dict(zip(MESSAGES, itertools.cycle(itertools.combinations(range(3), 2)), strict=False))
"""Who dies at which message: every two custodians at some."""


DAILY_MESSAGES = ["/partials"]


@pytest.mark.parametrize("route", daily(DYING, DAILY_MESSAGES))
def test_two_custodians_die_before_one_answer_and_the_request_is_answered_all_the_same(
    market: TallyWorld, route: str
) -> None:
    places = DYING[route]
    request = market.sealed(f"dying {route}", "mean.v1", MEAN)
    dying = [
        Dying(f"custodian {place + 1}", "", market=market, place=place, route=route)
        for place in places
    ]
    peers = [here(market, place) for place in range(3)]
    for each in dying:
        peers[each.place] = each
    found = finished(market, request, peers)
    assert all(each.died.is_set() for each in dying)
    assert_opens(market, request, found)
    committed = market.world.chain.noise_commitments(request)
    for place in committed:
        body = {"request": to_hex(request), "parameters": MEAN}
        again = post(market.urls[place], "/noise-commitments", body, timeout=60)
        assert bytes.fromhex(again["commitment"][2:]) == committed[place]
    partials = {place: _partial(market, place, request) for place in places}
    for place in places:
        restart(market, place)
        assert _partial(market, place, request) == partials[place]


INTAKE = {
    f"{route} at {place}": (route, place)
    for route in ("/deposits", "/shares")
    for place in range(3)
}
DAILY_INTAKE = ["/deposits at 2"]


@pytest.mark.parametrize("where", daily(INTAKE, DAILY_INTAKE))
def test_a_custodian_that_dies_before_it_answers_for_a_record_has_it_once_and_says_so_afterwards(
    market: TallyWorld, where: str
) -> None:
    (route, place), patient = INTAKE[where], account(f"dying {where}").address
    market.world.tick()
    market.seal(f"dying {where}", 130, "yes")
    market.world.attest([patient])
    deposit, record = market.deposit_body(patient, place), market.world.records[patient]
    commitment = record.commitment
    body = deposit if route == "/shares" else {"deposits": [deposit]}
    die(market, place, route, body)
    with dead(market, place) as journal:
        kept = journal.share(commitment)
        assert kept is not None
        with journal.reading() as session:
            assert session.get_one(TallyRow, commitment).columns is not None
    restart(market, place)
    said = post(market.urls[place], route, body, timeout=60)
    said = said if route == "/shares" else said["outcomes"][0]
    assert bytes.fromhex(said["signature"][2:]) == kept.signature
    receipts = [said if at == place else market.deposit(patient, at) for at in range(3)]
    market.world.confirm({patient: receipts})
    assert market.world.chain.record_of(market.world.dataset, patient).commitment == commitment
    market.processes[place].kill()
    with dead(market, place) as journal:
        body = {"commitment": to_hex(commitment), "epoch": int(record.epoch)}
        assert times_noted(journal, "share-stored", body) == 1
    restart(market, place)


DAILY_BROUGHT = [1]


@pytest.mark.parametrize("place", daily(range(3), DAILY_BROUGHT))
def test_a_custodian_that_dies_while_it_is_brought_records_has_each_once_and_answers_with_them(
    market: TallyWorld, place: int
) -> None:
    lost = lose(market, place, ["p0", "p1"])
    request = market.sealed(f"brought {place}", "mean.v1", MEAN)
    market.tallying(request, "mean.v1", MEAN)._commit(market.world.sender, MEAN)
    wanted: list[Sequence[bytes]] = []

    def nothing(named: Sequence[bytes]) -> list[dict[str, Any]]:
        wanted.append(sorted(named))
        return []

    assert restore(here(market, place), request, nothing) == 0
    assert wanted.pop() == sorted(lost)
    body = {"records": [document(market, name) for name in lost.values()]}
    die(market, place, "/tallies", body)
    require_brought_once(market, place, list(lost))
    restart(market, place)
    again = post(market.urls[place], "/tallies", body, timeout=60)
    assert again == {"outcomes": [{"kept": True}] * 2}
    assert restore(here(market, place), request, nothing) == 0
    assert wanted.pop() == []
    answer = finished(market, request, [here(market, at) for at in range(3)])
    assert place in answer.reveals
    assert_opens(market, request, answer)
    market.processes[place].kill()
    require_brought_once(market, place, list(lost))
    restart(market, place)


def lose(market: TallyWorld, place: int, names: Sequence[str]) -> dict[bytes, str]:
    """As in a copy of the custodian's journal from before these records came. Names by commitment."""
    records = {name: market.world.records[account(name).address] for name in names}
    lost = {bytes(each.commitment): name for name, each in records.items()}
    market.processes[place].kill()
    with dead(market, place) as journal, journal.writing() as session:
        for kind in (ShareRow, RestoredRow, TallyRow):
            session.execute(delete(kind).where(kind.commitment.in_(list(lost))))
    restart(market, place)
    return lost


def document(market: TallyWorld, name: str) -> dict[str, Any]:
    """A record without a share, as an operator brings it."""
    patient = account(name).address
    record = market.world.records[patient]
    assert record.tally is not None
    whole = {"record": RecordHeader.of(record).to_json(), "tally": record.tally.to_json()}
    return whole | {"holder": patient}


def require_brought_once(market: TallyWorld, place: int, lost: Sequence[bytes]) -> None:
    with dead(market, place) as journal:
        for each in lost:
            assert times_noted(journal, "tally-restored", {"commitment": to_hex(each)}) == 1
        with journal.reading() as session:
            for each in lost:
                assert session.get_one(TallyRow, each).columns is not None
                assert session.get(RestoredRow, each) is not None
                assert session.get(ShareRow, each) is None


def test_every_custodian_dies_on_any_day() -> None:
    dead = {place for route in DAILY_MESSAGES for place in DYING[route]}
    dead |= {INTAKE[where][1] for where in DAILY_INTAKE} | set(DAILY_BROUGHT)
    assert dead == {0, 1, 2}


@contextmanager
def dead(market: TallyWorld, place: int) -> Iterator[Journal]:
    """What a custodian that is down has on disk."""
    assert market.processes[place].process.poll() is not None
    journal = Journal.open(market.world.data(f"custodian{place}"))
    try:
        journal.require_intact()
        yield journal
    finally:
        journal.engine.dispose()


def times_noted(journal: Journal, kind: str, body: Mapping[str, Any]) -> int:
    """How often its journal has this very entry."""
    entry = (EntryRow.kind == kind) & (EntryRow.body == canonical(dict(body)))
    with journal.reading() as session:
        return len(list(session.scalars(select(EntryRow.height).where(entry))))


@pytest.mark.long
@pytest.mark.parametrize(("route", "place"), list(itertools.product(sorted(BESIDE), range(3))))
def test_a_custodian_that_dies_before_it_says_how_it_stands_says_the_same_afterwards(
    market: TallyWorld, route: str, place: int
) -> None:
    request = market.sealed(f"dying {route} {place}", "mean.v1", MEAN)
    tallying = market.tallying(request, "mean.v1", MEAN)
    fixed = tallying.see_to_noise(market.world.sender, MEAN)
    body = {"request": to_hex(request)}
    before = post(market.urls[place], route, body, timeout=60)
    die(market, place, route, body)
    restart(market, place)
    again = post(market.urls[place], route, body, timeout=60)
    assert again == before
    if route == "/journal-heads":
        require_anchored(market, place, again)
    assert_opens(market, request, finished(market, request, market.peers))
    assert fixed.places == (0, 1, 2)


def require_anchored(market: TallyWorld, place: int, said: Mapping[str, Any]) -> None:
    """The chain takes what it said."""
    world, signer = market.world, market.world.chain.committee().members[place].signer
    head, signature = (bytes.fromhex(said[name][2:]) for name in ("head", "signature"))
    given = (int(world.chain.current_epoch()), place, said["height"], head, signature)
    world.sender.send("CustodianCommittee", "anchorJournal", *given)
    assert world.chain.journal_of(signer) == (said["height"], head)


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
