"""What goes wrong beside scoring: full disks, power cuts, replaced blocks, crowds. One patient's trouble is
nobody else's, and what was to be destroyed is."""

from __future__ import annotations

import base64
import errno
import io
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from marketplace.chain.adapter import Chain, Finality, PartialLogs
from marketplace.errors import Refusal
from marketplace.scoring import Scoring
from marketplace.scoring.files import ScoreFiles
from marketplace.scoring.forgetting import Forgetting
from marketplace.store import DUE, FAILED, SCORED, Database, open_database
from marketplace.wire.auth import Voice
from marketplace.wire.ciphertexts import SeenTwice, StorageFault
from marketplace.wire.http import to_hex
from marketplace.wire.structs import Rotation, sign
from tests.support.api_world import problem
from tests.support.chain_world import DAY, account
from tests.support.refusals import refused
from tests.support.scoring_world import API, VALUES, ScoringWorld, key_of, model, scoring_world

pytestmark = pytest.mark.timeout(900)
MODEL = model()
TELLING = "1234567.89"
"""As an exception's text could quote a value."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoringWorld]:
    with scoring_world(tmp_path_factory.mktemp("scoring-faults")) as made:
        made.publish(MODEL)
        yield made


@pytest.fixture(autouse=True)
def nobody_waits(world: ScoringWorld) -> None:
    """Whoever takes part, and is known, is scored where a test before this one left something."""
    for name in VALUES:
        if not world.market.world.chain.consent_of(world.market.world.dataset, at(name)).state:
            world.grant(name)
    world.forget()
    world.operator.scoring.rounds._resting.clear()
    world.scored()


def at(name: str) -> str:
    return str(account(name).address)


def states(world: ScoringWorld, request: str) -> dict[str, str]:
    """Of everybody's score of a request, by name."""
    rows = {name: world.operator.database.score(request, at(name)) for name in VALUES}
    return {name: row.state for name, row in rows.items() if row is not None}


def only(names: tuple[str, ...], then: Callable[..., Any], otherwise: Callable[..., Any]) -> Any:
    """A method of `ScoreFiles` that does something else for these patients."""
    addresses = {at(name) for name in names}

    def act(self: ScoreFiles, dataset: str, patient: str, *more: Any) -> Any:
        chosen = then if patient in addresses else otherwise
        return chosen(self, dataset, patient, *more)

    return act


def unreadable(*_: Any) -> Any:
    raise StorageFault(message="The folder cannot be read.", remedy="Repair it.")


def broken(*_: Any) -> Any:
    raise RuntimeError(TELLING)


# --- one item's trouble


@pytest.mark.parametrize(
    ("trouble", "event"), [(unreadable, "scoring_waits"), (broken, "scoring_fault")]
)
def test_what_cannot_be_scored_now_holds_nobody_up_and_is_scored_later(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch, trouble: Any, event: str
) -> None:
    for name in ("ada", "ben", "cleo"):
        world.hand_in(name)
    request = world.sealed(f"trouble {event}", MODEL)
    first = min(("ada", "ben", "cleo"), key=at)
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(ScoreFiles, "record", only((first,), trouble, ScoreFiles.record))
        world.scored()
        assert world.operator.scoring.rounds.step() == 0
    others = {name: SCORED for name in ("ada", "ben", "cleo") if name != first}
    assert states(world, request).items() >= {first: DUE, **others}.items()
    told = [each for each in logs if each["event"] == event]
    assert len(told) == 1  # it rests, and is not tried at every step
    assert TELLING not in str(logs)
    assert not any(at(name)[2:].lower() in str(logs).lower() for name in VALUES)
    world.operator.scoring.rounds._resting.clear()
    assert world.scored() == 1
    assert states(world, request)[first] == SCORED


