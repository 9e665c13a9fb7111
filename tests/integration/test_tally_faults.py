"""Rules that an attack on the homomorphic lane left behind: what custodians keep, whom a liar can stop."""

from __future__ import annotations

import json
import secrets
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Literal

import pytest

from marketplace.chain.adapter import RequestStage
from marketplace.chain.deploy import CommitteeSeat, open_epoch
from marketplace.custodian import keys as custodian_keys
from marketplace.custodian import noising
from marketplace.custodian.journal import Journal
from marketplace.custodian.models import CursorRow, DictionaryRow
from marketplace.custodian.service import Custodian
from marketplace.errors import Refusal
from marketplace.keygen import generate, new_session, record
from marketplace.lanes.tally import _heads
from marketplace.peers import Peer
from marketplace.tallying import Part
from marketplace.wire.http import to_hex
from marketplace.wire.http_client import post
from marketplace.wire.roots import WORD_SEATS
from marketplace.wire.structs import Revocation, sign
from marketplace.wire.terms import class_id
from ml.homomorphic import noise
from ml.homomorphic.noise import ROOM, Contribution
from ml.homomorphic.threshold import Sum
from tests.support.chain_world import account
from tests.support.custody_world import served_custodian
from tests.support.lies import (
    After,
    both,
    forged_bitmaps,
    no_cohorts,
    no_logs,
    other_members,
    other_policy,
    other_request,
)
from tests.support.nodes import Lie, LyingProxy, honest
from tests.support.tally_world import ENCODED, PEOPLE, TallyWorld, tally_world

MEAN = {"variable": "systolic"}
STOPPED = "stopped"
"""A patient of the dataset, with a record, who counts no more. The seat is still this one's."""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TallyWorld]:
    with tally_world(tmp_path_factory.mktemp("tally-faults")) as made:
        made.enrol({f"p{i}": each for i, each in enumerate(PEOPLE[:6])})
        made.enrol({STOPPED: PEOPLE[6]})
        revoke(made, STOPPED)
        yield made


def revoke(market: TallyWorld, name: str) -> None:
    world, patient = market.world, account(name)
    said = Revocation(patient.address, world.dataset, 1)
    signature = sign(said, world.chain.domain("ConsentRegistry"), patient)
    world.sender.send("ConsentRegistry", "revokeBySig", said, patient.address, signature)


def sums(market: TallyWorld, custodian: Custodian, names: list[str]) -> list[Sum]:
    commitments = [market.world.records[account(name).address].commitment for name in names]
    forms = [{at: 1} for at in range(4)]
    dataset = market.world.dataset
    return custodian.tallies.sums(dataset, market.joint_key, commitments, forms)


def test_columns_of_another_backup_are_not_taken_for_this_journals(market: TallyWorld) -> None:
    """A folder that is newer or older than the journal beside it holds other records at the same rows."""
    custodian, folder = market.custodians[0], market.world.data("custodian0") / "columns"
    right = sums(market, custodian, ["p0", "p1"])
    (inside,) = [each for each in folder.iterdir() if each.is_dir()]
    marks = (inside / "commitments").read_bytes()
    swapped = marks[32:64] + marks[:32] + marks[64:]
    (inside / "commitments").write_bytes(swapped)
    assert sums(market, custodian, ["p0", "p1"]) == right
    assert (inside / "commitments").read_bytes()[:64] == marks[:64]


def test_a_command_beside_the_serving_process_wipes_nothing(market: TallyWorld) -> None:
    serving, beside = market.custodians[1], market.world.custodian(1)
    serving.tallies.own()
    sums(market, serving, ["p2", "p3"])
    market.world.erase(account("p2"))
    beside.watch.catch_up()
    commitment = market.world.records[account("p2").address].commitment
    assert serving.tallies.of(commitment) is None
    left = sums(market, serving, ["p3"])  # and its own cells were not taken from under it
    assert left == sums(market, market.custodians[0], ["p3"])
    serving.tallies.wipe()
    assert sums(market, serving, ["p3"]) == left


def test_a_number_of_a_row_is_never_given_twice(market: TallyWorld) -> None:
    custodian = market.custodians[2]
    market.enrol({"last": (100, "no")})
    before = sums(market, custodian, ["p4", "last"])
    market.world.erase(account("last"))
    custodian.watch.catch_up()
    market.enrol({"next": (101, "no")})
    after = sums(market, custodian, ["p4", "next"])
    assert after != before
    assert after == sums(market, market.custodians[0], ["p4", "next"])


