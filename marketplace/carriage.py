"""Transactions of researchers, stewards and authorities who have no node: read, judged, handed to ours.

Their own key signs and pays. Nothing is carried that is not a plain call to one of this market's contracts
by the very account that asks, so that this server is no way to the chain for anybody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.chain.fees import cannot_pay, first
from marketplace.chain.offered import BadTransaction, fate, read_transaction
from marketplace.chain.transactor import with_margin
from marketplace.errors import Refusal
from marketplace.vocabulary import Address, address
from marketplace.wire.http import to_hex


@dataclass(frozen=True)
class Carriage:
    """Of one market's chain. `max_fee` is the most, in wei a gas, that it ever proposes to pay."""

    chain: Chain
    max_fee: int

    def way(self, account: Address, to: str, data: bytes) -> dict[str, Any]:
        """What a transaction of this account needs to be mined: chain, number, gas, fees (wei).

        Raises:
            Refusal: what the contract would refuse it with; `wrong_contract`, `cannot_pay`,
                `fee_above_ceiling`, `too_much_gas`; NodeUnreachable, NodeFault.
        """
        target = self._require_ours(address(to, "to"))
        node = self.chain.node
        gas = with_margin(node.estimate_gas(account, target, data))
        fees = first(node, self.max_fee)
        if node.balance(account) < gas * max(fees.values()):
            raise cannot_pay(account, gas, fees)
        price = max(fees.values())
        return {
            "chainId": self.chain.chain_id,
            "nonce": node.transaction_count(account),
            "gas": gas,
            "maxFeePerGas": price,
            "maxPriorityFeePerGas": fees.get("maxPriorityFeePerGas", price),
        }

    def carry(self, account: Address, raw: bytes) -> bytes:
        """Hands a signed transaction to the node. Returns its hash.

        Raises:
            BadTransaction; Refusal: `wrong_contract`; NonceTaken, CannotPay, NodeUnreachable, NodeFault.
        """
        offered = read_transaction(raw)
        if offered.sender != account:
            raise _bad(f"is signed by {offered.sender}, not by the account that is signed in")
        if offered.chain_id != self.chain.chain_id:
            raise _bad(f"is for chain {offered.chain_id}, not for {self.chain.chain_id}")
        if offered.value:
            raise _bad("sends the chain's own currency, which no contract of this market takes")
        self._require_ours(offered.to)
        self.chain.node.send_raw_transaction(raw)
        return offered.hash

    def fate(self, transaction: bytes) -> dict[str, Any]:
        """`{"state": waiting, done or failed, "block", "reason"}` of a transaction handed over before.

        Raises:
            Refusal: `unknown_transaction`; NodeUnreachable, NodeFault.
        """
        found = fate(self.chain.node, transaction)
        state = "waiting" if found.block is None else "failed" if found.refusal else "done"
        reason = None if found.refusal is None else found.refusal.reason()
        named = {"transaction": to_hex(transaction), "state": state}
        return {**named, "block": found.block, "reason": reason}

    def _require_ours(self, to: Address) -> Address:
        contracts = {each.address for each in self.chain.manifest.contracts.values()}
        if to not in contracts:
            raise Refusal(
                code="wrong_contract",
                message=f"{to} is no contract of this market.",
                remedy="Only calls to this market's contracts are carried here.",
                field="to",
            )
        return to


def _bad(why: str) -> BadTransaction:
    return BadTransaction(
        message=f"The transaction {why}.",
        remedy="Sign it on this page again, with the account that is signed in.",
        field="raw",
    )
