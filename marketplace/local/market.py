"""One local market: what it is made of, its first start and every other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from marketplace.chain.adapter import Chain, Manifest, MarketPolicy
from marketplace.chain.deploy import CommitteeSeat, DeploySettings, deploy, open_epoch
from marketplace.chain.funding import fund
from marketplace.chain.rpc import Node
from marketplace.chain.sender import Sender
from marketplace.claim import Claim
from marketplace.local import identities
from marketplace.local.joint_key import generate_missing
from marketplace.local.ports import CUSTODIANS, Ports
from marketplace.local.processes import Processes, await_end
from marketplace.wire import keyfiles

QUORUM: Final = 2
HOSTS: Final = ("custodian", "gate")
ETHER: Final = 10**18
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
class ForeignNode:
    """A node that somebody else runs, and the key of an account there that can pay for gas."""

    url: str
    funded_key: bytes = field(repr=False)


def _in_silence(_: str) -> None:
    """Tells nobody."""


@dataclass
class Local(Processes):
    """One local market. `start` it, use it over HTTP, `stop` it.

    With `node`, no chain process is started: the market is deployed there. `chain_options` and
    `operator_options` are added to the chain's arguments and to the operator's configuration. `tell` hears
    what takes a while, in words, before it does.
    """

    ports: Ports = field(default_factory=Ports)
    policy: MarketPolicy = POLICY
    node: ForeignNode | None = None
    chain_options: tuple[str, ...] = ()
    operator_options: Mapping[str, Any] = field(default_factory=dict)
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
            custodian, gate = (identities.known(self.folder, kind, number) for kind in HOSTS)
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
        """Starts every process, deploying first where nothing is deployed yet; and has the custodians make
        their joint key where they have none. Killed at any point, the next start goes on.

        Raises:
            Refusal: `not_a_market`, the folder holds something else; `already_running`, its market runs;
                `not_started`, naming the process that did not come up and its log. KeygenFailed.
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
        self._generate_key()

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
            await_end(process)
        if "chain" in self.processes:
            self.end("chain")
        self._claim.release()

    # --- the first start

    def _deploy(self) -> None:
        with ThreadPoolExecutor() as pool:
            made = {
                kind: pool.map(partial(identities.make, self.folder, kind), range(CUSTODIANS))
                for kind in HOSTS
            }
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

    def _generate_key(self) -> None:
        known = [identities.known(self.folder, "custodian", i) for i in range(CUSTODIANS)]
        chain = Chain(self.node_url, self.manifest())
        signers = [each["signer"] for each in known]
        generate_missing(chain, self.key("deployer"), signers, self.custodian_urls, self.tell)

    def _faucet(self) -> bytes:
        if self.node is not None:
            return self.node.funded_key
        return keyfiles.read(self.folder / "chain" / "faucet.key")

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
        path = identities.host(self.folder, kind, number) / "config.json"
        path.write_text(json.dumps(config, indent=2))
        self._spawn(f"{kind}-{number}", f"marketplace.{kind}", "--config", str(path))

    def _configure_operator(self) -> None:
        gates = [identities.known(self.folder, "gate", i)["signer"] for i in range(CUSTODIANS)]
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
