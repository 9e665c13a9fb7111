"""Rules of a custodian's tallies: proven before acknowledged, added up from its own copy, gone if erased."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketplace.custodian.models import TallyRow
from marketplace.custodian.service import Custodian
from marketplace.errors import Refusal
from marketplace.keygen import generate, new_session
from marketplace.peers import Peer
from marketplace.sealing.row import to_row
from marketplace.sealing.seal import seal_row
from marketplace.vocabulary import Epoch
from marketplace.wire import dictionary as wire
from marketplace.wire.http_client import post
from marketplace.wire.record import SealedRecord
from marketplace.wire.tally import SealedTally, encoding_of
from ml.homomorphic.columns import ColumnStore
from ml.homomorphic.curve import times_base, total
from ml.homomorphic.threshold import Sum, lagrange
from tests.support.chain_world import account
from tests.support.custody_world import (
    DICTIONARY,
    CustodyWorld,
    custody_world,
    seats_of,
    served_custodian,
)
from tests.support.daily import daily
from tests.support.forging import OUT_OF_RANGE, forged_tally
from tests.support.nodes import any_node

ENCODED = DICTIONARY | {
    "schema": wire.ENCODED,
    "encoding": {
        "variables": [{"name": "systolic", "step": "1", "edges": []}, {"name": "smoker"}],
        "products": [["systolic", "systolic"], ["smoker=1", "systolic"]],
    },
}
COLUMNS = [
    "systolic?",
    "systolic",
    "smoker=0",
    "smoker=1",
    "systolic*systolic",
    "smoker=1*systolic",
]


@dataclass
class Hosts:
    """Three custodians in threads, with a joint key, and a dataset whose dictionary has an encoding."""

    world: CustodyWorld
    custodians: list[Custodian]
    urls: list[str]

    @property
    def joint_key(self) -> bytes:
        return self.world.chain.joint_key(1)[0][:33]

    def seal(self, name: str, systolic: int | None, smoker: str | None) -> SealedRecord:
        patient, world = account(name), self.world
        committee = world.chain.committee()
        values: dict[str, Any] = {"smoker": smoker}
        values |= {"systolic": None if systolic is None else Decimal(systolic)}
        sealed = seal_row(
            world.dictionary,
            values,
            world.record_context(patient.address),
            seats_of(committee),
            Epoch(committee.epoch),
            committee.quorum,
            self.joint_key,
        )
        world.records[patient.address] = sealed
        return sealed

    def body(self, name: str, place: int, **changes: Any) -> dict[str, Any]:
        address = account(name).address
        tally = self.world.records[address].tally
        assert tally is not None
        return self.world.deposit_body(address, place) | {"tally": tally.to_json()} | changes

    def store(self, name: str, place: int, **changes: Any) -> dict[str, Any]:
        return post(self.urls[place], "/shares", self.body(name, place, **changes), timeout=60)

    def sums(self, place: int, names: list[str]) -> list[Sum]:
        """Each column's sum over these people, by one custodian's own copy."""
        commitments = [self.world.records[account(name).address].commitment for name in names]
        forms = [{at: 1} for at in range(len(COLUMNS))]
        dataset = self.world.dataset
        return self.custodians[place].tallies.sums(dataset, self.joint_key, commitments, forms)

    def opened(self, sums: list[Sum]) -> list[int]:
        """By two custodians' shares of the key, for values up to a million."""
        shares = [each.joint_shares.of(1) for each in self.custodians[:2]]
        factors = lagrange([share.index for share in shares])
        known = {times_base(value).to_bytes(): value for value in range(60_000)}
        found = []
        for each in sums:
            parts = [each.key * (share.value * factors[share.index]) for share in shares]
            found.append(known[(each.value - total(parts)).to_bytes()])
        return found


@contextmanager
def hosts_at(folder: Path) -> Iterator[Hosts]:
    with any_node(folder) as node, ExitStack() as stack:
        world = custody_world(node, folder)
        world.dictionary = wire.from_json(ENCODED)
        world._publish()
        custodians = [world.custodian(place) for place in range(3)]
        urls = [stack.enter_context(served_custodian(each)) for each in custodians]
        peers = [Peer(f"custodian {place + 1}", url) for place, url in enumerate(urls)]
        made = generate(world.chain, world.operator, peers, peers, new_session(world.chain, 1))
        world.sender.send(
            "CustodianCommittee",
            "recordJointKey",
            1,
            made.commitments,
            made.transcript,
            list(made.signatures),
        )
        for url in urls:
            post(url, "/dictionaries", {"dictionary": ENCODED}, timeout=30)
        yield Hosts(world, custodians, urls)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with hosts_at(tmp_path_factory.mktemp("tallies")) as made:
        yield made


def enrol(hosts: Hosts, *people: tuple[str, int | None, str | None]) -> list[str]:
    for name, systolic, smoker in people:
        hosts.seal(name, systolic, smoker)
    names = [name for name, *_ in people]
    hosts.world.attest([account(name).address for name in names])
    answers = {
        account(name).address: [hosts.store(name, place) for place in range(3)] for name in names
    }
    hosts.world.confirm(answers)
    return names


