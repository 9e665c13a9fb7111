"""Rules of the joint key: custodians make it together over HTTP, name who spoils it, and hand it on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
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
from marketplace.errors import Refusal
from marketplace.keygen import Fault, Generated, generate, new_session, record
from marketplace.peers import Peer
from marketplace.wire import hpke
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.keygen import (
    ANSWER,
    COMMIT,
    COMPLAIN,
    FINISH,
    MOST_SECONDS,
    REVEAL,
    SESSION_SECONDS,
    KeygenExpired,
    KeygenFailed,
    Said,
    Session,
    commit_body,
    complaint_body,
)
from marketplace.wire.keygen_words import word
from marketplace.wire.structs import sign
from ml.homomorphic import keygen as mathematics
from ml.homomorphic.curve import Point, times_base, total
from ml.homomorphic.elgamal import draw_randomness, encrypt
from ml.homomorphic.threshold import lagrange, share_key, sums_from_bytes
from tests.support.custody_world import (
    CustodyWorld,
    Process,
    custody_world,
)
from tests.support.daily import daily, daily_rows
from tests.support.keygen_world import (
    DEAD,
    Faulty,
    Hosts,
    asked,
    call,
    faulty,
    hosts_at,
    rounds,
    same_again,
    successor,
    wait_until,
)
from tests.support.nodes import any_node
from tests.support.ports import free_port


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
    assert generated.faults == ()
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
    """And when asked, a wrong one again; of what follows it sees nothing."""

    def _shares_of(self, seats: Any, row: Any, places: Sequence[int]) -> dict[int, int]:
        return {place: 1 + share for place, share in super()._shares_of(seats, row, places).items()}

    def _require_not_convicted(self, *_: Any) -> None:
        return


class BadMemory(WrongShare):
    """An honest custodian whose memory fails: it answers what it did not deal, and says so again."""

    def _shares_of(self, seats: Any, row: Any, places: Sequence[int]) -> dict[int, int]:
        return {place: 1 + share for place, share in super()._shares_of(seats, row, places).items()}


class NoAnswer(WrongShare):
    """And when asked, nothing."""

    def _answer(self, *_: Any) -> dict[str, Any]:
        raise Refusal(code="gone", message="Not now.", remedy="Ask later.")


class WrongShares(Faulty):
    """Sends a quorum of holders, and itself, shares of another polynomial."""

    def _envelope(self, seats: Any, polynomial: Any, holder: int) -> str:
        return super()._envelope(seats, mathematics.draw(2), holder)


class OtherDealing(Faulty):
    """Reveals another dealing than it committed to."""

    def _reveal(self, seats: Any, said: Said) -> dict[str, Any]:
        row = self._rows.of(seats)
        if row.envelopes is None:
            polynomial = mathematics.draw(2)
            context = seats.session.dealing_context(self._place)
            row.dealing = mathematics.deal(polynomial, context).to_bytes()
            row.polynomial = self._rows.locked(seats, polynomial)
            self._rows.keep(row, "keygen-bent", {})
        shown = {**said.commits, self._place: commit_body(row.dealing or b"")}
        bent = super()._reveal(seats, replace(said, commits=shown))
        row = self._rows.of(seats)
        row.commits = None  # it was shown the true ones, and so it goes on
        self._rows.keep(row, "keygen-bent", {})
        return bent


class NoProof(Faulty):
    """Deals what it does not know: another dealer's commitments."""

    def _commit(self, seats: Any, said: Any) -> dict[str, Any]:
        row = self._rows.of(seats)
        if row.dealing is None:
            polynomial = mathematics.draw(2)
            dealing = mathematics.deal(polynomial, bytes(32))  # its proof is of another session
            row.dealing, row.polynomial = dealing.to_bytes(), self._rows.locked(seats, polynomial)
            self._rows.keep(row, "keygen-bent", {})
        return super()._commit(seats, said)


class Silent(Faulty):
    """Commits, and then says nothing."""

    def _reveal(self, *_: Any) -> dict[str, Any]:
        raise Refusal(code="gone", message="Not now.", remedy="Ask later.")


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


@pytest.mark.parametrize("kind", daily([WrongShare, Garbage], [WrongShare]))
def test_a_wrong_share_is_told_in_the_open_and_the_dealer_still_counts(
    hosts: Hosts, kind: type[Faulty]
) -> None:
    with faulty(hosts, 0, kind):
        generated = hosts.generate()
    assert [place for place, _ in generated.signatures] == [0, 1, 2]
    qualified(hosts, generated)


def named(faults: Sequence[Fault]) -> set[tuple[str, int]]:
    return {(each.role, each.place) for each in faults}


