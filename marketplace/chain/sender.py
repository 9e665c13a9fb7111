"""Transactions: signed here, numbered here, waited for, and refused in words when they revert."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_account import Account
from eth_account.signers.local import LocalAccount

from marketplace.chain import artifacts
from marketplace.chain.artifacts import abi_arguments
from marketplace.chain.core import ChainCore, decode_log
from marketplace.chain.manifest import Manifest
from marketplace.chain.reverts import ContractRefusal, refusal_of
from marketplace.chain.rpc import Node, NodeUnreachable, NonceTaken, read_log
from marketplace.chain.views import Event
from marketplace.errors import Refusal
from marketplace.wire.eip712 import SigningKey

GAS_LIMIT: Final = 16_777_216
"""Of one transaction (EIP-7825)."""
GAS_MARGIN: Final = 1.25
"""Estimates are of the state before; others' transactions may come between."""
LARGEST_DATA: Final = 120_000
"""Bytes of call data; nodes' pools take at most 128 KB a transaction."""
BATCH_BASE_GAS: Final = 100_000
ENTRY_GAS: Final = 250_000
"""Of one batch entry: a signed first grant or an attested record with room to spare."""
ENTRY_OVERHEAD: Final = 96  # bytes: offset, length, padding
OUT_OF_GAS: Final = "out_of_gas"
NONCE_ATTEMPTS: Final = 20
FIRST_POLL: Final = 0.02  # seconds; doubles up to
LAST_POLL: Final = 0.5

_locks: defaultdict[tuple[int, str], threading.Lock] = defaultdict(threading.Lock)
"""One per chain and account: threads of this process number their transactions in turn."""


class OutcomeUnknown(Refusal):
    """A transaction that was handed over and not seen in a block in time. It may still count."""

    CODE = "outcome_unknown"


@dataclass(frozen=True)
class Receipt:
    """A transaction that took effect."""

    transaction: bytes
    block: int
    block_hash: bytes
    gas_used: int
    events: tuple[Event, ...]
    created: str | None = None

    def event(self, name: str) -> Event:
        """The first event of this name. Raises KeyError."""
        for event in self.events:
            if event.name == name:
                return event
        raise KeyError(name)


@dataclass(frozen=True)
class BatchOutcome:
    """What became of a batch: `refused` by position in the list that was given."""

    receipts: tuple[Receipt, ...]
    refused: Mapping[int, ContractRefusal]


class Sender:
    """Sends as one account. Safe for threads; other processes may send as the same account.

    Args:
        chain: the deployment to send to.
        key: private key (32 bytes) or local account. Never printed.
        timeout: seconds to wait until a transaction is in a block.
    """

    def __init__(self, chain: ChainCore, key: SigningKey, *, timeout: float = 120.0) -> None:
        self._transactor = Transactor(chain.node, chain.chain_id, key, timeout=timeout)
        self._chain = chain

    @property
    def address(self) -> str:
        return self._transactor.address

    def send(
        self, contract: str, function: str, *arguments: Any, gas: int | None = None
    ) -> Receipt:
        """Calls a contract's function and waits until it is in a block. Structs go as they are.

        Raises:
            ContractRefusal: it reverts; found by the estimate where `gas` is None, so nothing
                is paid then.
            OutcomeUnknown, NodeUnreachable, NodeFault; Refusal (too_much_gas, insufficient_funds).
        """
        return self._send_data(contract, call_data(contract, function, *arguments), gas)

    def batch(
        self,
        contract: str,
        calls: Sequence[tuple[str, Sequence[Any]]],
        *,
        entry_gas: int = ENTRY_GAS,
    ) -> BatchOutcome:
        """Many calls, each (function, arguments), in as few transactions as gas and size allow.

        A refused entry changes nothing and sinks no other. One that failed without a reason may
        have been starved of gas by its neighbours, and is tried once more on its own.

        Raises:
            As `send`, of whole transactions only; what went before has taken effect.
        """
        entries = [call_data(contract, function, *arguments) for function, arguments in calls]
        receipts: list[Receipt] = []
        refused: dict[int, ContractRefusal] = {}
        for chunk in chunks(entries, entry_gas):
            starved = self._send_chunk(contract, entries, chunk, entry_gas, receipts, refused)
            for position in starved:
                try:
                    receipts.append(self._send_data(contract, entries[position], None))
                except ContractRefusal as refusal:
                    refused[position] = refusal
        return BatchOutcome(tuple(receipts), refused)

    def _send_chunk(
        self,
        contract: str,
        entries: Sequence[bytes],
        chunk: list[int],
        entry_gas: int,
        receipts: list[Receipt],
        refused: dict[int, ContractRefusal],
    ) -> list[int]:
        """One transaction. Returns the positions that may have lacked gas."""
        data = call_data(contract, "batch", [entries[position] for position in chunk])
        gas = min(GAS_LIMIT, BATCH_BASE_GAS + entry_gas * len(chunk))
        try:
            receipt = self._send_data(contract, data, gas)
        except ContractRefusal as refusal:
            if refusal.code != OUT_OF_GAS:
                raise
            return chunk  # nothing of it took effect
        receipts.append(receipt)
        starved = []
        for local, reason in _refused_entries(receipt):
            if reason:
                refused[chunk[local]] = refusal_of(reason)
            else:
                starved.append(chunk[local])
        return starved

    def _send_data(self, contract: str, data: bytes, gas: int | None) -> Receipt:
        to = self._chain.manifest.address(contract)
        return self._transactor.transact(to, data, gas, self._chain.manifest)


