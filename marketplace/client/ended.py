"""A request that ended: answered, or with the commands that bring back what was paid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from marketplace.errors import Refusal
from marketplace.wire.amounts import Token
from marketplace.wire.plain import counted

PAID_OUT: Final = "`usufruct withdraw-credit --key-file KEY --to ADDRESS` pays it out"
MONEY_BACK: Final[Mapping[str, str]] = {
    "none": "By the operator's word it was never opened on chain, so nothing was paid.",
    "opened": "The escrow is still held. `usufruct cancel --request {request} --key-file KEY` turns all of "
    f"it into credit, then {PAID_OUT}.",
    "cancelled": f"Everything came back as credit: {PAID_OUT}.",
    "reclaimed": f"Everything came back as credit: {PAID_OUT}.",
    "defaulted": f"What you are owed is credit: {PAID_OUT}.",
}
"""By where the chain has a request that ended without an answer: what its researcher types next."""
STATUS: Final = "`usufruct status --request {request}` says what comes back, and how."


def require_settled(found: Mapping[str, Any], request: str) -> None:
    """Raises Refusal (`not_settled`, or the reason's code) for a request that ended otherwise.

    Its remedy ends with the commands that bring back what was paid, for the request that was asked about:
    what is found is the operator's word, and must not choose which one a researcher cancels.
    """
    if found["stage"] == "settled":
        return
    reason = found.get("reason") or {}
    back = MONEY_BACK.get(str(found.get("chain_stage")), STATUS).format(request=request)
    raise Refusal(
        code=str(reason.get("code", "not_settled")),
        message=f"The request is {found['stage']}. {reason.get('message', '')}".strip(),
        remedy=f"{reason.get('remedy', '')} {back}".strip(),
    )


def spent_words(quote: Mapping[str, Any], members: int) -> str:
    """What an answered request came to, and how much of what was held came back."""
    amount = Token.told(quote).amount
    spent = members * quote["price_per_member"] + quote["fee"]
    back = int(quote["escrow"]) - spent
    paid = f"It cost {amount(spent)}: {counted(members, 'patient')} and the operator's fee."
    if back == 0:
        return paid
    return f"{paid} {amount(back)} of the escrow came back as credit: {PAID_OUT}."
