"""A market's processes: how one that died ended is said in words, and what takes a while is told before."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from marketplace.cli.running import died
from marketplace.local import Local, ended_how

GIVE_UP = 60.0
SLEEP = "import time; time.sleep(3600)"


def local_with(folder: Path, program: str) -> Local:
    """A market of which one process runs this program."""
    folder.mkdir()
    process = subprocess.Popen([sys.executable, "-c", program], text=True)
    return Local(folder, processes={"custodian-1": process})


@pytest.mark.parametrize(
    ("how", "words"),
    [(signal.SIGKILL, "killed by SIGKILL"), (signal.SIGSEGV, "killed by SIGSEGV")],
)
def test_a_process_that_was_killed_is_named_with_the_signal(
    tmp_path: Path, how: signal.Signals, words: str
) -> None:
    local = local_with(tmp_path / "market", SLEEP)
    assert died(local) is None
    local.processes["custodian-1"].send_signal(how)
    local.processes["custodian-1"].wait(GIVE_UP)
    dead = died(local)
    assert dead is not None
    assert (dead.code, dead.field) == ("process_died", "custodian-1")
    assert words in dead.message
    assert "custodian-1.log" in dead.remedy


def test_a_process_that_ended_is_named_with_its_exit_code(tmp_path: Path) -> None:
    local = local_with(tmp_path / "market", "raise SystemExit(7)")
    local.processes["custodian-1"].wait(GIVE_UP)
    dead = died(local)
    assert dead is not None
    assert dead.message.endswith("exit code 7.")


def test_a_process_that_something_else_told_to_end_is_not_said_to_have_failed(
    tmp_path: Path,
) -> None:
    local = local_with(tmp_path / "market", "pass")
    local.processes["custodian-1"].wait(GIVE_UP)
    dead = died(local)
    assert dead is not None
    assert "ended in good order: something other than this command told it to" in dead.message
    assert "its log does not say who" in dead.remedy


def test_a_signal_without_a_name_is_said_by_its_number() -> None:
    assert ended_how(-int(signal.SIGRTMIN) - 3) == f"killed by signal {int(signal.SIGRTMIN) + 3}"
    assert ended_how(0) == "exit code 0"


def test_stopping_is_told_before_it_is_done_and_only_where_something_runs(tmp_path: Path) -> None:
    told: list[str] = []
    local = local_with(tmp_path / "market", SLEEP)
    local.tell = told.append
    local.stop()
    assert told == ["every process stops"]
    local.stop()
    assert told == ["every process stops"]
