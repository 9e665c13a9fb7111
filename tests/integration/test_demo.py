"""The main job: `make demo ONCE=1 JSON=path`, run as anybody would, with no Node on the path."""

import io
import itertools
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner
from rich.console import Console

from marketplace.cli.main import main
from marketplace.cli.running import tell_where
from marketplace.demo import Story, setting
from marketplace.fhir.demo import demo_bundles
from marketplace.local import Local
from marketplace.receipts.verify import STEPS
from marketplace.wire import keyfiles
from tests.support import notebooks, readme

STORY = [
    ("dataset published", "published"),
    ("records sealed, attested and stored", "stored"),
    ("patients consent", "granted"),
    ("quote for mean systolic blood pressure", "quoted"),
    ("mean systolic blood pressure", "settled"),
    ("quote for the same in the homomorphic lane", "quoted"),
    ("the same in the homomorphic lane", "settled"),
    ("a patient withdraws", "paid"),
    ("a patient revokes", "revoked"),
    ("quote for the same question after the revocation", "quoted"),
    ("the same question after the revocation", "settled"),
    ("the patient grants again", "granted"),
    ("a purpose that consent does not cover", "refused"),
    ("a researcher without a credential", "refused"),
    ("a request beyond what the class allows", "refused"),
    ("quote for a request beyond some patients' budget", "quoted"),
    ("a request beyond some patients' budget", "settled"),
    ("everything stopped and started again", "unchanged"),
    ("a receipt verified with the operator down", "verified"),
    ("encrypted records added up again", "verified"),
    ("a patient revokes through a custodian with the operator down", "revoked"),
]


def _free_base() -> int:
    """A port for the operator beside which the others are free too."""
    for base in range(18000, 28000, 1000):
        if all(_is_free(base + offset) for offset in (0, 101, 102, 103, 201, 202, 203, 545)):
            return base
    raise AssertionError("no free ports between 18000 and 28000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@dataclass(frozen=True)
class Told:
    """`said`: on the console, as one line."""

    steps: list[dict[str, Any]]
    said: str


@pytest.fixture(scope="module")
def told(folder: Path) -> Told:
    written = folder / "steps.json"
    command = [
        *(sys.executable, "-m", "marketplace.cli", "demo", "--once"),
        *("--json", str(written), "--data", str(folder / "market"), "--port", str(_free_base())),
    ]
    environment = {**os.environ, "PATH": str(Path(sys.executable).parent)}  # no node, no npm
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "The story held." in done.stdout
    for said in (
        "the chain starts",
        "every process stops",
        "every consent",
        "the noise that protects",
    ):
        assert said in done.stdout, "nothing is silent for long, and nothing looks like a mistake"
    return Told(json.loads(written.read_text())["steps"], " ".join(done.stdout.split()))


@pytest.fixture(scope="module")
def steps(told: Told) -> list[dict[str, Any]]:
    return told.steps


SMALL = "market.CUSTODIANS = market.QUORUM = 1"
"""One custodian and one gate: where nobody asks, more of them only take longer to start."""


def _altered(alterations: str, command: str, folder: Path, port: int, *options: str) -> list[str]:
    """The command on a small market, with a story that was changed before it is told."""
    imports = "from marketplace.demo import story; from marketplace.local import market"
    program = f"{imports}; from marketplace.cli.main import main; {SMALL}; {alterations}; main()"
    where = ("--data", str(folder / "market"), "--port", str(port))
    return [sys.executable, "-c", program, command, *where, *options]


@pytest.mark.long
def test_a_story_that_turns_out_otherwise_ends_with_an_error(tmp_path: Path) -> None:
    written = tmp_path / "steps.json"
    no_budget = "story.PATIENTS = 3; story.CAREFUL_CAP = 1"
    told = ("--once", "--json", str(written))
    command = _altered(no_budget, "demo", tmp_path, _free_base(), *told)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode != 0
    assert "the story failed: a grant was refused" in done.stderr
    outcomes = [step["outcome"] for step in json.loads(written.read_text())["steps"]]
    assert outcomes == ["published", "stored"]


@pytest.mark.long
def test_without_once_everything_is_left_running_until_it_is_told_to_stop(tmp_path: Path) -> None:
    first_chapter, base = "story.Story.CHAPTERS = story.Story.CHAPTERS[:1]", _free_base()
    command = _altered(first_chapter, "demo", tmp_path, base)
    with _running(command) as running:
        assert running.stdout is not None
        url = _await_line(running.stdout, "Everything runs on: ").split()[0]
        assert str(tmp_path / "market" / "keys") in _await_line(running.stdout, "  files ")
        assert len(_await_line(running.stdout, "  dataset ")) == 67  # 0x, 64 digits, end of line
        health = httpx.get(f"{url}/health", timeout=30).json()
        assert health["ready"]
        again = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert again.returncode != 0
        assert f"is running already: its operator answers at {url}" in again.stderr
        assert f"`kill {running.pid}`" in again.stderr
        assert httpx.get(f"{url}/health", timeout=30).json()["ready"], "it still has its folder"
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=120) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health", timeout=5)
    _a_market_with_a_dead_part_ends(_altered("pass", "up", tmp_path, base), tmp_path / "market")