@pytest.mark.parametrize(
    ("kind", "why", "signers"),
    daily_rows(
        [
            (NoAnswer, "it did not answer the complaint of place 2", [0, 1, 2]),
            (Silent, "it revealed nothing", [0, 1, 2]),
            (WrongShares, "3 holders complain of it", [0, 1, 2]),
            (WrongAnswer, "it answered place 2 with a wrong share", [1, 2]),
            (OtherDealing, "it revealed another dealing than it committed to", [1, 2]),
            (NoProof, "its dealer does not show that it knows what it shares", [1, 2]),
        ],
        [Silent, WrongAnswer, NoProof],
    ),
)
def test_a_dealer_at_fault_is_named_and_left_out_and_the_others_make_the_key(
    hosts: Hosts, kind: type[Faulty], why: str, signers: list[int]
) -> None:
    """Who was silent still gets a share; who signed what contradicts itself is seated in no key."""
    with faulty(hosts, 0, kind):
        generated = hosts.generate()
    assert [place for place, _ in generated.signatures] == signers
    assert named(generated.faults) == {("dealer", 0)}, generated.faults
    assert any(why in each.why for each in generated.faults), generated.faults
    qualified(hosts, generated)


def test_a_custodian_convicted_by_its_own_answer_is_in_no_key_that_is_recorded(
    fresh: Hosts,
) -> None:
    """Nobody could take such a key back: every member of an epoch holds a share of it for ever."""
    with faulty(fresh, 0, WrongAnswer):
        generated = fresh.generate()
    with pytest.raises(Refusal) as refused:
        record(fresh.world.sender, generated, 3)
    assert refused.value.code == "keygen_incomplete"
    assert "The custodians at places 0 did not sign" in refused.value.message
    assert "it answered place 2 with a wrong share" in refused.value.message
    assert fresh.world.chain.joint_key(1)[0] == b""
    record(fresh.world.sender, fresh.generate(), 3)  # mended, a new session
    assert len(fresh.shares(1)) == 3


def test_a_custodian_that_finds_its_own_answer_wrong_signs_nothing_and_names_itself(
    hosts: Hosts,
) -> None:
    session = hosts.session()
    with faulty(hosts, 0, BadMemory):
        said = rounds(hosts, session)
        assert said["answers"] != []
        with pytest.raises(Refusal) as refused:
            call(hosts, session, FINISH, said)
        others = [call(hosts, session, FINISH, said, place) for place in (1, 2)]
    assert refused.value.code == "keygen_failed"
    assert "Place 0 is this custodian itself" in refused.value.message
    assert "it answered place 2 with a wrong share" in refused.value.message
    assert others[0]["commitments"] == others[1]["commitments"]


def test_two_faulty_dealers_of_three_leave_no_key_and_are_named(hosts: Hosts) -> None:
    with (
        faulty(hosts, 0, NoProof),
        faulty(hosts, 1, OtherDealing),
        pytest.raises(KeygenFailed) as refused,
    ):
        hosts.generate()
    faults: Any = refused.value.facts["faults"]
    listed = [(each["role"], each["place"]) for each in faults]
    assert listed == [("dealer", 0), ("dealer", 1)]
    assert "The dealer at place 0" in refused.value.message
    assert "The dealer at place 1" in refused.value.message


def test_a_custodian_that_is_down_is_named_and_the_others_go_on(hosts: Hosts) -> None:
    peers = [*hosts.peers()[:2], Peer("custodian 3", DEAD)]
    generated = generate(hosts.world.chain, hosts.world.operator, peers, peers, hosts.session())
    assert [place for place, _ in generated.signatures] == [0, 1]
    assert named(generated.faults) == {("dealer", 2), ("holder", 2)}


def test_every_member_of_an_epoch_has_to_be_named(hosts: Hosts) -> None:
    with pytest.raises(Refusal) as refused:
        generate(
            hosts.world.chain,
            hosts.world.operator,
            hosts.peers()[:2],
            hosts.peers(),
            hosts.session(),
        )
    assert refused.value.field == "dealers"


# --- who carries it


def test_nobody_but_who_opens_epochs_has_a_key_generated(hosts: Hosts) -> None:
    session = hosts.session()
    domain = hosts.world.chain.domain("CustodianCommittee")
    signature = sign(session.call, domain, hosts.custodians[0].keys.signer.secret)
    with pytest.raises(Refusal) as refused:
        asked(hosts, session, COMMIT, {}, signature)
    assert refused.value.code == "keygen_refused"
    other = sign(hosts.session().call, domain, hosts.world.operator)
    with pytest.raises(Refusal):
        asked(hosts, session, COMMIT, {}, other)


