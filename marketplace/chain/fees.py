"""What an account pays for a transaction at most: fees, wei a gas, held under a ceiling."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_UP, Decimal
from typing import Final

from marketplace.chain.rpc import CannotPay, Node
from marketplace.errors import Refusal

GWEI: Final = 10**9
"""Wei."""
DECIMALS: Final = 18
"""Of an ether, in wei."""
REPLACES: Final = (11, 10)
"""By how much a pool wants both fees to rise before one transaction takes another's number (geth, anvil)."""


class FeeAboveCeiling(Refusal):
    """The chain asks for more than this account is to pay. Nothing was sent; waiting helps."""

    CODE = "fee_above_ceiling"


def first(node: Node, ceiling: int | None) -> dict[str, int]:
    """The fees of a new transaction: those that the node suggests, none above `ceiling` (None: no limit).

    Raises:
        FeeAboveCeiling: a block would not take it now; NodeUnreachable, NodeFault.
    """
    asked = node.fees()
    if ceiling is None or max(asked.values()) <= ceiling:
        return asked
    least = node.header("latest").base_fee or asked.get("gasPrice", 0)
    if least > ceiling:
        raise FeeAboveCeiling(
            message=f"The chain asks for {shown(least)} gwei a gas; "
            f"this account pays at most {shown(ceiling)}.",
            remedy="It goes on by itself once fees fall; or raise max_fee_gwei and start again.",
            field="max_fee_gwei",
            facts={"asked_wei": least, "ceiling_wei": ceiling},
        )
    return under(asked, ceiling)


def under(fees: Mapping[str, int], ceiling: int | None) -> dict[str, int]:
    """None of them above the ceiling."""
    return {name: fee if ceiling is None else min(fee, ceiling) for name, fee in fees.items()}


def replaces(before: Mapping[str, int], after: Mapping[str, int]) -> bool:
    """Whether a pool would take a transaction at the fees `after` in place of one at `before`."""
    more, of = REPLACES
    return all(after[name] * of >= fee * more for name, fee in before.items())


def cannot_pay(account: str, gas: int, fees: Mapping[str, int]) -> CannotPay:
    """The refusal that says which account lacks gas, and how much a transaction with these fees may take."""
    most = gas * max(fees.values())
    amount = Decimal(most).scaleb(-DECIMALS).quantize(Decimal("0.000001"), ROUND_UP)
    return CannotPay(
        message=f"The account {account} cannot pay for this transaction's gas: "
        f"it may take {amount} of the chain's own currency.",
        remedy="Send that account some.",
        facts={"account": account, "wei": most},
    )


def shown(wei: int) -> str:
    """Gwei."""
    return f"{wei / GWEI:,.3f}".rstrip("0").rstrip(".")
