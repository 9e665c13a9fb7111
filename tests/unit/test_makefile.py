"""What `make demo` runs, as make itself says it (`make -n`): no Node, and every option handed on."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from marketplace.cli.main import main
from tests.support.nodes import DAILY_ON_ANVIL, ROOT

GIVEN = ("ONCE=1", "JSON=x", "PORT=9000")
NODE = re.compile(r"\b(node|npm|npx|node_modules)\b")


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where make, a shell and Python are found, and nothing else: no Node above all."""
    for name in ("make", "sh", "bash", "python3"):
        found = shutil.which(name)
        assert found is not None, name
        (tmp_path / name).symlink_to(found)
    assert shutil.which("node", path=str(tmp_path)) is None
    return str(tmp_path)


def would_run(path: str, *arguments: str) -> list[str]:
    """The lines that make would hand to its shell. Nothing of an outer `make test` is handed on."""
    done = subprocess.run(
        ["make", "-n", *arguments],
        cwd=ROOT,
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ((), []),
        (("ONCE=1",), ["--once"]),
        (GIVEN, ["--once", "--json", "x", "--port", "9000"]),
        (("JSON=a b",), ["--json", "a b"]),
    ],
)
def test_make_demo_runs_the_story_with_what_it_was_given(
    path: str, given: tuple[str, ...], options: list[str]
) -> None:
    line = would_run(path, "demo", *given)[-1]
    assert shlex.split(line) == [".venv/bin/python", "-m", "marketplace.cli", "demo", *options]
    command = main.get_command(click.Context(main), "demo")
    assert command is not None
    taken = command.make_context("demo", list(options)).params
    assert taken["once"] is ("--once" in options)
    assert taken["port"] == (9000 if "--port" in options else 8000)


def test_make_demo_needs_no_node_from_nothing_to_the_end(path: str) -> None:
    """With every target made anew (-B), set-up included."""
    lines = would_run(path, "-B", "demo", *GIVEN)
    assert any("-m venv" in line for line in lines)
    assert any("requirements/runtime.txt" in line for line in lines)
    assert [line for line in lines if NODE.search(line)] == []
    assert any(NODE.search(line) for line in would_run(path, "-B", "test")), "the search finds it"


WORLDS = re.compile(
    r"\b(api_world|custody_world|any_node|tally_world|tally_processes|tallied_world|receipts_market)\b"
)
ON_BOTH_ALREADY = {"test_pipeline", "test_finality", "test_lying_nodes", "test_budget_races"}


def test_what_stands_on_one_chain_runs_on_the_other_too(path: str) -> None:
    (again,) = (line for line in would_run(path, "test-long") if "--other-chain" in line)
    run = {Path(each).stem for each in shlex.split(again) if each.startswith("tests/")}
    files = [*(ROOT / "tests/integration").glob("test_*.py")]
    files += (ROOT / "tests/adversarial").glob("test_*.py")
    standing = {each.stem for each in files if WORLDS.search(each.read_text())}
    assert run == standing - ON_BOTH_ALREADY
    assert run > DAILY_ON_ANVIL


def test_a_market_that_files_share_stands_on_the_chain_of_all_of_them() -> None:
    files = [*(ROOT / "tests").glob("*/test_*.py")]
    sharing = {each.stem for each in files if "shared_api" in each.read_text()}
    assert {"test_keys", "test_steward"} <= sharing
    assert not sharing & DAILY_ON_ANVIL
