"""The `usufruct` command: every command explains itself, and wrong input ends in words and an exit code."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import fields, replace
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from marketplace.chain.adapter import ConsentState, Manifest, MarketPolicy, RequestStage
from marketplace.chain.artifacts import CONTRACTS
from marketplace.chain.deploy import WINDOWS, DeploySettings, deploy
from marketplace.chain.manifest import Deployed
from marketplace.chain.views import ROUNDS_SECONDS
from marketplace.cli.agreement import require_agreed
from marketplace.cli.main import COMMANDS, main
from marketplace.cli.patient import WHY, what_was_sealed
from marketplace.cli.say import say, tell
from marketplace.cli.status import CONSENT, REQUEST, ClassFacts, consent_words, request_words
from marketplace.client import account_of
from marketplace.errors import Refusal
from marketplace.fhir.demo import demo_bundles, demo_dictionary
from marketplace.fhir.extract import Extracted, Missing
from marketplace.stages import Stage
from marketplace.vocabulary import address
from marketplace.wire import keyfiles
from marketplace.wire.amounts import Token
from marketplace.words import right_at_most
from tests.support.nodes import ROOT
from tests.support.slow_answers import server_that_sends
from tests.support.terminal import Said, at_a_terminal, in_a_pipe

HEX = "0x" + "11" * 32
ADDRESS = "0x" + "11" * 20
NOBODY = "http://127.0.0.1:1"  # no process of anybody listens there
MANIFEST = Manifest(
    chain_id=1,
    genesis_hash=bytes(32),
    deployed_block=0,
    contracts=dict.fromkeys(CONTRACTS, Deployed(address(ADDRESS), bytes(32))),
    policy=MarketPolicy(),
).to_json()
WITHOUT_OPTIONS = (
    *("up", "demo", "chain", "catalogue", "datasets", "requests", "models", "logarithms"),
)
"""Commands that need none."""
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


def test_the_version_is_told_without_an_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", not_installed)
    result = run("--version")
    assert result.exit_code == 0, result.exception
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert result.output == f"usufruct, version {version}\n"
    assert f"Version {version}:" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("--notice-window", ["-1", "2592000"]),
        ("--freeze-window", ["0", "3601", "86400"]),
        ("--turn-window", ["0", "2592001"]),
        ("--gate-window", ["0", "2592001"]),
        ("--certificate-window", ["0", "2592001"]),
        ("--minimum-cohort", ["1", "4294967296"]),
    ],
)
def test_a_policy_outside_its_bounds_is_wrong_use(
    tmp_path: Path, key_file: Path, option: str, wrong: list[str]
) -> None:
    manifest = tmp_path / "manifest.json"
    common = ("deploy", "--node", NOBODY, "--key-file", key_file, "--manifest", manifest)
    for value in wrong:
        assert option in refused(run(*common, option, value), WRONG_USE)


def test_a_window_out_of_bounds_says_the_option_its_bounds_and_why(
    tmp_path: Path, key_file: Path
) -> None:
    common = ("deploy", "--node", NOBODY, "--key-file", key_file, "--manifest", tmp_path / "m.json")
    output = " ".join(refused(run(*common, "--freeze-window", "7200"), WRONG_USE).split())
    assert "'--freeze-window': 7200 is not in the range 1<=x<=3600." in output
    assert "No grant goes live while its shard is frozen" in output


WINDOW = st.sampled_from(sorted(WINDOWS))


@given(WINDOW, st.integers(0, 2**40 - 1))
def test_a_deployment_takes_a_window_within_its_bounds_and_refuses_any_other_by_its_option(
    window: str, seconds: int
) -> None:
    """Before anything is sent: the contracts would take most of them, for ever."""
    of_policy = window in {each.name for each in fields(MarketPolicy)}
    changed = {window: seconds}
    settings = (
        DeploySettings(policy=replace(MarketPolicy(), **changed))
        if of_policy
        else replace(DeploySettings(), **changed)
    )
    bounds = WINDOWS[window]
    if bounds.least <= seconds <= bounds.most:
        settings.require_bounded()
        return
    with pytest.raises(Refusal) as caught:
        settings.require_bounded()
    assert (caught.value.code, caught.value.field) == ("window_out_of_bounds", window)
    assert (
        f"--{window.replace('_', '-')} from {bounds.least} to {bounds.most}" in caught.value.remedy
    )


@given(st.integers(0, 5_000), st.integers(ROUNDS_SECONDS, 2**40 - 1))
def test_a_gate_window_leaves_time_for_two_final_blocks_and_the_rounds_of_noise(
    to_finality: int, window: int
) -> None:
    settings = DeploySettings(policy=MarketPolicy(gate_window=window))
    needed = 2 * to_finality + ROUNDS_SECONDS
    if window >= needed:
        settings.require_rounds_in_time(to_finality)
        return
    with pytest.raises(Refusal) as caught:
        settings.require_rounds_in_time(to_finality)
    assert (caught.value.code, caught.value.field) == ("window_out_of_bounds", "gate_window")
    assert f"--gate-window from {needed} to" in caught.value.remedy


def test_every_window_of_the_policy_is_bounded() -> None:
    windows = {each.name for each in fields(MarketPolicy) if each.name.endswith("_window")}
    assert windows < set(WINDOWS)


def test_a_deployment_with_a_window_out_of_bounds_asks_no_node(key_file: Path) -> None:
    settings = DeploySettings(policy=MarketPolicy(freeze_window=86_400))
    with pytest.raises(Refusal, match="minutes, not hours"):
        deploy(NOBODY, keyfiles.read(key_file), settings)


MESSAGES = ["revoke", "rest", "wake", "dismiss-guardian", "erase"]


@pytest.mark.parametrize("name", MESSAGES)
def test_past_the_operator_node_and_manifest_come_together(
    tmp_path: Path, key_file: Path, name: str
) -> None:
    common = (name, "--url", NOBODY, "--key-file", key_file, "--dataset", HEX)
    together = "--node and --manifest are needed together"
    assert together in refused(run(*common, "--node", NOBODY), WRONG_USE)
    assert together in refused(run(*common, "--manifest", tmp_path / "m.json"), WRONG_USE)
    output = refused(run(*common, "--gas-key-file", key_file), WRONG_USE)
    assert "--gas-key-file needs --node and --manifest" in output


@pytest.mark.parametrize("name", ["revoke", "erase"])
def test_a_custodian_is_of_no_use_without_an_own_node(key_file: Path, name: str) -> None:
    common = (name, "--url", NOBODY, "--key-file", key_file, "--dataset", HEX)
    output = refused(run(*common, "--custodian", NOBODY), WRONG_USE)
    assert "--custodian needs --node and --manifest" in output


@pytest.mark.parametrize("name", MESSAGES)
def test_past_the_operator_the_operator_is_not_asked(
    tmp_path: Path, key_file: Path, name: str
) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(MANIFEST))
    past = ("--url", NOBODY, "--node", NOBODY, "--manifest", manifest)
    output = refused(run(name, *past, "--key-file", key_file, "--dataset", HEX))
    assert "[node_unreachable]" in output


@pytest.mark.parametrize("patient", ["0x12", "me"])
def test_a_patient_that_is_no_address_is_named(key_file: Path, patient: str) -> None:
    common = ("--url", NOBODY, "--key-file", key_file, "--dataset", HEX, "--patient", patient)
    assert "(field patient)" in refused(run("revoke", *common))


def test_a_status_is_of_one_thing(key_file: Path) -> None:
    both = ("status", "--request", HEX, "--dataset", HEX)
    assert "is needed" in refused(run(*both), WRONG_USE)
    twice = ("status", "--dataset", HEX, "--patient", ADDRESS, "--key-file", key_file)
    assert "is needed" in refused(run(*twice), WRONG_USE)
    assert "is needed" in refused(run("status", "--dataset", HEX), WRONG_USE)


def test_every_stage_of_a_request_and_state_of_a_consent_has_its_words() -> None:
    stages = {*Stage, *(stage.name.lower() for stage in RequestStage)}
    assert set(REQUEST) == stages
    assert set(CONSENT) == {state.name.lower() for state in ConsentState}


def test_a_refused_request_says_why_and_how_to_get_the_money_back() -> None:
    reason = {"message": "Only 3 patients can be counted.", "remedy": "Wait for more consents."}
    found = {
        "stage": "refused",
        "seal_deadline": 0,
        "settle_deadline": 0,
        "cohort_size": None,
        "reason": reason,
    }
    words = " ".join(request_words(found))
    assert words.index("usufruct cancel") < words.index("usufruct withdraw-credit")
    assert "Only 3 patients can be counted. Wait for more consents." in words


def test_a_request_that_waits_says_for_what_and_until_when() -> None:
    waiting = {
        "code": "notice_still_running",
        "message": "Patients can still rest their consent for this request until 1800000000.",
        "until": 1_800_000_000,
    }
    found = {
        "stage": "funded",
        "seal_deadline": 0,
        "settle_deadline": 0,
        "cohort_size": None,
        "reason": None,
        "waiting": waiting,
    }
    assert "until 2027-01-15 08:00:00 UTC" in request_words(found)[1]


def test_a_request_that_is_at_work_says_what_is_done_and_for_how_long() -> None:
    asked = "Custodian 1 and custodian 2 are asked for noise; custodian 2 has not answered yet."
    found = {
        "stage": "sealed",
        "seal_deadline": 0,
        "settle_deadline": 0,
        "cohort_size": 20,
        "reason": None,
        "waiting": None,
        "at_work": {"message": asked, "since": 1_800_000_000, "seconds": 12},
    }
    assert request_words(found)[1:] == [f"At work for 12 seconds: {asked}"]
    assert len(request_words({**found, "at_work": None})) == 1


CONSENTING: dict[str, Any] = {
    "state": "live",
    "class_index": 2,
    "expiry": 1_800_000_000,
    "cap": 1_000,
    "spent": 400,
    "owed": "1250000",
    "record": {"erased": False, "suspended": False, "version": 1},
    "guardian": None,
}


def test_budget_earnings_and_guardian_are_told_in_words() -> None:
    guardian = {"address": ADDRESS, "expiry": 1_800_000_000, "may_grant": True}
    found = {**CONSENTING, "guardian": guardian}
    words = consent_words(found, ClassFacts(max_cost=250, live=5), Token())
    assert words[0].startswith("The consent to class 2 is live until 2027-01-15 08:00 UTC")
    assert "1,000 nano-rho, 400 are spent and 600 are left: 2 requests of the 250" in words[1]
    assert f"at most {right_at_most(400)} times" in words[2]
    assert f"at most {right_at_most(1_000)} times" in words[3]
    assert "Earned and not withdrawn: 1.25 EUR." in words[4]
    assert f"{ADDRESS} is guardian until 2027-01-15 08:00 UTC" in words[5]
    assert "may revoke, rest, grant and wake" in words[5]


def test_one_request_that_is_left_is_said_in_the_singular() -> None:
    words = consent_words(CONSENTING, ClassFacts(max_cost=400, live=5), Token())
    assert "600 are left: 1 request of the 400 that" in words[1]


def test_a_suspended_record_is_told_in_words() -> None:
    record = {"erased": False, "suspended": True, "version": 1}
    words = consent_words({**CONSENTING, "record": record}, None, Token())
    assert any("suspended" in each for each in words)


def test_an_unknown_command_is_wrong_use() -> None:
    assert "No such command" in refused(run("sell-data"), WRONG_USE)


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "marketplace.cli", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "verify-receipt" in said


@pytest.mark.parametrize(
    "name",
    [each for each in COMMANDS if each not in WITHOUT_OPTIONS],
)
def test_a_missing_option_is_named(name: str) -> None:
    output = refused(run(name), WRONG_USE)
    assert "Missing" in output or "is needed" in output


@pytest.mark.parametrize(
    "value",
    ["0x12", "zz", "", "0x" + "11" * 33, "0x" + " 11" * 32, "11" * 32 + "\n", "0x0x" + "11" * 31],
)
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


def test_the_address_of_a_key_that_exists_is_shown_and_the_key_kept(key_file: Path) -> None:
    secret = key_file.read_bytes()
    output = refused(run("key", key_file))
    assert f"`usufruct key {key_file} --show` prints its address" in output
    shown = run("key", key_file, "--show")
    assert json.loads(shown.output) == {"address": account_of(keyfiles.read(key_file))}
    assert key_file.read_bytes() == secret
    assert "is missing" in refused(run("key", key_file.with_name("none.key"), "--show"))


@pytest.mark.parametrize("content", ['{"resourceType": "Bundle"}', "ab" * 31])
def test_what_is_no_key_is_asked_whether_it_is_the_right_file(key_file: Path, content: str) -> None:
    key_file.write_text(content)
    output = refused(run("key", key_file, "--show"))
    assert "Is it the file that `usufruct key` made?" in " ".join(output.split())


@pytest.mark.parametrize("cap", ["abc", "1_000", "60,000,000", "0,5", "1.5", "1e6"])
def test_a_number_is_written_in_digits_alone(key_file: Path, cap: str) -> None:
    done = run("grant", "--url", NOBODY, "--key-file", key_file, "--dataset", HEX, "--cap", cap)
    assert done.exit_code == 2
    assert "'--cap': write a whole number, in digits alone" in " ".join(done.output.split())


def test_an_input_at_fault_is_called_by_its_option(key_file: Path) -> None:
    done = run("withdraw", "--url", NOBODY, "--key-file", key_file, "--dataset", HEX, "--to", "abc")
    assert "--to is no address of this chain." in refused(done)


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
    assert "--node and --manifest, with --custodian by a custodian's relay" in output
    output = refused(run("status", "--url", url, "--request", HEX))
    assert "Or go past the operator: --node and --manifest." in output


def test_an_upload_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sealed.json"
    path.write_text("{")
    assert "is not JSON" in refused(run("upload", "--url", NOBODY, path))
    path.write_text("[" * 100_000)
    assert "sealed.json is nested more than 64 levels deep" in refused(
        run("upload", "--url", NOBODY, path)
    )
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


@pytest.mark.parametrize("parameters", ["{", "[]", "null", "1", "[" * 100_000])
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


LIE = "\x1b[2K\x1b[1Arevoked: your consent has ended\x1b[8m\u202e"


def test_a_refusal_of_another_party_cannot_rewrite_what_its_reader_sees(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text("{}")
    told = json.dumps({"code": "x", "detail": LIE, "remedy": "-"}).encode()
    head = b"HTTP/1.1 422 No\r\nContent-Length: %d\r\n\r\n" % len(told)
    with server_that_sends([head + told]) as url:
        done = run("upload", "--url", url, record)
    assert "revoked: your consent has ended" in refused(done)
    assert all(line.isprintable() for line in done.output.splitlines())


@pytest.mark.parametrize("speak", [say, tell])
def test_what_is_said_holds_nothing_that_commands_a_terminal(
    capsys: pytest.CaptureFixture[str], speak: Callable[[str], None]
) -> None:
    speak(LIE + "\x7f\x9b2K\r")
    shown = capsys.readouterr()
    assert "your consent has ended" in shown.out + shown.err
    assert (shown.out + shown.err).removesuffix("\n").isprintable()


def test_json_says_to_machines_what_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    say([LIE + "\x7f"])
    assert json.loads(capsys.readouterr().out) == [LIE + "\x7f"]


# --- nobody pays unasked

AGREE = """
import click, sys
from marketplace.cli.agreement import require_agreed
from marketplace.cli.say import refusals_as_words
@click.command()
@refusals_as_words
def pay():
    require_agreed(1_500_000, "1.50 EUR", None, False)
    print('{"paid": true}')