@contextmanager
def _running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """As from a terminal, where Ctrl-C counts: what shells start in the background ignores it."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        **options,
    ) as running:
        try:
            yield running
        finally:
            running.kill()  # nothing, if it has ended; else its market ends with it


def _a_market_with_a_dead_part_ends(up: list[str], folder: Path) -> None:
    """`up` starts the demo's market again, and ends with an error that names who died, and the log."""
    with _running(up, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        _await_line(running.stdout, '  "url": ')
        os.kill(_child(running.pid, "marketplace.custodian"), signal.SIGKILL)
        _, said = running.communicate(timeout=120)
    assert running.returncode == 1
    assert "killed by SIGKILL" in said
    assert "[process_died] (field custodian-" in said
    assert str(folder / "logs" / "custodian-") in said


def _child(parent: int, module: str) -> int:
    """A child process that runs this module (Linux)."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if module in Path(f"/proc/{child}/cmdline").read_text().split("\0"):
            return int(child)
    raise AssertionError(f"no child runs {module}")


def test_progress_is_a_line_now_and_then_where_no_terminal_shows_a_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.StringIO()
    story = object.__new__(Story)
    story.console = Console(file=written)
    clock = itertools.count(step=4)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    assert list(story.progress(list(range(8)), "sealing")) == list(range(8))
    lines = written.getvalue().splitlines()
    assert lines
    assert all(line.startswith("  sealing: ") and line.endswith(" of 8") for line in lines)
    assert len(lines) < 4


def test_the_last_lines_name_files_and_commands_that_exist(tmp_path: Path) -> None:
    written, request = io.StringIO(), "0x" + "22" * 32
    story = object.__new__(Story)
    story.local, story.dataset = Local(tmp_path / "a market"), bytes(32)
    receipt = str(tmp_path / "a market" / "receipt.json")
    story.steps = [{"name": "paid", "request": request, "receipt": receipt}, {"receipt": receipt}]
    tell_where(story, Console(file=written))
    lines = written.getvalue().splitlines()
    assert lines[0].startswith(f"Everything runs on: {story.local.url}")
    shown = [shlex.split(line) for line in lines if "--node" in line or "--request" in line]
    assert len(shown) == 2
    for words in shown:
        name = next(word for word in words if word in ("status", "verify-receipt"))
        given = words[words.index(name) + 1 :]
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.make_context(name, given).params
    assert request in shown[0]
    assert {receipt, str(story.local.manifest_path)} <= set(shown[1])


def _await_line(lines: Iterable[str], start: str) -> str:
    for line in lines:
        if line.startswith(start):
            return line.removeprefix(start)
    raise AssertionError(f"no line starts with {start!r}")


@pytest.mark.parametrize("name", ["demo", "up"])
def test_a_folder_that_no_market_made_is_neither_deleted_nor_taken(
    tmp_path: Path, name: str
) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("three years")
    command = [name, "--data", str(tmp_path), "--port", str(_free_base())]
    before = signal.getsignal(signal.SIGTERM)
    try:
        done = CliRunner().invoke(main, command)
    finally:
        signal.signal(signal.SIGTERM, before)  # the command has set its own
    assert done.exit_code == 1
    assert "was not made by an earlier run" in done.output
    assert precious.read_text() == "three years"
    assert list(tmp_path.iterdir()) == [precious]


def _settled(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [step for step in steps if step["outcome"] == "settled"]


def test_the_story_has_every_step_with_its_outcome(steps: list[dict[str, Any]]) -> None:
    assert [(step["name"], step["outcome"]) for step in steps] == STORY


def test_cohorts_shrink_by_exactly_who_revoked_and_who_has_no_budget_left(
    steps: list[dict[str, Any]],
) -> None:
    assert [step["cohort_size"] for step in _settled(steps)] == [200, 200, 199, 160]


def test_a_quote_says_price_privacy_and_error_before_anything_is_paid(
    steps: list[dict[str, Any]],
) -> None:
    for quote, paid in itertools.pairwise(steps):
        if quote["outcome"] != "quoted":
            continue
        assert quote["cost_nano_rho"] == paid["cost_nano_rho"] == 30_000_000
        assert quote["price_per_member"] == 600_000
        assert f"+-{paid['quoted_half_width']}" in quote["expected_error"]
        low, high = map(float, paid["interval"])
        assert 0 < float(paid["quoted_half_width"]) < 2 * (high - low)


def test_what_was_earned_is_paid_and_what_was_spent_stays_spent(
    steps: list[dict[str, Any]],
) -> None:
    (paid,) = (step for step in steps if step["outcome"] == "paid")
    before, after = paid["balances_before"], paid["balances_after"]
    assert paid["amount"] == "1200000"  # of one request in each lane
    assert int(after["patient_destination"]) - int(before["patient_destination"]) == 1_200_000
    assert int(before["owed:earnings"]) - int(after["owed:earnings"]) == 1_200_000
    again = next(step for step in steps if step["name"] == "the patient grants again")
    assert again["lifetime_spent"] == 60_000_000


def test_every_answer_carries_what_a_reader_needs(steps: list[dict[str, Any]]) -> None:
    for step in _settled(steps):
        low, high = map(float, step["interval"])
        assert low < float(step["result"]) < high
        assert step["cost_nano_rho"] == 30_000_000
        # 12 half-widths of a 95% interval are over 20 standard deviations: never by chance.
        assert abs(float(step["result"]) - float(step["truth"])) < 6 * (high - low)
        blocks = step["blocks"]
        assert blocks["opened"] < blocks["frozen"] < blocks["sealed"] < blocks["settled"]
        assert Path(step["receipt"]).exists()


BOTH_LANES = re.compile(
    r"Both lanes, the same (\d+) patients: ([\d.]+) to ([\d.]+) from a gate that saw their records in "
    r"memory, ([\d.]+) to ([\d.]+) from sums that nobody could open but the researcher\. "
    r"The truth is ([\d.]+)\."
)
SYSTOLIC = "8480-6"
"""By LOINC."""


def test_both_lanes_intervals_are_told_beside_each_other_and_beside_the_truth(told: Told) -> None:
    found = BOTH_LANES.search(told.said)
    assert found is not None, told.said
    patients, *numbers, truth = found.groups()
    vault, tallied, *_ = _settled(told.steps)
    assert tallied["name"] == "the same in the homomorphic lane"
    assert numbers == [*vault["interval"], *tallied["interval"]]
    people = demo_bundles(setting.PATIENTS, setting.SEED)
    true = [value for each in people for value in _systolic(each)]
    assert (int(patients), truth) == (len(true), f"{fmean(true):.3f}")
    half_widths = []
    for step in (vault, tallied):
        low, high = map(float, step["interval"])
        half_widths.append((high - low) / 2)
        # A noised count moves the width a little, by more than this in six standard deviations.
        assert 0.7 < half_widths[-1] / float(step["quoted_half_width"]) < 1.25
        # 12 half-widths of a 95% interval are over 20 standard deviations: never by chance.
        assert abs(fmean((low, high)) - float(truth)) < 12 * half_widths[-1]
    assert half_widths[0] < half_widths[1], "the second is wider, it says"


def _systolic(bundle: bytes) -> list[float]:
    """The values of systolic blood pressure that stand in a patient's bundle."""
    resources = [entry["resource"] for entry in json.loads(bundle)["entry"]]
    parts = [part for resource in resources for part in resource.get("component", [])]
    return [
        float(part["valueQuantity"]["value"])
        for part in parts
        if SYSTOLIC in [each["code"] for each in part["code"]["coding"]]
    ]


ACCOUNTS = {
    *("deployer", "operator", "steward", "issuer", "authority", "researcher", "stranger"),
    *(f"custodian_{place}" for place in range(3)),
    *(f"custodian_{place}_relay" for place in range(3)),
    *(f"gate_{place}" for place in range(3)),
    "patient_destination",
    *("DatasetRegistry", "ResearcherRegistry", "CustodianCommittee", "ConsentRegistry"),
    *("NoiseRegistry", "ResearchMarket", "TestEuro"),
}
OWED = {"owed:escrows", "owed:locked_bonds", "owed:free_bonds", "owed:credits", "owed:earnings"}
MINTED = 3 * 100_000 * 10**6
"""Token units that there are: operator, researcher and stranger were given a third each."""


def test_balances_are_of_every_account_and_contract(steps: list[dict[str, Any]]) -> None:
    """And of nobody beside them: no patient's account holds any of what was minted."""
    wanted = {"settled", "paid", "refused"}
    for step in steps:
        told = [step[name] for name in ("balances_before", "balances_after") if name in step]
        assert len(told) == 2 or step["outcome"] not in wanted
        for balances in told:
            assert balances.keys() == ACCOUNTS | OWED
            assert sum(int(balances[name]) for name in ACCOUNTS) == MINTED
    assert sum("balances_after" in step for step in steps) > len(wanted)


def test_money_is_conserved_by_every_request(steps: list[dict[str, Any]]) -> None:
    for step in _settled(steps):
        before, after = step["balances_before"], step["balances_after"]
        assert sum(int(before[a]) for a in ACCOUNTS) == sum(int(after[a]) for a in ACCOUNTS)
        owed = sum(int(value) for name, value in after.items() if name.startswith("owed:"))
        assert int(after["ResearchMarket"]) == owed
        earned = int(after["owed:earnings"]) - int(before["owed:earnings"])
        assert earned == step["cohort_size"] * 600_000  # 20,000 units a milli-rho, 30 of them


def test_a_refusal_says_why_and_changes_no_balance(steps: list[dict[str, Any]]) -> None:
    refused = [step for step in steps if step["outcome"] == "refused"]
    reasons = [step["reason"] for step in refused]
    assert reasons == ["purpose_not_permitted", "credential_missing", "cost_above_class"]
    assert all(step["balances_before"] == step["balances_after"] for step in refused)


ROLES = "Each role, on the running demo"


@dataclass(frozen=True)
class Again:
    """The demo's market, started again by `up`: its folder, the operator's port, what `$NAMES` stand for."""

    folder: Path
    base: int
    facts: dict[str, str]


@pytest.fixture(scope="module")
def again(folder: Path, steps: list[dict[str, Any]]) -> Iterator[Again]:
    base, market = _free_base(), folder / "market"
    up = [sys.executable, "-m", "marketplace.cli", "up", "--data", str(market)]
    with _running([*up, "--port", str(base)]) as running:
        assert running.stdout is not None
        dataset = "0x" + _await_line(running.stdout, '    "0x').rstrip('",\n')
        assert dataset == steps[0]["dataset"], "up names the datasets"
        _await_line(running.stdout, '  "url": ')
        yield Again(market, base, {"DATASET": dataset})
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=120) == 0