def test_nobody_finishes_a_session_in_which_its_own_words_were_left_out(hosts: Hosts) -> None:
    """Whoever carries them could have an honest dealer disqualified for an answer that it gave."""
    session = hosts.session()
    with faulty(hosts, 0, WrongShare):
        said = rounds(hosts, session)
        for kind, place in (("answers", 0), ("complaints", 2), ("dealt", 1)):
            rest = [each for each in said[kind] if each["place"] != place]
            assert len(rest) == len(said[kind]) - 1
            with pytest.raises(Refusal, match=r"left out|other dealings") as refused:
                call(hosts, session, FINISH, {**said, kind: rest}, place)
            assert refused.value.code == "keygen_refused"
        done = [call(hosts, session, FINISH, said, place) for place in range(3)]
    assert len({each["commitments"] for each in done}) == 1


def test_a_dealer_never_opens_a_quorum_of_shares(hosts: Hosts) -> None:
    """Two of them are its polynomial; in a re-sharing that begins with its old share."""
    session = hosts.session()
    said = rounds(hosts, session)
    blaming = [_complaint(hosts, session, place, [0]) for place in (1, 2)]
    with pytest.raises(Refusal, match="does not open a quorum"):
        call(hosts, session, ANSWER, {**said, "complaints": blaming})
    one = {**said, "complaints": blaming[:1]}
    assert set(call(hosts, session, ANSWER, one)["shares"]) == {"1"}
    with pytest.raises(Refusal, match="shown before"):  # nor one of them after the other
        call(hosts, session, ANSWER, {**said, "complaints": blaming[1:]})


def _complaint(hosts: Hosts, session: Session, place: int, dealers: list[int]) -> dict[str, Any]:
    domain = hosts.world.chain.domain("CustodianCommittee")
    secret = hosts.custodians[place].keys.signer.secret
    body = complaint_body(dealers)
    return word(session, domain, secret, COMPLAIN, place, body) | {"dealers": dealers}


# --- until when


def test_a_session_is_over_after_its_deadline_and_a_new_one_begins(fresh: Hosts) -> None:
    session = fresh.session()
    commits = [call(fresh, session, COMMIT, {}, place) for place in range(3)]
    fresh.pass_time(SESSION_SECONDS + 1)
    for number, said in ((COMMIT, {}), (REVEAL, {"commits": commits})):
        with pytest.raises(Refusal) as refused:
            call(fresh, session, number, said)
        assert refused.value.code == "keygen_expired"
        assert "run generate-key again" in refused.value.remedy
    with pytest.raises(KeygenExpired):
        fresh.generate(session)
    fresh.record(fresh.generate())
    assert len(fresh.shares(1)) == 3


def test_a_call_for_long_or_for_another_deadline_is_refused(hosts: Hosts) -> None:
    session = hosts.session()
    late = replace(session, deadline=session.deadline + MOST_SECONDS)
    with pytest.raises(Refusal, match="deadline is more than") as refused:
        call(hosts, late, COMMIT, {})
    assert refused.value.field == "session.deadline"
    domain = hosts.world.chain.domain("CustodianCommittee")
    signature = sign(session.call, domain, hosts.world.operator)
    later = replace(session, deadline=session.deadline + 1)
    with pytest.raises(Refusal):
        asked(hosts, later, COMMIT, {}, signature)


def test_a_session_that_hangs_ends_and_names_who_held_it_up(fresh: Hosts) -> None:
    """A custodian that answers after the deadline, by the chain's clock."""

    class Slow(Peer):
        def post(self, path: str, body: Mapping[str, Any], **options: Any) -> dict[str, Any]:
            if body["round"] == REVEAL:
                fresh.pass_time(SESSION_SECONDS + 1)
                raise Refusal(code="peer_unreachable", message="No answer.", remedy="Wait.")
            return super().post(path, body, **options)

    peers = [*fresh.peers()[:2], Slow("custodian 3", fresh.urls[2])]
    with pytest.raises(KeygenExpired) as refused:
        generate(fresh.world.chain, fresh.world.operator, peers, peers, fresh.session())
    assert "The dealer at place 2" in refused.value.message
    assert fresh.world.chain.joint_key(1)[0] == b""


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
    url = successor(fresh)
    holders = [Peer("custodian 1", url), *fresh.peers()[1:]]
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
    url = successor(fresh)
    dealers = [Peer("gone", DEAD), *fresh.peers()[1:]]
    holders = [Peer("custodian 1", url), *fresh.peers()[1:]]
    session = fresh.session(origin=1)
    generated = generate(fresh.world.chain, fresh.world.operator, dealers, holders, session)
    assert generated.commitments[:33] == key
    assert [place for place, _ in generated.signatures] == [0, 1, 2]


def test_whoever_opens_epochs_cannot_have_the_key_handed_to_itself(fresh: Hosts) -> None:
    """It seats whom it likes: a custodian's host has to know them by another way."""
    fresh.record(fresh.generate())
    successor(fresh)
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
    assert "The custodians at places 2 did not sign this key" in refused.output
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


