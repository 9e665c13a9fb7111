"""The bench itself: what it compiles, what it refuses, what it counts as a failure."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from contracts.tools import compile as compiler

ROOT = Path(__file__).resolve().parents[2]
PLACE = """// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import "./Limit.sol";
contract Place is Ownable, Limit {
    uint256 public immutable born = block.number;
    constructor() Ownable(msg.sender) {}
}
"""
LIMIT = """// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;
contract Limit { struct Pair { uint128 low; uint128 high; } Pair public pair; }
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder like contracts/, with one contract that imports OpenZeppelin and a neighbour."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "Place.sol").write_text(PLACE)
    (tmp_path / "src" / "Limit.sol").write_text(LIMIT)
    (tmp_path / "node_modules").symlink_to(ROOT / "contracts" / "node_modules")
    return tmp_path


def test_compiling_writes_our_contracts_and_a_manifest_of_every_source(project: Path) -> None:
    artifacts = compiler.compile_contracts(project)
    assert artifacts.keys() == {"Place.json", "Limit.json", "manifest.json"}
    place = json.loads(artifacts["Place.json"])
    assert place["sourceName"] == "src/Place.sol"
    assert len(place["immutableReferences"]) == 1
    assert [slot["label"] for slot in place["storageLayout"]["storage"]] == ["_owner", "pair"]
    manifest = json.loads(artifacts["manifest.json"])
    assert "@openzeppelin/contracts/access/Ownable.sol" in manifest["sourcesSha256"]


@pytest.mark.long
def test_compiling_again_in_another_folder_gives_the_same_bytes(project: Path) -> None:
    twin = project / "elsewhere"
    (twin / "src").mkdir(parents=True)
    for name in ("Place.sol", "Limit.sol"):
        (twin / "src" / name).write_bytes((project / "src" / name).read_bytes())
    (twin / "node_modules").symlink_to(ROOT / "contracts" / "node_modules")
    first = compiler.compile_contracts(project, cached=False)
    assert compiler.compile_contracts(twin, cached=False) == first


def test_the_check_names_an_artifact_that_differs_is_missing_or_left_over(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project / "artifacts"
    assert compiler.main(["--root", str(project)]) == 0
    assert compiler.main(["--check", "--root", str(project)]) == 0
    (folder / "Place.json").write_text("{}")
    (folder / "Limit.json").rename(folder / "Left.json")
    assert compiler.main(["--check", "--root", str(project)]) == 1
    complaint = capsys.readouterr().err
    assert "Place.json: differs" in complaint
    assert "Limit.json: missing" in complaint
    assert "Left.json: has no source" in complaint


def test_the_check_never_believes_the_cache(project: Path) -> None:
    assert compiler.main(["--root", str(project)]) == 0
    for stored in (project / "cache").iterdir():
        stored.write_text('{"contracts": {}}')
    assert compiler.compile_contracts(project).keys() == {"manifest.json"}
    assert compiler.main(["--check", "--root", str(project)]) == 0


def test_a_source_with_a_fault_or_a_missing_import_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "src" / "Bad.sol").write_text('import "./Nowhere.sol";')
    assert compiler.main(["--root", str(project)]) == 1
    assert "src/Nowhere.sol not found" in capsys.readouterr().err
    (project / "src" / "Bad.sol").write_text("contract Bad { uint x = y; }")
    assert compiler.main(["--root", str(project)]) == 1
    assert "Undeclared identifier" in capsys.readouterr().err
    assert not (project / "artifacts").exists()


def test_a_compiler_of_another_version_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = project / "solc"
    other.write_text("#!/bin/sh\necho 'Version: 0.8.20+commit.a1b79de6.Linux.g++'\n")
    other.chmod(0o755)
    monkeypatch.setenv("SOLC", str(other))
    with pytest.raises(compiler.CompilationRefused, match=r"0\.8\.20"):
        compiler.find_compiler()


def test_forge_compiles_with_the_settings_of_the_artifacts() -> None:
    forge = tomllib.loads((ROOT / "contracts" / "foundry.toml").read_text())["profile"]["default"]
    optimizer = {"enabled": forge["optimizer"], "runs": forge["optimizer_runs"]}
    assert {
        "evmVersion": forge["evm_version"],
        "metadata": {"bytecodeHash": forge["bytecode_hash"]},
        "optimizer": optimizer,
        "viaIR": forge["via_ir"],
    } == compiler.SETTINGS


@pytest.mark.parametrize("part", ["contracts", "web"])
def test_the_npm_lock_holds_what_package_json_asks_for(part: str) -> None:
    asked = json.loads((ROOT / part / "package.json").read_text())
    locked = json.loads((ROOT / part / "package-lock.json").read_text())["packages"]
    for group in ("dependencies", "devDependencies"):
        assert locked[""][group] == asked[group]
    assert all("integrity" in entry for path, entry in locked.items() if path)


@pytest.mark.parametrize(
    "body",
    [
        "@pytest.mark.skip(reason='later')\ndef test_it(): pass",
        pytest.param(
            "@pytest.mark.xfail(reason='known')\ndef test_it(): raise ValueError",
            marks=pytest.mark.long,
        ),
        "@pytest.mark.xfail(reason='known')\ndef test_it(): pass",
        pytest.param(
            "pytest.importorskip('no_such_module_here')\ndef test_it(): pass",
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_skipped_or_excused_test_fails_the_run(tmp_path: Path, body: str) -> None:
    (tmp_path / "conftest.py").write_bytes((ROOT / "tests" / "conftest.py").read_bytes())
    (tmp_path / "test_a.py").write_text(f"import pytest\n{body}\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # the conftest reads of tests.support
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "counts as a failure" in run.stdout


@pytest.mark.parametrize(
    ("importer", "statement", "rule"),
    [
        ("custodian", "import marketplace.store", "marketplace.custodian must not import"),
        ("gate", "import marketplace.pipeline", "marketplace.gate must not import"),
        ("wire", "import sqlalchemy", "marketplace.wire must not import sqlalchemy"),
        ("newcomer", "", "give it a line"),
    ],
)
def test_an_import_against_the_layout_is_refused(
    tmp_path: Path, importer: str, statement: str, rule: str
) -> None:
    for name in ("marketplace", "ml", "web"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    for name in ("store", "pipeline"):
        (tmp_path / "marketplace" / f"{name}.py").touch()
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    (tmp_path / ".importlinter").write_bytes((ROOT / ".importlinter").read_bytes())
    assert _lint_imports(tmp_path).returncode == 0
    (tmp_path / "marketplace" / f"{importer}.py").write_text(f"{statement}\n")
    verdict = _lint_imports(tmp_path)
    assert verdict.returncode == 1
    assert rule in verdict.stdout


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    return subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(folder), "COLUMNS": "200", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
