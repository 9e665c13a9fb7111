"""Paying the market's escrow: by permit where the token has one, by an approval where it has none."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from marketplace.chain import token
from marketplace.chain.adapter import Chain
from marketplace.chain.manifest import TOKEN
from marketplace.chain.sender import Sender
from marketplace.errors import Refusal
from marketplace.wire.eip712 import SigningKey

PERMIT_LIFE: Final = 86_400  # seconds

OPEN_GAS: Final = 600_000
"""Units: opening by permit takes about 280,000 with one class; an approval and more classes fit as well."""

Told = Callable[[str], None]


def require_gas(chain: Chain, account: str) -> None:
    """Whoever opens a request pays its gas, in the chain's own currency, beside the escrow in tokens.

    Raises:
        Refusal: `insufficient_funds`, before anything was handed in or paid. NodeUnreachable, NodeFault.
    """
    fees = chain.node.fees()
    needed = OPEN_GAS * fees.get("maxFeePerGas", fees.get("gasPrice", 0))
    held = int(chain.node.request("eth_getBalance", [account, "latest"]), 16)
    if held < needed:
        raise Refusal(
            code="insufficient_funds",
            message=f"{account} holds {held} wei; opening a request may take {needed} wei of gas.",
            remedy="Send that account some of the chain's own currency: the researcher pays this gas.",
            field="key_file",
        )


def open_request(
    chain: Chain, key: SigningKey, opening: tuple[Any, Any], escrow: int, told: Told | None = None
) -> None:
    """Opens and pays, from the key's own account. `opening` are terms and the terms of its classes.

    `told` hears why an approval is sent where the token takes no permit.

    Raises:
        ContractRefusal: as the market or the token refuses; nothing is paid then.
    """
    sender = Sender(chain, key)
    try:
        until = int(time.time()) + PERMIT_LIFE
        permit = token.permit(chain, key, sender.address, escrow, until)
    except token.NoPermit as refusal:
        if told is not None:
            told(str(refusal))
        approve(chain, sender, escrow)
        sender.send("ResearchMarket", "open", *opening)
        return
    sender.send("ResearchMarket", "openWithPermit", *opening, permit)


def approve(chain: Chain, sender: Sender, amount: int) -> None:
    """Lets the market take `amount` token units from the sender, unless it may already."""
    allowed = chain.allowance(sender.address, chain.market)
    if allowed >= amount:
        return
    if allowed > 0:  # some tokens change an allowance only from or to nothing
        sender.send(TOKEN, "approve", chain.market, 0)
    sender.send(TOKEN, "approve", chain.market, amount)
