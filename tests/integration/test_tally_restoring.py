"""Rules of a custodian that lacks records: it is brought them by itself, verifies them, and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from marketplace.custodian.models import RestoredRow, ShareRow, TallyRow
from marketplace.errors import Refusal
from marketplace.intake.entries import row_of
from marketplace.lanes.kept import Kept
from marketplace.lanes.tally import TallyLane
from marketplace.peers import Peer
from marketplace.pipeline.standing import sealed_of
from marketplace.records import RecordStore
from marketplace.stages import Computed
from marketplace.store import open_database
from marketplace.tallying import Tallying, restoring
from marketplace.tallying.restoring import Found
from marketplace.wire.header import RecordHeader
from marketplace.wire.http import to_hex
from marketplace.wire.http_client import post
from marketplace.wire.structs import RecordAttestation, Rotation, sign
from ml.homomorphic.curve import times_base
from tests.support.chain_world import account
from tests.support.daily import daily_rows
from tests.support.tally_world import PEOPLE, TallyWorld, tally_world

MEAN = {"variable": "systolic"}
NAMES = [f"p{i}" for i in range(6)]


@dataclass
class Operated:
    """A market whose operator keeps every record that was handed in."""

    market: TallyWorld
    records: RecordStore

    def enrol(self, people: Mapping[str, tuple[int, str]], places: list[int] | None = None) -> None:
        self.market.world.tick()
        for name, values in people.items():
            self.market.seal(name, *values)
        self.market.store(list(people), places)
        for name in people:
            self.keep(name)

    def keep(self, name: str) -> None:
        """As the operator's intake does."""
        world, patient = self.market.world, account(name).address
        record = world.records[patient]
        _, (attested, _) = world._attestation(patient, record.context.record_version)
        assert isinstance(attested, RecordAttestation)
        self.records.database.keep_record(row_of(record, attested))
        self.records.put(record.commitment, record.box, record.tally)

    @property
    def found(self) -> Found:
        world = self.market.world
        return Kept(world.chain, self.records, world.dataset).found

    def commitments(self, names: Sequence[str]) -> list[bytes]:
        return [
            bytes(self.market.world.records[account(each).address].commitment) for each in names
        ]

    def lose(self, place: int, names: Sequence[str]) -> None:
        """As in a copy of the custodian's journal from before these records came."""
        lost = self.commitments(names)
        with self.market.custodians[place].journal.writing() as session:
            for kind in (ShareRow, RestoredRow, TallyRow):
                session.execute(delete(kind).where(kind.commitment.in_(lost)))

    def tallying(self, request: bytes, peers: list[Peer] | None = None) -> Tallying:
        return self.market.tallying(request, "mean.v1", MEAN, peers, self.found)

    def document(self, name: str, **changes: Any) -> dict[str, Any]:
        record = self.market.world.records[account(name).address]
        assert record.tally is not None
        whole = {"record": RecordHeader.of(record).to_json(), "tally": record.tally.to_json()}
        return whole | {"holder": account(name).address} | changes

    def bring(self, place: int, *documents: object) -> list[dict[str, Any]]:
        body = {"records": list(documents)}
        said = post(self.market.urls[place], "/tallies", body, timeout=60)["outcomes"]
        assert isinstance(said, list)
        return said


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    folder = tmp_path_factory.mktemp("tally-restoring")
    with tally_world(folder) as market:
        database = open_database(f"sqlite:///{folder}/operator.sqlite")
        made = Operated(market, RecordStore((folder / "records").as_uri(), database))
        made.enrol(dict(zip(NAMES, PEOPLE, strict=False)))
        yield made
        database.engine.dispose()


