"""A committee changes: custodians and commands as processes, from the opened epoch to the opened records."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import flask
import httpx
import pytest
from click.testing import CliRunner, Result
from eth_account.signers.local import LocalAccount

from marketplace.chain.deploy import CommitteeSeat, open_epoch
from marketplace.cli.main import main
from marketplace.custodian import keys as custodian_keys
from marketplace.custodian.models import DeliveryRow
from marketplace.errors import Refusal
from marketplace.gate.service import Gate
from marketplace.wire.custody import Handover
from marketplace.wire.http import to_hex
from marketplace.wire.http_client import post
from marketplace.wire.structs import sign
from tests.support.chain_world import account
from tests.support.custody_world import (
    CustodyWorld,
    Process,
    custody_world,
    served,
    served_gate,
)
from tests.support.nodes import ROOT, any_node

VALUES: list[dict[str, Any]] = [{"systolic": Decimal(100 + i), "smoker": "no"} for i in range(5)]
DEAD = "http://127.0.0.1:9"


class Watched(Gate):
    """Remembers whether every record of the last cohort opened."""

    all_opened: bool = False

    def _open(self, *arguments: Any) -> Any:
        table, turns, faults = super()._open(*arguments)
        self.all_opened = bool(table.valid["systolic"].all())
        return table, turns, faults


@dataclass
class Rotation:
    """A market whose custodians are processes, by place; `folders` names where each one's data lie."""

    world: CustodyWorld
    folders: dict[int, str] = field(default_factory=dict)
    running: dict[str, Process] = field(default_factory=dict)

    def start(self, place: int, folder: str) -> Process:
        config = self.world.custodian_config(place, data=self.world.data(folder))
        self.running[folder] = Process("custodian", config, self.world.folder)
        return self.running[folder]

    def stop(self, folder: str) -> None:
        assert self.running.pop(folder).stop() == 0

    def stop_all(self) -> None:
        for folder in list(self.running):
            self.stop(folder)

    def urls(self) -> list[str]:
        """By place; a dead one where nobody runs."""
        found = [self.running.get(self.folders[place]) for place in range(3)]
        return [DEAD if process is None else process.url for process in found]

    def identity(self, folder: str) -> Path:
        """What `custodian init` prints there, in a file."""
        path = self.world.folder / f"{folder}.identity.json"
        if not path.exists():
            path.write_text(done(["custodian", "init", "--data", str(self.world.data(folder))]))
        return path

    def open_command(self, folders: Mapping[int, str], *more: str) -> list[str]:
        gate = self.world.folder / "gate.identity.json"
        if not gate.exists():
            gate.write_text(done(["gate", "init", "--data", str(self.world.data("gate"))]))
        admin = self.world.folder / "faucet.key"
        command = ["open-epoch", "--node", self.world.node_url, "--key-file", str(admin)]
        command += ["--manifest", str(self.world.folder / "manifest.json"), "--quorum", "2"]
        command += ["--gate", str(gate), *more]
        for place in sorted(folders):
            command += ["--custodian", str(self.identity(folders[place]))]
        return command

    def open_epoch(self, replaced: Mapping[int, str]) -> int:
        """Seats these folders' custodians, everybody else where they were."""
        self.folders |= replaced
        said = json.loads(done(self.open_command(self.folders)))
        return int(said["epoch"])

    def rewrap_command(self, place: int, folder: str, to: str, url: str, epoch: int) -> list[str]:
        config = self.world.custodian_config(place, data=self.world.data(folder))
        path = self.world.folder / f"{folder}.leaving.json"
        path.write_text(json.dumps(config.model_dump(mode="json")))
        command = ["custodian", "rewrap", "--config", str(path), "--epoch", str(epoch)]
        return [*command, "--successor", str(self.identity(to)), "--to", url, "--page", "1"]

    def compute(self, request: bytes) -> tuple[dict[str, Any], bool]:
        """The answer of a gate that asks whoever runs now, and whether every record opened."""
        gate = self.world.gate(self.urls())
        gate.__class__ = Watched
        assert isinstance(gate, Watched)
        patients = [each for each in self.world.records if self.usable(each)]
        body = self.world.computation_body(request, patients)
        with served_gate(gate) as url:
            return self.world.ask_gate(url, "/computations", body), gate.all_opened

    def usable(self, patient: str) -> bool:
        return bool(self.world.chain.commitments_of(self.world.dataset, [patient])[0].usable)

    def request(self, salt: str) -> bytes:
        with served_gate(self.world.gate([])) as gate:
            return self.world.keyed_request(salt, gate)