class Transactor:
    """The same below contracts: raw calls and creations, before there is a deployment."""

    def __init__(
        self, node: Node, chain_id: int, key: SigningKey, *, timeout: float = 120.0
    ) -> None:
        self._account: LocalAccount = (
            key if isinstance(key, LocalAccount) else Account.from_key(key)
        )
        self.node = node
        self.chain_id = chain_id
        self.timeout = timeout

    @property
    def address(self) -> str:
        return str(self._account.address)

    def transact(
        self, to: str | None, data: bytes, gas: int | None, manifest: Manifest | None = None
    ) -> Receipt:
        """Sends, waits, checks. `to` None creates a contract. Raises: see `Sender.send`."""
        if len(data) > LARGEST_DATA:
            raise _too_large(len(data))
        limit = self._estimate(to, data) if gas is None else gas
        transaction = self._submit(to, data, limit)
        found = self._await(transaction)
        if found["status"] != 1:
            raise self._why(to, data, found, limit)
        return _receipt(found, manifest)

    def _estimate(self, to: str | None, data: bytes) -> int:
        estimate = self.node.estimate_gas(self.address, to, data)
        if estimate > GAS_LIMIT:
            raise Refusal(
                code="too_much_gas",
                message=f"It needs {estimate} gas; a transaction may use {GAS_LIMIT} (EIP-7825).",
                remedy="Split the work over several transactions.",
                facts={"gas": estimate, "limit": GAS_LIMIT},
            )
        return min(GAS_LIMIT, int(estimate * GAS_MARGIN))

    def _submit(self, to: str | None, data: bytes, gas: int) -> bytes:
        """Takes the next number; where another process was faster, the one after that."""
        fields: dict[str, Any] = {"chainId": self.chain_id, "value": 0, "data": data, "gas": gas}
        if to is not None:
            fields["to"] = to
        with _locks[self.chain_id, self.address]:
            fees = self.node.fees()
            for attempt in range(NONCE_ATTEMPTS):
                nonce = self.node.transaction_count(self.address)
                signed = self._account.sign_transaction({**fields, **fees, "nonce": nonce})
                try:
                    return self._hand_over(bytes(signed.raw_transaction), bytes(signed.hash))
                except NonceTaken:
                    time.sleep(FIRST_POLL * (attempt + 1))
        raise NonceTaken(
            message=f"The account {self.address} is used by too many senders at once.",
            remedy="Give every process an account of its own, or try again.",
        )

    def _hand_over(self, raw: bytes, transaction: bytes) -> bytes:
        try:
            self.node.send_raw_transaction(raw)
        except NodeUnreachable as fault:
            # It may have arrived: sent anew under another number, it could happen twice.
            if self._look_up(transaction) is None:
                raise _outcome_unknown(transaction) from fault
        return transaction

    def _await(self, transaction: bytes) -> dict[str, Any]:
        deadline = time.monotonic() + self.timeout
        pause = FIRST_POLL
        while (found := self._look_up(transaction)) is None:
            if time.monotonic() > deadline:
                raise _outcome_unknown(transaction)
            time.sleep(pause)
            pause = min(LAST_POLL, pause * 2)
        return found

    def _look_up(self, transaction: bytes) -> dict[str, Any] | None:
        """The receipt, once it is this transaction's and of a block that is on the chain."""
        try:
            found = self.node.receipt(transaction)
            if found is None or bytes(found["transactionHash"]) != transaction:
                return None
            on_chain = self.node.header(int(found["blockNumber"])).hash
            return found if on_chain == bytes(found["blockHash"]) else None
        except NodeUnreachable:
            return None

    def _why(
        self, to: str | None, data: bytes, found: Mapping[str, Any], limit: int
    ) -> ContractRefusal:
        """Replays a failed call in its block, and in the one before, to hear the reason."""
        if to is not None:
            for block in (int(found["blockNumber"]), int(found["blockNumber"]) - 1):
                try:
                    self.node.call(to, data, block, self.address)
                except ContractRefusal as refusal:
                    return refusal
        spent = int(found["gasUsed"]) * 64 >= limit * 63  # EIP-150 keeps a 64th back
        return ContractRefusal(
            code=OUT_OF_GAS if spent else "reverted_without_reason",
            message="The transaction ran out of gas."
            if spent
            else "The transaction failed, and its call no longer does.",
            remedy="Send it again with more gas." if spent else "Read the state, then try again.",
            facts={"transaction": "0x" + bytes(found["transactionHash"]).hex()},
        )


