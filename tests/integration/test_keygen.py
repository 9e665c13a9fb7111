"""Rules of the joint key: custodians make it together over HTTP, name who spoils it, and hand it on."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from eth_hash.auto import keccak

from marketplace.chain.deploy import CommitteeSeat, open_epoch
from marketplace.cli.main import main
from marketplace.custodian import keys as custodian_keys
from marketplace.custodian.holders import FOLDER
from marketplace.custodian.joint_shares import JointShare, NoJointShare
from marketplace.custodian.keygen import Keygen
from marketplace.custodian.service import Custodian
from marketplace.errors import Refusal
from marketplace.keygen import Generated, generate, new_session
from marketplace.peers import Peer
from marketplace.wire import hpke
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.keygen import COMMIT, REVEAL, KeygenCall, Session
from marketplace.wire.structs import sign
from ml.homomorphic import keygen as mathematics
from ml.homomorphic.curve import Point, times_base, total
from ml.homomorphic.elgamal import draw_randomness, encrypt
from ml.homomorphic.threshold import lagrange, share_key, sums_from_bytes
from tests.support.custody_world import (
    CustodyWorld,
    Process,
    custody_world,
    served_custodian,
)
from tests.support.nodes import any_node

DEAD = "http://127.0.0.1:9"


@dataclass
class Hosts:
    """A market's custodians, serving in threads, by place."""

    world: CustodyWorld
    custodians: list[Custodian]
    urls: list[str]
    stack: ExitStack = field(repr=False)

    def peers(self) -> list[Peer]:
        return [Peer(f"custodian {place + 1}", url) for place, url in enumerate(self.urls)]

    def session(self, origin: int = 0) -> Session:
        return new_session(self.world.chain, int(self.world.chain.current_epoch()), origin)

    def generate(self, session: Session | None = None) -> Generated:
        peers = self.peers()
        return generate(
            self.world.chain, self.world.operator, peers, peers, session or self.session()
        )

    def record(self, generated: Generated) -> None:
        self.world.sender.send(
            "CustodianCommittee",
            "recordJointKey",
            generated.epoch,
            generated.commitments,
            generated.transcript,
            list(generated.signatures),
        )

    def shares(self, epoch: int) -> list[JointShare]:
        return [each.joint_shares.of(epoch) for each in self.custodians]

    def replace(self, place: int, keygen: Keygen) -> None:
        self.custodians[place].keygen = keygen


@contextmanager
def hosts_at(folder: Path) -> Iterator[Hosts]:
    with any_node(folder) as node, ExitStack() as stack:
        world = custody_world(node, folder)
        custodians = [world.custodian(place) for place in range(3)]
        urls = [stack.enter_context(served_custodian(each)) for each in custodians]
        yield Hosts(world, custodians, urls, stack)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """One market for all that records no key: sessions stand apart."""
    with hosts_at(tmp_path_factory.mktemp("keygen")) as made:
        yield made


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Hosts]:
    with hosts_at(tmp_path) as made:
        yield made


def opened(shares: Sequence[JointShare], column: bytes) -> Point:
    """v G of one column, by these shares."""
    (each,) = sums_from_bytes(column)
    factors = lagrange([share.index for share in shares])
    parts = [each.key * (share.value * factors[share.index]) for share in shares]
    return each.value - total(parts)


# --- a new key


def test_custodians_make_a_key_that_any_quorum_of_them_opens_with_and_no_one_alone(
    fresh: Hosts,
) -> None:
    generated = fresh.generate()
    assert [place for place, _ in generated.signatures] == [0, 1, 2]
    assert generated.absent == {}
    fresh.record(generated)
    shares = fresh.shares(1)
    public = shares[0].public_key
    assert fresh.world.chain.joint_key(1) == (generated.commitments, generated.transcript)
    column = encrypt([-41], draw_randomness(1), public)
    for pair in combinations(shares, 2):
        assert opened(pair, column) == times_base(-41)
    for alone in shares:
        assert opened([alone], column) != times_base(-41)
        assert times_base(alone.value) != public
        assert times_base(alone.value) == share_key(alone.commitments, alone.index)
    with pytest.raises(Refusal) as refused:
        fresh.generate()
    assert "has its joint key" in str(refused.value)


