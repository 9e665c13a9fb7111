"""May this transaction go into the next block? Checked before the EVM sees it.

py-evm alone would take another chain's transactions, gas beyond EIP-7825's cap, and less gas than
EIP-7623's floor. The words before the first colon are geth's, which clients already look for.
"""

from __future__ import annotations

from eth.abc import BlockHeaderAPI, SignedTransactionAPI, StateAPI
from eth_keys.exceptions import BadSignature
from eth_typing import Address
from eth_utils.address import to_checksum_address
from eth_utils.exceptions import ValidationError

from marketplace.chain.node.errors import TransactionRefused

MAX_TRANSACTION_GAS = 16_777_216  # EIP-7825, in force on mainnet since Fusaka
MAX_TRANSACTION_BYTES = 131_072  # geth's transaction pool takes no more (txMaxSize, 4 x 32 KB)
BLOB_TYPE = 3  # EIP-4844
FLOOR_GAS_PER_TOKEN = 10  # EIP-7623
TOKENS_PER_NONZERO_BYTE = 4  # EIP-7623
BASE_GAS = 21_000


def require_size(raw: bytes) -> None:
    """Refuse what a real node's pool would refuse, so that it is found here first."""
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise TransactionRefused(
            f"oversized data: transaction of {len(raw)} bytes, at most {MAX_TRANSACTION_BYTES}. "
            "Split it into several transactions."
        )


def require_admissible(
    transaction: SignedTransactionAPI, header: BlockHeaderAPI, state: StateAPI, chain_id: int
) -> None:
    """Raise ``TransactionRefused`` unless it can be mined under ``header`` on ``state``."""
    _require_chain(transaction, chain_id)
    _require_gas(transaction, header)
    _require_fee(transaction, header)
    sender = _sender(transaction)
    _require_nonce(transaction, state, sender)
    _require_funds(transaction, state, sender)


def floor_gas(data: bytes) -> int:
    """Least gas a transaction with this calldata is charged (EIP-7623)."""
    zeros = data.count(0)
    tokens = zeros + TOKENS_PER_NONZERO_BYTE * (len(data) - zeros)
    return BASE_GAS + FLOOR_GAS_PER_TOKEN * tokens


def _require_chain(transaction: SignedTransactionAPI, chain_id: int) -> None:
    if getattr(transaction, "type_id", None) == BLOB_TYPE:
        raise TransactionRefused("transaction type not supported: this chain carries no blobs")
    if transaction.chain_id is None:
        raise TransactionRefused(
            f"only replay-protected (EIP-155) transactions allowed: sign with chain id {chain_id}"
        )
    if transaction.chain_id != chain_id:
        raise TransactionRefused(
            f"invalid chain id for signer: transaction for chain {transaction.chain_id}, "
            f"this is chain {chain_id}"
        )


def _require_gas(transaction: SignedTransactionAPI, header: BlockHeaderAPI) -> None:
    most = min(MAX_TRANSACTION_GAS, header.gas_limit)
    if transaction.gas > most:
        raise TransactionRefused(
            f"transaction gas limit too high: {transaction.gas}, cap {most} (EIP-7825). "
            "Split the work over several transactions."
        )
    least = max(transaction.intrinsic_gas, floor_gas(transaction.data))
    if transaction.gas < least:
        raise TransactionRefused(f"intrinsic gas too low: have {transaction.gas}, want {least}")


def _require_fee(transaction: SignedTransactionAPI, header: BlockHeaderAPI) -> None:
    base = header.base_fee_per_gas or 0
    if transaction.max_fee_per_gas < base:
        raise TransactionRefused(
            "max fee per gas less than block base fee: "
            f"maxFeePerGas {transaction.max_fee_per_gas}, baseFee {base} (wei)"
        )
    if transaction.max_fee_per_gas < transaction.max_priority_fee_per_gas:
        raise TransactionRefused(
            "max priority fee per gas higher than max fee per gas: "
            f"{transaction.max_priority_fee_per_gas} > {transaction.max_fee_per_gas} (wei)"
        )


def _sender(transaction: SignedTransactionAPI) -> Address:
    try:
        return transaction.sender
    except (BadSignature, ValidationError) as fault:
        raise TransactionRefused("invalid sender: the signature recovers to no address") from fault


def _require_nonce(transaction: SignedTransactionAPI, state: StateAPI, sender: Address) -> None:
    expected = state.get_nonce(sender)
    if transaction.nonce == expected:
        return
    relation = "low" if transaction.nonce < expected else "high"
    raise TransactionRefused(
        f"nonce too {relation}: address {to_checksum_address(sender)}, "
        f"tx: {transaction.nonce} state: {expected}. "
        "This node keeps no queue: send transactions of one account in order."
    )


def _require_funds(transaction: SignedTransactionAPI, state: StateAPI, sender: Address) -> None:
    balance = state.get_balance(sender)
    needed = transaction.gas * transaction.max_fee_per_gas + transaction.value
    if balance < needed:
        raise TransactionRefused(
            f"insufficient funds for gas * price + value: address {to_checksum_address(sender)} "
            f"have {balance} want {needed} (wei)"
        )
