"""One node, spoken to through web3: every call has a time limit, every failure is a refusal."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import requests
from eth_abi.exceptions import DecodingError
from web3 import Web3
from web3.exceptions import BlockNotFound, TransactionNotFound, Web3Exception, Web3RPCError
from web3.method import Method
from web3.module import Module
from web3.types import FilterParams, RPCEndpoint

from marketplace.chain.faults import NodeFault, faulty, unreachable
from marketplace.chain.reverts import Written, refusal_from
from marketplace.chain.transport import BoundedProvider
from marketplace.errors import Refusal
from marketplace.wire.amounts import in_units

CONNECT_SECONDS = 5.0
EMBEDDED_CLIENT = "usufruct-chain/"
"""How the embedded node's web3_clientVersion begins."""

DEFAULT_TIP = 10**9
"""Wei a gas, where the node names none."""
NONCE_WORDS = (
    "nonce too low",
    "nonce too high",
    "already known",
    "already imported",
    "underpriced",
)

_QUANTITY: Final = re.compile("0x[0-9a-fA-F]{1,64}")
_UNREADABLE = (DecodingError, ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""What web3 and our own reading raise on an answer of the wrong shape."""

T = TypeVar("T")
BlockName = int | str
"""A block number, or a tag: latest, finalized, earliest."""


class NonceTaken(Refusal):
    """Another sender of the same account was faster."""

    CODE = "nonce_taken"


class CannotPay(Refusal):
    """The sending account has too little of the chain's own currency. The transaction was not taken."""

    CODE = "insufficient_funds"


class UnknownBlock(Refusal):
    """The node has no such block."""

    CODE = "unknown_block"


@dataclass(frozen=True)
class Header:
    """A block's header, as far as needed. `base_fee` in wei a gas, None before EIP-1559."""

    number: int
    hash: bytes
    timestamp: int
    base_fee: int | None


@dataclass(frozen=True)
class Log:
    """One log, not decoded."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block: int
    block_hash: bytes
    transaction: bytes
    index: int


def _as_it_is(*_: object) -> None:
    """No formatter: what is asked is in JSON-RPC's own words, and what is answered is read here."""


def _asked(method: str) -> Method[Callable[..., Any]]:
    return Method(RPCEndpoint(method), request_formatters=_as_it_is, result_formatters=_as_it_is)


class _Plain(Module):
    """What is asked most, without web3's general ways of writing and reading it, which take longer than all
    the rest of a question. A fault of the node, or a contract's refusal, is told as elsewhere.
    """

    get_block: Method[Callable[[str, bool], Any]] = _asked("eth_getBlockByNumber")
    get_code: Method[Callable[[str, str], Any]] = _asked("eth_getCode")
    call: Method[Callable[[Mapping[str, str], str], Any]] = _asked("eth_call")


class Node:
    """JSON-RPC to one URL. Safe for threads.

    Args:
        timeout: seconds, of every single call, from the question to the answer's last byte.
    """

    def __init__(self, url: str, *, timeout: float = 20.0) -> None:
        provider = BoundedProvider(
            url,
            request_kwargs={
                "timeout": (min(CONNECT_SECONDS, timeout), timeout),
                "allow_redirects": False,  # each hop would have a time limit of its own
            },
            # Retrying is the caller's decision: a hidden one multiplies the time limit.
            exception_retry_configuration=None,
        )
        # EIP-3668 would have this process fetch whatever URL a contract names.
        provider.global_ccip_read_enabled = False
        self.url = url
        self.written: Written = in_units
        """How refusals write amounts of the market's token."""
        self.web3 = Web3(provider)
        # Nothing here names accounts by ENS, leaves gas or its price to web3, or has a chain id looked up
        # before every call: that is held against the manifest, where something is decided (`Manifest.check`).
        self.web3.middleware_onion.clear()
        self._plain = _Plain(self.web3)

    def ask(self, what: str, call: Callable[[], T]) -> T:
        """Runs one web3 call.

        Raises:
            NodeUnreachable, UnknownBlock, NodeFault; ContractRefusal where a contract refused.
        """
        try:
            return call()
        except (requests.RequestException, ConnectionError, TimeoutError) as fault:
            raise unreachable(self.url, what, fault) from fault
        except BlockNotFound as fault:
            raise UnknownBlock(
                message="The node does not have this block.",
                remedy="Wait until it has caught up, or use another node.",
                facts={"asked": what},
            ) from fault
        except (Web3Exception, *_UNREADABLE) as fault:
            raise refusal_from(fault, self.written) or faulty(self.url, what, fault) from fault

    def request(self, method: str, parameters: Sequence[Any]) -> Any:
        """Any other method, as JSON-RPC has it."""
        manager = self.web3.manager
        return self.ask(method, lambda: manager.request_blocking(method, list(parameters)))  # type: ignore[arg-type]

    def chain_id(self) -> int:
        """The node's own word; `Manifest.check_chain` compares it."""
        return self.ask("eth_chainId", lambda: self.web3.eth.chain_id)

    def client(self) -> str:
        """What the node calls itself."""
        return str(self.ask("web3_clientVersion", lambda: self.web3.client_version))

    @property
    def is_embedded(self) -> bool:
        """Whether this is our own node, which mines when asked to."""
        return self.client().startswith(EMBEDDED_CLIENT)

    def mine(self) -> None:
        """Has an embedded node make an empty block, so that chain time follows the wall."""
        self.request("evm_mine", [])

    def header(self, block: BlockName = "latest") -> Header:
        """Raises `UnknownBlock` for one that the node does not have."""
        return self.ask(
            f"block {block}", lambda: _header(self._plain.get_block(_name(block), False))
        )

    def call(
        self, to: str | None, data: bytes, block: BlockName, sender: str | None = None
    ) -> bytes:
        """The output of a call, or of code run at no address. Raises `ContractRefusal` where it reverts."""
        message = {"data": "0x" + data.hex()}
        if to is not None:
            message["to"] = to
        if sender is not None:
            message["from"] = sender
        return self.ask("eth_call", lambda: _bytes(self._plain.call(message, _name(block))))

    def code(self, address: str, block: BlockName = "latest") -> bytes:
        """Runtime code at an address, empty where there is no contract."""
        return self.ask("eth_getCode", lambda: _bytes(self._plain.get_code(address, _name(block))))

    def logs(
        self,
        addresses: Sequence[str],
        topics: Sequence[bytes | Sequence[bytes] | None],
        first: int,
        last: int,
    ) -> list[Log]:
        """The logs of blocks `first` to `last`, in chain order."""
        wanted: dict[str, Any] = {
            "fromBlock": first,
            "toBlock": last,
            "address": list(addresses),
            "topics": [_topic(each) for each in topics],
        }
        found = self.ask("eth_getLogs", lambda: self.web3.eth.get_logs(FilterParams(**wanted)))  # type: ignore[typeddict-item]
        logs = self.ask("eth_getLogs", lambda: [_log(each) for each in found])
        return sorted(logs, key=lambda log: (log.block, log.index))

    def balance(self, account: str) -> int:
        """What an account has of the chain's own currency at the head, wei."""
        owner = Web3.to_checksum_address(account)
        return self.ask("eth_getBalance", lambda: int(self.web3.eth.get_balance(owner)))

    def transaction_count(self, account: str, block: BlockName = "pending") -> int:
        """The next nonce of an account, by default what waits in the node's pool included."""
        return self.ask(
            "eth_getTransactionCount",
            lambda: self.web3.eth.get_transaction_count(account, block),  # type: ignore[arg-type]
        )

    def fees(self) -> dict[str, int]:
        """Fee fields of a transaction: EIP-1559 where the chain has it, else a gas price. Wei."""
        base = self.header("latest").base_fee
        if base is None:
            return {"gasPrice": self.ask("eth_gasPrice", lambda: int(self.web3.eth.gas_price))}
        try:
            tip = self._suggested_tip()
        except NodeFault:
            tip = DEFAULT_TIP
        # Twice the base fee outlasts five full blocks in a row (it rises by an eighth at most). Rounded up
        # to a power of two, so that two processes that send as one account offer the same fee: a slightly
        # dearer transaction of the same number would replace the other's in the node's pool.
        return {"maxPriorityFeePerGas": tip, "maxFeePerGas": 1 << (2 * base + tip - 1).bit_length()}

    def _suggested_tip(self) -> int:
        given = self.request("eth_maxPriorityFeePerGas", [])
        return self.ask("eth_maxPriorityFeePerGas", lambda: int(given, 16))

    def estimate_gas(self, sender: str, to: str | None, data: bytes) -> int:
        """Gas that a transaction needs. Raises `ContractRefusal` where it would revert."""
        message: dict[str, Any] = {"from": sender, "data": data}
        if to is not None:
            message["to"] = to
        return self.ask(
            "eth_estimateGas",
            lambda: self.web3.eth.estimate_gas(message),  # type: ignore[arg-type]
        )

    def send_raw_transaction(self, raw: bytes) -> None:
        """Hands a signed transaction over.

        Raises:
            NonceTaken, CannotPay, NodeUnreachable, NodeFault.
        """

        def send() -> None:
            try:
                self.web3.eth.send_raw_transaction(raw)
            except Web3RPCError as fault:
                refusal = _submission_refusal(fault)
                if refusal is None:
                    raise
                raise refusal from fault

        self.ask("eth_sendRawTransaction", send)

    def receipt(self, transaction: bytes) -> dict[str, Any] | None:
        """A transaction's receipt, or None while it is in no block."""

        def read() -> dict[str, Any] | None:
            try:
                return dict(self.web3.eth.get_transaction_receipt(transaction))  # type: ignore[arg-type]
            except TransactionNotFound:
                return None

        return self.ask("eth_getTransactionReceipt", read)

    def transaction_input(self, transaction: bytes) -> bytes | None:
        """The call data of a transaction, or None where the node does not have it (any more)."""
        found = self.transaction(transaction)
        return None if found is None else self.ask("its input", lambda: bytes(found["input"]))

    def is_pending(self, transaction: bytes) -> bool:
        """Whether the node's pool holds a transaction that is in no block yet."""
        found = self.transaction(transaction)
        return found is not None and found.get("blockNumber") is None

    def transaction(self, transaction: bytes) -> dict[str, Any] | None:
        """One in a block or in the pool, with web3's names; None where the node does not have it."""

        def read() -> dict[str, Any] | None:
            try:
                return dict(self.web3.eth.get_transaction(transaction))  # type: ignore[arg-type]
            except TransactionNotFound:
                return None

        return self.ask("eth_getTransactionByHash", read)


def _name(block: BlockName) -> str:
    return block if isinstance(block, str) else hex(block)


def _header(found: Any) -> Header:
    base_fee = found.get("baseFeePerGas")
    return Header(
        number=_number(found["number"]),
        hash=_bytes(found["hash"], 32),
        timestamp=_number(found["timestamp"]),
        base_fee=None if base_fee is None else _number(base_fee),
    )


def _number(found: Any) -> int:
    if not (isinstance(found, str) and _QUANTITY.fullmatch(found)):
        raise ValueError("not a quantity")
    return int(found, 16)


def _bytes(found: Any, size: int | None = None) -> bytes:
    if not (isinstance(found, str) and found.startswith("0x")):
        raise ValueError("not data")
    read = binascii.unhexlify(found[2:])  # which takes no white space
    if size is not None and len(read) != size:
        raise ValueError("data of another size")
    return read


def _submission_refusal(fault: Web3RPCError) -> Refusal | None:
    """Nodes have no codes for these, only words that geth made customary."""
    text = str(fault.message).lower()
    if any(words in text for words in NONCE_WORDS):
        return NonceTaken(
            message="Another transaction of this account was faster.", remedy="Try again."
        )
    if "insufficient funds" in text:
        return CannotPay(
            message="The sending account cannot pay for the transaction's gas.",
            remedy="Fund the account with the chain's own currency.",
        )
    return None


def _topic(topic: bytes | Sequence[bytes] | None) -> Any:
    if topic is None:
        return None
    if isinstance(topic, bytes):
        return "0x" + topic.hex()
    return ["0x" + each.hex() for each in topic]


def _log(found: Any) -> Log:
    return Log(
        address=str(found["address"]),
        topics=tuple(bytes(topic) for topic in found["topics"]),
        data=bytes(found["data"]),
        block=int(found["blockNumber"]),
        block_hash=bytes(found["blockHash"]),
        transaction=bytes(found["transactionHash"]),
        index=int(found["logIndex"]),
    )


def read_log(found: Any) -> Log:
    """A log as a receipt of web3 has it."""
    return _log(found)
