"""Programs of the product as processes of their own, forked from an interpreter that has imported them.

Such a process is as real as one that is started afresh: a process id, memory, files and sockets of its own,
to be stopped and killed at any moment. It spares the 2 s of processor time that importing takes. What starts
by itself, with an environment of its own, is tested where a reader types the README's commands.

    python -m tests.support.fork_server     # the server, on standard input; tests call `start`
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
IMPORTED: Final = (
    "marketplace.chain.node.backend",
    "marketplace.chain.node.methods",
    "marketplace.chain.node.server",
    "marketplace.cli.market",
    "marketplace.custodian.main",
    "marketplace.gate.main",
)
"""Each of a program's imports but the program itself, which runs as `__main__`."""
LARGEST: Final = 65_536  # bytes of what is asked for


class Started:
    """A process, with what tests ask of `subprocess.Popen`."""

    def __init__(self, pid: int, ended: int, stdout: IO[str]) -> None:
        self.pid, self.stdout = pid, stdout
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, or the signal that ended it as a negative number.

        Raises:
            subprocess.TimeoutExpired: seconds that were not enough.
        """
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            said = os.read(self._ended, 16)
            os.close(self._ended)
            assert said, "the server that it was forked from is gone"
            self.returncode = int(said)
        return self.returncode

    def send_signal(self, how: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, how)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        """Asks it to end, and waits."""
        self.terminate()
        self.wait()
        self.stdout.close()


def start(module: str, *words: str, stderr: IO[bytes] | None = None) -> Started:
    """`python -m module words` at the root of the repository, as soon as it is a process.

    Standard input is empty, standard output is read here; standard error is the tests' own, unless it goes
    elsewhere.
    """
    asked = {"module": module, "words": words, "environment": dict(os.environ)}
    read, write = os.pipe()
    told, tell = os.pipe()
    server = _server()
    given = [write, 2 if stderr is None else stderr.fileno(), tell]
    try:
        socket.send_fds(server, [json.dumps(asked).encode()], given)
        pid = int(server.recv(16))
    finally:
        os.close(write)
        os.close(tell)
    return Started(pid, told, os.fdopen(read, "r"))


@functools.cache
def _server() -> socket.socket:
    """One for all tests of this process; it ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.fork_server"], stdin=theirs, cwd=ROOT
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait(60)

    atexit.register(end)
    return ours


def _serve() -> tuple[dict[str, Any], Sequence[int]] | None:
    """Forks for whoever asks, and tells how each ends. Returns in every process that was forked, with what it
    is to be; and None in the server, once nobody can ask any more."""
    asking = socket.socket(fileno=os.dup(0))
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    told: dict[int, int] = {}
    while True:
        ready = select.select([asking, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            _tell_ends(told)
        if asking in ready:
            said, given, _, _ = socket.recv_fds(asking, LARGEST, 3)
            if not said:
                return None
            if pid := os.fork():
                os.close(given[0])
                os.close(given[1])
                told[pid] = given[2]
                asking.send(str(pid).encode())
                continue
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            asking.close()
            for each in (woken, wake, given[2], *told.values()):
                os.close(each)
            return json.loads(said), given[:2]


def _tell_ends(told: dict[int, int]) -> None:
    for pid in list(told):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            to = told.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # who started it does not wait for it
                os.write(to, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(to)


def _become(asked: dict[str, Any], given: Sequence[int]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for standard, each in enumerate((nothing, *given)):
        os.dup2(each, standard)
        os.close(each)
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["", *asked["words"]]
    runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    if (found := _serve()) is not None:
        _become(*found)