def run(arguments: list[str]) -> Result:
    """One command of `usufruct`, in this process; `test_a_new_committee..` runs them as processes too."""
    return CliRunner().invoke(main, arguments)


def done(arguments: list[str]) -> str:
    ended = run(arguments)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def declined(arguments: list[str], code: str) -> str:
    ended = run(arguments)
    assert isinstance(ended.exception, SystemExit), ended.exception
    assert ended.exit_code == 1, ended.output
    assert f"[{code}]" in ended.stderr, ended.stderr
    return ended.stderr


def as_process(arguments: list[str]) -> str:
    command = [sys.executable, "-m", "marketplace.cli", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert ended.returncode == 0, ended.stderr
    for line in ended.stderr.splitlines():  # log lines, and no bar where nobody looks
        assert json.loads(line)["event"]
    return ended.stdout


def health(url: str) -> list[str]:
    return list(httpx.get(url + "/health", timeout=60).json()["reasons"])


@pytest.fixture(scope="module")
def rotation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotation]:
    folder = tmp_path_factory.mktemp("rotation")
    with any_node(folder) as node:
        made = Rotation(custody_world(node, folder), {i: f"custodian{i}" for i in range(3)})
        try:
            for place in range(3):
                made.start(place, f"custodian{place}")
            made.world.enrol_sealed(made.urls(), [f"p{i}" for i in range(5)], VALUES)
            yield made
        finally:
            made.stop_all()


@contextmanager
def passing(target: str, most: int, victim: list[subprocess.Popen[str]]) -> Iterator[str]:
    """Passes on to a custodian; kills the command that speaks to it at its deposit after `most`."""
    app = flask.Flask("passing")
    seen: list[int] = []

    @app.post("/deposits")
    def deposits() -> Any:
        seen.append(len(flask.request.get_json()["deposits"]))
        if len(seen) > most:
            os.kill(victim[0].pid, signal.SIGKILL)
            return flask.jsonify({}), 500
        return flask.jsonify(post(target, "/deposits", flask.request.get_json(), timeout=60))

    with served(app) as url:
        yield url
    assert sum(seen) == most + 1


@contextmanager
def refusing(words: str) -> Iterator[str]:
    """A custodian's host that takes no share, and says why in these words."""
    app = flask.Flask("refusing")

    @app.post("/deposits")
    def deposits() -> Any:
        said = {"code": "not_held", "detail": words, "remedy": words}
        return flask.jsonify({"outcomes": [said] * len(flask.request.get_json()["deposits"])})

    with served(app) as url:
        yield url


def killed_after(most: int, command: list[str], target: str) -> None:
    """Runs the command against `target` and kills it when it has delivered `most` shares."""
    victim: list[subprocess.Popen[str]] = []
    with passing(target, most, victim) as url:
        told = [url if each == target else each for each in command]
        process = subprocess.Popen(
            [sys.executable, "-m", "marketplace.cli", *told],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )
        victim.append(process)
        assert process.wait(120) == -signal.SIGKILL


def delivered(rotation: Rotation, place: int, folder: str) -> int:
    journal = rotation.world.custodian(place, data=rotation.world.data(folder)).journal
    with journal.reading() as session:
        return session.query(DeliveryRow).count()


def test_a_new_committee_opens_what_the_old_one_held_once_all_shares_came_over(
    rotation: Rotation,
) -> None:
    world = rotation.world
    erased = world.enrol_sealed(rotation.urls(), ["leaves before"], [VALUES[0]])[0]
    world.erase(erased)
    old = dict(rotation.folders)
    epoch = rotation.open_epoch({0: "new0", 1: "new1"})
    for place in (0, 1):
        rotation.stop(old[place])
        rotation.start(place, f"new{place}")
    urls = rotation.urls()
    request = rotation.request("rotated")

    with pytest.raises(Refusal) as caught:
        rotation.compute(request)
    assert caught.value.code == "quorum_missing"
    assert "0 (handover_unfinished)" in caught.value.message
    assert "1 (handover_unfinished)" in caught.value.message
    assert [health(url) for url in urls] == [["handover_unfinished"], ["handover_unfinished"], []]

    command = rotation.rewrap_command(0, old[0], "new0", urls[0], epoch)
    killed_after(2, command, urls[0])
    assert delivered(rotation, 0, old[0]) == 2
    assert health(urls[0]) == ["handover_unfinished"]
    said = json.loads(as_process(command))
    assert (said["rewrapped"], said["epoch"]) == (len(VALUES), epoch)
    assert json.loads(done(command)) == said  # once more changes nothing
    assert json.loads(done(rotation.rewrap_command(1, old[1], "new1", urls[1], epoch)))
    assert [health(url) for url in urls] == [[], [], []]

    rotation.stop(old[2])  # none of those who sealed is needed
    answer, all_opened = rotation.compute(request)
    assert all_opened
    assert [turn["place"] for turn in answer["turns"]] == [0, 1]
    rotation.start(2, old[2])
    new0 = world.custodian(0, data=world.data("new0"))
    assert new0.journal.share(world.records.pop(erased.address).commitment) is None