@pytest.mark.long
def test_each_role_of_the_readme_can_be_played_on_the_demo(again: Again) -> None:
    """Every line of the section is typed in a shell, in its order."""
    said, facts = [], again.facts
    for command in _role_commands():
        local = _at(command.line, again.folder, again.base)
        said.append(_typed(local, facts))
        made = re.search(r"keys/(elsewhere|new-patient)\.key", command.line)
        if command.name == "key" and made:
            name = {"elsewhere": "ELSEWHERE", "new-patient": "PATIENT"}[made[1]]
            facts[name] = said[-1]["address"]
        if "receipt-of-sums.json" in command.line and command.name == "request":
            facts["REQUEST"] = said[-1]["request"]
    found: dict[str, dict[str, Any]] = {}
    for command, each in zip(_role_commands(), said, strict=True):
        found.setdefault(command.name, each)  # the first request is that of the receipt
    *_, shown, again_shown = (
        each["opened"]
        for command, each in zip(_role_commands(), said, strict=True)
        if "--opening var" in command.line
    )
    assert shown == again_shown
    assert shown["request"] == facts["REQUEST"]
    assert int(found["withdraw"]["paid"]) == 600_000, "what its second cohort earned"
    assert found["grant"]["state"] == "live"
    assert found["verify-receipt"]["request"] == found["request"]["request"]
    assert found["verify-receipt"]["cohort_size"] == 160, "who has budget left: 159 and one more"
    (score,) = found["scores"]["scores"]
    assert round(float(score["score"]), 3) == 0.778, "the README says so"


