"""A whole market on one machine: chain, contracts, custodians with gates, operator. Nothing shared but HTTP.

Everything lies in one folder; a second start finds it and goes on from there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx

from marketplace.chain.adapter import Chain, Manifest, MarketPolicy
from marketplace.chain.deploy import CommitteeSeat, DeploySettings, deploy, open_epoch
from marketplace.chain.funding import fund
from marketplace.chain.rpc import Node
from marketplace.chain.sender import Sender
from marketplace.claim import Claim
from marketplace.errors import Refusal
from marketplace.wire import keyfiles, lifeline

CUSTODIANS: Final = 3
QUORUM: Final = 2
HOSTS: Final = ("custodian", "gate")
ETHER: Final = 10**18
START_SECONDS: Final = 90.0
EUR: Final = 10**6
"""Token units."""

POLICY: Final = MarketPolicy(
    minimum_cohort=20,
    notice_window=1,  # seconds: nobody here has to be given time to rest
    freeze_window=600,
    turn_window=3_600,
    gate_window=300,
    certificate_window=86_400,
    unused_freeze_bps=1_000,
    minimum_bond=10 * EUR,
)
MINIMUM_HORIZON: Final = 86_400
THAW_GAP: Final = 0
ROLES: Final = ("deployer", "operator", "steward", "issuer", "authority", "researcher", "stranger")
"""Accounts that the demonstration plays; in production each belongs to somebody else."""


@dataclass(frozen=True)
class Ports:
    """First port of each kind."""

    chain: int = 8545
    operator: int = 8000
    custodian: int = 8101
    gate: int = 8201

    @classmethod
    def beside(cls, operator: int) -> Ports:
        """Ports that move with the operator's, so that two markets can run on one machine."""
        moved = operator - cls.operator
        return cls(cls.chain + moved, operator, cls.custodian + moved, cls.gate + moved)

    def require_free(self) -> None:
        """Raises Refusal (`port_taken`) if something listens on a port of this market."""
        hosts = [first + i for first in (self.custodian, self.gate) for i in range(CUSTODIANS)]
        for port in (self.chain, self.operator, *hosts):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    raise Refusal(
                        code="port_taken",
                        message=f"Something listens on port {port} already: a market that still runs?",
                        remedy="Stop it (Ctrl-C where it was started), or give another --port.",
                        field="port",
                    )


@dataclass(frozen=True)
class ForeignNode:
    """A node that somebody else runs, and the key of an account there that can pay for gas."""

    url: str
    funded_key: bytes = field(repr=False)


def _in_silence(_: str) -> None:
    """Tells nobody."""


