"""Every Solidity test file, as one test each: forge runs once, its JSON is read back.

`make test` runs forge's profile `quick` (256 runs a fuzz test, a campaign of 32 x 100), `make test-long`
its profile `long` (10,000 and 256 x 500). That it did so is read from what forge reports, so that a setting
which forge does not read as it is meant cannot weaken a run unseen.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"
FORGE = CONTRACTS / "node_modules" / ".bin" / "forge"
FILES = sorted(p.relative_to(CONTRACTS).as_posix() for p in CONTRACTS.glob("test/**/*.t.sol"))

LEAST_SUCCESS = 0.10
"""Share of an action's calls in the campaign that must succeed: what never happens shows nothing."""

ACTIONS = {
    *("grant", "regrant", "revoke", "rest", "wake", "wakeWords", "withdrawEarnings", "rotate"),
    *("erase", "attest", "expel", "warp", "open", "cancel", "freeze", "tidy", "seal", "sealAll"),
    *("dissolve", "drawGate", "redrawGate", "recordGateKey", "commitNoise", "fixNoise", "settle"),
    *("defaultCertified", "defaultUncertified", "reclaim", "postBond", "releaseBond"),
    "withdrawCredit",
}
"""All that the campaign does. One that fell out of the handler's list would not be missed by its laws."""

CAMPAIGN = "test/invariant/Laws.t.sol:LawsTest", "invariant_every_law_holds()"


@dataclass(frozen=True)
class Strength:
    """Runs of each fuzz test; runs of the campaign, and calls in each of them."""

    fuzz_runs: int
    campaign_runs: int
    campaign_depth: int


STRENGTH = {"quick": Strength(256, 32, 100), "long": Strength(10_000, 256, 500)}
"""What each profile of foundry.toml is to run."""

pytestmark = pytest.mark.timeout(2400)

Verdicts = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def profile(request: pytest.FixtureRequest) -> str:
    return "long" if request.config.getoption("--long") else "quick"


@pytest.fixture(scope="module")
def verdicts(profile: str) -> Verdicts:
    """`test/File.t.sol:Contract` -> test signature -> verdict (judged below)."""
    run = subprocess.run(
        [FORGE, "test", "--json"],
        cwd=CONTRACTS,
        env={**os.environ, "FOUNDRY_PROFILE": profile},
        capture_output=True,
        text=True,
        check=False,
    )
    start = run.stdout.find("{")
    assert start >= 0, f"forge printed no results:\n{run.stdout}\n{run.stderr}"
    results: dict[str, dict[str, Any]] = json.loads(run.stdout[start:])
    return {name: suite["test_results"] for name, suite in results.items()}


@pytest.mark.parametrize("file", FILES)
def test_forge_suite_passes(file: str, verdicts: Verdicts) -> None:
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


def test_every_property_was_tried_as_often_as_it_should(profile: str, verdicts: Verdicts) -> None:
    runs = {
        f"{name}.{test}": verdict["kind"]["Fuzz"]["runs"]
        for name, tests in verdicts.items()
        for test, verdict in tests.items()
        if "Fuzz" in verdict["kind"]
    }
    assert runs, "forge ran no fuzz test"
    wanted = STRENGTH[profile].fuzz_runs
    assert {test: number for test, number in runs.items() if number != wanted} == {}


def test_the_campaign_was_as_long_as_it_should_be(profile: str, verdicts: Verdicts) -> None:
    ran, wanted = campaign_of(verdicts), STRENGTH[profile]
    assert ran["runs"] == wanted.campaign_runs
    assert ran["calls"] == wanted.campaign_runs * wanted.campaign_depth


def test_there_is_no_other_campaign(verdicts: Verdicts) -> None:
    """forge repeats a whole campaign for each invariant function, so all laws are in one."""
    kinds = {
        (file, test): v["kind"] for file, tests in verdicts.items() for test, v in tests.items()
    }
    assert [place for place, kind in kinds.items() if "Invariant" in kind] == [CAMPAIGN]


def test_every_action_of_the_campaign_succeeds_often_enough(verdicts: Verdicts) -> None:
    """The campaign lets a refused action revert, so forge's count of reverts is that of refusals."""
    metrics = campaign_of(verdicts)["metrics"]
    shares = {name.rpartition(".")[2]: _share(counts) for name, counts in metrics.items()}
    _print_table(shares)
    assert set(shares) == ACTIONS
    rare = {action: share for action, share in shares.items() if share < LEAST_SUCCESS}
    assert not rare


def campaign_of(verdicts: Verdicts) -> dict[str, Any]:
    """Its runs, its calls in all, and its metrics."""
    file, test = CAMPAIGN
    told: dict[str, Any] = verdicts[file][test]["kind"]["Invariant"]
    return told


def _share(counts: dict[str, int]) -> float:
    return 1 - (counts["reverts"] + counts["discards"]) / counts["calls"]


def _print_table(shares: dict[str, float]) -> None:
    for action, share in sorted(shares.items(), key=lambda item: item[1]):
        print(f"{action:20} {share:6.1%} succeeded")
