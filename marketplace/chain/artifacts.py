"""The committed compiler output, and calls and events in its terms.

An artifact is contracts/artifacts/NAME.json with `abi`, `bytecode` and `deployedBytecode`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from marketplace.chain.decoding import decode
from marketplace.errors import Refusal
from marketplace.wire.solidity import SolidityStruct

FOLDER = Path(__file__).resolve().parents[2] / "contracts" / "artifacts"
CONTRACTS = (
    "TestEuro",
    "ResearcherRegistry",
    "CustodianCommittee",
    "DatasetRegistry",
    "ConsentRegistry",
    "NoiseRegistry",
    "ResearchMarket",
)
"""Those that are deployed, in the order of deployment."""

Abi = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """One function, event or error of an ABI."""

    name: str
    inputs: tuple[Abi, ...]
    outputs: tuple[Abi, ...]
    indexed: tuple[bool, ...]

    @cached_property
    def types(self) -> tuple[str, ...]:
        """ABI types of the inputs, tuples spelled out: `(address,uint256)`."""
        return tuple(abi_type(each) for each in self.inputs)

    @property
    def signature(self) -> str:
        """`name(type,...)`, without spaces: what topics and selectors are hashes of."""
        return f"{self.name}({','.join(self.types)})"

    @cached_property
    def topic(self) -> bytes:
        """keccak256 of the signature: topic 0 of an event; its first four bytes are a selector."""
        return bytes(keccak(text=self.signature))

    @property
    def selector(self) -> bytes:
        """Four bytes that call data, or the data of a revert, begins with."""
        return self.topic[:4]

    def encode_call(self, arguments: Sequence[Any]) -> bytes:
        """Call data: selector and ABI-encoded arguments."""
        return self.selector + encode(self.types, arguments)

    def decode_output(self, data: bytes) -> tuple[Any, ...]:
        """What a call returned, addresses checksummed. Raises `DecodingError`."""
        values = decode([abi_type(each) for each in self.outputs], data)
        return tuple(plain(each, value) for each, value in zip(self.outputs, values, strict=True))

    def decode_arguments(self, data: bytes) -> dict[str, Any]:
        """Arguments of an error, or of a call, by name. Raises `DecodingError`."""
        values = decode(list(self.types), data)
        return {
            each["name"]: plain(each, value)
            for each, value in zip(self.inputs, values, strict=True)
        }

    def decode_log(self, topics: Sequence[bytes], data: bytes) -> dict[str, Any]:
        """Arguments of an event, by name; tuples stay tuples. Raises `DecodingError`."""
        flags = list(zip(self.inputs, self.indexed, strict=True))
        in_topics = [each for each, indexed in flags if indexed]
        in_data = [each for each, indexed in flags if not indexed]
        if len(topics) != 1 + len(in_topics):
            raise DecodingError(f"{self.name} with {len(topics)} topics")
        found = {
            each["name"]: plain(each, decode([abi_type(each)], topic)[0])
            for each, topic in zip(in_topics, topics[1:], strict=True)
        }
        values = decode([abi_type(each) for each in in_data], data)
        found |= {
            each["name"]: plain(each, value) for each, value in zip(in_data, values, strict=True)
        }
        return {each["name"]: found[each["name"]] for each in self.inputs}


def abi_type(parameter: Abi) -> str:
    """`tuple` parameters spelled out, as eth_abi and selectors need them."""
    written = str(parameter["type"])
    if not written.startswith("tuple"):
        return written
    inner = ",".join(abi_type(each) for each in parameter["components"])
    return f"({inner}){written.removeprefix('tuple')}"


def plain(parameter: Abi, value: Any) -> Any:
    """A decoded value with every address in it checksummed and every list a tuple."""
    written = str(parameter["type"])
    if written.endswith("[]"):
        item = {**parameter, "type": written[:-2]}
        return tuple(plain(item, each) for each in value)
    if written == "tuple":
        return tuple(
            plain(each, one) for each, one in zip(parameter["components"], value, strict=True)
        )
    return to_checksum_address(value) if written == "address" else value


@dataclass(frozen=True)
class Artifact:
    """One compiled contract."""

    name: str
    abi: tuple[Abi, ...]
    bytecode: bytes
    deployed_bytecode: bytes
    immutables: tuple[tuple[int, int], ...] = ()  # (start, length), zero in `deployed_bytecode`

    @cached_property
    def functions(self) -> dict[str, Entry]:
        """By name, which is enough: none of the contracts overloads one."""
        return {entry.name: entry for entry in self._entries("function")}

    @cached_property
    def events(self) -> dict[str, Entry]:
        """By name; none is overloaded."""
        return {entry.name: entry for entry in self._entries("event")}

    @cached_property
    def events_by_topic(self) -> dict[bytes, Entry]:
        """By topic 0, which a log is recognised by."""
        return {entry.topic: entry for entry in self.events.values()}

    @cached_property
    def errors(self) -> tuple[Entry, ...]:
        """Those of this ABI. What a contract that it calls reverts with stands in that one's own."""
        return tuple(self._entries("error"))

    @property
    def constructor_types(self) -> list[str]:
        """ABI types of what the constructor takes; empty where there is none."""
        inputs = [each["inputs"] for each in self.abi if each["type"] == "constructor"]
        return [abi_type(each) for each in (inputs[0] if inputs else [])]

    def creation_data(self, arguments: Sequence[Any]) -> bytes:
        """Bytecode and constructor arguments."""
        return self.bytecode + encode(self.constructor_types, arguments)

    def is_code(self, code: bytes) -> bool:
        """Whether this is the contract's runtime code, whatever its immutables were set to."""
        found = bytearray(code)
        for start, length in self.immutables:
            found[start : start + length] = bytes(length)
        return len(code) > 0 and bytes(found) == self.deployed_bytecode

    def _entries(self, kind: str) -> list[Entry]:
        return [
            Entry(
                name=each["name"],
                inputs=tuple(each["inputs"]),
                outputs=tuple(each.get("outputs", ())),
                indexed=tuple(bool(one.get("indexed")) for one in each["inputs"]),
            )
            for each in self.abi
            if each["type"] == kind
        ]


@cache
def load(name: str) -> Artifact:
    """The artifact of one contract.

    Raises:
        Refusal: `artifact_missing`, if it is not there or not whole.
    """
    path = FOLDER / f"{name}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Artifact(
            name=name,
            abi=tuple(content["abi"]),
            bytecode=_code(content["bytecode"]),
            deployed_bytecode=_code(content["deployedBytecode"]),
            immutables=tuple(
                (int(each["start"]), int(each["length"]))
                for immutable in content["immutableReferences"]
                for each in immutable
            ),
        )
    except (OSError, ValueError, KeyError) as fault:
        raise Refusal(
            code="artifact_missing",
            message=f"The compiled contract {name} is missing or damaged.",
            remedy="Restore contracts/artifacts from the repository, or run `make artifacts`.",
            facts={"artifact": f"{name}.json"},
        ) from fault


def _code(written: str) -> bytes:
    return bytes.fromhex(written.removeprefix("0x"))


def abi_arguments(arguments: Sequence[Any]) -> list[Any]:
    """Arguments as eth_abi takes them: structs, also in lists, become tuples."""
    return [_abi_argument(each) for each in arguments]


def _abi_argument(value: Any) -> Any:
    if isinstance(value, SolidityStruct):
        return value.abi_tuple()
    if isinstance(value, list | tuple):
        return tuple(_abi_argument(each) for each in value)
    return value