def test_every_custodian_adds_up_the_same_from_its_own_copy_and_a_quorum_opens_it(
    hosts: Hosts,
) -> None:
    names = enrol(
        hosts, ("a1", 120, "yes"), ("a2", 97, "no"), ("a3", None, "yes"), ("a4", 260, None)
    )
    # q = systolic - 60: 60, 37, absent, 200
    expected = [3, 297, 1, 2, 60**2 + 37**2 + 200**2, 60]
    found = [hosts.sums(place, names) for place in range(3)]
    assert found[0] == found[1] == found[2]
    assert hosts.opened(found[0]) == expected
    assert hosts.opened(hosts.sums(0, names[:1])) == [1, 60, 0, 1, 3_600, 60]
    assert hosts.sums(0, []) == [Sum.zero()] * len(COLUMNS)


def test_a_record_that_is_not_here_counts_as_null(hosts: Hosts) -> None:
    names = enrol(hosts, ("b1", 100, "no"))
    hosts.seal("b2", 200, "yes")
    assert hosts.sums(0, [*names, "b2"]) == hosts.sums(0, names)


def bent(tally: SealedTally, what: str, other: SealedTally) -> SealedTally:
    flipped = tally.proof[:-1] + bytes([tally.proof[-1] ^ 1])
    return {
        "proof": replace(tally, proof=flipped),
        "columns": replace(tally, columns=other.columns),
        "key": replace(tally, public_key=times_base(5).to_bytes()),
        "replayed": other,
    }[what]


@pytest.mark.parametrize(
    "what", daily(["proof", "columns", "key", "replayed"], ["proof", "key", "replayed"])
)
def test_a_tally_that_is_not_valid_is_never_acknowledged_even_if_it_was_attested(
    hosts: Hosts, what: str
) -> None:
    """An issuer attests a commitment, and cannot see what is encrypted behind it."""
    one, two = hosts.seal(f"c-{what}", 150, "no"), hosts.seal(f"c-{what}-other", 250, "yes")
    assert one.tally is not None
    assert two.tally is not None
    address = account(f"c-{what}").address
    hosts.world.records[address] = _resealed(hosts, one, bent(one.tally, what, two.tally))
    hosts.world.attest([address])
    with pytest.raises(Refusal) as refused:
        hosts.store(f"c-{what}", 0)
    field = "tally.public_key" if what == "key" else "tally.proof"
    assert (refused.value.code, refused.value.field) == ("record_unreadable", field)
    assert ("may have been made for another" in refused.value.message) == (what != "key")
    assert hosts.custodians[0].journal.share(hosts.world.records[address].commitment) is None


def forged(hosts: Hosts, name: str, changes: Mapping[str, int]) -> bytes:
    """The commitment of an attested record whose columns hold what no row has, by whoever proves anything."""
    made, dictionary = hosts.seal(name, 120, "yes"), hosts.world.dictionary
    row = to_row(dictionary, {"systolic": Decimal(120), "smoker": "yes"})
    tally = forged_tally(encoding_of(dictionary), row, made.context, hosts.joint_key, changes)
    address = account(name).address
    hosts.world.records[address] = _resealed(hosts, made, tally)
    hosts.world.attest([address])
    return hosts.world.records[address].commitment


@pytest.mark.parametrize("what", daily(OUT_OF_RANGE, ["beyond its bounds", "two indicators"]))
def test_a_custodian_keeps_nothing_of_a_forger_whose_values_are_out_of_range(
    hosts: Hosts, what: str
) -> None:
    """Whoever seals is free to encrypt anything: one record could else move a mean as far as it likes."""
    commitment, custodian = forged(hosts, f"forged-{what}", OUT_OF_RANGE[what]), hosts.custodians[0]
    before = custodian.journal.head()
    with pytest.raises(Refusal) as refused:
        hosts.store(f"forged-{what}", 0)
    assert (refused.value.code, refused.value.field) == ("record_unreadable", "tally.proof")
    assert refused.value.message.startswith("The proof does not hold: a product does not hold.")
    assert custodian.journal.head() == before
    assert custodian.journal.share(commitment) is None
    assert not custodian.tallies.holds(commitment)


def test_the_same_prover_is_believed_where_its_values_are_in_range(hosts: Hosts) -> None:
    """So it is the values that a forger is refused for."""
    commitment = forged(hosts, "in range", {"smoker=1": 0, "smoker=0": 1})
    assert "signature" in hosts.store("in range", 0)
    assert hosts.custodians[0].tallies.holds(commitment)


def _resealed(hosts: Hosts, made: SealedRecord, tally: SealedTally) -> SealedRecord:
    """The record with another tally, its shares sealed for the commitment that this leads to."""
    from marketplace.wire import record as records

    bare = replace(made, tally=tally)
    committee = hosts.world.chain.committee()
    shares = []
    for seat in seats_of(committee):
        secret = hosts.custodians[int(seat.index) - 1].keys.for_public(seat.public_key)
        assert secret is not None
        share = records.open_share(made, int(seat.index), secret)
        shares.append(
            records.seal_share(share, seat.public_key, made.context, bare.commitment, made.epoch)
        )
    return replace(bare, shares=tuple(shares))


