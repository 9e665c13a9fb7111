"""Which contracts this market is: addresses, code hashes and chain, checked by every process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from marketplace.chain.artifacts import CONTRACTS
from marketplace.chain.rpc import Node
from marketplace.chain.views import MarketPolicy
from marketplace.errors import Refusal
from marketplace.vocabulary import Address, address, bytes32, unsigned
from marketplace.wire.canonical import place_of
from marketplace.wire.eip712 import VERSION, Domain, api_domain

SCHEMA = "usufruct-deployment/1"
TOKEN = "TestEuro"  # noqa: S105
MARKET_CONTRACTS = tuple(name for name in CONTRACTS if name != TOKEN)


class WrongChain(Refusal):
    """The node serves another chain than the manifest's."""

    CODE = "wrong_chain"


class WrongCode(Refusal):
    """An address does not hold the code that was deployed there."""

    CODE = "wrong_code"


@dataclass(frozen=True)
class Deployed:
    """One contract: where it is, and keccak256 of its runtime code."""

    address: Address
    code_hash: bytes


@dataclass(frozen=True)
class Manifest:
    """One deployment. `contracts` holds the six of the market and, under TestEuro, its token."""

    chain_id: int
    genesis_hash: bytes
    deployed_block: int
    contracts: Mapping[str, Deployed]
    policy: MarketPolicy

    def address(self, name: str) -> Address:
        """A contract's address. Raises `Refusal` (unknown_contract)."""
        if name not in self.contracts:
            raise Refusal(
                code="unknown_contract",
                message=f"The deployment has no contract {name}.",
                remedy=f"Name one of {', '.join(self.contracts)}.",
            )
        return self.contracts[name].address

    @property
    def token(self) -> Address:
        """The ERC-20 that everything is paid in."""
        return self.address(TOKEN)

    @property
    def market(self) -> Address:
        """Address of the ResearchMarket, which is part of every request's id."""
        return self.address("ResearchMarket")

    def domain(self, name: str) -> Domain:
        """The EIP-712 domain of a contract, e.g. `domain("ConsentRegistry")`."""
        return Domain(f"Usufruct {name}", VERSION, self.chain_id, self.address(name))

    @property
    def api_domain(self) -> Domain:
        """The domain that requests to the operator's API are signed for."""
        return api_domain(self.chain_id, self.market)

    def check(self, node: Node) -> None:
        """Asks the node whether it serves this very deployment.

        Raises:
            WrongChain, WrongCode; NodeUnreachable, NodeFault.
        """
        self.check_chain(node)
        self.check_code(node)

    def check_code(self, node: Node) -> None:
        """The code of every contract, at the head. Raises `WrongCode`."""
        for name, deployed in self.contracts.items():
            if keccak(node.code(deployed.address)) != deployed.code_hash:
                raise WrongCode(
                    message=f"The code of {name} at {deployed.address} is not what was deployed.",
                    remedy="Use the manifest of this deployment and a node that has its blocks.",
                    facts={"contract": name, "address": deployed.address},
                )

    def check_chain(self, node: Node) -> None:
        """Chain id and genesis block. Raises `WrongChain`."""
        given = node.chain_id()
        if given != self.chain_id:
            raise _wrong_chain(f"The node serves chain {given}, not {self.chain_id}.")
        if node.header(0).hash != self.genesis_hash:
            raise _wrong_chain(f"The node's chain {given} began with another genesis block.")

    def to_json(self) -> dict[str, Any]:
        """In the one form that `from_json` reads: hashes in 0x hex, addresses checksummed."""
        return {
            "schema": SCHEMA,
            "chain_id": self.chain_id,
            "genesis_hash": "0x" + self.genesis_hash.hex(),
            "deployed_block": self.deployed_block,
            "contracts": {
                name: {"address": each.address, "code_hash": "0x" + each.code_hash.hex()}
                for name, each in self.contracts.items()
            },
            "token": self.token,
            "policy": self.policy.to_json(),
        }

    @classmethod
    def from_json(cls, content: Any) -> Manifest:
        """Reads what `to_json` writes. Raises `Refusal`, naming the field."""
        _require_keys(content, _KEYS, "manifest")
        if content["schema"] != SCHEMA:
            raise _bad("schema", f"is not {SCHEMA}")
        _require_keys(content["contracts"], set(CONTRACTS), "contracts")
        contracts = {name: _deployed(name, content["contracts"][name]) for name in CONTRACTS}
        if content["token"] != contracts[TOKEN].address:
            raise _bad("token", f"is not the address under contracts.{TOKEN}")
        return cls(
            chain_id=unsigned(content["chain_id"], 64, "chain_id"),
            genesis_hash=bytes32(content["genesis_hash"], "genesis_hash"),
            deployed_block=unsigned(content["deployed_block"], 64, "deployed_block"),
            contracts=contracts,
            policy=MarketPolicy.from_json(content["policy"], "policy."),
        )

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Raises `Refusal` (manifest_unreadable, or what is wrong in it)."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as fault:
            raise Refusal(
                code="manifest_unreadable",
                message=f"The deployment manifest {path.name} cannot be read: {_why(fault)}.",
                remedy="Name the file that `usufruct deploy` wrote, or deploy first.",
                field="manifest",
            ) from fault
        return cls.from_json(content)

    def save(self, path: Path) -> None:
        """Writes the file whole or not at all."""
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
        part.replace(path)


_KEYS = {
    "schema",
    "chain_id",
    "genesis_hash",
    "deployed_block",
    "contracts",
    "token",
    "policy",
}


def _why(fault: OSError | ValueError) -> str:
    if isinstance(fault, OSError):
        return fault.strerror or type(fault).__name__
    return f"it is not JSON{place_of(fault)}"


def _deployed(name: str, content: Any) -> Deployed:
    _require_keys(content, {"address", "code_hash"}, f"contracts.{name}")
    return Deployed(
        address(content["address"], f"contracts.{name}.address"),
        bytes32(content["code_hash"], f"contracts.{name}.code_hash"),
    )


def _require_keys(content: Any, wanted: set[str], where: str) -> None:
    if not isinstance(content, dict):
        raise _bad(where, "must be an object")
    for key in sorted(wanted ^ set(content)):
        raise _bad(f"{where}.{key[:60]}", "is missing" if key in wanted else "is unknown")


def _bad(field: str, problem: str) -> Refusal:
    return Refusal(
        code="bad_manifest",
        message=f"In the deployment manifest, {field} {problem}.",
        remedy="Use the file as `usufruct deploy` wrote it.",
        field=field,
    )


def _wrong_chain(problem: str) -> WrongChain:
    return WrongChain(
        message=problem,
        remedy="Point to a node of the chain that the manifest names, or use its own manifest.",
    )
