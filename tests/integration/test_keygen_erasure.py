"""Rules of what a key generation leaves behind: erased from every file once it is over, and not before."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from marketplace.chain.deploy import CommitteeSeat, open_epoch
from marketplace.custodian.joint_shares import NoJointShare
from marketplace.custodian.journal import FILE_NAME, Journal
from marketplace.custodian.models import EntryRow, JointShareRow, KeygenRow
from marketplace.custodian.service import Custodian
from marketplace.keygen import generate, new_session, record
from marketplace.peers import Peer
from marketplace.wire import hpke
from marketplace.wire.keyfiles import Signer
from marketplace.wire.structs import JointKey, sign
from ml.homomorphic.curve import times_base
from ml.homomorphic.elgamal import draw_randomness, encrypt
from tests.integration.test_keygen import opened
from tests.support.custody_world import CustodyWorld, Process, custody_world
from tests.support.keygen_world import Hosts, hosts_at, same_again, successor, tell_host, wait_until
from tests.support.lies import no_logs
from tests.support.nodes import LyingProxy, any_node
from tests.support.tally_world import PEOPLE, TallyWorld, tally_world

CONFIRMATIONS = 5
"""Blocks: more than it takes to record a key."""
WINDOW = 16
"""Bytes of a secret that are looked for: however a page was cut, one of these is whole."""
MEAN = {"variable": "systolic"}


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Final is what is five blocks old."""
    with hosts_at(tmp_path, confirmations=CONFIRMATIONS) as made:
        yield made


def kept(custodian: Custodian) -> dict[str, list[bytes]]:
    """What is secret in a custodian's journal."""
    with custodian.journal.reading() as session:
        rows = list(session.scalars(select(KeygenRow)))
        shares = list(session.scalars(select(JointShareRow)))
    return {
        "polynomials": [each.polynomial for each in rows if each.polynomial],
        "envelopes": [each.envelopes.encode() for each in rows if each.envelopes],
        "shares": [each.sealed for each in shares],
    }


def lies_in(folder: Path, secrets: Sequence[bytes]) -> list[str]:
    """Files of the journal that hold any part of these."""
    windows = [each[at : at + WINDOW] for each in secrets for at in range(0, len(each) - WINDOW, 4)]
    files = {path.name: path.read_bytes() for path in sorted(folder.glob(FILE_NAME + "*"))}
    assert FILE_NAME in files
    return [name for name, raw in files.items() if any(window in raw for window in windows)]


def erase(custodians: Sequence[Custodian]) -> None:
    """As their watching threads do."""
    for each in custodians:
        each.decrypting.drop_ended()
        each.keygen.drop_ended()
        each.journal.require_intact()


def hand_on(
    world: CustodyWorld, dealers: Sequence[Peer], holders: Sequence[Peer], origin: int = 1
) -> None:
    session = new_session(world.chain, int(world.chain.current_epoch()), origin)
    made = generate(world.chain, world.operator, dealers, holders, session)
    record(world.sender, made, len(holders))


def test_polynomials_are_erased_once_the_key_is_in_a_final_block_and_not_before(
    hosts: Hosts,
) -> None:
    lost, made = hosts.generate(), hosts.generate()
    folders = [each.data for each in hosts.custodians]
    before = [kept(each) for each in hosts.custodians]
    for found, folder in zip(before, folders, strict=True):
        assert {kind: len(each) for kind, each in found.items()} == {
            "polynomials": 2,
            "envelopes": 2,
            "shares": 2,
        }
        for each in found.values():
            assert lies_in(folder, each) != []
    erase(hosts.custodians)
    hosts.record(made)
    erase(hosts.custodians)
    hosts.mine(CONFIRMATIONS - 1)
    erase(hosts.custodians)
    assert [kept(each) for each in hosts.custodians] == before
    hosts.mine(1)
    erase(hosts.custodians)
    for custodian, found, folder in zip(hosts.custodians, before, folders, strict=True):
        left = kept(custodian)
        assert (left["polynomials"], left["envelopes"]) == ([], [])
        row = custodian.joint_shares.held(made.commitments)
        assert row is not None
        assert left["shares"] == [row.sealed]
        assert custodian.joint_shares.held(lost.commitments) is None
        gone = [each for each in found["shares"] if each != row.sealed]
        assert len(gone) == 1
        assert lies_in(folder, found["polynomials"] + found["envelopes"] + gone) == []
        assert lies_in(folder, [row.sealed]) != []
    shares = hosts.shares(1)
    column = encrypt([5], draw_randomness(1), shares[0].public_key)
    assert all(opened(pair, column) == times_base(5) for pair in combinations(shares, 2))