def test_a_record_whose_tally_is_left_out_or_another_is_refused(hosts: Hosts) -> None:
    hosts.seal("d1", 130, "no")
    other = hosts.seal("d2", 131, "no").tally
    assert other is not None
    hosts.world.attest([account("d1").address])
    body = hosts.body("d1", 0)
    del body["tally"]
    for sent in (body, body | {"tally": other.to_json()}):
        with pytest.raises(Refusal) as refused:
            post(hosts.urls[0], "/shares", sent, timeout=30)
        assert refused.value.code == "wrong_tally"


def test_bad_tallies_of_an_upload_sink_no_good_one(hosts: Hosts) -> None:
    names = [f"e{i}" for i in range(4)]
    for i, name in enumerate(names):
        hosts.seal(name, 100 + i, "no")
    spoilt = account("e2").address
    tally = hosts.world.records[spoilt].tally
    assert tally is not None
    hosts.world.records[spoilt] = _resealed(
        hosts, hosts.world.records[spoilt], bent(tally, "proof", tally)
    )
    hosts.world.attest([account(name).address for name in names])
    body = {"deposits": [hosts.body(name, 1) for name in names]}
    outcomes = post(hosts.urls[1], "/deposits", body, timeout=60)["outcomes"]
    assert ["signature" in each for each in outcomes] == [True, True, False, True]
    assert outcomes[2]["code"] == "record_unreadable"


def test_an_erased_record_leaves_journal_columns_and_every_sum(tmp_path: Path) -> None:
    with hosts_at(tmp_path) as hosts:
        names = enrol(hosts, ("f1", 120, "yes"), ("f2", 90, "no"))
        custodian, address = hosts.custodians[0], account("f1").address
        kept = hosts.world.records[address]
        assert kept.tally is not None
        before = hosts.sums(0, names)
        assert custodian.tallies.of(kept.commitment) == kept.tally
        hosts.world.tick()
        hosts.world.erase(account("f1"))
        custodian.watch.catch_up()
        assert custodian.tallies.of(kept.commitment) is None
        with custodian.journal.reading() as session:
            assert session.get(TallyRow, kept.commitment) is None
        after = hosts.sums(0, names)
        assert after == hosts.sums(0, ["f2"])
        assert after != before
        column = kept.tally.columns[:66]
        files = [path for path in hosts.world.data("custodian0").rglob("*") if path.is_file()]
        assert [path for path in files if column in path.read_bytes()] == []


def test_columns_are_made_again_from_the_journal_where_the_folder_was_lost(tmp_path: Path) -> None:
    with hosts_at(tmp_path) as hosts:
        names = enrol(hosts, ("g1", 120, "yes"), ("g2", 90, "no"))
        before = hosts.sums(0, names)
        folders = list((hosts.world.data("custodian0") / "columns").iterdir())
        assert len(folders) == 1
        for path in folders[0].iterdir():
            path.unlink()
        again = hosts.world.custodian(0)
        commitments = [hosts.world.records[account(name).address].commitment for name in names]
        forms = [{at: 1} for at in range(len(COLUMNS))]
        found = again.tallies.sums(hosts.world.dataset, hosts.joint_key, commitments, forms)
        assert found == before


def no_writing(*_: object) -> None:
    raise AssertionError("a row was written")


def test_the_watch_lays_columns_out_and_a_request_writes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hosts_at(tmp_path) as hosts:
        custodian, written = hosts.custodians[0], threading.Event()
        real = ColumnStore.write_many

        def write_many(self: ColumnStore, records: Mapping[int, bytes]) -> None:
            real(self, records)
            if 1 in records:
                written.set()

        monkeypatch.setattr(ColumnStore, "write_many", write_many)
        custodian.watch.run(0.05)
        try:
            names = enrol(hosts, ("h1", 120, "yes"), ("h2", 90, "no"))
            assert written.wait(30)
            assert custodian.tallies.spread()
            monkeypatch.setattr(ColumnStore, "write_many", no_writing)
            found = hosts.sums(0, names)
        finally:
            custodian.watch.stop()
        monkeypatch.setattr(ColumnStore, "write_many", real)
        assert found == hosts.sums(1, names)  # who has not watched lays out what it lacks


def test_a_dictionary_that_no_dataset_has_is_not_kept(hosts: Hosts) -> None:
    with pytest.raises(Refusal) as refused:
        post(hosts.urls[0], "/dictionaries", {"dictionary": ENCODED | {"version": 9}}, timeout=30)
    assert refused.value.code == "unknown_dictionary"
    with pytest.raises(Refusal) as refused:
        post(hosts.urls[0], "/dictionaries", {"dictionary": {"schema": "x"}}, timeout=30)
    assert refused.value.code == "bad_dictionary"