def test_shares_go_only_to_whom_chain_and_successor_both_name(rotation: Rotation) -> None:
    world = rotation.world
    left = rotation.folders[0]
    epoch = rotation.open_epoch({0: "heir"})
    url = rotation.start(0, "heir").url
    good = rotation.rewrap_command(0, left, "heir", url, epoch)

    def changed(option: str, value: str) -> list[str]:
        at = good.index(option) + 1
        return [*good[:at], value, *good[at + 1 :]]

    stranger = str(rotation.identity("stranger"))
    assert "hand nothing over" in declined(changed("--successor", stranger), "successor_mismatch")
    declined(changed("--epoch", str(epoch + 1)), "wrong_epoch")
    declined(changed("--epoch", str(epoch - 1)), "wrong_epoch")
    declined(changed("--to", DEAD), "peer_unreachable")
    with refusing("\x1b]0;x\x07") as liar:  # ESC would rewrite the leaving host's terminal
        said = declined(changed("--to", liar), "not_held")
    assert all(line.isprintable() for line in said.splitlines())
    assert "\N{REPLACEMENT CHARACTER}]0;x\N{REPLACEMENT CHARACTER}" in said
    third = rotation.rewrap_command(2, rotation.folders[2], "heir", url, epoch)
    declined(third, "still_seated")
    never = rotation.rewrap_command(0, "stranger", "heir", url, epoch)
    declined(never, "wrong_epoch")
    config = good[good.index("--config") + 1]
    told = json.loads(Path(config).read_text())
    Path(config).write_text(json.dumps(told | {"confirmations": 1}))
    assert world.chain.head().number == world.chain.finalized()
    declined(good, "not_yet_final")
    Path(config).write_text(json.dumps(told))
    assert health(url) == ["handover_unfinished"]
    done(good)
    assert health(url) == []
    rotation.stop(left)


@pytest.mark.long
def test_a_word_that_all_went_over_counts_for_the_time_that_it_was_given_for(
    rotation: Rotation,
) -> None:
    """One place goes to and fro: each time the one who follows waits for everything anew."""
    one, other = rotation.folders[0], "to and fro"
    rotation.identity(other)
    rotation.start(0, other)
    for leaves, follows in ((one, other), (other, one), (one, other), (other, one)):
        epoch = rotation.open_epoch({0: follows})
        url = rotation.running[follows].url
        assert health(url) == ["handover_unfinished"]
        done(rotation.rewrap_command(0, leaves, follows, url, epoch))
        assert health(url) == []
    rotation.stop(other)