@pytest.mark.long
def test_the_notebook_asks_the_demo_and_shows_an_answer_with_its_interval(
    again: Again, tmp_path: Path
) -> None:
    """In a kernel of its own, told where everything is by the environment, as a visitor would."""
    node = f"http://127.0.0.1:{again.base + 545}"
    where = {
        "USUFRUCT_URL": f"http://127.0.0.1:{again.base}",
        "USUFRUCT_NODE": node,
        "USUFRUCT_MANIFEST": str(again.folder / "manifest.json"),
        "USUFRUCT_KEY_FILE": str(again.folder / "keys" / "researcher.key"),
        "USUFRUCT_DELIVERY_KEY_FILE": str(tmp_path / "delivery.key"),
        "USUFRUCT_PURPOSE_FILE": str(again.folder / "examples" / "purpose.json"),
    }
    told = notebooks.executed(notebooks.FIRST_QUESTION, tmp_path, where)
    assert "paid: its escrow is held by the market" in told
    assert "settled" in told
    low, high, estimate = _interval(told)
    assert 80 <= low <= estimate <= high <= 200
    assert high - low < 120, "it says something"
    assert "sampling) is not in it" in told
    row = re.search(r"^0\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+mm\[Hg\]\s+0\.95$", told, re.MULTILINE)
    assert row, "the table has one row, with its unit and level"
    assert [float(each) for each in row.groups()] == pytest.approx([estimate, low, high], abs=0.01)
    assert ", ".join(STEPS) in told, "the receipt verified"
    assert keyfiles.read(tmp_path / "delivery.key").hex() not in told


def _interval(told: str) -> tuple[float, float, float]:
    """Low, high and estimate, as the answer's first sentence tells them."""
    found = re.search(r"([\d.]+) mmHg, 95% interval ([\d.]+) to ([\d.]+) mmHg\.", told)
    assert found, told
    value, low, high = map(float, found.groups())
    return low, high, value


def _role_commands() -> list[readme.Command]:
    return readme.commands(readme.section(ROLES))


def _at(line: str, market: Path, base: int) -> str:
    """The line for a demo elsewhere: its folder, and its ports as `make demo PORT=` moves them."""
    line = line.replace("var/demo", shlex.quote(str(market)))
    line = line.replace(":8545", f":{base + 545}")
    name = line.split()[1]
    asks_operator = "--node" not in line or "--issuer-key-file" in line or name == "bundle"
    if name in ("key", "score-key", "verify-receipt"):
        return line
    assert asks_operator
    more = f" --url http://127.0.0.1:{base}"
    if name == "request":
        more += f" --node http://127.0.0.1:{base + 545}"
    return line + more


def _typed(line: str, facts: dict[str, str]) -> dict[str, Any]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", line],
        env={**os.environ, **facts, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown
