"""What the environment may say in an option's place, and what it must never decide."""

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from marketplace.cli.main import COMMANDS, main
from marketplace.wire import keyfiles
from tests.unit.test_cli import ADDRESS, HEX, MANIFEST, NOBODY, WRONG_USE, refused

ELSEWHERE = "http://127.0.0.1:2"  # nor there
OPTIONS = {"url", "node", "dataset", "manifest"}
NEVER = {
    ("deploy", "manifest"): "it is written there",
    ("record-key", "url"): "an operator would be asked in the place of what was typed",
}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "own.key"
    keyfiles.create(path, keyfiles.new_signing_key())
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(MANIFEST))
    return path


def run(environment: dict[str, str], *arguments: str | Path) -> Result:
    """As typed where nothing else is set."""
    unset: dict[str, str | None] = {f"USUFRUCT_{name.upper()}": None for name in OPTIONS}
    given = [str(each) for each in arguments]
    return CliRunner().invoke(main, given, env={**unset, **environment})


def options() -> Iterator[tuple[str, click.Option]]:
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        for each in command.params:
            if isinstance(each, click.Option) and each.name in OPTIONS:
                yield name, each


def test_url_node_dataset_and_manifest_are_taken_from_the_environment_and_help_says_so() -> None:
    found = set()
    for command, option in options():
        assert option.name is not None
        if (command, option.name) in NEVER:
            assert option.envvar is None, NEVER[command, option.name]
            continue
        found.add(option.name)
        variable = f"USUFRUCT_{option.name.upper()}"
        assert option.envvar == variable, (command, option.name)
        assert variable in run({}, command, "--help").output
    assert found == OPTIONS


def test_url_and_dataset_need_not_be_typed(key_file: Path) -> None:
    environment = {"USUFRUCT_URL": NOBODY, "USUFRUCT_DATASET": HEX}
    output = refused(run(environment, "revoke", "--key-file", key_file))
    assert f"The operator at {NOBODY} cannot be reached" in output


def test_what_is_typed_comes_before_the_environment(key_file: Path) -> None:
    environment = {"USUFRUCT_URL": ELSEWHERE, "USUFRUCT_DATASET": "no hash at all"}
    typed = ("--url", NOBODY, "--dataset", HEX)
    output = refused(run(environment, "revoke", "--key-file", key_file, *typed))
    assert f"The operator at {NOBODY} cannot be reached" in output
    wrong = refused(run(environment, "revoke", "--key-file", key_file), WRONG_USE)
    assert "USUFRUCT_DATASET" in wrong
    assert "64 hexadecimal digits" in wrong


@pytest.mark.parametrize("name", ["revoke", "rest", "wake", "erase", "dismiss-guardian"])
@pytest.mark.parametrize("whole", [True, False], ids=["node and manifest", "only a node"])
def test_the_environment_takes_nobody_past_the_operator(
    key_file: Path, manifest: Path, name: str, whole: bool
) -> None:
    """Else a variable that was set for a researcher's commands would have a patient pay gas, or stop a
    revocation for want of its other half."""
    environment = {"USUFRUCT_NODE": NOBODY} | (
        {"USUFRUCT_MANIFEST": str(manifest)} if whole else {}
    )
    typed = ("--url", NOBODY, "--key-file", key_file, "--dataset", HEX)
    assert "[operator_unreachable]" in refused(run(environment, name, *typed))


@pytest.mark.parametrize("typed", ["--node", "--manifest", "--custodian", "--gas-key-file"])
def test_who_goes_past_the_operator_has_the_rest_filled_in(
    key_file: Path, manifest: Path, typed: str
) -> None:
    given: dict[str, str | Path] = {
        "--node": NOBODY,
        "--manifest": manifest,
        "--custodian": NOBODY,
        "--gas-key-file": key_file,
    }
    environment = {"USUFRUCT_NODE": NOBODY, "USUFRUCT_MANIFEST": str(manifest)}
    common = ("revoke", "--url", ELSEWHERE, "--key-file", key_file, "--dataset", HEX)
    output = refused(run(environment, *common, typed, given[typed]))
    assert "[node_unreachable]" in output
    assert ELSEWHERE not in output


def test_a_request_has_its_status_whatever_dataset_is_set() -> None:
    environment = {"USUFRUCT_DATASET": HEX, "USUFRUCT_URL": NOBODY}
    assert "[operator_unreachable]" in refused(run(environment, "status", "--request", HEX))
    output = refused(run(environment, "status", "--patient", ADDRESS))
    assert "[operator_unreachable]" in output


def test_a_deployment_does_not_write_over_the_manifest_that_is_set(
    key_file: Path, manifest: Path
) -> None:
    before = manifest.read_bytes()
    environment = {"USUFRUCT_NODE": NOBODY, "USUFRUCT_MANIFEST": str(manifest)}
    output = refused(run(environment, "deploy", "--key-file", key_file), WRONG_USE)
    assert "Missing option '--manifest'" in output
    assert manifest.read_bytes() == before