def refusal(act: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as refused:
        act()
    return refused.value


# --- by itself


def test_a_custodian_that_lost_records_is_brought_them_and_its_noise_counts(
    operated: Operated,
) -> None:
    market, custodian = operated.market, operated.market.custodians[0]
    operated.lose(0, ["p0", "p1"])
    request = market.sealed("lost", "mean.v1", MEAN)
    tallying = operated.tallying(request)
    fixed = tallying.see_to_noise(market.world.sender, MEAN)
    assert fixed.places == (0, 1, 2)
    found = tallying.decrypt(fixed, MEAN)
    assert found.faults == {}
    for name, commitment in zip(["p0", "p1"], operated.commitments(["p0", "p1"]), strict=True):
        kept = market.world.records[account(name).address].tally
        assert custodian.tallies.of(commitment) == kept
        assert custodian.journal.share(commitment) is None
    shares = market.question(request, "mean.v1", MEAN).shares
    room, far = 3 * shares.bound(3), 200 * len(NAMES)
    deviation, _ = market.opened(found.sealed_result, -room - far, room + far)
    assert abs(deviation - sum(2 * (each - 60) - 200 for each, _ in PEOPLE[: len(NAMES)])) <= room


def test_one_that_was_down_when_a_record_came_and_its_patient_moved_since(
    operated: Operated,
) -> None:
    """The share went by; at that place nobody ever heard of the record, or of its first address."""
    market, world = operated.market, operated.market.world
    operated.enrol({"late": (200, "no")}, [1, 2])
    before, after = account("late"), account("late by now")
    message = Rotation(world.dataset, before.address, after.address, world.later())
    both = [sign(message, world.chain.domain("ConsentRegistry"), each) for each in (before, after)]
    world.sender.send("ConsentRegistry", "rotate", message, *both)
    for custodian in market.custodians.values():
        custodian.watch.catch_up()
    (commitment,) = operated.commitments(["late"])
    assert not market.custodians[0].tallies.holds(commitment)
    request = market.sealed("late", "mean.v1", MEAN)
    fixed = operated.tallying(request).see_to_noise(world.sender, MEAN)
    assert fixed.places == (0, 1, 2)
    assert market.custodians[0].journal.holders()[world.dataset].count(after.address) == 1


@dataclass(frozen=True)
class Counted(Peer):
    """Keeps what was asked of it; where it is `deaf`, no record ever reaches it."""

    asked: list[str] = field(default_factory=list)
    deaf: bool = False

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        self.asked.append(path)
        if self.deaf and path == "/tallies":
            return {"outcomes": [{"kept": True} for _ in body["records"]]}
        return super().post(path, body, most=most)


def test_it_is_tried_once_a_round_and_the_others_go_on(operated: Operated) -> None:
    market = operated.market
    operated.lose(0, ["p2"])
    request = market.sealed("deaf", "mean.v1", MEAN)
    deaf = Counted("deaf", market.urls[0], deaf=True)
    tallying = operated.tallying(request, [deaf, *market.peers[1:]])
    assert tallying.see_to_noise(market.world.sender, MEAN).places == (1, 2)
    assert deaf.asked.count("/missing-records") == 1
    assert deaf.asked.count("/tallies") == 1
    assert "1 of the records" in tallying.left_out[0]
    assert operated.bring(0, operated.document("p2")) == [{"kept": True}]


def test_no_more_than_so_much_is_brought_in_a_round(
    operated: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = operated.market
    operated.lose(0, ["p3", "p4", "p5"])
    monkeypatch.setattr(restoring, "MOST_DEPOSITS", 1)
    monkeypatch.setattr(restoring, "MOST_UPLOADS", 2)
    request = market.sealed("bounded", "mean.v1", MEAN)
    body = {"request": to_hex(request), "parameters": MEAN}
    said = [post(url, "/noise-commitments", body, timeout=60) for url in market.urls]
    listed = [
        [each["place"], *(bytes.fromhex(each[name][2:]) for name in ("commitment", "signature"))]
        for each in said
    ]
    market.world.sender.send("NoiseRegistry", "commitNoise", request, listed)
    peer = Counted("bounded", market.urls[0])
    assert restoring.restore(peer, request, operated.found) == 2
    assert restoring.restore(peer, request, operated.found) == 1
    assert restoring.restore(peer, request, operated.found) == 0
    assert peer.asked.count("/tallies") == 3


@pytest.mark.long
def test_who_keeps_no_records_brings_none(operated: Operated) -> None:
    """A researcher whose operator is silent carries messages only."""
    market = operated.market
    operated.lose(0, ["p0"])
    request = market.sealed("carried", "mean.v1", MEAN)
    tallying = market.tallying(request, "mean.v1", MEAN)
    assert tallying.see_to_noise(market.world.sender, MEAN).places == (1, 2)
    assert operated.bring(0, operated.document("p0")) == [{"kept": True}]


def test_a_custodian_is_given_records_of_the_requests_dataset_alone(operated: Operated) -> None:
    world = operated.market.world
    (commitment,) = operated.commitments(["p1"])
    assert [each["holder"] for each in operated.found([commitment, bytes(32)])] == [
        account("p1").address
    ]
    other = Kept(world.chain, operated.records, b"\x07" * 32)
    assert list(other.found([commitment])) == []


# --- nothing is believed


def bent(operated: Operated, what: str) -> dict[str, Any]:
    """A document about p4 that no custodian may take."""
    market, whole = operated.market, operated.document("p4")
    record = market.world.records[account("p4").address]
    assert record.tally is not None
    proof = record.tally.proof[:-1] + bytes([record.tally.proof[-1] ^ 1])
    if what == "proof":
        return whole | {"tally": replace(record.tally, proof=proof).to_json()}
    if what == "another's tally":
        return whole | {"tally": operated.document("p5")["tally"]}
    if what == "no tally":
        return {name: each for name, each in whole.items() if name != "tally"}
    if what == "another's address":
        return whole | {"holder": account("p5").address}
    if what == "another key":
        return resealed(whole, replace(record.tally, public_key=times_base(5).to_bytes()), record)
    return resealed(whole, replace(record.tally, proof=proof), record)


def resealed(whole: dict[str, Any], tally: Any, record: Any) -> dict[str, Any]:
    """Under a header that fits, and that nobody attested."""
    header = RecordHeader.of(replace(record, tally=tally)).to_json()
    return whole | {"record": header, "tally": tally.to_json()}


@pytest.mark.parametrize(
    ("what", "code"),
    daily_rows(
        [
            ("proof", "wrong_tally"),
            ("another's tally", "wrong_tally"),
            ("no tally", "wrong_tally"),
            ("another's address", "not_attested"),
            ("another key", "not_attested"),
            ("its own header", "not_attested"),
        ],
        ["proof", "another's address", "its own header"],
    ),
)
def test_what_is_not_the_very_record_on_chain_is_refused_and_sinks_no_other(
    operated: Operated, what: str, code: str
) -> None:
    custodian = operated.market.custodians[0]
    operated.lose(0, ["p4", "p5"])
    height = custodian.journal.head().height
    first, second = operated.bring(0, bent(operated, what), operated.document("p5"))
    assert first["code"] == code
    assert second == {"kept": True}
    assert custodian.journal.head().height == height + 1
    four, five = operated.commitments(["p4", "p5"])
    assert (custodian.tallies.holds(four), custodian.tallies.holds(five)) == (False, True)
    assert list(custodian.journal.headers([four])) == []
    assert operated.bring(0, operated.document("p4")) == [{"kept": True}]


def test_a_proof_that_does_not_hold_is_refused_although_the_issuer_attested_it(
    operated: Operated,
) -> None:
    """A quorum that took it in would be at fault; each custodian verifies for itself."""
    market, world = operated.market, operated.market.world
    world.tick()
    market.seal("spoilt", 120, "no")
    address = account("spoilt").address
    record = world.records[address]
    assert record.tally is not None
    flipped = record.tally.proof[:-1] + bytes([record.tally.proof[-1] ^ 1])
    world.records[address] = replace(record, tally=replace(record.tally, proof=flipped))
    world.attest([address])
    pending = operated.bring(0, operated.document("spoilt"))
    assert [each["code"] for each in pending] == ["not_stored"]
    del world.records[address]


def test_what_is_malformed_is_named(operated: Operated) -> None:
    assert [each["code"] for each in operated.bring(0, {}, 5, operated.document("p0", more=1))] == [
        "bad_parameter"
    ] * 3
    empty = refusal(lambda: operated.bring(0))
    assert (empty.code, empty.field) == ("bad_parameter", "records")


def test_what_is_here_already_changes_nothing(operated: Operated) -> None:
    journal = operated.market.custodians[1].journal
    before = journal.head()
    assert (
        operated.bring(1, operated.document("p0"), operated.document("p0")) == [{"kept": True}] * 2
    )
    assert journal.head() == before


# --- and it is erased like any other


def test_a_record_that_was_brought_without_its_share_is_erased_and_never_comes_back(
    operated: Operated,
) -> None:
    market, custodian = operated.market, operated.market.custodians[0]
    operated.enrol({"leaves": (90, "yes")})
    operated.lose(0, ["leaves"])
    assert operated.bring(0, operated.document("leaves")) == [{"kept": True}]
    (commitment,) = operated.commitments(["leaves"])
    assert custodian.tallies.holds(commitment)
    document = operated.document("leaves")
    market.world.erase(account("leaves"))
    custodian.watch.catch_up()
    assert not custodian.tallies.holds(commitment)
    assert custodian.journal.is_erased(commitment)
    (again,) = operated.bring(0, document)
    assert again["code"] == "record_erased"


def test_the_share_of_a_record_that_was_brought_takes_its_place(operated: Operated) -> None:
    custodian = operated.market.custodians[0]
    operated.lose(0, ["p1"])
    assert operated.bring(0, operated.document("p1")) == [{"kept": True}]
    operated.market.deposit(account("p1").address, 0)
    (commitment,) = operated.commitments(["p1"])
    with custodian.journal.reading() as session:
        assert session.get(RestoredRow, commitment) is None
    assert custodian.tallies.holds(commitment)


# --- what strangers cost


def test_a_cohort_is_looked_up_once_for_a_refusal_however_often_it_is_asked_for(
    operated: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    market, custodian = operated.market, operated.market.custodians[0]
    operated.lose(0, ["p3"])
    request = market.sealed("often", "mean.v1", MEAN)
    market.tallying(request, "mean.v1", MEAN)._commit(market.world.sender, MEAN)
    lookups, honest = list[bytes](), custodian.chain.sealed_cohort

    def counting(asked: bytes) -> Any:
        lookups.append(asked)
        return honest(asked)

    monkeypatch.setattr(custodian.chain, "sealed_cohort", counting)
    body = {"request": to_hex(request), "size": 3}

    def ask() -> dict[str, Any]:
        return post(market.urls[0], "/noise-reveals", body, timeout=60)

    assert [refusal(ask).code for _ in range(4)] == ["records_missing"] * 4
    assert len(lookups) == 1
    named = {"request": to_hex(request)}
    for _ in range(3):
        said = post(market.urls[0], "/missing-records", named, timeout=60)
        assert said == {"commitments": [to_hex(each) for each in operated.commitments(["p3"])]}
    assert len(lookups) == 2
    assert operated.bring(0, operated.document("p3")) == [{"kept": True}]
    assert ask()["place"] == 0
    assert len(lookups) == 3
    assert post(market.urls[0], "/missing-records", named, timeout=60) == {"commitments": []}
    assert len(lookups) == 3


# --- before the first answer


def test_a_custodian_decrypts_nothing_before_its_journal_was_ever_anchored(tmp_path: Path) -> None:
    with tally_world(tmp_path, anchored=False) as market:
        market.enrol(dict(zip(NAMES, PEOPLE, strict=False)))
        chain, sender = market.world.chain, market.world.sender
        request = market.sealed("first", "mean.v1", MEAN)
        bare = market.tallying(request, "mean.v1", MEAN)
        bare._commit(sender, MEAN)
        bare._fix(sender, MEAN, chain.noise_commitments(request))
        signers = [each.keys.signer.address for each in market.custodians.values()]
        assert [chain.journal_of(each)[0] for each in signers] == [0, 0, 0]

        def ask() -> dict[str, Any]:
            return post(market.urls[0], "/partials", {"request": to_hex(request)}, timeout=60)

        assert refusal(ask).code == "not_anchored"
        row = market.custodians[0].decrypting._noises.of(request)
        assert row is not None
        assert row.partial is None
        tallying = market.tallying(request, "mean.v1", MEAN)
        fixed = tallying.see_to_noise(sender, MEAN)
        assert all(chain.journal_of(each)[0] > 0 for each in signers)
        assert tallying.decrypt(fixed, MEAN).faults == {}
        assert ask()["place"] == 0
        anchored = [chain.journal_of(each) for each in signers]
        tallying._anchor_first(sender, chain.noise_commitments(request))
        assert [chain.journal_of(each) for each in signers] == anchored  # once is enough


def test_an_operator_anchors_journals_of_a_set_that_others_fixed(tmp_path: Path) -> None:
    """Whoever fixed it brought no anchor: without one no custodian would ever answer."""
    with tally_world(tmp_path, anchored=False) as market:
        market.enrol(dict(zip(NAMES, PEOPLE, strict=False)))
        chain, sender = market.world.chain, market.world.sender
        request = market.sealed("of others", "mean.v1", MEAN)
        others = market.tallying(request, "mean.v1", MEAN)
        others._commit(sender, MEAN)
        others._fix(sender, MEAN, chain.noise_commitments(request))
        sealed = sealed_of(to_hex(request), chain.request(request))
        lane = TallyLane(chain, tuple(market.peers))

        def compute() -> Computed:
            return lane.compute(sender, sealed, MEAN, market.world.dictionary)[0]

        short = refusal(compute)
        assert short.code == "quorum_missing"
        assert short.facts["faults"].keys() == {"0", "1", "2"}
        assert all("anchored" in why for why in short.facts["faults"].values())
        signers = [each.keys.signer.address for each in market.custodians.values()]
        assert all(chain.journal_of(each)[0] > 0 for each in signers)
        assert len((compute().evidence or {})["partials"]) == 2
