"""Rules that an attack on the homomorphic lane left behind: what custodians keep, whom a liar can stop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from marketplace.chain.adapter import RequestStage
from marketplace.custodian.service import Custodian
from marketplace.errors import Refusal
from marketplace.lanes.tally import _heads
from marketplace.peers import Peer
from marketplace.tallying import Part
from ml.homomorphic.threshold import Sum
from tests.support.chain_world import account
from tests.support.tally_world import PEOPLE, TallyWorld, tally_world

MEAN = {"variable": "systolic"}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TallyWorld]:
    with tally_world(tmp_path_factory.mktemp("tally-faults")) as made:
        made.enrol({f"p{i}": each for i, each in enumerate(PEOPLE[:6])})
        yield made


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