def test_two_sessions_make_two_keys_and_the_one_on_chain_counts(fresh: Hosts) -> None:
    first, second = fresh.generate(), fresh.generate()
    assert first.commitments != second.commitments
    with pytest.raises(NoJointShare):
        fresh.shares(1)
    fresh.record(second)
    assert {share.public_key.to_bytes() for share in fresh.shares(1)} == {second.commitments[:33]}


def test_a_share_lies_on_disk_under_the_storage_key_alone(fresh: Hosts) -> None:
    fresh.record(fresh.generate())
    share = fresh.shares(1)[0].value.to_bytes(32, "big")
    folder = fresh.world.data("custodian0")
    assert [
        path for path in folder.rglob("*") if path.is_file() and share in path.read_bytes()
    ] == []


# --- who spoils it


class Faulty(Keygen):
    """A dealer with one fault."""

    @classmethod
    def of(cls, custodian: Custodian) -> Faulty:
        return cls(
            custodian.chain,
            custodian.journal,
            custodian.keys,
            custodian.joint_shares,
            custodian.rules.place,
            custodian.data,
        )


class WrongShare(Faulty):
    """Sends place 2 a share of another polynomial; when it complains, tells it the right one."""

    def _envelope(self, seats: Any, polynomial: Any, holder: int) -> str:
        return super()._envelope(seats, self._bent(polynomial, holder), holder)

    @staticmethod
    def _bent(polynomial: Any, holder: int) -> Any:
        return mathematics.draw(2) if holder == 2 else polynomial


class Garbage(Faulty):
    """Sends place 2 an envelope that does not open."""

    def _envelope(self, seats: Any, polynomial: Any, holder: int) -> str:
        return to_base64(bytes(80)) if holder == 2 else super()._envelope(seats, polynomial, holder)


class WrongAnswer(WrongShare):
    """And when asked, a wrong one again."""

    def _unlocked(self, seats: Any, row: Any) -> Any:
        found = super()._unlocked(seats, row)
        return found if row.envelopes is None else mathematics.draw(2)


class NoAnswer(WrongShare):
    """And when asked, nothing."""

    def _answer(self, *_: Any) -> dict[str, Any]:
        raise Refusal(code="gone", message="Not now.", remedy="Ask later.")


class OtherDealing(Faulty):
    """Reveals another dealing than it committed to."""

    def _reveal(self, seats: Any, said: Any) -> dict[str, Any]:
        row = self._row(seats)
        if row.envelopes is None:
            context = seats.session.dealing_context(self._place)
            polynomial = mathematics.draw(2)
            commits = said.commits()
            self._keep(row, "keygen-bent", {})
            row.dealing = mathematics.deal(polynomial, context).to_bytes()
            row.polynomial = self._locked(seats, polynomial)
            self._keep(row, "keygen-bent", {})
            said.commits = lambda: {**commits, self._place: _commit(row.dealing)}
        return super()._reveal(seats, said)


class NoProof(Faulty):
    """Deals what it does not know: another dealer's commitments."""

    def _commit(self, seats: Any, said: Any) -> dict[str, Any]:
        row = self._row(seats)
        if row.dealing is None:
            polynomial = mathematics.draw(2)
            dealing = mathematics.deal(polynomial, bytes(32))  # its proof is of another session
            row.dealing, row.polynomial = dealing.to_bytes(), self._locked(seats, polynomial)
            self._keep(row, "keygen-bent", {})
        return super()._commit(seats, said)


class Silent(Faulty):
    """Commits, and then says nothing."""

    def _reveal(self, *_: Any) -> dict[str, Any]:
        raise Refusal(code="gone", message="Not now.", remedy="Ask later.")


def _commit(dealing: bytes) -> bytes:
    from marketplace.wire.keygen import commit_body

    return commit_body(dealing)


@contextmanager
def faulty(hosts: Hosts, place: int, kind: type[Faulty]) -> Iterator[None]:
    honest = hosts.custodians[place].keygen
    hosts.replace(place, kind.of(hosts.custodians[place]))
    try:
        yield
    finally:
        hosts.replace(place, honest)


def qualified(hosts: Hosts, generated: Generated) -> None:
    """Whoever signed holds a share that fits."""
    points = [
        Point.from_bytes(generated.commitments[at : at + 33])
        for at in range(0, len(generated.commitments), 33)
    ]
    for place, _ in generated.signatures:
        custodian = hosts.custodians[place]
        row = custodian.joint_shares.held(generated.commitments)
        assert row is not None
        value = int.from_bytes(
            custodian.keys.unlock(row.sealed, keccak(generated.commitments)), "big"
        )
        assert times_base(value) == share_key(points, place + 1)


@pytest.mark.parametrize("kind", [WrongShare, Garbage])
def test_a_wrong_share_is_told_in_the_open_and_the_dealer_still_counts(
    hosts: Hosts, kind: type[Faulty]
) -> None:
    with faulty(hosts, 0, kind):
        generated = hosts.generate()
    assert [place for place, _ in generated.signatures] == [0, 1, 2]
    qualified(hosts, generated)


@pytest.mark.parametrize("kind", [WrongAnswer, NoAnswer, OtherDealing, NoProof, Silent])
def test_a_dealer_at_fault_is_left_out_and_the_others_make_the_key(
    hosts: Hosts, kind: type[Faulty]
) -> None:
    with faulty(hosts, 0, kind):
        generated = hosts.generate()
    assert {place for place, _ in generated.signatures} >= {1, 2}
    qualified(hosts, generated)


def test_two_faulty_dealers_of_three_leave_no_key_and_are_named(hosts: Hosts) -> None:
    with (
        faulty(hosts, 0, NoProof),
        faulty(hosts, 1, OtherDealing),
        pytest.raises(Refusal) as refused,
    ):
        hosts.generate()
    assert refused.value.code == "keygen_failed"
    assert "Place 0" in refused.value.message
    assert "Place 1" in refused.value.message


def test_a_custodian_that_is_down_is_named_and_the_others_go_on(hosts: Hosts) -> None:
    peers = [*hosts.peers()[:2], Peer("custodian 3", DEAD)]
    generated = generate(hosts.world.chain, hosts.world.operator, peers, peers, hosts.session())
    assert [place for place, _ in generated.signatures] == [0, 1]
    assert list(generated.absent) == [2]


# --- who carries it


def call(
    hosts: Hosts, session: Session, number: int, said: Mapping[str, Any], place: int = 0
) -> Any:
    domain = hosts.world.chain.domain("CustodianCommittee")
    signature = sign(KeygenCall(session.id), domain, hosts.world.operator)
    return asked(hosts, session, number, said, signature, place)


def asked(
    hosts: Hosts,
    session: Session,
    number: int,
    said: Mapping[str, Any],
    signature: bytes,
    place: int = 0,
) -> Any:
    body = {
        "session": {
            "epoch": session.epoch,
            "origin": session.origin,
            "nonce": to_hex(session.nonce),
        },
        "signature": to_hex(signature),
        "round": number,
        "said": dict(said),
    }
    return hosts.peers()[place].post("/keygen", body)


def test_nobody_but_who_opens_epochs_has_a_key_generated(hosts: Hosts) -> None:
    session = hosts.session()
    domain = hosts.world.chain.domain("CustodianCommittee")
    signature = sign(KeygenCall(session.id), domain, hosts.custodians[0].keys.signer.secret)
    with pytest.raises(Refusal) as refused:
        asked(hosts, session, COMMIT, {}, signature)
    assert refused.value.code == "keygen_refused"
    other = sign(KeygenCall(hosts.session().id), domain, hosts.world.operator)
    with pytest.raises(Refusal):
        asked(hosts, session, COMMIT, {}, other)


def test_a_custodian_says_the_same_again_and_nothing_else_when_shown_other_words(
    hosts: Hosts,
) -> None:
    session = hosts.session()
    commits = [call(hosts, session, COMMIT, {}, place) for place in range(3)]
    assert call(hosts, session, COMMIT, {}) == commits[0]
    dealt = call(hosts, session, REVEAL, {"commits": commits})
    assert call(hosts, session, REVEAL, {"commits": commits}) == dealt
    with pytest.raises(Refusal, match="shown before"):
        call(hosts, session, REVEAL, {"commits": commits[:2]})


@pytest.mark.parametrize(
    "bend",
    [
        lambda commits: commits[:1],  # too few
        lambda commits: commits[1:],  # its own left out
        lambda commits: [*commits, commits[0]],  # twice
        lambda commits: [{**commits[0], "place": 1}, *commits[1:]],  # another's
        lambda commits: [{**commits[0], "body": to_hex(bytes(32))}, *commits[1:]],
        lambda commits: [{**commits[0], "place": 9}, *commits[1:]],
        lambda commits: {"no": "list"},
    ],
)
def test_what_others_said_is_held_against_their_signatures(
    hosts: Hosts, bend: Callable[[Any], Any]
) -> None:
    session = hosts.session()
    commits = [call(hosts, session, COMMIT, {}, place) for place in range(3)]
    with pytest.raises(Refusal):
        call(hosts, session, REVEAL, {"commits": bend(commits)})


def test_words_of_one_session_say_nothing_in_another(hosts: Hosts) -> None:
    first, second = hosts.session(), hosts.session()
    commits = [call(hosts, first, COMMIT, {}, place) for place in range(3)]
    call(hosts, second, COMMIT, {})
    with pytest.raises(Refusal):
        call(hosts, second, REVEAL, {"commits": commits})


# --- handing it on


def test_a_changed_committee_gets_the_same_key_and_old_shares_do_not_fit_the_new_ones(
    fresh: Hosts,
) -> None:
    fresh.record(fresh.generate())
    old = fresh.shares(1)
    successor = _successor(fresh)
    holders = [Peer("custodian 1", successor), *fresh.peers()[1:]]
    session = fresh.session(origin=1)
    chain, admin = fresh.world.chain, fresh.world.operator
    generated = generate(chain, admin, fresh.peers(), holders, session)
    assert [place for place, _ in generated.signatures] == [0, 1, 2]
    assert generated.commitments[:33] == old[0].public_key.to_bytes()
    fresh.record(generated)
    new = fresh.shares(2)
    column = encrypt([7], draw_randomness(1), old[0].public_key)
    for pair in combinations(new, 2):
        assert opened(pair, column) == times_base(7)
    for mixed in ((old[0], new[1]), (new[0], old[1]), (old[2], new[1])):
        assert opened(mixed, column) != times_base(7)


def test_a_quorum_of_old_holders_suffices_to_hand_the_key_on(fresh: Hosts) -> None:
    fresh.record(fresh.generate())
    key = fresh.world.chain.joint_key(1)[0][:33]
    successor = _successor(fresh)
    dealers = [Peer("gone", DEAD), *fresh.peers()[1:]]
    holders = [Peer("custodian 1", successor), *fresh.peers()[1:]]
    session = fresh.session(origin=1)
    generated = generate(fresh.world.chain, fresh.world.operator, dealers, holders, session)
    assert generated.commitments[:33] == key
    assert [place for place, _ in generated.signatures] == [0, 1, 2]


def _successor(hosts: Hosts) -> str:
    """Another identity at place 0 of the next epoch; returns where it answers."""
    world = hosts.world
    seats = []
    for place in range(3):
        folder = world.data("successor" if place == 0 else f"custodian{place}")
        made = custodian_keys.create(folder, 2 if place == 0 else 1)
        seats.append(CommitteeSeat(made["signer"], bytes.fromhex(made["x25519"][2:])))
    open_epoch(world.sender, seats, 2, world.chain.committee(1).gates)
    new = world.custodian(0, data=world.data("successor"))
    url = hosts.stack.enter_context(served_custodian(new))
    hosts.custodians[0] = new
    for place in range(3):  # who leaves is told, too: it deals
        tell_host(world.data(f"custodian{place}"), seats[0])
    return url


def tell_host(data: Path, seat: CommitteeSeat) -> None:
    """What `custodian init` printed there, as a host puts it among the holders."""
    folder = data / FOLDER
    folder.mkdir(exist_ok=True)
    identity = {"signer": seat.signer, "relay": seat.signer, "x25519": to_hex(seat.hpke_key)}
    (folder / f"{seat.signer}.json").write_text(json.dumps(identity))


