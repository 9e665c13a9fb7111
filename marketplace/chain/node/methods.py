"""The JSON-RPC methods, by name. Parameters are read here; the work is the backend's."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from eth.abc import BlockHeaderAPI

from marketplace.chain.node import execution, formats, params
from marketplace.chain.node.backend import PersistentBackend
from marketplace.chain.node.errors import (
    BlockUnknown,
    InvalidParams,
    MethodNotFound,
    TooManyResults,
)
from marketplace.chain.node.storage import LogQuery

PRIORITY_FEE = 10**9  # wei a gas; there is no competition for blocks, so any tip does
MOST_LOGS = 100_000  # in one answer; more is refused, never cut short
MOST_FEE_BLOCKS = 1024  # as geth
NEWEST = ("latest", "safe", "finalized")  # one block: nothing here is ever reorganised

Handler = Callable[[object], Any]


class Methods:
    """What this node answers. Not safe for threads: the server calls it under its lock."""

    def __init__(self, backend: PersistentBackend) -> None:
        self._backend = backend
        self._handlers: dict[str, Handler] = {
            **self._about_the_node(),
            **self._about_blocks(),
            **self._about_accounts(),
            **self._about_transactions(),
            **self._about_time(),
        }

    def invoke(self, name: str, arguments: object) -> Any:
        """Answer one call with its JSON result. Raises ``RpcError``."""
        handler = self._handlers.get(name)
        if handler is None:
            raise MethodNotFound(
                f"the method {name[:64]} does not exist here. This node holds no keys and no "
                "filters: send signed transactions with eth_sendRawTransaction, and read events "
                "with eth_getLogs."
            )
        return handler(arguments)

    def _about_the_node(self) -> dict[str, Handler]:
        chain_id = self._backend.genesis.chain_id
        client = f"usufruct-chain/py-evm-{version('py-evm')}/{self._backend.genesis.fork}"
        return {
            "eth_chainId": lambda _: hex(chain_id),
            "net_version": lambda _: str(chain_id),
            "net_listening": lambda _: True,
            "web3_clientVersion": lambda _: client,
            "eth_syncing": lambda _: False,
            "eth_accounts": lambda _: [],
            "eth_maxPriorityFeePerGas": lambda _: hex(PRIORITY_FEE),
            "eth_gasPrice": self._gas_price,
            "eth_feeHistory": self._fee_history,
        }

    def _about_blocks(self) -> dict[str, Handler]:
        return {
            "eth_blockNumber": lambda _: hex(self._backend.head().block_number),
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getLogs": self._logs,
        }

    def _about_accounts(self) -> dict[str, Handler]:
        return {
            "eth_getBalance": self._balance,
            "eth_getCode": self._code,
            "eth_getStorageAt": self._storage,
            "eth_getTransactionCount": self._transaction_count,
        }

    def _about_transactions(self) -> dict[str, Handler]:
        return {
            "eth_call": self._call,
            "eth_estimateGas": self._estimate_gas,
            "eth_sendRawTransaction": self._send_raw_transaction,
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionReceipt": self._receipt,
        }

    def _about_time(self) -> dict[str, Handler]:
        return {
            "evm_mine": self._mine,
            "evm_increaseTime": self._increase_time,
            "evm_setNextBlockTimestamp": self._set_next_timestamp,
        }

    # Blocks

    def _header(self, block: object) -> BlockHeaderAPI:
        """The header that a tag, a number or an EIP-1898 object names; absent means latest."""
        if block is None or block in NEWEST:
            return self._backend.head()
        if block == "pending":
            return self._backend.next_header()
        if block == "earliest":
            return self._backend.header_at(0)
        if isinstance(block, dict):
            return self._header_by_object(block)
        return self._backend.header_at(params.quantity(block, "block"))

    def _header_by_object(self, block: dict[str, Any]) -> BlockHeaderAPI:
        if block.get("blockHash") is not None:
            return self._backend.header_of(params.digest(block["blockHash"], "blockHash"))
        if block.get("blockNumber") is None:
            raise InvalidParams("block must hold blockHash or blockNumber (EIP-1898)")
        return self._header(block["blockNumber"])

    def _stored_header(self, block: object) -> BlockHeaderAPI:
        """As ``_header``; without a queue, pending holds nothing that latest lacks."""
        return self._header(None if block == "pending" else block)

    def _block_by_number(self, arguments: object) -> dict[str, Any] | None:
        block, full = params.positional(arguments, 1, 2)
        try:
            header = self._stored_header(block)
        except BlockUnknown:
            return None
        return self._describe(header, full)

    def _block_by_hash(self, arguments: object) -> dict[str, Any] | None:
        block_hash, full = params.positional(arguments, 1, 2)
        try:
            header = self._backend.header_of(params.digest(block_hash))
        except BlockUnknown:
            return None
        return self._describe(header, full)

    def _describe(self, header: BlockHeaderAPI, full: object) -> dict[str, Any]:
        wanted = params.flag(full, "full transactions")
        return formats.block_json(self._backend.describe_block(header, full=wanted))

    def _logs(self, arguments: object) -> list[dict[str, Any]]:
        (wanted,) = params.positional(arguments, 1, 1)
        fields = params.log_filter(wanted)
        first, last = self._range(fields)
        addresses = params.log_addresses(fields.get("address"))
        query = LogQuery(first, last, addresses, params.log_topics(fields.get("topics")))
        found = self._backend.store.find_logs(query, MOST_LOGS + 1)
        if len(found) > MOST_LOGS:
            raise TooManyResults(
                f"more than {MOST_LOGS} logs match: ask for fewer blocks at a time"
            )
        return [formats.log_json(log) for log in found]

    def _range(self, fields: dict[str, Any]) -> tuple[int, int]:
        if fields.get("blockHash") is not None:
            number = self._header_by_object(fields).block_number
            return number, number
        first, last = (self._bound(fields.get(name)) for name in ("fromBlock", "toBlock"))
        if first > last:
            raise InvalidParams(f"invalid block range: from {first} to {last}")
        return first, last

    def _bound(self, block: object) -> int:
        """A number beyond the head is allowed: a caller follows the chain with an open end."""
        if isinstance(block, str) and block.startswith("0x"):
            return min(params.quantity(block, "block"), 2**63 - 1)
        return int(self._stored_header(block).block_number)

    # Accounts

    def _balance(self, arguments: object) -> str:
        account, block = params.positional(arguments, 1, 2)
        state = self._backend.state_at(self._stored_header(block))
        return hex(state.get_balance(params.address(account)))

    def _code(self, arguments: object) -> str:
        account, block = params.positional(arguments, 1, 2)
        state = self._backend.state_at(self._stored_header(block))
        return formats.hex_data(state.get_code(params.address(account)))

    def _storage(self, arguments: object) -> str:
        account, slot, block = params.positional(arguments, 2, 3)
        state = self._backend.state_at(self._stored_header(block))
        value = state.get_storage(params.address(account), params.slot(slot))
        return formats.hex_data(value.to_bytes(32, "big"))

    def _transaction_count(self, arguments: object) -> str:
        account, block = params.positional(arguments, 1, 2)
        state = self._backend.state_at(self._stored_header(block))
        return hex(state.get_nonce(params.address(account)))

    # Transactions

    def _call(self, arguments: object) -> str:
        request, block = params.positional(arguments, 1, 2)
        output = execution.call(self._backend, self._header(block), params.call_request(request))
        return formats.hex_data(output)

    def _estimate_gas(self, arguments: object) -> str:
        request, block = params.positional(arguments, 1, 2)
        header = self._header("pending" if block is None or block in NEWEST else block)
        return hex(execution.estimate_gas(self._backend, header, params.call_request(request)))

    def _send_raw_transaction(self, arguments: object) -> str:
        (raw,) = params.positional(arguments, 1, 1)
        return formats.hex_data(self._backend.send_raw_transaction(params.data(raw, "transaction")))

    def _transaction(self, arguments: object) -> dict[str, Any] | None:
        (digest,) = params.positional(arguments, 1, 1)
        found = self._backend.get_transaction_by_hash(params.digest(digest))
        return None if found is None else formats.transaction_json(found)

    def _receipt(self, arguments: object) -> dict[str, Any] | None:
        (digest,) = params.positional(arguments, 1, 1)
        found = self._backend.get_transaction_receipt(params.digest(digest))
        if found is None:
            return None
        number = found["block_number"]
        logs = self._backend.store.find_logs(LogQuery(number, number), MOST_LOGS)
        mine = [log for log in logs if log.transaction_hash == found["transaction_hash"]]
        return formats.receipt_json(found, mine)

    # Fees

    def _gas_price(self, _: object) -> str:
        return hex(_base_fee(self._backend.next_header()) + PRIORITY_FEE)

    def _fee_history(self, arguments: object) -> dict[str, Any]:
        count, newest, percentiles = params.positional(arguments, 2, 3)
        wanted = min(params.quantity(count, "block count"), MOST_FEE_BLOCKS)
        rewards = len(params.percentiles(percentiles))
        last = self._stored_header(newest)
        first = max(0, last.block_number - wanted + 1)
        headers = [
            self._backend.header_at(number) for number in range(first, last.block_number + 1)
        ]
        after = self._backend.chain.create_header_from_parent(last)
        return {
            "oldestBlock": hex(first),
            "baseFeePerGas": [hex(_base_fee(header)) for header in [*headers, after]],
            "gasUsedRatio": [header.gas_used / header.gas_limit for header in headers],
            "reward": [[hex(PRIORITY_FEE)] * rewards for _ in headers] if rewards else None,
        }

    # Time

    def _mine(self, arguments: object) -> str:
        params.positional(arguments, 0, 0)
        self._backend.mine_blocks()
        return "0x0"

    def _increase_time(self, arguments: object) -> int:
        (seconds,) = params.positional(arguments, 1, 1)
        return self._backend.clock.increase(params.quantity(seconds, "seconds"))

    def _set_next_timestamp(self, arguments: object) -> str:
        (timestamp,) = params.positional(arguments, 1, 1)
        parent = self._backend.head().timestamp
        return hex(self._backend.clock.set_next(params.quantity(timestamp, "timestamp"), parent))


def _base_fee(header: BlockHeaderAPI) -> int:
    """Wei a gas; every header of this chain has one (EIP-1559)."""
    return header.base_fee_per_gas or 0
