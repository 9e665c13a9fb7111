"""The compiled contracts on pyrevm, a Rust EVM: hundreds of thousands of calls in a minute.

`Chain` deploys and keeps the clock; `Contract` encodes calls and decodes answers by the ABI; a refusal
is raised as `ChainRefused`, which carries the custom error's name.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coincurve import PrivateKey
from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak
from pyrevm import EVM, BlockEnv, CfgEnv, Env

ARTIFACTS = Path(__file__).resolve().parents[2] / "contracts" / "artifacts"

CHAIN_ID = 31337
GENESIS_TIME = 1_800_000_000
_OUTPUT = re.compile(r"output: 0x([0-9a-f]*)")
_DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
# The compiler without its optimizer pipeline, as mutants are compiled, passes EIP-170's limit.
_CODE_LIMIT = 2**20
_BLOCK_GAS = 2**40
# Asks questions; an account with code may not.
READER = "0x" + "ee" * 20


class ChainRefused(Exception):
    """The call reverted; `name` is the custom error's, or the raw output's first bytes."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


@dataclass(frozen=True)
class Key:
    """A signing account. The secret is a test's, made from a number."""

    secret: bytes
    address: str

    @classmethod
    def number(cls, n: int) -> "Key":
        secret = keccak(b"test key" + n.to_bytes(4, "big"))
        public = PrivateKey(secret).public_key.format(compressed=False)
        return cls(secret, "0x" + keccak(public[1:])[-20:].hex())

    def sign(self, digest: bytes) -> bytes:
        signature = PrivateKey(self.secret).sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([signature[64] + 27])


def _types(entries: list[dict[str, Any]]) -> list[str]:
    return [_type(entry) for entry in entries]


def _type(entry: dict[str, Any]) -> str:
    if not entry["type"].startswith("tuple"):
        return str(entry["type"])
    inner = ",".join(_types(entry["components"]))
    return f"({inner}){entry['type'][len('tuple') :]}"


class Artifacts:
    """The compiler's output in a folder: code and ABI by contract, error names by selector."""

    def __init__(self, folder: Path = ARTIFACTS) -> None:
        self.by_name = {
            path.stem: json.loads(path.read_text(encoding="utf-8"))
            for path in folder.glob("*.json")
            if path.stem != "manifest"
        }
        self.errors = {
            keccak(f"{e['name']}({','.join(_types(e['inputs']))})".encode())[:4]: e["name"]
            for artifact in self.by_name.values()
            for e in artifact["abi"]
            if e["type"] == "error"
        }


class Chain:
    """One EVM with a clock that only the test moves."""

    def __init__(self, artifacts: Artifacts) -> None:
        self.artifacts = artifacts
        env = Env(cfg=CfgEnv(chain_id=CHAIN_ID, limit_contract_code_size=_CODE_LIMIT))
        self.evm = EVM(env=env, gas_limit=_BLOCK_GAS, spec_id="PRAGUE")
        self.at(GENESIS_TIME, 1)

    def at(self, now: int, block: int) -> None:
        self.now, self.block = now, block
        self.evm.set_block_env(BlockEnv(number=block, timestamp=now, gas_limit=_BLOCK_GAS))

    def deploy(self, name: str, deployer: str, *arguments: Any) -> "Contract":
        artifact = self.artifacts.by_name[name]
        constructor = [e for e in artifact["abi"] if e["type"] == "constructor"]
        inputs = _types(constructor[0]["inputs"]) if constructor else []
        code = bytes.fromhex(artifact["bytecode"][2:]) + encode(inputs, arguments)
        return Contract(self, self.evm.deploy(deployer, code), artifact)

    def call(self, caller: str, to: str, data: bytes, *, static: bool = False) -> bytes:
        try:
            return self.evm.message_call(caller, to, data, is_static=static)
        except RuntimeError as problem:
            raise ChainRefused(self._reason(str(problem))) from None

    def _reason(self, text: str) -> str:
        found = _OUTPUT.search(text)
        selector = bytes.fromhex(found[1])[:4] if found else b""
        return str(self.artifacts.errors.get(selector, text[:200]))


class Contract:
    """A deployed contract: `send` changes it, `ask` reads it."""

    def __init__(self, chain: Chain, address: str, artifact: dict[str, Any]) -> None:
        self.chain = chain
        self.address = address
        self.layout = artifact["storageLayout"]
        self._functions: dict[str, tuple[bytes, list[str], list[str]]] = {}
        self._fields: dict[str, list[str]] = {}
        self.events: dict[str, dict[str, Any]] = {}
        for entry in artifact["abi"]:
            self._learn(entry)

    def _learn(self, entry: dict[str, Any]) -> None:
        if entry["type"] not in ("function", "event"):
            return
        inputs = _types(entry["inputs"])
        topic = keccak(f"{entry['name']}({','.join(inputs)})".encode())
        if entry["type"] == "event":
            self.events[entry["name"]] = entry | {"topic": "0x" + topic.hex()}
        else:
            self._functions[entry["name"]] = (topic[:4], inputs, _types(entry["outputs"]))
            structs = [o["components"] for o in entry["outputs"] if o["type"] == "tuple"]
            self._fields[entry["name"]] = [c["name"] for c in structs[0]] if structs else []

    def send(self, caller: str, function: str, *arguments: Any) -> tuple[Any, ...]:
        return self._call(caller, function, arguments, static=False)

    def ask(self, function: str, *arguments: Any) -> tuple[Any, ...]:
        return self._call(READER, function, arguments, static=True)

    def data(self, function: str, *arguments: Any) -> bytes:
        """What a transaction that calls this carries."""
        selector, inputs, _ = self._functions[function]
        return selector + encode(inputs, arguments)

    def _call(
        self, caller: str, function: str, arguments: tuple[Any, ...], *, static: bool
    ) -> tuple[Any, ...]:
        _, _, outputs = self._functions[function]
        data = self.data(function, *arguments)
        return decode(outputs, self.chain.call(caller, self.address, data, static=static))

    def view(self, function: str, *arguments: Any) -> dict[str, Any]:
        """The answer of a function that returns one struct, by field."""
        (answer,) = self.ask(function, *arguments)
        return dict(zip(self._fields[function], answer, strict=True))

    def logged(self, event: str) -> list[tuple[Any, ...]]:
        """The unindexed values of this contract's events of that name in the last call."""
        entry = self.events[event]
        types = _types([i for i in entry["inputs"] if not i["indexed"]])
        result = self.chain.evm.result
        logs = result.logs if result else []
        return [
            decode(types, log.data[1])
            for log in logs
            if log.address.lower() == self.address.lower() and log.topics[0] == entry["topic"]
        ]

    def digest(self, name: str, typed: str, types: list[str], values: list[Any]) -> bytes:
        """EIP-712: what is signed for a struct of this contract's domain, version 1."""
        domain = keccak(
            keccak(_DOMAIN.encode())
            + keccak(name.encode())
            + keccak(b"1")
            + encode(["uint256", "address"], [CHAIN_ID, self.address])
        )
        struct = keccak(keccak(typed.encode()) + encode(types, values))
        return keccak(b"\x19\x01" + domain + struct)

    def slot_of(self, variable: str) -> int:
        return next(int(s["slot"]) for s in self.layout["storage"] if s["label"] == variable)

    def offset_of(self, struct: str, member: str) -> int:
        """In bytes, within the member's slot."""
        types = self.layout["types"]
        members = types[f"t_struct({struct})_storage"]["members"]
        return next(int(m["offset"]) for m in members if m["label"] == member)