def test_what_was_erased_is_not_written_again_by_a_message_that_comes_late(hosts: Hosts) -> None:
    session = hosts.session()
    made = hosts.generate(session)
    hosts.record(made)
    hosts.mine(CONFIRMATIONS)
    erase(hosts.custodians)
    with pytest.raises(Exception, match="has its joint key"):
        hosts.generate(session)
    assert kept(hosts.custodians[0])["polynomials"] == []


def test_old_shares_go_once_the_key_that_was_handed_on_is_final_also_with_who_left(
    hosts: Hosts,
) -> None:
    hosts.record(hosts.generate())
    hosts.mine(CONFIRMATIONS)
    everybody = list(hosts.custodians)
    erase(everybody)
    old = {id(each): kept(each)["shares"] for each in everybody}
    url = successor(hosts, confirmations=CONFIRMATIONS)
    hosts.mine(CONFIRMATIONS)  # the epoch is final: they deal to its members
    hand_on(hosts.world, hosts.peers(), [Peer("new", url), *hosts.peers()[1:]])
    hosts.mine(CONFIRMATIONS - 1)
    erase(everybody)
    for each in everybody:
        assert set(old[id(each)]) <= set(kept(each)["shares"])
    hosts.mine(1)
    erase([*everybody, hosts.custodians[0]])
    for each in everybody:
        assert lies_in(each.data, old[id(each)]) == []
        assert kept(each)["polynomials"] == []
        with pytest.raises(NoJointShare) as missing:
            each.joint_shares.of(1)
        assert "epoch 2 has it now" in missing.value.message
    assert kept(everybody[0])["shares"] == []  # it left
    new = hosts.shares(2)
    column = encrypt([7], draw_randomness(1), new[0].public_key)
    assert all(opened(pair, column) == times_base(7) for pair in combinations(new, 2))


def test_a_share_of_a_key_that_nobody_handed_on_stays(hosts: Hosts) -> None:
    """`--anew` gives records up, and a later epoch may still take their key over."""
    hosts.record(hosts.generate())
    first = [each.value for each in hosts.shares(1)]
    same_again(hosts.world)
    hosts.record(hosts.generate())
    hosts.mine(CONFIRMATIONS)
    erase(hosts.custodians)
    assert [each.value for each in hosts.shares(1)] == first
    key = hosts.shares(1)[0].public_key
    assert hosts.shares(2)[0].public_key != key
    same_again(hosts.world)
    hosts.mine(CONFIRMATIONS)
    hand_on(hosts.world, hosts.peers(), hosts.peers(), origin=1)
    assert hosts.shares(3)[0].public_key == key


def test_a_key_on_chain_that_a_custodian_should_hold_and_does_not_has_it_erase_nothing(
    hosts: Hosts,
) -> None:
    """An old copy of its data, or a node that lies: every member has signed the true one."""
    made = hosts.generate()
    restored = hosts.custodians[0]
    with restored.journal.writing() as session:
        session.execute(delete(JointShareRow))
    hosts.record(made)
    hosts.mine(CONFIRMATIONS)
    before = kept(restored)
    erase(hosts.custodians)
    assert kept(restored) == before
    assert len(before["polynomials"]) == 1
    assert kept(hosts.custodians[1])["polynomials"] == []


def test_whoever_opens_epochs_cannot_have_the_true_shares_erased(hosts: Hosts) -> None:
    """It seats itself at every place, and records what begins with the same key: who has the shares stays."""
    hosts.record(hosts.generate())
    world, true = hosts.world, [each.value for each in hosts.shares(1)]
    signers = [Signer.of(bytes([at]) * 32) for at in (1, 2, 3)]
    seats = [CommitteeSeat(each.address, hpke.generate().public) for each in signers]
    open_epoch(world.sender, seats, 2, world.chain.committee().gates)
    raw = hosts.shares(1)[0].public_key.to_bytes() + times_base(5).to_bytes()
    struct = JointKey(2, raw, bytes(32))
    domain = world.chain.domain("CustodianCommittee")
    signed = [(at, sign(struct, domain, each.secret)) for at, each in enumerate(signers)]
    world.sender.send("CustodianCommittee", "recordJointKey", 2, raw, bytes(32), signed)
    hosts.mine(CONFIRMATIONS)
    erase(hosts.custodians)
    assert [each.value for each in hosts.shares(1)] == true
    for each in hosts.custodians:  # until their hosts say that these are the new ones
        for seat in seats:
            tell_host(each.data, seat)
    hosts.mine(1)
    erase(hosts.custodians)
    assert [kept(each)["shares"] for each in hosts.custodians] == [[], [], []]


class Killed(BaseException):
    """The process ends here."""


