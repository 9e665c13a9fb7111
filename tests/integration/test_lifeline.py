"""What a local market started ends with it, also when it is killed; what a person started does not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from marketplace.wire import lifeline
from tests.support.market_world import free_ports

GIVE_UP = 60.0
MARKET = """
import sys, time
from pathlib import Path
from marketplace.local import Local, Ports
local = Local(Path(sys.argv[1]), Ports(chain=int(sys.argv[2])))
local.start_chain()
print(local.processes["chain"].pid, flush=True)
time.sleep(3600)
"""
SERVER = """
from marketplace.wire.http import create_app, serve
serve(create_app("server", lambda: []), "127.0.0.1", 0, most_body=1024)
"""


def require_gone(url: str) -> None:
    until = time.monotonic() + GIVE_UP
    while True:
        try:
            httpx.get(url, timeout=GIVE_UP)
        except httpx.TransportError:
            return
        assert time.monotonic() < until, "it still answers"
        time.sleep(0.1)


def test_the_chain_of_a_market_that_is_killed_ends_too(tmp_path: Path) -> None:
    port = free_ports().chain
    command = [sys.executable, "-c", MARKET, str(tmp_path), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as market:
        assert market.stdout is not None
        chain = int(market.stdout.readline())
        try:
            assert httpx.get(f"http://127.0.0.1:{port}", timeout=GIVE_UP).status_code == 405
            market.kill()
            require_gone(f"http://127.0.0.1:{port}")
        except BaseException:
            os.kill(chain, signal.SIGKILL)
            raise


def started(**options: object) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, **options
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["url"]


def test_a_server_ends_when_the_line_to_its_starter_breaks() -> None:
    environment = {**os.environ, **lifeline.environment()}
    process, url = started(stdin=subprocess.PIPE, env=environment)
    with process:
        assert httpx.get(f"{url}/health", timeout=GIVE_UP).json()["ready"]
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(GIVE_UP) == 0


@pytest.mark.parametrize("stdin", [subprocess.DEVNULL, subprocess.PIPE])
def test_a_server_that_was_started_by_hand_does_not_look_at_its_standard_input(stdin: int) -> None:
    process, url = started(stdin=stdin)
    with process:
        if process.stdin is not None:
            process.stdin.close()
        for _ in range(5):
            assert httpx.get(f"{url}/health", timeout=GIVE_UP).json()["ready"]
            time.sleep(0.1)
        process.terminate()
        assert process.wait(GIVE_UP) == 0
