"""Trying a transaction out: ``eth_call`` and ``eth_estimateGas``.

Nothing tried here is kept, costs anything, or needs a balance (a value that is sent does). A call
sees the context of its block: number, timestamp, state. ``pending`` is the block that would be
mined now, which gas is estimated for: deadlines count as they will when the transaction arrives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from eth.abc import BlockHeaderAPI, ComputationAPI, SignedTransactionAPI, StateAPI
from eth.exceptions import Revert
from eth.vm.chain_context import ChainContext
from eth.vm.spoof import SpoofTransaction
from eth_typing import Address
from eth_utils.exceptions import ValidationError

from marketplace.chain.node.admission import MAX_TRANSACTION_GAS, floor_gas
from marketplace.chain.node.backend import PersistentBackend
from marketplace.chain.node.errors import ExecutionFailed, Reverted

CALL_GAS = MAX_TRANSACTION_GAS
"""Gas of one eth_call: what can be sent can be tried. The largest pages that the product reads (512 words,
200 records) take 2M. An endless loop takes about 0.7 s for each million, and everybody waits for it."""
ESTIMATE_GAS = 2 * MAX_TRANSACTION_GAS
"""Gas that all runs of one estimate may use together; the answer is less precise where that ends them."""
STIPEND = 2_300  # gas a transfer leaves the callee; must be available though it is given back
PRECISION = 0.015  # a search for gas stops within this share of the answer, as geth's does


@dataclass(frozen=True)
class Call:
    """A transaction to try. ``to`` is empty for a contract creation; amounts in wei, gas in gas."""

    sender: Address
    to: bytes
    data: bytes
    value: int
    gas: int | None


def call(backend: PersistentBackend, header: BlockHeaderAPI, request: Call) -> bytes:
    """What ``request`` returns in the block of ``header``.

    Raises ``Reverted`` (with the revert bytes) or ``ExecutionFailed``.
    """
    gas = min(request.gas or CALL_GAS, CALL_GAS)
    computation = _try(backend, header, replace(request, gas=gas))
    _require_success(computation)
    return bytes(computation.output)


def estimate_gas(backend: PersistentBackend, header: BlockHeaderAPI, request: Call) -> int:
    """Gas limit with which ``request`` succeeds in the block of ``header``: mostly at most 1.6% too high.

    One run under the highest gas, and mostly one more to confirm. Raises ``Reverted`` or
    ``ExecutionFailed``, also when EIP-7825's cap is not enough.
    """
    most = min(request.gas or MAX_TRANSACTION_GAS, MAX_TRANSACTION_GAS, header.gas_limit)
    first = _try(backend, header, replace(request, gas=most))
    _require_success(first, gas=most)
    used = most - first.get_gas_remaining()
    # EIP-150 keeps 1/64 back from every inner call, so gas "used" may not be gas enough.
    guess = min(most, max(floor_gas(request.data), (used + STIPEND) * 64 // 63))
    if not request.data and _succeeds(backend, header, request, used):
        return used
    if _succeeds(backend, header, request, guess):
        return guess
    return _search(backend, header, request, guess, most, ESTIMATE_GAS - used - guess)


def _search(
    backend: PersistentBackend,
    header: BlockHeaderAPI,
    request: Call,
    low: int,
    high: int,
    spare: int,
) -> int:
    """Halve the interval between a gas that fails and one that succeeds, while gas is to spare."""
    while spare > 0 and (high - low) / high > PRECISION:
        middle = (low + high) // 2
        tried = _try(backend, header, replace(request, gas=middle))
        spare -= middle - tried.get_gas_remaining()
        if tried.is_success:
            high = middle
        else:
            low = middle
    return high


def _succeeds(backend: PersistentBackend, header: BlockHeaderAPI, request: Call, gas: int) -> bool:
    return bool(_try(backend, header, replace(request, gas=gas)).is_success)


def _try(backend: PersistentBackend, header: BlockHeaderAPI, request: Call) -> ComputationAPI:
    state = _free_state(backend, header)
    builder: Any = backend.chain.get_vm(header).get_transaction_builder()
    unsigned = builder.new_unsigned_dynamic_fee_transaction(
        chain_id=backend.genesis.chain_id,
        nonce=state.get_nonce(request.sender),
        max_priority_fee_per_gas=0,
        max_fee_per_gas=0,
        gas=request.gas,
        to=request.to,
        value=request.value,
        data=request.data,
        access_list=(),
    )
    try:
        spoof = SpoofTransaction(unsigned, from_=request.sender)
        return state.apply_transaction(cast(SignedTransactionAPI, spoof))
    except ValidationError as refusal:
        raise ExecutionFailed(f"can not be executed: {refusal}") from refusal


def _free_state(backend: PersistentBackend, header: BlockHeaderAPI) -> StateAPI:
    """State under ``header`` in which gas costs nothing, so that any sender can be tried."""
    vm = backend.chain.get_vm(header)
    free = header.copy(base_fee_per_gas=0)
    context = ChainContext(backend.genesis.chain_id)
    return vm.build_state(backend.chain.chaindb.db, free, context, vm.previous_hashes or ())


def _require_success(computation: ComputationAPI, gas: int | None = None) -> None:
    if computation.is_success:
        return
    if isinstance(computation.error, Revert):
        raise Reverted(bytes(computation.output))
    within = f" within {gas} gas, the most a transaction may have" if gas else ""
    name = type(computation.error).__name__
    raise ExecutionFailed(f"execution failed{within}: {name}: {computation.error}")
