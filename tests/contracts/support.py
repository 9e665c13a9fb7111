"""A chain in memory for contract tests: deploy, send as somebody, and read refusals by name.

Accounts are named, so that a test reads `chain.send(call, "steward")`. Contracts come from the
committed artifacts. A refusal is a `Refused` with the custom error's name and facts, whichever
contract raised it.
"""

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import TransactionFailed
from eth_typing import Hash32
from eth_utils.abi import abi_to_signature, collapse_if_tuple, event_abi_to_log_topic
from eth_utils.crypto import keccak
from web3 import EthereumTesterProvider, Web3
from web3.contract import Contract
from web3.contract.contract import ContractFunction
from web3.exceptions import Web3Exception
from web3.types import TxReceipt

ARTIFACTS = Path(__file__).resolve().parents[2] / "contracts" / "artifacts"
# EIP-7825: what one transaction may spend at most.
TRANSACTION_GAS = 16_777_216
ETHER = 10**18
ZERO = b"\0" * 32
NOBODY = "0x" + "00" * 20
DAY = 86_400


class Refused(Exception):
    """A contract reverted with a custom error: its name, and its facts in order."""

    def __init__(self, name: str, facts: tuple[Any, ...] = ()) -> None:
        super().__init__(f"{name}{facts}")
        self.name = name
        self.facts = facts


@dataclass(frozen=True)
class Sent:
    """A mined transaction: gas used, and its events as (name, facts) in order."""

    receipt: TxReceipt
    events: list[tuple[str, dict[str, Any]]]

    @property
    def gas(self) -> int:
        return int(self.receipt["gasUsed"])

    def facts(self, name: str) -> dict[str, Any]:
        """The facts of the only event of this name."""
        (found,) = [facts for event, facts in self.events if event == name]
        return found


@cache
def artifact(name: str) -> dict[str, Any]:
    return dict(json.loads((ARTIFACTS / f"{name}.json").read_text()))


@cache
def errors_by_selector() -> dict[bytes, tuple[str, list[str]]]:
    """Selector -> (name, argument types) of every custom error of every contract."""
    found = {
        keccak(text="Error(string)")[:4]: ("Error", ["string"]),
        keccak(text="Panic(uint256)")[:4]: ("Panic", ["uint256"]),
    }
    for entry in _entries("error"):
        types = [collapse_if_tuple(argument) for argument in entry["inputs"]]
        found[keccak(text=abi_to_signature(entry))[:4]] = (entry["name"], types)
    return found


@cache
def events_by_topic() -> dict[bytes, Any]:
    return {event_abi_to_log_topic(entry): entry for entry in _entries("event")}


def _entries(kind: str) -> list[Any]:
    names = sorted(path.stem for path in ARTIFACTS.glob("*.json") if path.stem != "manifest")
    return [entry for name in names for entry in artifact(name)["abi"] if entry["type"] == kind]


def refusal(data: bytes) -> Refused:
    """Read revert data; unknown data is named by its hexadecimal digits."""
    name, types = errors_by_selector().get(data[:4], ("", []))
    if not name:
        return Refused(f"unknown 0x{data.hex()}")
    return Refused(name, tuple(decode(types, data[4:])))


@cache
def account(name: str) -> LocalAccount:
    """The account of this name; the same one in every test."""
    made: LocalAccount = Account.from_key(keccak(text=f"usufruct test account {name}"))
    return made


def address(name: str) -> str:
    return str(account(name).address)


def role(name: str) -> bytes:
    return keccak(text=name)


def word(text: str) -> bytes:
    """Thirty-two bytes that differ for different texts."""
    return keccak(text=text)


def dataset_id(chain_id: int, registry: str, steward: str, dictionary: bytes, salt: bytes) -> bytes:
    """As in Ids.sol: the hash with its low 16 bits zero."""
    types = ["string", "uint256", "address", "address", "bytes32", "bytes32"]
    values = ["usufruct/dataset/1", chain_id, registry, steward, dictionary, salt]
    return keccak(encode(types, values))[:30] + b"\0\0"


def class_id(dataset: bytes, index: int) -> bytes:
    return dataset[:30] + index.to_bytes(2, "big")


def sign_typed(
    signer: str,
    contract: Contract,
    kind: str,
    fields: Sequence[tuple[str, str]],
    message: Mapping[str, Any],
    chain_id: int,
) -> bytes:
    """The account's EIP-712 signature, 65 bytes, for a contract whose domain is named like it."""
    domain = {
        "name": f"Usufruct {CONTRACT_NAMES[contract]}",
        "version": "1",
        "chainId": chain_id,
        "verifyingContract": contract.address,
    }
    types = {kind: [{"name": name, "type": type_} for name, type_ in fields]}
    signable = encode_typed_data(domain, types, dict(message))
    return bytes(account(signer).sign_message(signable).signature)


# Contract -> name; the EIP-712 domain is made of it. Not by address: chains share those.
CONTRACT_NAMES: dict[Contract, str] = {}


