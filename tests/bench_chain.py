"""A seal on three engines, and plain transactions on two nodes that speak JSON-RPC."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from eth_account import Account
from eth_tester import EthereumTester, PyEVMBackend
from eth_utils.crypto import keccak
from pyrevm import EVM, AccountInfo, BlockEnv, CfgEnv, Env
from web3 import Web3

from tests.bench import Contenders, Task
from tests.contracts.support import artifact
from tests.support.nodes import RunningNode, anvil_node, embedded_node

WORD, WORDS = 160, 100
CONSENTS = WORD * WORDS
TRANSACTIONS = 50
GAS = 16_777_216
FAR = 2**40 - 1
REGISTRY, MARKET = "0x" + "aa" * 20, "0x" + "bb" * 20
CLASS, REQUEST = keccak(text="class"), keccak(text="request")


# ---- One shard of 16,000 consents, put into each engine as storage ----


def shard_storage() -> dict[int, int]:
    """A frozen shard of full words, by the compiler's layout, and the market that may seal it."""
    layout = artifact("ConsentRegistry")["storageLayout"]
    variables = {each["label"]: int(each["slot"]) for each in layout["storage"]}
    members = {
        each["label"]: each for each in layout["types"]["t_struct(Shard)_storage"]["members"]
    }
    shard = _mapped(bytes(32), _mapped(CLASS, variables["_shards"]))
    packed = {"live": CONSENTS, "used": CONSENTS, "frozenUntil": FAR}
    first = shard + int(members["words"]["slot"])
    full = (2**40 << 200) | (FAR << 160) | (2**WORD - 1)
    return {
        variables["market"]: int(MARKET, 16),
        shard: sum(value << 8 * int(members[name]["offset"]) for name, value in packed.items()),
        shard + int(members["frozenFor"]["slot"]): int.from_bytes(REQUEST, "big"),
    } | {first + n: full for n in range(WORDS)}


def seal_call() -> bytes:
    contract = Web3().eth.contract(abi=artifact("ConsentRegistry")["abi"])
    return bytes.fromhex(contract.encode_abi("sealShard", args=[REQUEST, CLASS, 0, 1, 1])[2:])


def _mapped(key: bytes, slot: int) -> int:
    return int.from_bytes(keccak(key + slot.to_bytes(32, "big")), "big")


def _code() -> bytes:
    return bytes.fromhex(artifact("ConsentRegistry")["deployedBytecode"][2:])


@contextmanager
def seal_contenders() -> Iterator[Contenders]:
    call = seal_call()
    members = CONSENTS.to_bytes(32, "big")
    with anvil_node("--hardfork", "prague") as node:
        engines = {
            "pyrevm": _pyrevm(call),
            "py-evm, which the embedded chain runs": _py_evm(call),
            "anvil, over HTTP": _anvil(node, call),
        }
        for name, run in engines.items():
            answer: Any = run()
            # Every engine did all of the work: 16,000 members.
            assert bytes.fromhex(str(answer).removeprefix("0x"))[32:64] == members, name
        yield engines


def _pyrevm(call: bytes) -> Any:
    evm = EVM(env=Env(cfg=CfgEnv(chain_id=1)), gas_limit=2 * GAS, spec_id="PRAGUE")
    evm.set_block_env(BlockEnv(number=1, timestamp=1_800_000_000, gas_limit=2 * GAS))
    evm.insert_account_info(REGISTRY, AccountInfo(code=_code()))
    for slot, value in shard_storage().items():
        evm.insert_account_storage(REGISTRY, slot, value)

    def run() -> str:
        before = evm.snapshot()
        answer = evm.message_call(MARKET, REGISTRY, call)
        evm.revert(before)
        return bytes(answer).hex()

    return run


def _py_evm(call: bytes) -> Any:
    state = {
        bytes.fromhex(REGISTRY[2:]): {
            "balance": 0,
            "nonce": 1,
            "code": _code(),
            "storage": shard_storage(),
        },
        bytes.fromhex(MARKET[2:]): {"balance": 10**20, "nonce": 0, "code": b"", "storage": {}},
    }
    tester = EthereumTester(PyEVMBackend(genesis_state=state))
    asked = {"from": MARKET, "to": REGISTRY, "gas": GAS, "data": "0x" + call.hex()}
    return lambda: tester.call(asked)


def _anvil(node: RunningNode, call: bytes) -> Any:
    session = requests.Session()
    _ask(session, node, "anvil_setCode", REGISTRY, "0x" + _code().hex())
    for slot, value in shard_storage().items():
        _ask(session, node, "anvil_setStorageAt", REGISTRY, hex(slot), f"0x{value:064x}")
    asked = {"from": MARKET, "to": REGISTRY, "gas": hex(GAS), "data": "0x" + call.hex()}
    return lambda: _ask(session, node, "eth_call", asked, "latest")


# ---- Transactions, one after another, each signed before the clock starts ----


@contextmanager
def transaction_contenders() -> Iterator[Contenders]:
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_node(Path(folder)) as embedded,
        anvil_node("--hardfork", "prague") as anvil,
    ):
        yield {
            "embedded chain (persistent)": _transfers(embedded),
            "anvil (in memory)": _transfers(anvil),
        }


def _transfers(node: RunningNode) -> Any:
    session, sender = requests.Session(), Account.from_key(node.funded_key)
    chain_id = int(_ask(session, node, "eth_chainId"), 16)

    def signed(nonce: int) -> str:
        fields = {
            "chainId": chain_id,
            "nonce": nonce,
            "to": sender.address,
            "value": 1,
            "gas": 21_000,
        }
        prices = {"maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**9}
        return str(sender.sign_transaction({**fields, **prices}).raw_transaction.to_0x_hex())

    count = int(_ask(session, node, "eth_getTransactionCount", sender.address, "latest"), 16)
    waiting = (signed(count + n) for n in range(10**9))

    def run() -> None:
        sent = [
            _ask(session, node, "eth_sendRawTransaction", next(waiting))
            for _ in range(TRANSACTIONS)
        ]
        while not _ask(session, node, "eth_getTransactionReceipt", sent[-1]):
            continue

    return run


def _ask(session: requests.Session, node: RunningNode, method: str, *parameters: Any) -> Any:
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    answer = session.post(node.url, json=call, timeout=60).json()
    assert "error" not in answer, answer
    return answer["result"]


CHAIN_TASKS = (
    Task(f"seal of {CONSENTS:,} consents", "consents", CONSENTS, 7, seal_contenders),
    Task(f"{TRANSACTIONS} transfers", "transactions", TRANSACTIONS, 5, transaction_contenders),
)
