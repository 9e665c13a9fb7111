"""Every Solidity test file, as one test each: forge runs once, its JSON is read back."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"
FORGE = CONTRACTS / "node_modules" / ".bin" / "forge"
FILES = sorted(p.relative_to(CONTRACTS).as_posix() for p in CONTRACTS.glob("test/**/*.t.sol"))

pytestmark = pytest.mark.timeout(2400)


@pytest.fixture(scope="module")
def verdicts() -> dict[str, dict[str, Any]]:
    """`test/File.t.sol:Contract` -> test signature -> verdict (judged below)."""
    run = subprocess.run(
        [FORGE, "test", "--json"], cwd=CONTRACTS, capture_output=True, text=True, check=False
    )
    start = run.stdout.find("{")
    assert start >= 0, f"forge printed no results:\n{run.stdout}\n{run.stderr}"
    results: dict[str, dict[str, Any]] = json.loads(run.stdout[start:])
    return {name: suite["test_results"] for name, suite in results.items()}


@pytest.mark.parametrize("file", FILES)
def test_forge_suite_passes(file: str, verdicts: dict[str, dict[str, Any]]) -> None:
    ran = {
        f"{name}.{test}": verdict
        for name, tests in verdicts.items()
        if name.partition(":")[0] == file
        for test, verdict in tests.items()
    }
    assert ran, f"{file} holds no test that forge ran"
    unproven = {
        test: verdict.get("reason") or verdict["status"]
        for test, verdict in ran.items()
        if verdict["status"] != "Success"
    }
    assert not unproven
