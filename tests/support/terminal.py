"""Commands whose standard error is a terminal, as a person sees them."""

import os
import pty
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.nodes import ROOT

GIVE_UP = 180.0


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    stdout: str
    stderr: str


def at_a_terminal(command: Sequence[str], typed: str = "") -> Said:
    """Standard output is a pipe, standard error a terminal; so is standard input where something is typed."""
    master, slave = pty.openpty()
    told: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(master, told), daemon=True)
    reader.start()
    os.write(master, typed.encode())
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(
        list(command),
        stdout=subprocess.PIPE,
        stderr=slave,
        stdin=slave if typed else subprocess.DEVNULL,
        env=environment,
        cwd=ROOT,
        timeout=GIVE_UP,
    )
    os.close(slave)
    reader.join(GIVE_UP)
    os.close(master)
    return Said(done.returncode, done.stdout.decode(), b"".join(told).decode())


def in_a_pipe(command: Sequence[str]) -> Said:
    """Neither is a terminal."""
    done = subprocess.run(
        list(command), capture_output=True, stdin=subprocess.DEVNULL, cwd=ROOT, timeout=GIVE_UP
    )
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def in_dialogue(command: Sequence[str], dialogue: Sequence[tuple[str, str]]) -> Said:
    """As `at_a_terminal`; each answer is typed once its question stands there, as a hidden one needs: what
    was typed before it is thrown away."""
    master, slave = pty.openpty()
    # A session of its own has no other terminal at which a passphrase could be asked for.
    started = subprocess.Popen(
        list(command),
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=slave,
        cwd=ROOT,
        start_new_session=True,
    )
    os.close(slave)
    told: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(master, told), daemon=True)
    reader.start()
    until = time.monotonic() + GIVE_UP
    for question, answer in dialogue:
        while question.encode() not in b"".join(told):
            assert time.monotonic() < until, f"never asked {question}: {told}"
            assert started.poll() is None, told
            time.sleep(0.05)
        os.write(master, f"{answer}\n".encode())
    stdout, _ = started.communicate(timeout=GIVE_UP)
    reader.join(GIVE_UP)
    os.close(master)
    return Said(started.returncode, stdout.decode(), b"".join(told).decode())


def _read_all(master: int, told: list[bytes]) -> None:
    while True:
        try:
            part = os.read(master, 65_536)
        except OSError:  # the other end was closed: EIO on Linux
            return
        if not part:
            return
        told.append(part)