@pytest.mark.long
def test_a_missing_dictionary_holds_up_only_requests_that_need_it(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ada", "ben", "cleo"):
        world.hand_in(name)
    requests = {world.sealed(f"dictionary {i}", MODEL) for i in range(2)}
    rounds = world.operator.scoring.rounds
    with monkeypatch.context() as slow:
        slow.setattr("marketplace.scoring.rounds.STEP_SECONDS", 0.0)
        while not (known := {r for r in requests if SCORED in states(world, r).values()}):
            rounds.step()
    (kept,) = (world.operator.config.data / "dictionaries").glob("*.json")
    content = kept.read_bytes()
    kept.unlink()
    with capture_logs() as logs:
        world.scored()
    assert set(states(world, *known).values()) == {SCORED}
    assert DUE in states(world, *(requests - known)).values()
    assert {each["code"] for each in logs if each["event"] == "scoring_waits"} == {
        "dictionary_missing"
    }
    kept.write_bytes(content)
    rounds._resting.clear()
    world.scored()
    assert set(states(world, *(requests - known)).values()) == {SCORED}


@pytest.mark.long
def test_a_request_that_cannot_be_planned_holds_up_no_other(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.hand_in("ada")
    stuck, goes_on = (world.sealed(f"planned {i}", MODEL) for i in range(2))
    cohort = Chain.sealed_cohort

    def partial(self: Chain, request: bytes) -> Any:
        if to_hex(request) == stuck:
            raise PartialLogs(message="Logs are missing.", remedy="Ask another node.")
        return cohort(self, request)

    with monkeypatch.context() as patch:
        patch.setattr(Chain, "sealed_cohort", partial)
        world.scored()
    assert states(world, stuck) == {}
    assert states(world, goes_on)["ada"] == SCORED
    world.operator.scoring.rounds._resting.clear()
    world.scored()
    assert states(world, stuck)["ada"] == SCORED


@pytest.mark.long
def test_planning_ends_after_its_second_and_goes_on_in_the_next_step(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.hand_in("ada")
    requests = [world.sealed(f"second {i}", MODEL) for i in range(3)]
    monkeypatch.setattr("marketplace.scoring.rounds.STEP_SECONDS", 0.0)
    planned = []
    for _ in range(3):
        world.operator.scoring.rounds.step()
        planned.append(sum("ada" in states(world, each) for each in requests))
    assert planned == [1, 2, 3]


@pytest.mark.parametrize("content", [b"", b"half a score"])
def test_a_kept_score_that_a_power_cut_emptied_is_made_anew(
    world: ScoringWorld, content: bytes
) -> None:
    world.hand_in("ada")
    request = world.sealed(f"emptied {len(content)}", MODEL)
    folder = world.storage / Path(world.files_of("ada")[0]).parent
    (folder / f"{request[2:]}.score").write_bytes(content)
    world.scored()
    assert states(world, request)["ada"] == SCORED
    assert world.score(request, "ada").status_code == 200


def test_a_record_that_a_power_cut_emptied_fails_and_its_patient_is_told(
    world: ScoringWorld,
) -> None:
    for name in ("ada", "ben"):
        world.hand_in(name)
    request = world.sealed("no record", MODEL)
    (record,) = (world.storage / each for each in world.files_of("ada") if each.endswith("record"))
    record.write_bytes(b"")
    world.scored()
    assert states(world, request).items() >= {"ada": FAILED, "ben": SCORED}.items()
    assert {"request": request, "state": "failed"}.items() <= next(
        each.items() for each in world.listed("ada")["scores"] if each["request"] == request
    )


# --- the disk


def test_a_full_disk_refuses_and_changes_nothing(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = world.hand_in("ada")
    before = world.files, world.listed("ada")
    files = world.operator.scoring.records.files

    def full(path: str, content: bytes) -> None:
        Path(path).write_bytes(content[:1000])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    path = f"/datasets/{world.dataset}/score-records"
    with monkeypatch.context() as patch:
        patch.setattr(files._folder._files, "pipe_file", full)
        found = problem(world.post(path, world.body("ada"), account("ada")), 507)
    assert found["code"] == "storage_full"
    assert "try again" in found["remedy"]
    assert (world.files, world.listed("ada")) == before
    assert files.record(world.dataset, at("ada")) == (key_of("ada")[1].data, record.data)


def test_so_many_records_are_kept_of_a_dataset_and_of_all_and_ones_own_is_replaced(
    world: ScoringWorld,
) -> None:
    for name in ("ada", "ben"):
        world.hand_in(name)
    of_all = sum(each[2] is None for each in world.operator.database.known_to_scoring())
    assert of_all >= 2
    for most, names in ((2 * of_all, ("ada",)), (2 * of_all + 2, ("ada", "newcomer"))):
        records = replace(world.operator.scoring.records, most=most)
        for name in names:
            records._require_room(world.dataset, account(name).address)
    records = replace(world.operator.scoring.records, most=2 * of_all)
    before = world.files
    with pytest.raises(Refusal, match="of this dataset") as told:
        records._require_room(world.dataset, account("newcomer").address)
    assert told.value.code == "too_many_score_records"
    elsewhere = "0x" + "77" * 32
    records._require_room(elsewhere, account("newcomer").address)
    with pytest.raises(Refusal, match="to be scored\\."):
        replace(records, most=of_all)._require_room(elsewhere, account("newcomer").address)
    alone = replace(records, most=0)
    body = world.body("ada")
    given = (world.market.world.dataset, account("ada").address, body["material"], body["record"])
    refused("too_many_score_records", alone.hand_in, *given)
    assert world.files == before


def test_of_one_patient_the_oldest_score_makes_room(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.hand_in("ada")
    monkeypatch.setattr("marketplace.scoring.rounds.MOST_SCORES", 2)
    requests = [world.sealed(f"room {i}", MODEL) for i in range(3)]
    for each in requests:
        world.operator.scoring.rounds._plan(each)
    world.scored()
    left = [each["request"] for each in world.listed("ada")["scores"]]
    assert sorted(left) == sorted(requests[1:])
    scores = [Path(each).stem for each in world.files_of("ada") if each.endswith(".score")]
    assert sorted(scores) == sorted(each[2:] for each in requests[1:])
    assert problem(world.score(requests[0], "ada"), 404)["code"] == "no_score"


def test_what_nobody_knows_of_is_swept_at_the_second_look(world: ScoringWorld) -> None:
    world.hand_in("ada")
    request = world.sealed("swept", MODEL)
    world.scored()
    known_here = world.files
    mine = world.storage / Path(world.files_of("ada")[0]).parent
    owner = mine.parent / f"{world.dataset[2:]}-{'77' * 20}"
    owner.mkdir()
    for left in (
        mine / f"{'11' * 32}.score",  # of a backup
        mine / "record.0011.part",  # of a hand-in that died
        owner / "record",  # whose row never came
    ):
        left.write_bytes(b"left")
    assert len(world.files) == len(known_here) + 3
    forgetting = replace(world.operator.scoring.forgetting, _unowned=SeenTwice(0.0))
    forgetting.catch_up()
    assert len(world.files) == len(known_here) + 3  # it could be on its way
    forgetting.catch_up()
    assert world.files == known_here
    assert world.score(request, "ada").status_code == 200


def test_a_file_whose_row_comes_between_two_looks_stays(world: ScoringWorld) -> None:
    world.hand_in("ada")
    row = world.operator.database.score_record(world.dataset, at("ada"))
    assert row is not None
    world.operator.database.forget_scoring(world.dataset, at("ada"))
    before = world.files
    forgetting = replace(world.operator.scoring.forgetting, _unowned=SeenTwice(0.0))
    forgetting.catch_up()
    world.operator.database.keep_score_record(row)
    forgetting.catch_up()
    assert [each for each in before if each.endswith("record")] == [
        each for each in world.files if each.endswith("record")
    ]


# --- the cheap question first


class Unread(io.RawIOBase):
    """A body that nobody may look at."""

    def readinto(self, _: Any) -> int:
        raise AssertionError("the body was read")


def test_who_takes_no_part_is_refused_before_the_body_is_read(world: ScoringWorld) -> None:
    path = f"{API}/datasets/{world.dataset}/score-records"
    domain = world.operator.chain.manifest.api_domain

    def sent(name: str) -> Any:
        voice = Voice(bytes(account(name).key), account(name).address, domain)
        return world.client.post(
            path,
            headers=voice.header("POST", path, b"whatever"),
            environ_overrides={"wsgi.input": Unread(), "CONTENT_LENGTH": str(16 * 2**20)},
        )

    assert problem(sent("a stranger"))["code"] == "no_record"
    assert sent("ada").status_code == 500  # of hers it was read, to no avail


def test_two_hand_ins_at_once_are_both_taken_and_row_and_file_are_of_one(
    world: ScoringWorld,
) -> None:
    records, together = world.operator.scoring.records, threading.Barrier(4)
    dataset, patient = world.market.world.dataset, account("ada").address
    world.operator.database.forget_scoring(world.dataset, patient)
    bodies = [world.body("ada") for _ in range(4)]

    def hand_in(body: dict[str, str]) -> str:
        together.wait(60)
        return records.hand_in(dataset, patient, body["material"], body["record"])

    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(hand_in, bodies))
    assert len(set(told)) == 4
    row = world.operator.database.score_record(world.dataset, patient)
    kept = records.files.record(world.dataset, patient)
    assert row is not None
    assert kept is not None
    sent = dict(zip(told, bodies, strict=True))[row.record]
    assert kept[1] == base64.b64decode(sent["record"])


# --- what is to be destroyed is


def test_what_was_handed_in_by_a_block_that_was_replaced_goes_with_the_consent(
    world: ScoringWorld,
) -> None:
    """The head of then was no final block: the revocation can have a lower number."""
    world.hand_in("ben")
    request = world.sealed("replaced block", MODEL)
    world.scored()
    row = world.operator.database.score_record(world.dataset, at("ben"))
    assert row is not None
    row.block += 1_000
    world.operator.database.keep_score_record(row)
    world.revoke("ben", world._sequence("ben"))
    world.forget()
    assert world.files_of("ben") == []
    assert world.listed("ben") == {"record": None, "scores": []}
    assert problem(world.score(request, "ben"), 404)["code"] == "no_score"


def test_a_hand_in_by_a_consent_that_is_not_final_yet_stays_until_it_is_known(
    world: ScoringWorld,
) -> None:
    custody = world.market.world
    world.revoke("ben", world._sequence("ben"))
    ended = custody.chain.head().number
    world.grant("ben")
    record = world.hand_in("ben")
    finality = Finality(custody.chain.head().number - ended, use_tag=False)
    slow = Chain(custody.node_url, custody.manifest, finality=finality)
    assert slow.finalized() == ended
    forgetting = replace(world.operator.scoring.forgetting, chain=slow, _followed=None, _left=[])
    forgetting.catch_up()
    assert world.listed("ben")["record"] == to_hex(record.hash)
    assert {each.args["patient"] for each in forgetting._left} == {at("ben")}
    assert ended in {each.block for each in forgetting._left}
    for _ in range(finality.confirmations):
        custody.chain.node.mine()
    forgetting.catch_up()
    assert forgetting._left == []
    assert world.listed("ben")["record"] == to_hex(record.hash)
    world.revoke("ben", world._sequence("ben"))
    world.forget()
    assert world.files_of("ben") == []


def test_who_stops_while_handing_in_leaves_nothing_though_it_was_followed_before(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, followed = ScoreFiles.put_record, threading.Event()

    def follow() -> None:
        world.operator.scoring.forgetting.catch_up()
        followed.set()

    following = threading.Thread(target=follow)

    def slowly(self: ScoreFiles, *given: Any) -> None:
        world.revoke("cleo", world._sequence("cleo"))
        following.start()
        followed.wait(1.0)  # it waits for its turn, or is done by now
        put(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(ScoreFiles, "put_record", slowly)
        path = f"/datasets/{world.dataset}/score-records"
        found = problem(world.post(path, world.body("cleo"), account("cleo")))
    following.join(60)
    assert followed.is_set()
    assert found["code"] == "no_consent"
    assert world.files_of("cleo") == []
    assert world.listed("cleo") == {"record": None, "scores": []}


def test_what_is_handed_in_by_a_new_consent_while_the_old_ones_end_is_followed_stays(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look at what there is and its destruction nothing may come that belongs to neither."""
    world.hand_in("dan")
    world.revoke("dan", world._sequence("dan"))
    world.grant("dan")
    forget, kept = ScoreFiles.forget, threading.Event()

    def hand_in() -> None:
        world.hand_in("dan")
        kept.set()

    handing = threading.Thread(target=hand_in)

    def slowly(self: ScoreFiles, *given: Any) -> None:
        if not handing.ident:
            handing.start()
            kept.wait(3.0)  # it waits for its turn, or is done by now
        forget(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(ScoreFiles, "forget", slowly)
        world.forget()
    handing.join(60)
    assert kept.is_set()
    assert world.listed("dan")["record"] is not None
    assert len(world.files_of("dan")) == 1


def test_one_patients_files_that_cannot_be_deleted_hold_up_nobody_elses(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cleo", "dan"):
        world.hand_in(name)
    forgetting = replace(world.operator.scoring.forgetting, _followed=None, _left=[])
    forgetting.catch_up()
    for name in ("cleo", "dan"):
        world.revoke(name, world._sequence(name))
    with monkeypatch.context() as patch:
        patch.setattr(ScoreFiles, "forget", only(("cleo",), unreadable, ScoreFiles.forget))
        refused("storage_unavailable", forgetting.catch_up)
    assert world.files_of("dan") == []
    assert world.files_of("cleo") != []
    assert world.listed("cleo")["record"] is not None  # the row goes last
    forgetting.catch_up()
    assert world.files_of("cleo") == []
    assert world.listed("cleo")["record"] is None


def test_a_record_that_moved_is_destroyed_with_its_scores_and_scored_under_the_new_address(
    world: ScoringWorld,
) -> None:
    world.hand_in("eve")
    before = world.sealed("moves", MODEL)
    world.scored()
    assert {Path(each).suffix for each in world.files_of("eve")} == {"", ".score"}
    rotate(world, "eve", "eve elsewhere")
    world.forget()
    assert world.files_of("eve") == []
    assert world.listed("eve") == {"record": None, "scores": []}
    assert problem(world.score(before, "eve"), 404)["code"] == "no_score"
    path, body = f"/datasets/{world.dataset}/score-records", world.body("eve")
    assert problem(world.post(path, body, account("eve")))["code"] == "no_record"
    assert world.post(path, body, account("eve elsewhere")).status_code == 200
    after = world.sealed("moved", MODEL)
    world.scored()
    world.forget()
    assert world.score(after, "eve elsewhere").status_code == 200
    assert len(world.files_of("eve elsewhere")) == 2


def rotate(world: ScoringWorld, before: str, after: str) -> None:
    custody, old, new = world.market.world, account(before), account(after)
    custody.tick()
    struct = Rotation(custody.dataset, old.address, new.address, custody.later(DAY))
    domain = custody.chain.domain("ConsentRegistry")
    signatures = (sign(struct, domain, old), sign(struct, domain, new))
    custody.sender.send("ConsentRegistry", "rotate", struct, *signatures)


# --- storage that several operators share


@pytest.fixture
def another(world: ScoringWorld, tmp_path: Path) -> Iterator[tuple[Scoring, Database]]:
    """Another operator of the same market, at the same storage, who knows of nobody."""
    database = open_database(f"sqlite:///{tmp_path / 'another.sqlite'}")
    here = world.operator
    made = Scoring.at(
        here.config.scores, 10, at("another"), here.chain, database, here.dictionaries
    )
    yield made, database
    database.engine.dispose()


def test_an_operator_destroys_nothing_that_another_keeps_at_the_same_storage(
    world: ScoringWorld, another: tuple[Scoring, Database]
) -> None:
    world.revoke("ben", world._sequence("ben"))
    world.grant("ben")
    record = world.hand_in("ben")  # after an end that the other one follows, too
    request = world.sealed("shared", MODEL)
    world.scored()
    theirs: Forgetting = another[0].forgetting
    theirs._unowned = SeenTwice(0.0)
    before = world.files
    for _ in range(3):
        theirs.catch_up()
    assert world.files == before
    assert world.listed("ben")["record"] == to_hex(record.hash)
    assert world.score(request, "ben").status_code == 200


def test_what_two_operators_keep_of_one_patient_are_two_records(
    world: ScoringWorld, another: tuple[Scoring, Database]
) -> None:
    mine = world.hand_in("ben")
    body, patient = world.body("ben"), account("ben").address
    given = (world.market.world.dataset, patient, body["material"], body["record"])
    theirs = another[0].records.hand_in(*given)
    kept = world.operator.scoring.records.files.record(world.dataset, patient)
    assert kept is not None
    assert kept[1] == mine.data
    assert theirs != to_hex(mine.hash)
    world.revoke("ben", world._sequence("ben"))
    another[0].forgetting.catch_up()
    assert another[0].records.files.record(world.dataset, patient) is None
    assert world.operator.scoring.records.files.record(world.dataset, patient) == kept
    world.forget()
    assert world.operator.scoring.records.files.record(world.dataset, patient) is None