def test_only_the_last_holder_of_a_place_can_say_that_all_went_over(rotation: Rotation) -> None:
    world = rotation.world
    left = rotation.folders[1]
    epoch = rotation.open_epoch({1: "fresh"})
    url = rotation.start(1, "fresh").url
    successor = custodian_keys.load(world.data("fresh")).signer.address

    def say(key: bytes | LocalAccount, **changes: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {"epoch": epoch, "place": 1, "successor": successor, "shares": 0}
        handover = Handover(**(fields | changes))
        signature = sign(handover, world.chain.domain("CustodianCommittee"), key)
        body = {"handover": handover.to_json(), "signature": to_hex(signature)}
        return post(url, "/handovers", body, timeout=60)

    def refused(code: str, key: bytes | LocalAccount, **changes: Any) -> None:
        with pytest.raises(Refusal) as caught:
            say(key, **changes)
        assert caught.value.code == code

    true = custodian_keys.load(world.data(left)).signer.secret
    refused("bad_signature", account("stranger"))
    refused("bad_signature", custodian_keys.load(world.data("custodian0")).signer.secret)
    for field_, value in (("epoch", epoch - 1), ("place", 2), ("successor", world.sender.address)):
        refused("wrong_handover", true, **{field_: value})
    assert health(url) == ["handover_unfinished"]
    # Whoever has not taken over itself cannot hand over: its successor would count what is missing as null.
    later = rotation.open_epoch({1: "later"})
    next_url = rotation.start(1, "later").url
    command = rotation.rewrap_command(1, "fresh", "later", next_url, later)
    assert left not in declined(command, "handover_unfinished")
    rotation.stop("fresh")
    rotation.stop("later")
    again = rotation.open_epoch({1: left})  # the one that has the shares is seated again
    assert again == later + 1


@pytest.mark.long
def test_a_committee_of_another_shape_is_opened_only_knowingly_and_takes_no_shares_over(
    rotation: Rotation,
) -> None:
    world, seats = rotation.world, rotation.folders
    swapped = {**seats, 0: seats[2], 2: seats[0]}
    said = declined(rotation.open_command(swapped), "committee_changed")
    assert "would change places" in said
    declined(rotation.open_command({**seats, 3: "fourth"}), "committee_changed")
    members = [custodian_keys.create(world.data(seats[i]), 1) for i in range(3)]
    members[0], members[2] = members[2], members[0]
    listed = [CommitteeSeat(m["signer"], bytes.fromhex(m["x25519"][2:])) for m in members]
    epoch = open_epoch(world.sender, listed, 2, world.chain.committee().gates)
    command = rotation.rewrap_command(0, seats[0], seats[2], DEAD, epoch)
    declined(command, "custodian_moved")
    two = {place: seats[place] for place in (0, 1)}
    small = int(json.loads(done(rotation.open_command(two, "--records-anew")))["epoch"])
    declined(rotation.rewrap_command(0, seats[2], seats[0], DEAD, small), "committee_changed")
    done(rotation.open_command(seats, "--records-anew"))


@pytest.mark.long
def test_a_custodian_behind_its_anchor_comes_back_only_under_a_new_identity(
    rotation: Rotation, tmp_path: Path
) -> None:
    """Its old signer never turns or signs again, so it can never contradict what it forgot."""
    world = rotation.world
    lost = rotation.folders[2]
    rotation.stop(lost)
    backup = tmp_path / "backup"
    shutil.copytree(world.data(lost), backup)
    rotation.start(2, lost)
    request = rotation.request("before the loss")
    post(rotation.running[lost].url, "/turns", {"request": to_hex(request)}, timeout=60)
    custodian = world.custodian(2, data=world.data(lost))
    world.sender.send("TestEuro", "mint", custodian.keys.relay.address, 1)
    anchor(world, custodian)
    rotation.stop(lost)
    shutil.rmtree(world.data(lost))
    shutil.copytree(backup, world.data(lost))

    restored = rotation.start(2, lost).url
    assert health(restored) == ["journal_behind"]
    with pytest.raises(Refusal) as caught:
        post(restored, "/turns", {"request": to_hex(request)}, timeout=60)
    assert caught.value.code == "journal_behind"
    assert "custodian rewrap" in caught.value.remedy
    rotation.stop(lost)

    epoch = rotation.open_epoch({2: "reborn"})
    url = rotation.start(2, "reborn").url
    said = json.loads(done(rotation.rewrap_command(2, lost, "reborn", url, epoch)))
    assert said["rewrapped"] == len(VALUES)
    assert health(url) == []
    with pytest.raises(Refusal) as caught:  # pinned to an epoch in which another signer sat here
        post(url, "/turns", {"request": to_hex(request)}, timeout=60)
    assert caught.value.code == "wrong_epoch"
    fresh = rotation.request("after the loss")
    assert post(url, "/turns", {"request": to_hex(fresh)}, timeout=60)["place"] == 2


def anchor(world: CustodyWorld, custodian: Any) -> None:
    """As the operator does with the head that came with a turn."""
    head = custodian.journal.head()
    epoch = world.chain.current_epoch()
    signature = custodian._sign_head(epoch, head)
    arguments = (epoch, custodian.rules.place, head.height, head.hash, signature)
    world.sender.send("CustodianCommittee", "anchorJournal", *arguments)
