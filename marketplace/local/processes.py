"""The processes of a local market: started, waited for, noticed when they die, ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from marketplace.errors import Refusal
from marketplace.wire import lifeline

START_SECONDS: Final = 90.0


@dataclass
class Processes:
    """What runs for the market in a folder, by name."""

    folder: Path
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict, kw_only=True)

    def fallen(self) -> tuple[str, int] | None:
        """A process that ended although `end` was not asked to end it, and its exit code as `subprocess`
        has it (below zero: the signal that killed it); None while all run."""
        for name, process in list(self.processes.items()):
            code = process.poll()
            # `end` forgets a process before it ends it: who is still known ended by itself.
            if code is not None and self.processes.get(name) is process:
                return name, code
        return None

    def log_path(self, name: str) -> Path:
        """Where a process writes its log."""
        return self.folder / "logs" / f"{name}.log"

    def end(self, name: str, how: int = signal.SIGTERM) -> None:
        """Ends one process (by SIGTERM, unless told otherwise) and waits for it."""
        await_end(self._tell_to_end(name, how))

    def _tell_to_end(self, name: str, how: int = signal.SIGTERM) -> subprocess.Popen[str]:
        process = self.processes.pop(name)
        if process.poll() is None:
            process.send_signal(how)
        return process

    def _spawn(self, name: str, module: str, *arguments: str) -> None:
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        with (logs / f"{name}.log").open("a") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,  # never written to: see `lifeline`
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **lifeline.environment(), "PYTHONUNBUFFERED": "1"},
            )

    def _await_ready(self, name: str) -> dict[str, Any]:
        """The JSON line that a process prints once it listens."""
        process = self.processes[name]
        line = process.stdout.readline() if process.stdout is not None else ""
        try:
            return dict(json.loads(line))
        except ValueError:
            how = ended_how(process.wait(timeout=30))
            raise Refusal(
                code="not_started",
                message=f"The {name} did not start ({how}).",
                remedy=f"Read {self.folder / 'logs' / (name + '.log')}; is its port taken?",
                field=name,
            ) from None


def ended_how(code: int) -> str:
    """An exit code, as `subprocess` has it, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def await_end(process: subprocess.Popen[str]) -> None:
    """Waits for a process that was told to end; kills it where it does not."""
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def await_health(urls: Sequence[str]) -> None:
    """Waits until every process says it is ready. Raises Refusal (not_ready)."""
    until = time.monotonic() + START_SECONDS
    for url in urls:
        while not _is_ready(url):
            if time.monotonic() > until:
                raise Refusal(
                    code="not_ready",
                    message=f"{url} is not ready after {START_SECONDS:.0f} seconds.",
                    remedy=f"Ask it why: GET {url}/health.",
                )
            time.sleep(0.2)


def _is_ready(url: str) -> bool:
    try:
        return bool(httpx.get(f"{url}/health", timeout=5.0).json()["ready"])
    except (httpx.HTTPError, ValueError, KeyError):
        return False