def call_data(contract: str, function: str, *arguments: Any) -> bytes:
    """The bytes of a call; structs and lists of them are turned into tuples."""
    entry = artifacts.load(contract).functions[function]
    return entry.encode_call(abi_arguments(arguments))


def chunks(entries: Sequence[bytes], entry_gas: int) -> list[list[int]]:
    """Positions of the entries, in order, cut where gas or size would pass the limits."""
    most = max(1, (GAS_LIMIT - BATCH_BASE_GAS) // entry_gas)
    found: list[list[int]] = []
    size = 0
    for position, entry in enumerate(entries):
        wide = len(entry) + ENTRY_OVERHEAD
        if not found or len(found[-1]) == most or size + wide > LARGEST_DATA - ENTRY_OVERHEAD:
            found.append([])
            size = 0
        found[-1].append(position)
        size += wide
    return found


def _refused_entries(receipt: Receipt) -> list[tuple[int, bytes]]:
    return [
        (event.args["entry"], event.args["reason"])
        for event in receipt.events
        if event.name == "EntryRefused"
    ]


def _receipt(found: Mapping[str, Any], manifest: Manifest | None) -> Receipt:
    contracts = {} if manifest is None else manifest.contracts
    names = {str(each.address): name for name, each in contracts.items()}
    logs = [read_log(log) for log in found["logs"]]
    events = [decode_log(names[log.address], log) for log in logs if log.address in names]
    created = found.get("contractAddress")
    return Receipt(
        transaction=bytes(found["transactionHash"]),
        block=int(found["blockNumber"]),
        block_hash=bytes(found["blockHash"]),
        gas_used=int(found["gasUsed"]),
        events=tuple(event for event in events if event is not None),
        created=None if created is None else str(created),
    )


def _outcome_unknown(transaction: bytes) -> OutcomeUnknown:
    return OutcomeUnknown(
        message=f"The transaction 0x{transaction.hex()} is in no block yet; it may get there.",
        remedy="Look at the chain's state before sending it again; `usufruct resume` does.",
        facts={"transaction": "0x" + transaction.hex()},
    )


def _too_large(size: int) -> Refusal:
    return Refusal(
        code="transaction_too_large",
        message=f"The call has {size} bytes; a transaction may carry {LARGEST_DATA}.",
        remedy="Split it; a sealed result must be smaller.",
        facts={"bytes": size, "limit": LARGEST_DATA},
    )