def test_a_process_that_dies_before_its_files_are_clean_cleans_them_when_it_comes_back(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts.record(hosts.generate())
    hosts.mine(CONFIRMATIONS)
    dying = hosts.custodians[0]
    polynomials = kept(dying)["polynomials"]

    def die(_: Journal) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "wipe", die)
        with pytest.raises(Killed):
            dying.keygen.drop_ended()
    assert kept(dying)["polynomials"] == []
    assert lies_in(dying.data, polynomials) != []
    again = hosts.world.custodian(0, confirmations=CONFIRMATIONS)
    again.keygen.drop_ended()
    assert lies_in(dying.data, polynomials) == []
    height = again.journal.head().height
    for _ in range(2):
        hosts.world.custodian(0, confirmations=CONFIRMATIONS).keygen.drop_ended()
    assert again.journal.head().height == height


# --- while a request of the old epoch may still be answered


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TallyWorld]:
    with tally_world(tmp_path_factory.mktemp("erasure")) as made:
        made.enrol({f"p{i}": each for i, each in enumerate(PEOPLE)})
        yield made


def test_an_old_share_stays_while_a_request_of_its_epoch_may_be_answered_and_goes_afterwards(
    market: TallyWorld,
) -> None:
    world, custodians = market.world, list(market.custodians.values())
    request = market.sealed("of the old epoch", "mean.v1", MEAN)
    unheard = market.sealed("nobody has asked yet", "mean.v1", MEAN)
    old = [each.joint_shares.of(1).value for each in custodians]
    same_again(world)
    hand_on(world, market.peers, market.peers)
    erase(custodians)
    assert [each.joint_shares.of(1).value for each in custodians] == old
    tallying = market.tallying(request, "mean.v1", MEAN)
    found = tallying.decrypt(tallying.see_to_noise(world.sender, MEAN), MEAN)
    assert found.faults == {}
    with closing(LyingProxy(world.node_url)) as proxy:  # it keeps to itself what was frozen
        proxy.lie = no_logs
        misled = world.custodian(0, node_url=proxy.url)
        misled.keygen.drop_ended()
        assert misled.joint_shares.of(1).value == old[0]
    sealed = [kept(each)["shares"] for each in custodians]
    view = world.chain.request(unheard)
    wait_until(world, view.settle_deadline - 60)
    erase(custodians)
    assert [each.joint_shares.of(1).value for each in custodians] == old
    wait_until(world, view.settle_deadline + 1)
    erase(custodians)
    for each, before in zip(custodians, sealed, strict=True):
        now = kept(each)["shares"]
        assert len(now) == 1
        assert lies_in(each.data, [share for share in before if share not in now]) == []
        assert each.joint_shares.of(2).public_key.to_bytes() == market.joint_key
        with pytest.raises(NoJointShare):
            each.joint_shares.of(1)


# --- by themselves


@pytest.mark.long
def test_processes_erase_by_themselves_and_again_after_they_were_killed(tmp_path: Path) -> None:
    with any_node(tmp_path) as node:
        world = custody_world(node, tmp_path)
        configs = [world.custodian_config(place) for place in range(3)]
        processes = [Process("custodian", each, tmp_path) for each in configs]
        try:
            peers = [Peer(f"custodian {i}", each.url) for i, each in enumerate(processes)]
            session = new_session(world.chain, 1)
            made = generate(world.chain, world.operator, peers, peers, session)
            secrets = [_polynomials(each.data) for each in configs]
            assert [len(each) for each in secrets] == [1, 1, 1]
            processes[0].kill()  # it learns of the key when it comes back
            record(world.sender, made, 3)
            processes[0].start()
            for config, gone in zip(configs, secrets, strict=True):
                _await_clean(config.data, gone)
        finally:
            for each in processes:
                each.kill()


def _await_clean(data: Path, secrets: list[bytes]) -> None:
    until = time.monotonic() + 60
    while _polynomials(data) or lies_in(data, secrets):
        assert time.monotonic() < until, lies_in(data, secrets)
        time.sleep(0.1)


def _polynomials(data: Path) -> list[bytes]:
    with closing(sqlite3.connect(data / FILE_NAME, timeout=30)) as connection:
        query = "SELECT polynomial FROM keygen WHERE polynomial IS NOT NULL"
        return [row[0] for row in connection.execute(query)]


def test_what_was_erased_stands_in_the_journal(hosts: Hosts) -> None:
    hosts.record(hosts.generate())
    hosts.mine(CONFIRMATIONS)
    erase(hosts.custodians)
    erase(hosts.custodians)
    with hosts.custodians[0].journal.reading() as session:
        rows: list[Any] = list(session.scalars(select(EntryRow.kind).order_by(EntryRow.height)))
    assert rows[-2:] == ["joint-erased", "joint-wiped"]
    assert rows.count("joint-erased") == 1
