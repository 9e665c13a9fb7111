"""README's rotation of the joint key, command by command, with custodians as processes."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from marketplace.chain.joint_keys import joint_key_of
from marketplace.custodian.holders import FOLDER
from tests.integration.test_rotation import Rotation, declined, done
from tests.support.custody_world import Process, custody_world
from tests.support.keygen_world import DEAD
from tests.support.nodes import any_node

ERASED = "joint_secrets_erased"


@pytest.fixture
def rotation(tmp_path: Path) -> Iterator[Rotation]:
    with any_node(tmp_path) as node:
        made = Rotation(custody_world(node, tmp_path), {i: f"custodian{i}" for i in range(3)})
        try:
            for place in range(3):
                made.start(place, f"custodian{place}")
            yield made
        finally:
            made.stop_all()


def generate_key(rotation: Rotation, urls: Sequence[str], *more: str) -> list[str]:
    world = rotation.world
    command = ["generate-key", "--node", world.node_url]
    command += ["--manifest", str(world.folder / "manifest.json")]
    command += ["--key-file", str(world.folder / "faucet.key"), *more]
    return command + [part for url in urls for part in ("--custodian", url)]


def leaving(urls: Sequence[str]) -> list[str]:
    return ["--from-epoch", "1", *(part for url in urls for part in ("--leaving", url))]


def wait_for_log(process: Process, text: str) -> None:
    until = time.monotonic() + 60
    while text not in process.log.read_text():
        assert time.monotonic() < until, process.log.read_text()
        time.sleep(0.1)


@pytest.mark.long
def test_the_joint_key_goes_over_to_a_new_committee_by_the_commands_of_the_readme(
    rotation: Rotation,
) -> None:
    world, urls = rotation.world, rotation.urls()
    made: dict[str, Any] = json.loads(done(generate_key(rotation, urls)))
    assert (made["epoch"], made["holders"], made["faults"]) == (1, [0, 1, 2], [])
    leaves = rotation.running["custodian0"]
    wait_for_log(leaves, ERASED)  # its polynomial
    leaves.log.write_text("")

    assert rotation.open_epoch({0: "new0"}) == 2
    rotation.start(0, "new0")
    command = generate_key(rotation, rotation.urls(), *leaving(urls))
    refused = declined(command, "keygen_failed")  # no host was told of the new custodian
    assert "into the folder `holders` of its data" in refused
    assert all(f"The dealer at place {place}" in refused for place in range(3))
    assert joint_key_of(world.chain, 2) is None
    for folder in ("custodian0", "custodian1", "custodian2"):
        holders = world.data(folder) / FOLDER
        holders.mkdir()
        shutil.copy(rotation.identity("new0"), holders / "new.json")

    declined(generate_key(rotation, rotation.urls()), "bad_parameter")  # would give records up
    said = json.loads(done(command))
    assert (said["epoch"], said["joint_key"]) == (2, made["joint_key"])
    assert (said["holders"], said["faults"]) == ([0, 1, 2], [])
    moved = rotation.rewrap_command(0, "custodian0", "new0", rotation.urls()[0], 2)
    assert json.loads(done(moved))["epoch"] == 2
    wait_for_log(leaves, ERASED)  # its share: it may be stopped, and its folder deleted
    rotation.stop("custodian0")
    assert '"shares_of_epochs": [1]' in leaves.log.read_text()


@pytest.mark.long
def test_a_quorum_hands_the_key_on_where_who_leaves_is_gone_and_a_missing_one_is_named(
    rotation: Rotation,
) -> None:
    world, urls = rotation.world, rotation.urls()
    made = json.loads(done(generate_key(rotation, urls)))
    rotation.stop("custodian0")
    rotation.open_epoch({0: "new0"})
    for folder in ("custodian1", "custodian2"):
        holders = world.data(folder) / FOLDER
        holders.mkdir()
        shutil.copy(rotation.identity("new0"), holders / "new.json")
    dead = [DEAD, *urls[1:]]
    refused = declined(generate_key(rotation, dead, *leaving(dead)), "keygen_incomplete")
    assert "The dealer at place 0" in refused
    assert "The holder at place 0" in refused
    rotation.start(0, "new0")
    said = json.loads(done(generate_key(rotation, rotation.urls(), *leaving(dead))))
    assert said["joint_key"] == made["joint_key"]
    assert [(each["role"], each["place"]) for each in said["faults"]] == [("dealer", 0)]


@pytest.mark.long
def test_a_new_key_is_made_only_by_who_says_so(rotation: Rotation) -> None:
    made = json.loads(done(generate_key(rotation, rotation.urls())))
    rotation.open_epoch({})
    refused = declined(generate_key(rotation, rotation.urls()), "bad_parameter")
    assert "--anew to give them up" in refused
    said = json.loads(done(generate_key(rotation, rotation.urls(), "--anew")))
    assert (said["epoch"], said["holders"]) == (2, [0, 1, 2])
    assert said["joint_key"] != made["joint_key"]