class Chain:
    """An eth-tester chain with named, funded accounts."""

    def __init__(self, *names: str) -> None:
        state = {bytes.fromhex(address(name)[2:]): _funded() for name in ("deployer", *names)}
        self.tester = EthereumTester(PyEVMBackend(genesis_state=state))
        self.w3 = Web3(EthereumTesterProvider(self.tester))
        for name in ("deployer", *names):
            self.tester.add_account("0x" + bytes(account(name).key).hex())
        self.id = self.w3.eth.chain_id

    @property
    def now(self) -> int:
        return int(self.w3.eth.get_block("latest")["timestamp"])

    def warp(self, seconds: int) -> None:
        """Mine one block so many seconds from now."""
        self.tester.time_travel(self.now + seconds)
        self.tester.mine_block()

    def store(self, contract: str, slots: Mapping[int, int]) -> None:
        """Set storage slots of a contract, and mine a block that has them."""
        chain = self.tester.backend.chain
        state = chain.get_vm(chain.header).state
        for slot, value in slots.items():
            state.set_storage(bytes.fromhex(contract[2:]), slot, value)
        state.persist()
        chain.header = chain.header.copy(state_root=state.state_root)
        self.tester.mine_block()

    def deploy(self, name: str, *arguments: Any) -> Contract:
        parts = artifact(name)
        factory = self.w3.eth.contract(abi=parts["abi"], bytecode=parts["bytecode"])
        sent = self.send(factory.constructor(*arguments), "deployer")
        where = sent.receipt["contractAddress"]
        made = Contract.factory(self.w3, abi=parts["abi"])(where)
        CONTRACT_NAMES[made] = name
        return made

    def deploy_code(self, runtime: bytes) -> str:
        """A contract of exactly this code."""
        # PUSH2 length, DUP1, PUSH1 10, RETURNDATASIZE, CODECOPY, RETURNDATASIZE, RETURN.
        init = b"\x61" + len(runtime).to_bytes(2, "big") + bytes.fromhex("80600a3d393df3")
        sender = address("deployer")
        sent = self.w3.eth.send_transaction(
            {"from": sender, "data": init + runtime, "gas": 3_000_000}
        )
        return str(self.w3.eth.get_transaction_receipt(sent)["contractAddress"])

    def send(self, call: Any, sender: str, gas: int = TRANSACTION_GAS) -> Sent:
        """Mine this call as the named account. Raises Refused if it reverts."""
        transaction = {"from": address(sender), "gas": gas}
        receipt = self.w3.eth.get_transaction_receipt(call.transact(transaction))
        if not receipt["status"]:
            self._explain(call, transaction)
        return Sent(receipt, _events(self.w3, receipt))

    def read(self, call: ContractFunction, sender: str = "deployer") -> Any:
        """What this call returns. Raises Refused if it reverts."""
        with _readable():
            return call.call({"from": address(sender), "gas": TRANSACTION_GAS})

    def _explain(self, call: Any, transaction: dict[str, Any]) -> None:
        with _readable():
            self.w3.eth.call(call.build_transaction({**transaction, "gasPrice": 10**10}))
        raise AssertionError("a mined transaction failed that succeeds when called: out of gas?")


def _funded() -> dict[str, Any]:
    return {"balance": 10**6 * ETHER, "nonce": 0, "code": b"", "storage": {}}


def _events(w3: Web3, receipt: TxReceipt) -> list[tuple[str, dict[str, Any]]]:
    contract = w3.eth.contract(abi=list(events_by_topic().values()))
    found = []
    for log in receipt["logs"]:
        entry = events_by_topic()[bytes(log["topics"][0])]
        event = contract.events[abi_to_signature(entry)]().process_log(log)
        found.append((str(entry["name"]), dict(event["args"])))
    return found


@contextmanager
def _readable() -> Iterator[None]:
    """Turn eth-tester's failure, which prints the revert data as a literal, into a Refused."""
    try:
        yield
    except TransactionFailed as failed:
        _, _, printed = str(failed.args[0]).partition("execution reverted: ")
        raise refusal(_literal(printed)) from None
    except Web3Exception as failed:
        data = getattr(failed, "data", None)
        if not isinstance(data, str):
            raise
        raise refusal(bytes.fromhex(data.removeprefix("0x"))) from None


def _literal(printed: str) -> bytes:
    try:
        value = ast.literal_eval(printed)
    except (SyntaxError, ValueError):
        return keccak(text="Error(string)")[:4] + encode(["string"], [printed])
    return value if isinstance(value, bytes) else b""


@contextmanager
def refusing(name: str, *facts: Any) -> Iterator[None]:
    """The block must be refused with this custom error; with facts, with exactly these."""
    with pytest.raises(Refused) as caught:
        yield
    assert caught.value.name == name, caught.value
    if facts:
        assert tuple(map(_plain, caught.value.facts)) == tuple(map(_plain, facts))


def _plain(fact: Any) -> Any:
    return fact.lower() if isinstance(fact, str) else fact


# ERC-1271 wallets as bare code. One says yes to everything, one no, one never ends.
WALLET_YES = bytes.fromhex("631626ba7e60e01b5f5260205ff3")
WALLET_NO = bytes.fromhex("63deadbeef60e01b5f5260205ff3")
WALLET_ENDLESS = bytes.fromhex("5b5f56")

X25519, ELGAMAL, CKKS = 1, 2, 3


def member(name: str, keys: Sequence[tuple[int, bytes]] | None = None) -> dict[str, Any]:
    """A custodian of the committee; by default with an X25519 key only."""
    return member_at(address(name), name, keys)


def member_at(
    signer: str, name: str, keys: Sequence[tuple[int, bytes]] | None = None
) -> dict[str, Any]:
    chosen = [(X25519, word(f"key of {name}"))] if keys is None else keys
    return {"signer": signer, "keys": [{"scheme": scheme, "key": key} for scheme, key in chosen]}


def quorum_signatures(digest: bytes, *places: tuple[int, str]) -> list[dict[str, Any]]:
    """Each (place, account name)'s signature over a digest."""
    return [{"place": place, "signature": sign_digest(name, digest)} for place, name in places]


def sign_digest(name: str, digest: bytes) -> bytes:
    return bytes(account(name).unsafe_sign_hash(Hash32(digest)).signature)
