"""SIGKILL to the processes of a market while a request stands at a known stage.

Only the operator moves a stage: stopped, it leaves the stage where it is, and what its database says then
is so at the moment of a kill, whoever is killed.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from marketplace.stages import Stage
from tests.support.market_world import World, read_sqlite

SINGLE = ("operator", "chain")
POLL = 0.004  # seconds; the shortest stage lasts more than ten times as long


@contextmanager
def stopped(process: subprocess.Popen[str]) -> Iterator[None]:
    """None of its threads runs meanwhile: one that was writing to a disk is waited for."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)  # nothing, if it was killed


def kill(world: World, kind: str, number: int = 0) -> None:
    """`number` tells custodians from each other, and gates."""
    world.local.end(kind if kind in SINGLE else f"{kind}-{number}", signal.SIGKILL)


def start(world: World, kind: str, number: int = 0) -> None:
    """Only the chain and the operator are waited for."""
    if kind in SINGLE:
        getattr(world.local, f"start_{kind}")()
    else:
        getattr(world.local, f"start_{kind}")(number)


def stage_of(world: World, request: str) -> Stage:
    """Where the request stands in the operator's database, read beside it."""
    return Stage(rows(world, "SELECT stage FROM requests WHERE id = ?", request)[0][0])


def log(world: World, request: str) -> list[tuple[Any, ...]]:
    """(before, after), in order."""
    query = "SELECT before, after FROM stage_log WHERE request = ? ORDER BY id"
    return rows(world, query, request)


def rows(world: World, query: str, request: str) -> list[tuple[Any, ...]]:
    return read_sqlite(world.local.folder / "operator/operator.sqlite", query, request)


def await_stage(world: World, request: str, wanted: Stage, seconds: float = 240.0) -> None:
    """Waits until the operator's database has the request there."""
    until = time.monotonic() + seconds
    while stage_of(world, request) is not wanted:
        assert time.monotonic() < until, stage_of(world, request)
        time.sleep(POLL)