class Empty(Peer):
    """Commits to nothing, signed."""

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        answer = super().post(path, body, most=most)
        return answer | {"commitment": "0x" + "00" * 32} if path == "/noise-commitments" else answer


def test_an_empty_commitment_is_named_and_never_sent(market: TallyWorld) -> None:
    request = market.sealed("empty", "mean.v1", MEAN)
    peers = [Empty("empty", market.urls[0]), *market.peers[1:]]
    tallying = market.tallying(request, "mean.v1", MEAN, peers)
    tallying._commit(market.world.sender, MEAN)
    assert "its commitment is empty" in tallying.faults[0]
    assert sorted(market.world.chain.noise_commitments(request)) == [1, 2]


@pytest.mark.parametrize("journal", [{}, {"height": -1}, {"height": 1, "head": 5}])
def test_a_part_with_an_unreadable_journal_counts_all_the_same(journal: dict[str, Any]) -> None:
    assert _heads(Part(0, bytes(32), b"", b"", journal), 1) == []


def test_a_node_that_lags_ends_no_request(
    market: TallyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = market.sealed("lagging", "mean.v1", MEAN)
    custodian = market.custodians[0]
    custodian.decrypting.noising.commit(request, b'{"variable":"systolic"}', _Act())
    chain = custodian.chain
    seen = chain.request(request)
    for stage in (RequestStage.OPENED, RequestStage.FROZEN, RequestStage.NONE):
        shown = SimpleNamespace(stage=stage, settle_deadline=seen.settle_deadline)
        monkeypatch.setattr(chain, "request", lambda *_, shown=shown: shown)
        custodian.decrypting.drop_ended()
        assert request in custodian.decrypting._noises.live()
    settled = SimpleNamespace(stage=RequestStage.SETTLED, settle_deadline=seen.settle_deadline)
    monkeypatch.setattr(chain, "request", lambda *_: settled)
    custodian.decrypting.drop_ended()
    assert request not in custodian.decrypting._noises.live()


class _Act:
    def done(self, _: str) -> None:
        """Nobody listens."""


# --- what is kept of noise

ORDERS: Final[tuple[Literal["big"], Literal["little"]]] = ("big", "little")
CHEAPEST = 1
"""nano-rho: the largest noise there is."""
LARGE = 2**32
"""What is smaller might lie there by chance, and is not looked for."""


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What custodians draw from here on: half of its bound or more, and so more than `LARGE`."""
    found: list[int] = []

    def large(scale: float, count: int) -> list[int]:
        half = ROOM // 2 * int(scale)
        far = [half + secrets.randbelow(half // 2) for _ in range(count)]
        given = [secrets.choice((-1, 1)) * each for each in far]
        found.extend(given)
        return given

    def contribute(*given: Any) -> Contribution:
        return noise.contribute(*given, sampler=large)

    monkeypatch.setattr(noising, "contribute", contribute)
    return found


def test_no_custodian_keeps_its_noise_in_the_clear(market: TallyWorld, drawn: list[int]) -> None:
    asked = "variance.v1", MEAN
    request = market.sealed("at rest", *asked, cost=CHEAPEST)
    tallying = market.tallying(request, *asked)
    fixed = tallying.see_to_noise(market.world.sender, MEAN)
    assert fixed.places == (0, 1, 2)
    shares = market.question(request, *asked).shares
    bounds = [shares.bound(size) for size in (2, 3)]
    assert len(drawn) == 3 * 2 * shares.sums  # of each custodian, for sets of two and of three
    assert min(map(abs, drawn)) > 2 * LARGE
    folders = [market.world.data(f"custodian{place}") for place in range(3)]
    assert [kept_in(each, drawn, *bounds) for each in folders] == [[]] * 3
    tallying.decrypt(fixed, MEAN)
    assert [kept_in(each, drawn, *bounds) for each in folders] == [[]] * 3


def document(raw: bytes) -> DictionaryRow:
    return DictionaryRow(hash=secrets.token_bytes(32), document=raw)


WRITTEN: Mapping[str, Callable[[Sequence[int]], list[Any]]] = {
    "rows' numbers": lambda drawn: [
        CursorRow(name=f"noise {each > 0}", block=each) for each in drawn
    ],
    "little-endian": lambda drawn: [document(struct.pack(f"<{len(drawn)}q", *drawn))],
    "big-endian": lambda drawn: [document(struct.pack(f">{len(drawn)}q", *drawn))],
    "decimal text": lambda drawn: [document(json.dumps({"noise": drawn}).encode())],
    "hexadecimal text": lambda drawn: [
        document(struct.pack(">q", each).hex().encode()) for each in drawn
    ],
    "above its bound": lambda drawn: [document(struct.pack("<q", each + 2**35)) for each in drawn],
}


@pytest.mark.parametrize("way", sorted(WRITTEN))
def test_noise_that_is_kept_in_the_clear_is_found(tmp_path: Path, way: str) -> None:
    drawn, bound = [2**34 - 12_345_678, 87_654_321 - 2**34], 2**35
    journal = Journal.open(tmp_path)
    for rows in ([document(b"none of it")], WRITTEN[way](drawn[:1]), WRITTEN[way](drawn[1:])):
        assert kept_in(tmp_path, drawn, bound) == []
        with journal.writing() as session:
            for row in rows:
                session.merge(row)
    assert kept_in(tmp_path, drawn, bound) == ["custodian.sqlite-wal"]
    journal.wipe()
    assert kept_in(tmp_path, drawn, bound) == ["custodian.sqlite"]
    journal.engine.dispose()


def kept_in(folder: Path, drawn: Sequence[int], *bounds: int) -> list[str]:
    """Files below a folder that hold two of these numbers, as such or from their bounds, in any plain way.

    One of them is there by chance in one run of a million; who kept its noise would keep all of it.
    """
    found = []
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        raw = path.read_bytes()
        if sum(any(way in raw for way in ways(each, bounds)) for each in drawn) >= 2:
            found.append(path)
    return [str(path.relative_to(folder)) for path in found]


def ways(drawn: int, bounds: Sequence[int]) -> set[bytes]:
    numbers = {drawn + base for base in (0, *bounds)}
    return {way for each in numbers if abs(each) > LARGE for way in plain(each)}


def plain(number: int) -> list[bytes]:
    """In six bytes, which is how SQLite writes it, and what the middle or an end is of eight."""
    both = [number.to_bytes(6, order, signed=True) for order in ORDERS]
    return [*both, both[0].hex().encode(), both[1].hex().encode(), str(abs(number)).encode()]


# --- erased meanwhile


def test_what_is_erased_while_it_is_added_up_ends_in_a_refusal(
    market: TallyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums without a record that counts, beside others' sums with it, would tell that record."""
    request = market.sealed("race", "mean.v1", MEAN)
    tallying = market.tallying(request, "mean.v1", MEAN)
    tallying._commit(market.world.sender, MEAN)
    custodian = market.custodians[0]
    honest = custodian.tallies.sums

    def erasing(*given: Any) -> list[Sum]:
        with custodian.journal.writing() as session:
            custodian.journal.destroy(session, market.world.dataset, account("p5").address)
        return honest(*given)

    monkeypatch.setattr(custodian.tallies, "sums", erasing)
    live = custodian.decrypting.requests.find(request)
    with pytest.raises(Refusal) as refused:
        custodian.decrypting.counting.own(live)
    assert refused.value.code == "records_missing"
    again = custodian.decrypting._noises.of(request)
    assert again is not None
    assert (again.sums, again.sums_digest) == (None, None)


# --- what no noise is drawn for


@dataclass(frozen=True)
class Doubt:
    """Why a custodian draws nothing: what its node says of the chain, or its own floor for cohorts."""

    codes: tuple[str, ...]
    lie: Lie = honest
    floor: int = 2


def doubts(members: int, stopped: int) -> dict[str, Doubt]:
    """Of a request whose cohort has so many members, and in which the one at this place does not count."""
    small, forged = ("cohort_too_small",), ("forged_logs", "partial_logs")
    one_less = other_members(lambda live: live[1:])
    exchanged = other_members(lambda live: sorted([*live[1:], stopped]))
    return {
        "one patient": Doubt(small, other_request(members=1)),
        "under its own floor": Doubt(small, floor=members + 1),
        "under the market's minimum": Doubt(small, other_policy(minimum_cohort=members + 1)),
        "forged cohort": Doubt(forged, forged_bitmaps),
        "one patient left out": Doubt(forged, one_less),
        "one left out, and not told": Doubt(
            forged, both(one_less, other_request(members=members - 1))
        ),
        "one patient for another": Doubt(forged, exchanged),
        "all logs kept back": Doubt(("partial_logs",), no_logs),
        "cohort kept back": Doubt(("partial_logs",), no_cohorts),
        "another root": Doubt(("reorganised",), After(*AFTER_THE_COHORT, other_request(root=7))),
    }


AFTER_THE_COHORT = "ConsentRegistry", "patientsAt"
"""The last view that is read of a cohort."""


def seat_of(market: TallyWorld, name: str, request: bytes) -> int:
    """Where a patient sits who does not count, in the one shard there is."""
    (shard,), chain = market.world.chain.request_shards(request), market.world.chain
    owner = class_id(market.world.dataset, shard.class_)
    block, everywhere = chain.head().number, list(range(WORD_SEATS))
    seated = chain.patients_at(owner, shard.shard, everywhere, block)
    counted = {each.patient for each in chain.sealed_cohort(request).members}
    assert account(name).address not in counted
    return seated.index(account(name).address)


def drawn_nothing(code: Sequence[str], url: str, custodian: Custodian, request: bytes) -> Refusal:
    """It refuses with one of these codes, and nothing was drawn, and nothing noted."""
    before, body = custodian.journal.head(), {"request": to_hex(request), "parameters": MEAN}
    with pytest.raises(Refusal) as refused:
        post(url, "/noise-commitments", body, timeout=60)
    assert refused.value.code in code
    assert custodian.decrypting._noises.of(request) is None
    assert custodian.journal.head() == before
    return refused.value


@pytest.mark.parametrize("doubt", sorted(doubts(1, 0)))
def test_no_noise_is_drawn_for_a_cohort_that_is_too_small_or_not_the_chains(
    market: TallyWorld, doubt: str
) -> None:
    world, request = market.world, market.sealed(f"doubt-{doubt}", "mean.v1", MEAN)
    found = doubts(world.chain.request(request).members, seat_of(market, STOPPED, request))[doubt]
    with closing(LyingProxy(world.node_url)) as proxy:
        custodian = world.custodian(1, node_url=proxy.url, minimum_cohort=found.floor)
        with served_custodian(custodian) as url:
            proxy.lie = found.lie
            drawn_nothing(found.codes, url, custodian, request)
    body = {"request": to_hex(request), "parameters": MEAN}
    assert post(market.urls[1], "/noise-commitments", body, timeout=60)["place"] == 1


def test_no_noise_is_drawn_by_whoever_has_no_seat_in_the_epoch_of_the_request(
    market: TallyWorld,
) -> None:
    """Neither by who left the committee for a request of today, nor by who joined it for an old one. The last
    rule here: from now on the market has another committee.
    """
    world, old = market.world, market.sealed("of the old epoch", "mean.v1", MEAN)
    with joined(market) as (joins, peers):
        leaves, request = market.custodians[0], market.sealed("of the new epoch", "mean.v1", MEAN)
        assert [world.chain.request(each).epoch for each in (old, request)] == [1, 2]
        for url, custodian, asked in (
            (market.urls[0], leaves, request),
            (peers[0].url, joins, old),
        ):
            said = drawn_nothing(["wrong_epoch"], url, custodian, asked)
            epoch = world.chain.request(asked).epoch
            assert f"This is not custodian 1 of epoch {epoch}:" in said.message
        tallying = market.tallying(request, "mean.v1", MEAN)
        tallying._commit(world.sender, MEAN)  # the operator still has the address of who left
        assert list(tallying.left_out) == [0]
        assert "This is not custodian 1 of epoch 2:" in tallying.left_out[0]
        assert sorted(world.chain.noise_commitments(request)) == [1, 2]
        for url, asked in ((market.urls[0], old), (peers[0].url, request)):
            body = {"request": to_hex(asked), "parameters": MEAN}
            assert post(url, "/noise-commitments", body, timeout=60)["place"] == 0


@contextmanager
def joined(market: TallyWorld) -> Iterator[tuple[Custodian, list[Peer]]]:
    """A new epoch, in which place 0 is another custodian's, with a joint key of its own."""
    world, committee = market.world, market.world.chain.committee()
    made = custodian_keys.create(world.data("joins"), 1)
    seats = [CommitteeSeat(made["signer"], bytes.fromhex(made["x25519"][2:]))]
    seats += [CommitteeSeat(each.signer, each.keys[1]) for each in committee.members[1:]]
    epoch = open_epoch(world.sender, seats, committee.quorum, committee.gates)
    custodian = world.custodian(0, data=world.data("joins"))
    with served_custodian(custodian) as url:
        peers = [Peer("joins", url), *market.peers[1:]]
        session = new_session(world.chain, epoch)
        record(world.sender, generate(world.chain, world.operator, peers, peers, session), 3)
        post(url, "/dictionaries", {"dictionary": ENCODED}, timeout=30)
        yield custodian, peers
