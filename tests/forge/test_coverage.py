"""Every line and every branch of the contracts is run by the forge suite, but for the exceptions below."""

import os
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"
FORGE = CONTRACTS / "node_modules" / ".bin" / "forge"
# Branches are met by name, not by chance: the fuzz tests need few runs.
FUZZ_RUNS = "16"

# File and source line of each branch that forge counts as not taken, and why that is so.
BRANCHES_NOT_TAKEN = {
    ("src/ResearchMarket.sol", "if (forfeit > bond) forfeit = bond;"): (
        "cannot happen: what a seal pays is at most the live number at the freeze times the price, "
        "which the bond covers; a second lock, so that a default would end all the same"
    ),
    (
        "src/DatasetRegistry.sol",
        "if (steward != msg.sender) revert NotSteward(dataset, msg.sender);",
    ): (
        "taken by test_only_its_steward_keeps_a_dataset_and_may_hand_it_over; forge's report does not "
        "see this branch of a modifier"
    ),
}
# Free functions and declarations, which forge does not instrument: Words.t.sol runs the former.
NOT_INSTRUMENTED = ("src/types/", "src/interfaces/")


@dataclass
class Coverage:
    """Of one file: how often each line ran, and each (line, block, branch)."""

    lines: dict[int, int] = field(default_factory=dict)
    branches: dict[tuple[int, str, str], int] = field(default_factory=dict)


Report = dict[str, Coverage]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """`src/File.sol` -> coverage, by every test but the campaign."""
    where = tmp_path_factory.mktemp("coverage") / "lcov.info"
    command = [FORGE, "coverage", "--no-match-path", "test/invariant/*"]
    run = subprocess.run(
        [*command, "--report", "lcov", "--report-file", where],
        cwd=CONTRACTS,
        env={**os.environ, "FOUNDRY_PROFILE": "quick", "FOUNDRY_FUZZ_RUNS": FUZZ_RUNS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return read_lcov(where.read_text(encoding="utf-8"))


def read_lcov(text: str) -> Report:
    """The sources' part of an LCOV tracefile (`man geninfo`: SF, DA, BRDA)."""
    files: Report = defaultdict(Coverage)
    name = ""
    for line in text.splitlines():
        kind, _, rest = line.partition(":")
        if kind == "SF":
            name = rest
        elif kind == "DA":
            number, hits, *_ = rest.split(",")
            files[name].lines[int(number)] = int(hits)
        elif kind == "BRDA":
            number, block, branch, hits = rest.split(",")
            taken = 0 if hits == "-" else int(hits)
            files[name].branches[int(number), block, branch] = taken
    return {file: coverage for file, coverage in files.items() if file.startswith("src/")}


def sources() -> dict[str, list[str]]:
    """`src/File.sol` -> its lines, of every file that holds code to instrument."""
    paths = {p.relative_to(CONTRACTS).as_posix(): p for p in CONTRACTS.glob("src/**/*.sol")}
    return {
        name: path.read_text(encoding="utf-8").splitlines()
        for name, path in paths.items()
        if not name.startswith(NOT_INSTRUMENTED)
    }


def test_lcov_is_read_as_it_is_written() -> None:
    ours = ["SF:src/A.sol", "DA:3,1", "DA:4,0", "BRDA:4,0,0,2", "BRDA:4,0,1,-", "end_of_record"]
    tests = ["SF:test/B.sol", "DA:1,0", "end_of_record"]
    (name, coverage), *others = read_lcov("\n".join(["TN:", *ours, *tests])).items()
    assert (name, others) == ("src/A.sol", [])
    assert coverage == Coverage({3: 1, 4: 0}, {(4, "0", "0"): 2, (4, "0", "1"): 0})


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_every_line_of_every_contract_runs(report: Report) -> None:
    assert set(report) == set(sources())
    idle = {
        file: [line for line, hits in coverage.lines.items() if not hits]
        for file, coverage in report.items()
    }
    assert all(coverage.lines for coverage in report.values())
    assert {file: lines for file, lines in idle.items() if lines} == {}


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_every_branch_is_taken_but_for_the_exceptions(report: Report) -> None:
    text = sources()
    idle = {
        (file, text[file][line - 1].strip())
        for file, coverage in report.items()
        for (line, _, _), hits in coverage.branches.items()
        if not hits
    }
    assert sum(len(coverage.branches) for coverage in report.values()) > 0
    assert idle == set(BRANCHES_NOT_TAKEN)
