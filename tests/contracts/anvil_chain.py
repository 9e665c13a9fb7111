"""The test chain's interface on anvil: what one transaction really costs, under EIP-7825's limit."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests
from web3 import HTTPProvider, Web3

from tests.contracts.support import (
    ETHER,
    TRANSACTION_GAS,
    Chain,
    Sent,
    address,
)
from tests.contracts.support import _events as read_events
from tests.support.nodes import anvil_node

# Every clock of a measurement starts here and moves on by a second a block, so that gas repeats.
GENESIS_TIME = 1_800_000_000
_BATCH = 512


@contextmanager
def anvil_chain(*names: str) -> Iterator["AnvilChain"]:
    """A fresh anvil on a free port, with these accounts funded."""
    options = ["--hardfork", "prague", "--auto-impersonate", "--timestamp", str(GENESIS_TIME)]
    with anvil_node(*options) as node:
        yield AnvilChain(node.url, names)


class AnvilChain(Chain):
    """Named, funded accounts on anvil; storage can be set, and the state rolled back."""

    def __init__(self, url: str, names: tuple[str, ...]) -> None:
        self.url = url
        self.w3 = Web3(HTTPProvider(url))
        self.id = self.w3.eth.chain_id
        self.rpc("anvil_setBlockTimestampInterval", 1)
        self.fund("deployer", *names)

    def rpc(self, method: str, *parameters: Any) -> Any:
        """The node's answer. Raises AssertionError with its message if it refuses."""
        return self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters})

    def fund(self, *names: str) -> None:
        for name in names:
            self.rpc("anvil_setBalance", address(name), hex(10**6 * ETHER))

    def send(self, call: Any, sender: str, gas: int = TRANSACTION_GAS) -> Sent:
        """As on eth-tester; anvil answers before it has mined."""
        mined = call.transact({"from": address(sender), "gas": gas})
        receipt = self.w3.eth.wait_for_transaction_receipt(mined, poll_latency=0.01)
        assert receipt["status"], "the transaction failed"
        return Sent(receipt, read_events(self.w3, receipt))

    def warp(self, seconds: int) -> None:
        self.rpc("evm_setNextBlockTimestamp", self.now + seconds)
        self.mine()

    def mine(self) -> None:
        self.rpc("evm_mine")

    def store(self, contract: str, slots: Mapping[int, int]) -> None:
        """Set storage slots of a contract."""
        calls = [
            ("anvil_setStorageAt", [contract, hex(slot), f"0x{value:064x}"])
            for slot, value in slots.items()
        ]
        for start in range(0, len(calls), _BATCH):
            self._post(
                [
                    {"jsonrpc": "2.0", "id": n, "method": method, "params": parameters}
                    for n, (method, parameters) in enumerate(calls[start : start + _BATCH])
                ]
            )

    @contextmanager
    def rolled_back(self) -> Iterator[None]:
        """What happens inside is undone."""
        before = self.rpc("evm_snapshot")
        yield
        assert self.rpc("evm_revert", before)

    def _post(self, body: Any) -> Any:
        answer = requests.post(self.url, json=body, timeout=120).json()
        entries = answer if isinstance(answer, list) else [answer]
        failed = [entry["error"] for entry in entries if "error" in entry]
        assert not failed, json.dumps(failed[0])
        return entries[0]["result"]