pay()
"""


@pytest.mark.parametrize("answer", ["y\n", "yes\n"])
def test_at_a_terminal_an_escrow_is_paid_after_a_yes(answer: str) -> None:
    said = at_a_terminal([sys.executable, "-c", AGREE], answer)
    assert (said.code, said.stdout) == (0, '{"paid": true}\n')
    assert "Pay an escrow of 1.50 EUR?" in said.stderr


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"])
def test_at_a_terminal_an_escrow_is_not_paid_without_a_yes(answer: str) -> None:
    said = at_a_terminal([sys.executable, "-c", AGREE], answer)
    assert (said.code, said.stdout) == (1, "")
    assert "Pay an escrow of 1.50 EUR" in said.stderr


@pytest.mark.parametrize("where", [at_a_terminal, in_a_pipe], ids=["only to read", "in a pipe"])
def test_where_nobody_can_be_asked_nothing_is_paid(where: Callable[..., Said]) -> None:
    said = where([sys.executable, "-c", AGREE])
    assert (said.code, said.stdout) == (1, "")
    assert "[not_agreed] (field at_most)" in said.stderr
    assert "Pay an escrow" not in said.stderr


@given(st.integers(0, 2**64), st.integers(0, 2**64), st.booleans())
def test_no_more_is_paid_than_was_agreed_to(escrow: int, most: int, yes: bool) -> None:
    if escrow <= most:
        require_agreed(escrow, "shown", most, yes)
        return
    with pytest.raises(Refusal) as refusal:
        require_agreed(escrow, "shown", most, yes)
    assert (refusal.value.code, refusal.value.field) == ("escrow_above_limit", "at_most")


def test_a_receipt_without_file_or_manifest_is_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    common = ("--node", NOBODY, "--manifest", manifest)
    receipt = tmp_path / "receipt.json"
    assert "receipt.json" in refused(run("verify-receipt", receipt, *common))
    receipt.write_text("{}")
    assert "[manifest_unreadable]" in refused(run("verify-receipt", receipt, *common))
    manifest.write_text("{}")
    assert "[bad_manifest]" in refused(run("verify-receipt", receipt, *common))


def test_nothing_is_resumed_without_a_good_configuration(tmp_path: Path) -> None:
    path = tmp_path / "operator.json"
    assert "[bad_configuration]" in refused(run("resume", "--config", path))
    path.write_text('{"surprise": 1}')
    assert "[bad_configuration]" in refused(run("resume", "--config", path))


@pytest.mark.parametrize("name", ["serve", "custodian", "gate"])
def test_a_server_without_a_good_configuration_does_not_start_and_logs_why(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "host.json"
    for content in (None, "{", '{"surprise": 1}'):
        if content is not None:
            path.write_text(content)
        line = json.loads(refused(run(name, "--config", path)))
        assert (line["event"], line["level"]) == ("not_started", "critical")
        assert line["code"] == "bad_configuration"
        assert line["message"]
        assert line["remedy"]


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


def test_a_clinic_is_told_why_its_bundle_lacks_variables_which_were_rounded_and_no_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    dictionary, values = demo_dictionary(), {"age": Decimal(61), "systolic": None, "sex": "female"}
    missing = {"systolic": Missing.NOT_IN_BUNDLE}
    told = what_was_sealed(Extracted(values, missing, ("age",)), dictionary)
    assert told == {
        "sealed": ["age", "sex"],
        "left_out": {"systolic": "not_in_bundle"},
        "rounded": ["age"],
    }
    said = capsys.readouterr().err
    assert "systolic is left out, and null in every answer: no observation of the bundle" in said
    assert "8480-6 of http://loinc.org" in said
    assert "Rounded to the dictionary's decimals: age." in said
    assert "61" not in said
    assert what_was_sealed(Extracted({"age": Decimal(61)}, {}, ()), dictionary)["left_out"] == {}
    assert capsys.readouterr().err == ""


def test_every_reason_for_which_a_variable_is_left_out_has_its_words() -> None:
    assert set(WHY) == set(Missing)


def test_a_sealed_record_is_replaced_only_when_told_to(tmp_path: Path, key_file: Path) -> None:
    out = tmp_path / "sealed.json"
    out.write_text("the first one")
    seal = (
        *("seal", "--url", NOBODY, "--node", NOBODY, "--manifest", tmp_path / "none.json"),
        *("--dataset", HEX, "--patient", ADDRESS, "--fhir", tmp_path / "bundle.json"),
        *("--issuer-key-file", key_file, "--person", HEX, "--out", out),
    )
    output = refused(run(*seal))
    assert "sealed.json exists already" in output
    assert "--overwrite" in output
    assert "[file_exists] (field out)" in output
    assert "[manifest_unreadable]" in refused(run(*seal, "--overwrite"))
    assert out.read_text() == "the first one"
