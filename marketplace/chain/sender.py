"""Calls to the contracts, alone or many in one transaction, refused in words when they revert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from marketplace.chain import artifacts
from marketplace.chain.artifacts import abi_arguments
from marketplace.chain.core import ChainCore
from marketplace.chain.offers import PATIENCE
from marketplace.chain.outcome import LARGEST_DATA, Receipt
from marketplace.chain.reverts import ContractRefusal, refusal_of
from marketplace.chain.transactor import GAS_LIMIT, Transactor
from marketplace.wire.eip712 import SigningKey

NEVER_HELD_BACK: Final = frozenset(
    {
        "revoke",
        "revokeBySig",
        "rest",
        "restBySig",
        "erase",
        "eraseBySig",
        "withdrawEarnings",
        "withdrawEarningsBySig",
        "withdrawCredit",
        "withdrawCreditBySig",
    }
)
"""Functions that end or rest a consent, or pay out: nothing may ever block them, a fee ceiling neither."""
BATCH_BASE_GAS: Final = 100_000
ENTRY_GAS: Final = 250_000
"""Of one batch entry: a signed first grant or an attested record with room to spare."""
MAY_LACK_GAS: Final = frozenset({"bad_signature", "safe_erc20_failed_operation"})
"""What an entry says whose wallet, or token, got too little gas to answer."""
WORD_BYTES: Final = 32
ENTRY_OVERHEAD: Final = 96  # bytes: offset, length, padding


@dataclass(frozen=True)
class BatchOutcome:
    """What became of a batch: `refused` and `carried_by` by position in the list that was given."""

    receipts: tuple[Receipt, ...]
    refused: Mapping[int, ContractRefusal]
    carried_by: Mapping[int, Receipt] = field(default_factory=dict)


class Sender:
    """Sends as one account. Safe for threads; other processes may send as the same account.

    Args:
        chain: the deployment to send to.
        key: private key (32 bytes) or local account. Never printed.
        timeout: seconds to wait until a transaction is in a block.
        patience: seconds between two looks at a transaction that is stuck; see `transactor`.
        max_fee: most that a gas may cost, wei, but for `NEVER_HELD_BACK`; None for no ceiling.
    """

    def __init__(
        self,
        chain: ChainCore,
        key: SigningKey,
        *,
        timeout: float = 120.0,
        patience: float = PATIENCE,
        max_fee: int | None = None,
    ) -> None:
        self._transactor = Transactor(
            chain.node, chain.chain_id, key, timeout=timeout, patience=patience, max_fee=max_fee
        )
        self._chain = chain

    @property
    def address(self) -> str:
        """Checksummed. It pays the gas, and is whom the contracts take for the caller."""
        return self._transactor.address

    def send(
        self, contract: str, function: str, *arguments: Any, gas: int | None = None
    ) -> Receipt:
        """Calls a contract's function and waits until it is in a block. Structs go as they are.

        Raises:
            ContractRefusal: it reverts; found by the estimate where `gas` is None, so nothing
                is paid then.
            OutcomeUnknown, FeeAboveCeiling, NodeUnreachable, NodeFault; Refusal (too_much_gas,
                insufficient_funds).
        """
        data = call_data(contract, function, *arguments)
        return self._send_data(contract, data, gas, function in NEVER_HELD_BACK)

    def batch(
        self,
        contract: str,
        calls: Sequence[tuple[str, Sequence[Any]]],
        *,
        entry_gas: int = ENTRY_GAS,
    ) -> BatchOutcome:
        """Many calls, each (function, arguments), in as few transactions as gas and size allow.

        A refused entry changes nothing and sinks no other. One that failed without a reason, or with one
        of `MAY_LACK_GAS`, may have been starved of gas, and is tried once more on its own.

        Raises:
            As `send`, of whole transactions only; what went before has taken effect.
        """
        entries = [call_data(contract, function, *arguments) for function, arguments in calls]
        urgent = [function in NEVER_HELD_BACK for function, _ in calls]
        receipts: list[Receipt] = []
        refused: dict[int, ContractRefusal] = {}
        carried_by: dict[int, Receipt] = {}
        for chunk in chunks(entries, entry_gas):
            hurry = any(urgent[position] for position in chunk)
            starved = self._send_chunk(
                contract, entries, chunk, entry_gas, receipts, refused, hurry
            )
            carried_by |= {each: receipts[-1] for each in chunk if each not in {*starved, *refused}}
            for position in starved:
                try:
                    alone = self._send_data(contract, entries[position], None, urgent[position])
                    receipts.append(alone)
                    carried_by[position] = receipts[-1]
                except ContractRefusal as refusal:
                    refused[position] = _paid_for(refusal)
        return BatchOutcome(tuple(receipts), refused, carried_by)

    def rehearse(self, contract: str, function: str, *arguments: Any) -> int | None:
        """Makes a call that changes nothing, as this account. Returns the number that it answers, if one.

        Raises:
            ContractRefusal: what the transaction would be refused with, were it the next.
            NodeUnreachable, NodeFault.
        """
        to = self._chain.manifest.address(contract)
        data = call_data(contract, function, *arguments)
        said = self._chain.node.call(to, data, "latest", self.address)
        return int.from_bytes(said, "big") if len(said) == WORD_BYTES else None

    def _send_chunk(
        self,
        contract: str,
        entries: Sequence[bytes],
        chunk: list[int],
        entry_gas: int,
        receipts: list[Receipt],
        refused: dict[int, ContractRefusal],
        urgent: bool,
    ) -> list[int]:
        """One transaction. Returns the positions that may have lacked gas."""
        data = call_data(contract, "batch", [entries[position] for position in chunk])
        gas = min(GAS_LIMIT, BATCH_BASE_GAS + entry_gas * len(chunk))
        try:
            receipt = self._send_data(contract, data, gas, urgent)
        except ContractRefusal:
            return chunk  # a batch as a whole fails only for lack of gas; nothing of it took effect
        receipts.append(receipt)
        starved = []
        for local, reason in _refused_entries(receipt):
            refusal = refusal_of(reason)
            if not reason or refusal.code in MAY_LACK_GAS:
                starved.append(chunk[local])
            else:
                refused[chunk[local]] = _paid_for(refusal)
        return starved

    def _send_data(self, contract: str, data: bytes, gas: int | None, urgent: bool) -> Receipt:
        to = self._chain.manifest.address(contract)
        return self._transactor.transact(to, data, gas, self._chain.manifest, urgent=urgent)


def _paid_for(refusal: ContractRefusal) -> ContractRefusal:
    """Of an entry whose batch was paid for."""
    refusal.paid = True
    return refusal


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
