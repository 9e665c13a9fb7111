"""The `usufruct` command: every command explains itself, and wrong input ends in words and an exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from marketplace.cli.main import COMMANDS, main
from marketplace.fhir.demo import demo_bundles
from marketplace.wire import keyfiles

HEX = "0x" + "11" * 32
ADDRESS = "0x" + "11" * 20
NOBODY = "http://127.0.0.1:1"  # no process of anybody listens there
WRONG_USE = 2  # click's exit code for options that do not fit


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def refused(result: Result, code: int = 1) -> str:
    """What the command said. A traceback is never an answer."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "own.key"
    keyfiles.create(path, keyfiles.new_signing_key())
    return path


def test_the_commands_that_the_manual_names_are_there() -> None:
    wanted = "up demo chain deploy custodian gate seal grant revoke request resume verify-receipt"
    assert set(wanted.split()) <= set(COMMANDS)
    listed = run("--help").output
    assert all(name in listed for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_explains_itself_and_its_options(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output
    assert len(result.output.splitlines()) > 4


def test_an_unknown_command_is_wrong_use() -> None:
    assert "No such command" in refused(run("sell-data"), WRONG_USE)


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "marketplace.cli", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "verify-receipt" in said


@pytest.mark.parametrize(
    "name",
    [each for each in COMMANDS if each not in ("up", "demo", "chain")],
)
def test_a_missing_option_is_named(name: str) -> None:
    output = refused(run(name), WRONG_USE)
    assert "Missing" in output or "is needed" in output


@pytest.mark.parametrize("value", ["0x12", "zz", "", "0x" + "11" * 33])
def test_a_dataset_that_is_no_hash_is_wrong_use(key_file: Path, value: str) -> None:
    output = refused(run("revoke", "--key-file", key_file, "--dataset", value), WRONG_USE)
    assert "64 hexadecimal digits" in output


# --- key files


def test_a_key_file_is_made_once_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "made.key"
    made = run("key", path)
    assert json.loads(made.output)["address"] == keyfiles.Signer.of(keyfiles.read(path)).address
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    assert "exists already" in refused(run("key", path))
    assert path.read_bytes() == before
    assert before.decode().strip() not in made.output


@pytest.mark.parametrize("content", ["", "not a key", "0x12", "11" * 33, "\u00e9" * 32])
def test_a_key_file_that_holds_no_key_is_refused_unshown(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.key"
    path.write_text(content)
    path.chmod(0o600)
    output = refused(run("revoke", "--url", NOBODY, "--key-file", path, "--dataset", HEX))
    assert "[key_file]" in output
    assert not content or content not in output


def test_a_key_file_that_others_can_read_is_refused(key_file: Path) -> None:
    key_file.chmod(0o644)
    output = refused(run("revoke", "--url", NOBODY, "--key-file", key_file, "--dataset", HEX))
    assert "chmod 600" in output


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.key"
    output = refused(run("withdraw", "--key-file", path, "--dataset", HEX, "--to", ADDRESS))
    assert "none.key is missing" in output


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32])
def test_32_bytes_that_are_no_signing_key_are_refused(tmp_path: Path, secret: bytes) -> None:
    path = tmp_path / "zero.key"
    keyfiles.create(path, secret)
    output = refused(run("revoke", "--url", NOBODY, "--key-file", path, "--dataset", HEX))
    assert secret.hex() not in output


# --- what cannot be reached or read


@pytest.mark.parametrize("url", [NOBODY, "nowhere", "http://[", "ftp://127.0.0.1"])
def test_an_operator_that_does_not_answer_is_named(key_file: Path, url: str) -> None:
    output = refused(run("revoke", "--url", url, "--key-file", key_file, "--dataset", HEX))
    assert "[operator_unreachable]" in output
    assert "custodian's relay" in output  # a revocation has other ways


def test_an_upload_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sealed.json"
    path.write_text("{")
    assert "is not JSON" in refused(run("upload", "--url", NOBODY, path))
    assert "No such file" in refused(run("upload", "--url", NOBODY, tmp_path / "none.json"))


def request_options(folder: Path, key_file: Path, **changes: str) -> list[str | Path]:
    purpose = folder / "purpose.json"
    if not purpose.exists():
        purpose.write_text("{}")
    given: dict[str, str | Path] = {
        "url": NOBODY,
        "key-file": key_file,
        "delivery-key-file": folder / "delivery.key",
        "dataset": HEX,
        "analysis": "mean.v1",
        "parameters": "{}",
        "cost": "1",
        "purpose": purpose,
        **changes,
    }
    options: list[str | Path] = ["request"]
    for name, value in given.items():
        options += [f"--{name}", value]
    return options


def test_a_request_needs_exactly_one_of_cost_and_error(tmp_path: Path, key_file: Path) -> None:
    options = request_options(tmp_path, key_file, **{"target-error": "1"})
    assert "exactly one" in refused(run(*options), WRONG_USE)


@pytest.mark.parametrize("parameters", ["{", "[]", "null", "1"])
def test_parameters_that_are_no_json_object_are_wrong_use(
    tmp_path: Path, key_file: Path, parameters: str
) -> None:
    options = request_options(tmp_path, key_file, parameters=parameters)
    assert "--parameters" in refused(run(*options), WRONG_USE)


def test_a_purpose_is_read_before_anything_is_asked_or_made(tmp_path: Path, key_file: Path) -> None:
    missing = request_options(tmp_path, key_file, purpose=str(tmp_path / "none.json"))
    assert "none.json" in refused(run(*missing))
    assert "[malformed_message]" in refused(run(*request_options(tmp_path, key_file)))
    assert not (tmp_path / "delivery.key").exists()


def test_a_cost_of_nothing_is_wrong_use(tmp_path: Path, key_file: Path) -> None:
    assert "cost" in refused(run(*request_options(tmp_path, key_file, cost="0")), WRONG_USE)


def test_a_receipt_without_file_or_manifest_is_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    common = ("--node", NOBODY, "--manifest", manifest)
    receipt = tmp_path / "receipt.json"
    assert "receipt.json" in refused(run("verify-receipt", receipt, *common))
    receipt.write_text("{}")
    assert "[manifest_unreadable]" in refused(run("verify-receipt", receipt, *common))
    manifest.write_text("{}")
    assert "[bad_manifest]" in refused(run("verify-receipt", receipt, *common))


@pytest.mark.parametrize("name", ["serve", "resume"])
def test_an_operator_without_a_good_configuration_does_not_start(tmp_path: Path, name: str) -> None:
    path = tmp_path / "operator.json"
    assert "[bad_configuration]" in refused(run(name, "--config", path))
    path.write_text('{"surprise": 1}')
    assert "[bad_configuration]" in refused(run(name, "--config", path))


@pytest.mark.parametrize("name", ["custodian", "gate"])
def test_a_host_without_a_good_configuration_does_not_start(tmp_path: Path, name: str) -> None:
    path = tmp_path / "host.json"
    refused(run(name, "--config", path))
    path.write_text("{")
    refused(run(name, "--config", path))


@pytest.mark.parametrize("name", ["custodian", "gate"])
def test_a_host_makes_its_own_keys_and_prints_only_what_is_public(
    tmp_path: Path, name: str
) -> None:
    made = run(name, "init", "--data", tmp_path / name)
    assert made.exit_code == 0, made.output
    signer = json.loads(made.output)["signer"]
    secrets = [path.read_text().strip() for path in (tmp_path / name).rglob("*") if path.is_file()]
    assert secrets
    assert all(secret.removeprefix("0x") not in made.output for secret in secrets)
    assert json.loads(run(name, "init", "--data", tmp_path / name).output)["signer"] == signer


def test_sealing_without_a_manifest_writes_nothing(tmp_path: Path, key_file: Path) -> None:
    bundle = tmp_path / "bundle.json"
    bundle.write_bytes(demo_bundles(1, 1)[0])
    out = tmp_path / "sealed.json"
    manifest = tmp_path / "manifest.json"
    result = run(
        *("seal", "--url", NOBODY, "--node", NOBODY, "--manifest", manifest, "--dataset", HEX),
        *("--patient", ADDRESS, "--fhir", bundle),
        *("--issuer-key-file", key_file, "--person", HEX, "--out", out),
    )
    assert "[manifest_unreadable]" in refused(result)
    assert not out.exists()


def test_a_deployment_needs_a_node_that_answers(tmp_path: Path, key_file: Path) -> None:
    manifest = tmp_path / "manifest.json"
    result = run(
        *("deploy", "--node", NOBODY, "--key-file", key_file, "--manifest", manifest),
    )
    assert "[node_unreachable]" in refused(result)
    assert not manifest.exists()
