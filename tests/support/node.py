"""Node, for what the browser's modules do outside a browser: run once, or asked line by line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "tests" / "browser" / "js"
PATIENCE = 500.0
"""Seconds for everything: on a busy machine it takes longer, and no test is about speed."""


def program() -> str:
    """Path of Node. Raises where there is none: that is a failure, never a reason to skip."""
    found = shutil.which("node")
    if found is None:
        raise RuntimeError(
            "Node 20 or newer is needed: install it (Debian: apt-get install nodejs npm)."
        )
    return found


def run_tests(*files: str, long: bool = False) -> subprocess.CompletedProcess[str]:
    """`node --test` of these files of tests/browser/js; `long` tells them to try everything."""
    paths = [str(SCRIPTS / each) for each in files]
    return subprocess.run(
        [program(), "--test", *paths],
        env={**os.environ, "USUFRUCT_LONG": "1" if long else ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=ROOT,
    )


class Asked:
    """One process that answers a JSON line with a JSON line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, what: str, **given: Any) -> Any:
        """`{value}` or `{refused}`. Raises AssertionError for a fault of the script."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the script ended"
        answer = json.loads(line)
        assert "fault" not in answer, answer["fault"]
        return answer


@contextmanager
def asking(script: str) -> Iterator[Asked]:
    """A script of tests/browser/js that reads lines until its input ends."""
    command = [program(), str(SCRIPTS / script)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield Asked(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(PATIENCE)
