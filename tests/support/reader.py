"""Somebody who types what the README says: each party in a folder of its own, servers as processes.

What stands for something of the reader's own is replaced by rule, and nothing else: `$NAMES`, hosts below
example.org, ports, the node of the configurations, hashes of ones, addresses of gates, and an expiry.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import httpx
from click.testing import CliRunner
from eth_utils.crypto import keccak

from marketplace.chain.funding import fund
from marketplace.chain.rpc import Node
from marketplace.cli.main import main
from marketplace.wire import lifeline
from marketplace.wire.http import to_hex
from tests.support.market_world import free_ports
from tests.support.nodes import RunningNode
from tests.support.readme import Command

ETHER = 10**18
YEAR = 365 * 86_400
PATIENCE = 240.0
"""Seconds until a server says that it is ready, on a slow machine."""
HOST = re.compile(r"https://([a-z0-9-]+)\.example\.org")
ONES = "0x" + "1" * 64


@dataclass
class Reader:
    """`facts` is what the README's `$NAMES` stand for; `documents` its JSON, by file."""

    folder: Path
    node: RunningNode
    documents: Mapping[str, Any]
    facts: dict[str, str] = field(default_factory=dict)
    servers: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    _ports: dict[str, int] = field(default_factory=dict)
    _typed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.facts["NODE"] = self.node.url
        ports = free_ports()
        self._ports = {"operator": ports.operator, "new": ports.chain}
        for place in range(3):
            self._ports |= {f"custodian-{place}": ports.custodian + place}
            self._ports |= {f"gate-{place}": ports.gate + place}

    # --- whose folder, and what lies in it

    def home(self, party: str) -> Path:
        """Where a party types."""
        path = self.folder / party
        path.mkdir(exist_ok=True)
        return path

    def hand(self, file: str, giver: str, *takers: str) -> None:
        """A public file goes from one party to others."""
        for taker in takers:
            (self.home(taker) / file).write_bytes((self.home(giver) / file).read_bytes())

    def write(self, party: str, file: str, **changed: Any) -> None:
        """A document of the README, with what is this party's own."""
        document = self._own(self.documents[file], "") | changed
        (self.home(party) / file).write_text(json.dumps(document))

    def configure(self, party: str, file: str, **changed: Any) -> None:
        """A server's configuration: as the README has it, at this party's port."""
        self.write(party, file, port=self._ports[party], **changed)

    def _own(self, value: Any, name: str) -> Any:
        if isinstance(value, dict):
            owned = {key: self._own(each, key) for key, each in value.items()}
            return owned | self._gate_address(value)
        if isinstance(value, list):
            return [self._own(each, name) for each in value]
        if isinstance(value, str):
            value = to_hex(keccak(text=name)) if value == ONES else self.hosts(value)
        own = {"node_url": self.node.url, "expiry": int(time.time()) + YEAR}
        return own.get(name, value)

    def _gate_address(self, entry: Mapping[str, Any]) -> dict[str, str]:
        host = HOST.match(str(entry.get("url")))
        return {"address": self.facts[host[1]]} if host and "address" in entry else {}

    def hosts(self, text: str) -> str:
        """With this machine's ports in place of hosts below example.org."""
        return HOST.sub(lambda found: self.url(found[1]), text)

    def url(self, party: str) -> str:
        """Where a server answers."""
        return f"http://127.0.0.1:{self._ports[party]}"

    def give_gas(self, *accounts: str) -> None:
        """From the node's own funded account."""
        fund(Node(self.node.url), self.node.funded_key, accounts, ETHER)

    def await_final(self) -> None:
        """Until what is on chain now is in a final block."""
        chain, until = Node(self.node.url), time.monotonic() + PATIENCE
        head = chain.header("latest").number
        while chain.header("finalized").number < head:
            assert time.monotonic() < until
            time.sleep(0.2)

    # --- typing

    def run(self, party: str, command: Command, **facts: str) -> Any:
        """Types one line and returns what it printed or sent into its file.

        A command's first time is the installed program in a shell; later ones run in this process, since
        most of a command's time is its start.
        """
        run = self._here if command.name in self._typed else self._in_a_shell
        self._typed.add(command.name)
        said = run(party, command, self.facts | facts)
        return json.loads(said)

    def _in_a_shell(self, party: str, command: Command, facts: Mapping[str, str]) -> str:
        done = subprocess.run(
            ["sh", "-c", self.hosts(command.line)],
            cwd=self.home(party),
            env=self._environment(facts),
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )
        assert done.returncode == 0, f"{party}: {command.line}\n{done.stderr}"
        return (self.home(party) / command.output).read_text() if command.output else done.stdout

    def _here(self, party: str, command: Command, facts: Mapping[str, str]) -> str:
        words = [Template(self.hosts(word)).substitute(facts) for word in command.words]
        with contextlib.chdir(self.home(party)):
            done = CliRunner().invoke(main, words, catch_exceptions=False)
        assert done.exit_code == 0, f"{party}: {command.line}\n{done.output}"
        if command.output:
            (self.home(party) / command.output).write_text(done.stdout)
        return done.stdout

    def start(self, party: str, command: Command) -> None:
        """Types a line that serves; `await_health` waits for it."""
        with (self.home(party) / "log").open("a") as log:
            self.servers[party] = subprocess.Popen(
                ["sh", "-c", f"exec {command.line}"],
                cwd=self.home(party),
                env=self._environment(self.facts) | lifeline.environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
            )

    def _environment(self, facts: Mapping[str, str]) -> dict[str, str]:
        found = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, **facts, "PATH": found}

    def health(self, party: str) -> list[str] | None:
        """Why a server is not ready; None while nobody answers."""
        try:
            return list(httpx.get(f"{self.url(party)}/health", timeout=20).json()["reasons"])
        except httpx.HTTPError:
            return None

    def await_health(self, parties: Sequence[str], reasons: Sequence[str] = ()) -> None:
        """Until every one of them says exactly that."""
        until = time.monotonic() + PATIENCE
        for party in parties:
            while (found := self.health(party)) != list(reasons):
                assert self.servers[party].poll() is None, (self.home(party) / "log").read_text()
                assert time.monotonic() < until, f"{party}: {found}"
                time.sleep(0.2)

    def stop(self, *parties: str) -> None:
        """Ends servers and waits for them."""
        ended = [self.servers.pop(party) for party in parties]
        for process in ended:
            process.terminate()
        for process in ended:
            process.wait(60)
            assert process.stdin is not None
            process.stdin.close()

    def kill(self, party: str) -> None:
        """Ends a server in the middle of whatever it does."""
        process = self.servers.pop(party)
        process.kill()
        process.wait(60)
        assert process.stdin is not None
        process.stdin.close()
