"""Processes that tests fork are what they would be, started afresh."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import fork_server

PORTRAIT = "tests.support.self_portrait"
Start = Callable[..., fork_server.Started]


@pytest.fixture
def start() -> Iterator[Start]:
    """As `fork_server.start`; what is left of a process goes with the test."""
    with ExitStack() as left:

        def started(*words: str, **options: Any) -> fork_server.Started:
            process = fork_server.start(*words, **options)
            left.callback(process.stdout.close)
            left.callback(process.kill)
            return process

        yield started


def told(process: fork_server.Started) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def afresh(*words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", PORTRAIT, *words]
    nothing, environment = (
        subprocess.DEVNULL,
        dict(os.environ),
    )  # readline sets more, behind Python's back
    done = subprocess.run(
        command,
        cwd=fork_server.ROOT,
        env=environment,
        stdin=nothing,
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
    return found


def test_a_forked_process_has_what_one_that_is_started_afresh_has(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONLY_NOW", "set")
    told(
        start(PORTRAIT, "waits")
    )  # so that the server has another environment, and another process
    monkeypatch.setenv("ONLY_NOW", "set anew")
    forked, other = told(start(PORTRAIT, "a b", "--c")), afresh("a b", "--c")
    for each in ("words", "folder", "environment", "input"):
        assert forked[each] == other[each], each
    assert forked["environment"]["ONLY_NOW"] == "set anew"
    assert forked["words"] == ["a b", "--c"]
    assert forked["input"] == ""
    assert len(forked["open"]) == len(other["open"]) == 3


def test_no_two_processes_draw_the_same(start: Start) -> None:
    drawn = [told(start(PORTRAIT))["drawn"] for _ in range(3)]
    for source in drawn[0]:
        assert len({json.dumps(each[source]) for each in drawn}) == 3, source


def test_how_a_process_ends_is_told(start: Start, tmp_path: Path) -> None:
    well, badly = start(PORTRAIT), start("no.such.module")
    assert (well.wait(60), well.poll()) == (0, 0)
    assert well.stdout.read().endswith("ended in order\n")
    assert badly.wait(60) == 1
    with (tmp_path / "said").open("ab") as said:
        failing = start(PORTRAIT, "fails", stderr=said)
    assert failing.wait(60) == 1
    assert failing.stdout.read().endswith("ended in order\n")
    assert (tmp_path / "said").read_text() == "this is why\n"


def test_a_process_is_stopped_and_killed_like_any_other(start: Start) -> None:
    killed, stopped = start(PORTRAIT, "waits"), start(PORTRAIT, "waits")
    assert killed.pid != stopped.pid
    assert told(killed)["words"] == told(stopped)["words"] == ["waits"]
    with pytest.raises(subprocess.TimeoutExpired):
        killed.wait(0.01)
    assert killed.poll() is None
    killed.kill()
    assert killed.wait(60) == -signal.SIGKILL
    assert stopped.poll() is None
    stopped.stop()
    assert stopped.returncode == -signal.SIGTERM
    assert not Path(f"/proc/{stopped.pid}").exists()  # reaped, by the server that forked it


def test_a_process_that_nobody_waits_for_takes_no_other_along(start: Start) -> None:
    told(forgotten := start(PORTRAIT, "waits"))
    os.close(forgotten._ended)
    os.kill(forgotten.pid, signal.SIGKILL)
    forgotten.returncode = -signal.SIGKILL
    assert start(PORTRAIT).wait(60) == 0
