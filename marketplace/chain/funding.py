"""Ether for accounts that send transactions: from the embedded chain's faucet, or any funded account."""

from __future__ import annotations

import time
from collections.abc import Sequence

from eth_account import Account

from marketplace.chain.rpc import Node
from marketplace.errors import Refusal
from marketplace.wire.eip712 import SigningKey

TRANSFER_GAS = 21_000
WAIT_SECONDS = 60.0


def fund(node: Node, key: SigningKey, accounts: Sequence[str], wei: int) -> None:
    """Sends `wei` to each account, and waits until the last is in a block.

    Raises:
        Refusal: `outcome_unknown` after a minute; NodeUnreachable, NodeFault.
    """
    payer = Account.from_key(key)
    nonce, fees, last = node.transaction_count(str(payer.address)), node.fees(), b""
    for position, account in enumerate(accounts):
        fields = {
            "chainId": node.chain_id(),
            "to": account,
            "value": wei,
            "gas": TRANSFER_GAS,
            "nonce": nonce + position,
        }
        signed = payer.sign_transaction({**fields, **fees})
        node.send_raw_transaction(bytes(signed.raw_transaction))
        last = bytes(signed.hash)
    _await(node, last)


def _await(node: Node, transaction: bytes) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while node.receipt(transaction) is None:
        if time.monotonic() > until:
            raise Refusal(
                code="outcome_unknown",
                message="The funding transaction is not in a block yet.",
                remedy="Look at the node, then try again.",
            )
        time.sleep(0.05)
