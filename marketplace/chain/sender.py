"""Calls to the contracts, alone or many in one transaction, refused in words when they revert."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from marketplace.chain import artifacts
from marketplace.chain.allowance import SENT_NOTHING, TOO_BIG
from marketplace.chain.artifacts import abi_arguments
from marketplace.chain.core import ChainCore
from marketplace.chain.offers import PATIENCE
from marketplace.chain.outcome import LARGEST_DATA, Receipt
from marketplace.chain.reverts import ContractRefusal, refusal_of
from marketplace.chain.transactor import GAS_LIMIT, Transactor
from marketplace.errors import Refusal
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


@dataclass
class BatchOutcome:
    """What became of a batch, by position in the list that was given. Filled as the batch goes on.

    `offered` are those that went to a node, or may have gone: also those of which no outcome is known.
    """

    receipts: list[Receipt] = field(default_factory=list)
    refused: dict[int, ContractRefusal] = field(default_factory=dict)
    carried_by: dict[int, Receipt] = field(default_factory=dict)
    offered: set[int] = field(default_factory=set)


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
        done: BatchOutcome | None = None,
    ) -> BatchOutcome:
        """Many calls, each (function, arguments), in as few transactions as gas and size allow.

        A refused entry changes nothing and sinks no other, also one that no transaction can carry. One that
        failed without a reason, or with one of `MAY_LACK_GAS`, may have been starved of gas, and is tried
        once more on its own.

        Args:
            done: filled, and returned: where this raises, it has what was known by then.

        Raises:
            As `send`, of whole transactions only; what went before has taken effect.
        """
        done = BatchOutcome() if done is None else done
        entries = [call_data(contract, function, *arguments) for function, arguments in calls]
        urgent = [function in NEVER_HELD_BACK for function, _ in calls]
        for chunk in chunks(entries, entry_gas):
            hurry = any(urgent[position] for position in chunk)
            for position in self._send_chunk(contract, entries, chunk, entry_gas, done, hurry):
                self._send_alone(contract, entries[position], position, done, urgent[position])
        return done

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
        done: BatchOutcome,
        urgent: bool,
    ) -> list[int]:
        """One transaction. Returns the positions that are to be tried alone."""
        data = call_data(contract, "batch", [entries[position] for position in chunk])
        gas = min(GAS_LIMIT, BATCH_BASE_GAS + entry_gas * len(chunk))
        try:
            receipt = self._offer(contract, data, gas, chunk, done, urgent)
        except Refusal as refusal:
            if _own(refusal) is None:
                raise
            # A batch as a whole fails only for lack of gas: nothing of it took effect. Or it was not sent,
            # since an entry that nearly fills a transaction leaves no room for a batch around it.
            return chunk
        starved = []
        for local, reason in _refused_entries(receipt):
            said = refusal_of(reason, self._chain.node.written)
            if not reason or said.code in MAY_LACK_GAS:
                starved.append(chunk[local])
            else:
                done.refused[chunk[local]] = _paid_for(said)
        carried = [each for each in chunk if each not in {*starved, *done.refused}]
        done.carried_by |= dict.fromkeys(carried, receipt)
        return starved

    def _send_alone(
        self, contract: str, entry: bytes, position: int, done: BatchOutcome, urgent: bool
    ) -> None:
        """What refuses here is the entry's own, but for what it shares with every transaction."""
        was_paid = position in done.offered
        try:
            receipt = self._offer(contract, entry, None, [position], done, urgent)
        except Refusal as refusal:
            own = _own(refusal)
            if own is None:
                raise
            done.refused[position] = _paid_for(own) if was_paid else own
        else:
            done.carried_by[position] = receipt

    def _offer(
        self,
        contract: str,
        data: bytes,
        gas: int | None,
        positions: Collection[int],
        done: BatchOutcome,
        urgent: bool,
    ) -> Receipt:
        """One transaction for entries that count as offered unless it is certain that they were not."""
        was_sent = True
        try:
            receipt = self._send_data(contract, data, gas, urgent)
        except Refusal as refusal:
            was_sent = not _sent_nothing(refusal)
            raise
        finally:
            if was_sent:
                done.offered.update(positions)
        done.receipts.append(receipt)
        return receipt

    def _send_data(self, contract: str, data: bytes, gas: int | None, urgent: bool) -> Receipt:
        to = self._chain.manifest.address(contract)
        return self._transactor.transact(to, data, gas, self._chain.manifest, urgent=urgent)


def _sent_nothing(refusal: Refusal) -> bool:
    if isinstance(refusal, ContractRefusal):
        return not refusal.paid  # found by the estimate
    return refusal.code in SENT_NOTHING


def _own(refusal: Refusal) -> ContractRefusal | None:
    """The refusal of one entry, where it is its own. What is too big for a transaction, none can judge."""
    if isinstance(refusal, ContractRefusal):
        return refusal
    if refusal.code not in TOO_BIG:
        return None
    return ContractRefusal(
        code=refusal.code, message=refusal.message, remedy=refusal.remedy, facts=refusal.facts
    )


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
