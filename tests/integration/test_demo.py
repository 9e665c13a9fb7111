"""The main job: `make demo ONCE=1 JSON=path`, run as anybody would, with no Node on the path."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

STORY = [
    ("dataset published", "published"),
    ("records sealed, attested and stored", "stored"),
    ("patients consent", "granted"),
    ("mean systolic blood pressure", "settled"),
    ("a patient withdraws", "paid"),
    ("a patient revokes", "revoked"),
    ("the same question after the revocation", "settled"),
    ("the patient grants again", "granted"),
    ("a purpose that consent does not cover", "refused"),
    ("a researcher without a credential", "refused"),
    ("a request beyond what the class allows", "refused"),
    ("a request beyond some patients' budget", "settled"),
    ("everything stopped and started again", "unchanged"),
    ("a receipt verified with the operator down", "verified"),
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
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("demo")
    written = folder / "steps.json"
    command = [
        *(sys.executable, "-m", "marketplace.cli", "demo", "--once"),
        *("--json", str(written), "--data", str(folder / "market"), "--port", str(_free_base())),
    ]
    environment = {**os.environ, "PATH": str(Path(sys.executable).parent)}  # no node, no npm
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found: list[dict[str, Any]] = json.loads(written.read_text())["steps"]
    return found


def _settled(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [step for step in steps if step["outcome"] == "settled"]


def test_the_story_has_every_step_with_its_outcome(steps: list[dict[str, Any]]) -> None:
    assert [(step["name"], step["outcome"]) for step in steps] == STORY


def test_cohorts_shrink_by_exactly_who_revoked_and_who_has_no_budget_left(
    steps: list[dict[str, Any]],
) -> None:
    assert [step["cohort_size"] for step in _settled(steps)] == [200, 199, 160]


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


def test_money_is_conserved_by_every_request(steps: list[dict[str, Any]]) -> None:
    for step in _settled(steps):
        before, after = step["balances_before"], step["balances_after"]
        accounts = [name for name in before if not name.startswith("owed:")]
        assert sum(int(before[a]) for a in accounts) == sum(int(after[a]) for a in accounts)
        owed = sum(int(value) for name, value in after.items() if name.startswith("owed:"))
        assert int(after["ResearchMarket"]) == owed
        earned = int(after["owed:earnings"]) - int(before["owed:earnings"])
        assert earned == step["cohort_size"] * 600_000  # 20,000 units a milli-rho, 30 of them


def test_a_refusal_says_why_and_changes_no_balance(steps: list[dict[str, Any]]) -> None:
    refused = [step for step in steps if step["outcome"] == "refused"]
    reasons = [step["reason"] for step in refused]
    assert reasons == ["purpose_not_permitted", "credential_missing", "cost_above_class"]
    assert all(step["balances_before"] == step["balances_after"] for step in refused)