def test_whoever_opens_epochs_cannot_have_the_key_handed_to_itself(fresh: Hosts) -> None:
    """It seats whom it likes: a custodian's host has to know them by another way."""
    fresh.record(fresh.generate())
    _successor(fresh)
    for place in range(3):
        shutil.rmtree(fresh.world.data(f"custodian{place}") / FOLDER)
    session = fresh.session(origin=1)
    for place in range(3):
        with pytest.raises(Refusal) as refused:
            call(fresh, session, COMMIT, {}, place)
        assert refused.value.code == "unknown_holder", place


def test_a_known_signer_with_another_envelope_key_gets_no_share(fresh: Hosts) -> None:
    fresh.record(fresh.generate())
    world, seats = fresh.world, []
    for place in range(3):
        made = custodian_keys.create(world.data(f"custodian{place}"), 1)
        key = bytes.fromhex(made["x25519"][2:]) if place else hpke.generate().public
        seats.append(CommitteeSeat(made["signer"], key))
    open_epoch(world.sender, seats, 2, world.chain.committee(1).gates)
    with pytest.raises(Refusal) as refused:
        call(fresh, fresh.session(origin=1), COMMIT, {}, 1)
    assert refused.value.code == "unknown_holder"


# --- the command, and processes that die


def run(world: CustodyWorld, *arguments: str) -> Any:
    key = world.folder / "admin.key"
    with contextlib.suppress(FileExistsError):
        key.touch(0o600, exist_ok=False)
        key.write_text("0x" + world.operator.hex())
    head = ["--node", world.node_url, "--manifest", str(world.folder / "manifest.json")]
    return CliRunner().invoke(
        main, ["generate-key", *head, "--key-file", str(key), *arguments], catch_exceptions=False
    )


def test_the_command_records_a_key_only_with_every_custodian(fresh: Hosts) -> None:
    """With a quorum alone, colluders could keep the others from a share, and then stop every answer."""
    world = fresh.world
    named = [part for url in [*fresh.urls[:2], DEAD] for part in ("--custodian", url)]
    refused = run(world, *named)
    assert refused.exit_code == 1
    assert "Custodians 3 hold no share" in refused.output
    assert "Nothing was recorded" in refused.output
    generated = fresh.generate()
    two = Generated(1, generated.commitments, generated.transcript, generated.signatures[:2])
    with pytest.raises(Refusal) as reverted:
        fresh.record(two)
    assert reverted.value.code == "quorum_missing"
    assert world.chain.joint_key(1)[0] == b""
    done = run(world, *(part for url in fresh.urls for part in ("--custodian", url)))
    assert done.exit_code == 0, done.output
    assert len(world.chain.joint_key(1)[0]) == 66


def test_a_custodian_killed_between_any_two_rounds_goes_on_as_if_nothing_had_been(
    tmp_path: Path,
) -> None:
    with any_node(tmp_path) as node:
        world = custody_world(node, tmp_path)
        processes = [
            Process("custodian", world.custodian_config(place), tmp_path) for place in range(3)
        ]
        try:
            peers = [_Dying(f"custodian {place + 1}", each) for place, each in enumerate(processes)]
            epoch = int(world.chain.current_epoch())
            session = new_session(world.chain, epoch)
            generated = generate(world.chain, world.operator, peers, peers, session)
            assert [place for place, _ in generated.signatures] == [0, 1, 2]
        finally:
            for each in processes:
                each.stop()


class _Dying(Peer):
    """A custodian that is killed after every answer, and asked the same again."""

    def __init__(self, name: str, process: Process) -> None:
        super().__init__(name, process.url)
        object.__setattr__(self, "process", process)

    def post(self, path: str, body: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        process: Process = self.process  # type: ignore[attr-defined]
        first = Peer(self.name, process.url).post(path, body)
        process.kill()
        process.start()
        again = Peer(self.name, process.url).post(path, body)
        assert {k: v for k, v in again.items() if k != "signature"} == {
            k: v for k, v in first.items() if k != "signature"
        }
        return again
