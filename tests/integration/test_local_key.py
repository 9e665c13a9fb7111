"""Rules of a local market's first start: its custodians make their joint key once, whatever is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import astuple
from pathlib import Path

import pytest

from marketplace.chain.adapter import Chain
from marketplace.errors import Refusal
from marketplace.local import Local, Ports
from tests.support.market_world import free_ports
from tests.support.nodes import ROOT

TOLD = "the custodians generate their joint key"
DYING = """
import os, signal, sys
from pathlib import Path
from marketplace.local import Local, Ports, joint_key
from marketplace.peers import Peer

folder, when, ports = Path(sys.argv[1]), sys.argv[2], Ports(*map(int, sys.argv[3:]))
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if when == "words":
    said, post = [], Peer.post
    def dying(self, path, body, **options):
        said.append(path)
        return die() if len(said) > 4 else post(self, path, body, **options)
    Peer.post = dying
elif when == "before":
    joint_key.record = die
else:
    record = joint_key.record
    joint_key.record = lambda *given: (record(*given), die())
Local(folder, ports).start()
"""


def killed(when: str, folder: Path, ports: Ports) -> None:
    """A start that is killed once custodians have said something, before the key is on chain, or after."""
    told = [str(each) for each in astuple(ports)]
    command = [sys.executable, "-c", DYING, str(folder), when, *told]
    ended = subprocess.run(command, cwd=ROOT, check=False, timeout=300)
    assert ended.returncode == -signal.SIGKILL
    until = time.monotonic() + 60  # what it started ends with it
    while True:
        try:
            ports.require_free()
        except Refusal:
            assert time.monotonic() < until
            time.sleep(0.1)
        else:
            return


def key_of(local: Local) -> tuple[bytes, bytes]:
    return Chain(local.node_url, local.manifest()).joint_key(1)


@pytest.mark.long
@pytest.mark.parametrize(("deaths", "is_there"), [(("words", "before"), False), (("after",), True)])
def test_a_start_that_was_killed_is_gone_on_with_and_the_key_is_made_once(
    tmp_path: Path, deaths: tuple[str, ...], is_there: bool
) -> None:
    folder, ports = tmp_path / "market", free_ports()
    for when in deaths:
        killed(when, folder, ports)
    before = (b"", b"")
    for number in range(2):
        told: list[str] = []
        local = Local(folder, ports, tell=told.append)
        try:
            local.start()
            found = key_of(local)
            assert len(found[0]) == 66
            assert (TOLD in told) == (number == 0 and not is_there)
            assert number == 0 or found == before
            before = found
        finally:
            local.stop()