@dataclass
class Local:
    """One local market. `start` it, use it over HTTP, `stop` it.

    With `node`, no chain process is started: the market is deployed there. `chain_options` and
    `operator_options` are added to the chain's arguments and to the operator's configuration. `tell` hears
    what takes a while, in words, before it does.
    """

    folder: Path
    ports: Ports = field(default_factory=Ports)
    policy: MarketPolicy = POLICY
    node: ForeignNode | None = None
    chain_options: tuple[str, ...] = ()
    operator_options: Mapping[str, Any] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    tell: Callable[[str], object] = _in_silence
    _claim: Claim = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._claim = Claim(self.folder)

    @property
    def node_url(self) -> str:
        """The chain's JSON-RPC."""
        if self.node is not None:
            return self.node.url
        return f"http://127.0.0.1:{self.ports.chain}"

    @property
    def url(self) -> str:
        """The operator."""
        return f"http://127.0.0.1:{self.ports.operator}"

    @property
    def manifest_path(self) -> Path:
        """The deployment manifest."""
        return self.folder / "manifest.json"

    def key_path(self, role: str) -> Path:
        """Key file of a role."""
        return self.folder / "keys" / f"{role}.key"

    def key(self, role: str) -> bytes:
        """Private key of a role."""
        return keyfiles.read(self.key_path(role))

    def account(self, role: str) -> str:
        """Address of a role."""
        return keyfiles.Signer.of(self.key(role)).address

    def accounts(self) -> dict[str, str]:
        """Address of every account of the market that is not a patient's, by name."""
        found = {role: self.account(role) for role in ROLES}
        for number in range(CUSTODIANS):
            custodian, gate = (
                self._identity_of("custodian", number),
                self._identity_of("gate", number),
            )
            found[f"custodian_{number}"] = custodian["signer"]
            found[f"custodian_{number}_relay"] = custodian["relay"]
            found[f"gate_{number}"] = gate["signer"]
        return found

    # --- start and stop

    def clear(self) -> None:
        """Deletes what an earlier market left in the folder.

        Raises:
            Refusal: `not_a_market`, the folder holds something else; as `require_free`.
        """
        self._claim.require_own()
        self.require_free()
        shutil.rmtree(self.folder, ignore_errors=True)

    def require_free(self) -> None:
        """That nothing is in the way of a start.

        Raises:
            Refusal: `already_running`, this folder's market; `port_taken`, something on one of its ports.
        """
        self._claim.require_free()
        self.ports.require_free()

    def start(self) -> None:
        """Starts every process, deploying first where nothing is deployed yet.

        Raises:
            Refusal: `not_a_market`, the folder holds something else; `already_running`, its market runs;
                `not_started`, naming the process that did not come up and its log.
        """
        self._claim.take(self.url)
        for role in ROLES:
            keyfiles.create(self.key_path(role), keyfiles.new_signing_key())
        if self.node is None:
            self.tell("the chain starts")
            self.start_chain()
        if not self.manifest_path.exists():
            self.tell("the contracts are deployed")
            self._deploy()
        self.tell(f"the operator, {CUSTODIANS} custodians and {CUSTODIANS} gates start")
        self._configure_operator()
        self._spawn_operator()
        for number in range(CUSTODIANS):
            self.start_custodian(number)
            self.start_gate(number)
        for name in [each for each in self.processes if each != "chain"]:
            self._await_ready(name)

    def start_chain(self) -> None:
        """Starts the embedded chain (again), and waits until it listens."""
        data, port = str(self.folder / "chain"), str(self.ports.chain)
        arguments = ("--data", data, "--port", port, *self.chain_options)
        self._spawn("chain", "marketplace.chain.node", *arguments)
        self._await_ready("chain")

    def stop(self) -> None:
        """Ends every process, the chain after all that use it, and waits for each."""
        if self.processes:
            self.tell("every process stops")
        users = [name for name in reversed(list(self.processes)) if name != "chain"]
        for process in [self._tell_to_end(name) for name in users]:
            _await_end(process)
        if "chain" in self.processes:
            self.end("chain")
        self._claim.release()

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
        _await_end(self._tell_to_end(name, how))

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

    # --- the first start

    def _deploy(self) -> None:
        with ThreadPoolExecutor() as pool:
            made = {k: pool.map(partial(self._identity, k), range(CUSTODIANS)) for k in HOSTS}
            custodians, gates = (list(made[kind]) for kind in HOSTS)
        accounts = [self.account(role) for role in ROLES]
        accounts += [each["relay"] for each in custodians]
        fund(Node(self.node_url), self._faucet(), accounts, 100 * ETHER)
        settings = DeploySettings(
            policy=self.policy,
            minimum_horizon=MINIMUM_HORIZON,
            thaw_gap=THAW_GAP,
            operators=[self.account("operator")],
            pausers=[self.account("deployer")],
            stewards=[self.account("steward")],
            authorities=[self.account("authority")],
            admins=[self.account("deployer")],
            minters=[self.account("deployer")],
        )
        manifest = deploy(self.node_url, self.key("deployer"), settings)
        sender = Sender(Chain(self.node_url, manifest), self.key("deployer"))
        seats = [
            CommitteeSeat(each["signer"], bytes.fromhex(each["x25519"][2:])) for each in custodians
        ]
        open_epoch(sender, seats, QUORUM, [each["signer"] for each in gates])
        manifest.save(self.manifest_path)

    def _faucet(self) -> bytes:
        if self.node is not None:
            return self.node.funded_key
        return keyfiles.read(self.folder / "chain" / "faucet.key")

    def _identity(self, kind: str, number: int) -> dict[str, str]:
        """Has a custodian or gate make its own keys; only the public part comes back."""
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                f"marketplace.{kind}.identity",
                "--data",
                str(self._host(kind, number)),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        identity = dict(json.loads(done.stdout))
        self._host(kind, number).joinpath("identity.json").write_text(json.dumps(identity))
        return identity

    def _identity_of(self, kind: str, number: int) -> dict[str, str]:
        """The public part of keys that `_identity` had made."""
        return dict(json.loads((self._host(kind, number) / "identity.json").read_text()))

    def _host(self, kind: str, number: int) -> Path:
        return self.folder / f"{kind}-{number}"

    # --- custodians, gates, operator

    def start_custodian(self, number: int) -> None:
        """Starts one custodian (again)."""
        config = {
            "place": number,
            "node_url": self.node_url,
            "manifest": "../manifest.json",
            "data": ".",
            "port": self.ports.custodian + number,
        }
        self._spawn_host("custodian", number, config)

    def start_gate(self, number: int) -> None:
        """Starts one gate (again)."""
        config = {
            "node_url": self.node_url,
            "manifest": "../manifest.json",
            "data": ".",
            "port": self.ports.gate + number,
            "custodians": [
                {"place": place, "url": url} for place, url in enumerate(self.custodian_urls)
            ],
        }
        self._spawn_host("gate", number, config)

    @property
    def custodian_urls(self) -> list[str]:
        """Where the custodians answer, by place."""
        return [f"http://127.0.0.1:{self.ports.custodian + i}" for i in range(CUSTODIANS)]

    def _spawn_host(self, kind: str, number: int, config: dict[str, Any]) -> None:
        path = self._host(kind, number) / "config.json"
        path.write_text(json.dumps(config, indent=2))
        self._spawn(f"{kind}-{number}", f"marketplace.{kind}", "--config", str(path))

    def _configure_operator(self) -> None:
        gates = [self._identity_of("gate", i)["signer"] for i in range(CUSTODIANS)]
        config = {
            "port": self.ports.operator,
            "data": "operator",
            "manifest": "manifest.json",
            "node_url": self.node_url,
            "key_file": "keys/operator.key",
            "custodians": [{"place": i, "url": url} for i, url in enumerate(self.custodian_urls)],
            "gates": [
                {"address": gate, "url": f"http://127.0.0.1:{self.ports.gate + i}"}
                for i, gate in enumerate(gates)
            ],
            **self.operator_options,
        }
        self.config_path.write_text(json.dumps(config, indent=2))

    @property
    def config_path(self) -> Path:
        """The operator's configuration."""
        return self.folder / "operator.json"

    def start_operator(self) -> None:
        """Starts the operator (again)."""
        self._spawn_operator()
        self._await_ready("operator")

    def _spawn_operator(self) -> None:
        self._spawn("operator", "marketplace.cli", "serve", "--config", str(self.config_path))

    def manifest(self) -> Manifest:
        """The deployment."""
        return Manifest.load(self.manifest_path)


def ended_how(code: int) -> str:
    """An exit code, as `subprocess` has it, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _await_end(process: subprocess.Popen[str]) -> None:
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
