"""The operator's bond beside a request: asked for before anybody pays, since the market asks at the freeze.

The market locks, for as long as the request is at work, what its patients could be paid: live consents times
the price, at least the policy's minimum (`ResearchMarket._lockBond`).
"""

from __future__ import annotations

from marketplace.chain.adapter import Chain
from marketplace.errors import Refusal
from marketplace.wire.plain import counted


def bond_needed(chain: Chain, members: int, price: int) -> int:
    """Token units that a freeze of so many members at this price locks."""
    return max(members * price, chain.policy().minimum_bond)


def require_bond(chain: Chain, operator: str, members: int, price: int) -> None:
    """The operator's free bond covers a request.

    Raises:
        Refusal: `bond_too_small`, with both figures; nothing was paid.
    """
    needed, free = bond_needed(chain, members, price), chain.bond_of(operator)
    if free < needed:
        amount = chain.token.amount
        raise Refusal(
            code="bond_too_small",
            message=f"This request needs a bond of {amount(needed)} ({counted(members, 'patient')} "
            f"at {amount(price)}); the operator has {amount(free)} free.",
            remedy="Ask for less privacy cost or fewer classes, ask later (the bonds of requests at work "
            "come back), or have the operator post more (`usufruct post-bond`).",
            facts={"needed": needed, "free": free},
        )