KILLED = {
    "one as the key is made": ([0], []),
    "one as it is handed on": ([], [1]),
    "all in both": ([0, 1, 2], [0, 1, 2]),
}


@pytest.mark.parametrize("when", daily(KILLED, ["one as it is handed on"]))
def test_custodians_killed_between_any_two_rounds_go_on_as_if_nothing_had_been(
    tmp_path: Path, when: str
) -> None:
    with any_node(tmp_path) as node:
        world = custody_world(node, tmp_path)
        processes = [
            Process("custodian", world.custodian_config(place), tmp_path) for place in range(3)
        ]
        changed: list[int] = []
        try:

            def peers(dying: Sequence[int]) -> list[Peer]:
                return [
                    _Dying(f"custodian {place + 1}", each, world, changed)
                    if place in dying
                    else Peer(f"custodian {place + 1}", each.url)
                    for place, each in enumerate(processes)
                ]

            first = peers(KILLED[when][0])
            made = generate(world.chain, world.operator, first, first, new_session(world.chain, 1))
            assert [place for place, _ in made.signatures] == [0, 1, 2]
            record(world.sender, made, 3)
            same_again(world)
            session, second = new_session(world.chain, 2, 1), peers(KILLED[when][1])
            handed_on = generate(world.chain, world.operator, second, second, session)
            assert [place for place, _ in handed_on.signatures] == [0, 1, 2]
            record(world.sender, handed_on, 3)
        finally:
            for each in processes:
                each.stop()
        assert (changed, made.faults, handed_on.faults) == ([], (), ())
        assert handed_on.commitments[:33] == made.commitments[:33]
        assert handed_on.commitments[33:] != made.commitments[33:]
        shares = [world.custodian(place).joint_shares.of(2) for place in range(3)]
        column = encrypt([-3], draw_randomness(1), shares[0].public_key)
        assert all(opened(pair, column) == times_base(-3) for pair in combinations(shares, 2))


@pytest.mark.long
def test_a_session_that_hung_is_over_for_a_custodian_that_comes_back_and_a_new_one_begins(
    tmp_path: Path,
) -> None:
    """Killed in the second round, it is started again when the deadline has passed."""
    with any_node(tmp_path) as node:
        world = custody_world(node, tmp_path)
        ports = [free_port() for _ in range(3)]
        processes = [
            Process("custodian", world.custodian_config(place, port=port), tmp_path)
            for place, port in enumerate(ports)
        ]
        said: list[Refusal] = []

        class Hanging(Peer):
            def post(self, path: str, body: Mapping[str, Any], **options: Any) -> dict[str, Any]:
                if body["round"] == REVEAL:
                    processes[2].kill()
                    wait_until(world, world.chain.now() + SESSION_SECONDS + 1)
                    processes[2].start()
                    with pytest.raises(Refusal) as refused:
                        super().post(path, body, **options)
                    said.append(refused.value)
                    raise refused.value
                return super().post(path, body, **options)

        try:
            peers = [Peer(f"custodian {place}", each.url) for place, each in enumerate(processes)]
            hung = [*peers[:2], Hanging("custodian 2", processes[2].url)]
            session = new_session(world.chain, 1)
            with pytest.raises(KeygenExpired) as expired:
                generate(world.chain, world.operator, hung, hung, session)
            assert [each.code for each in said] == ["keygen_expired"]
            assert "The dealer at place 2" in expired.value.message
            assert "run generate-key again" in expired.value.remedy
            made = generate(world.chain, world.operator, peers, peers, new_session(world.chain, 1))
            record(world.sender, made, 3)
        finally:
            for each in processes:
                each.kill()


class _Dying(Peer):
    """A custodian that is killed after every answer, and asked the same again. `changed`: the rounds in which
    it said something else then; whoever carries words leaves such a one out, and goes on without it.
    """

    def __init__(
        self, name: str, process: Process, world: CustodyWorld, changed: list[int]
    ) -> None:
        super().__init__(name, process.url)
        object.__setattr__(self, "process", process)
        object.__setattr__(self, "world", world)
        object.__setattr__(self, "changed", changed)

    def post(self, path: str, body: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        process: Process = self.process  # type: ignore[attr-defined]
        self.world.chain.node.mine()  # type: ignore[attr-defined]  # its newest block is of now
        first = Peer(self.name, process.url).post(path, body)
        process.kill()
        process.start()
        again = Peer(self.name, process.url).post(path, body)
        if {**again, "signature": ""} != {**first, "signature": ""}:
            self.changed.append(body["round"])  # type: ignore[attr-defined]
        return again
