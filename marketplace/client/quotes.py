"""An operator's quote, of which only the fee is its word: the rest is computed here and held against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from marketplace.chain.adapter import Chain
from marketplace.client.http import Api
from marketplace.errors import Refusal
from marketplace.posed import lane_of
from marketplace.prices import escrow, figures
from marketplace.vocabulary import Lane, unsigned
from marketplace.wire.dictionary import Dictionary
from marketplace.words import quote_words

FEE_BITS: Final = 64  # as in request terms
SAME: Final = (
    "analysis_hash",
    "parameters_hash",
    "release_kind",
    "cost_nano_rho",
    "highest_cost_nano_rho",
    "minimum_cohort",
    "price_per_member",
    "token_decimals",
)
"""What question, catalogue, class terms and policy fix for everybody. The others move with the number of live
consents, of which operator and client may see different moments: the client's own are taken."""


def held_quote(
    api: Api, chain: Chain, dictionary_of: Callable[[bytes], Dictionary], asked: Mapping[str, Any]
) -> dict[str, Any]:
    """What a request costs and brings: the operator's fee, and figures of one's own.

    A target error becomes a cost here, so that no operator chooses how much budget an answer spends.

    Args:
        chain: through a node of one's own.
        dictionary_of: of a dataset, as the chain has it.
        asked: as `figures`.

    Raises:
        BadParameter: naming the field. OperatorUnreachable, NodeUnreachable, NodeFault.
        Refusal: `quote_differs`; as the operator refuses the question.
    """
    due, lane = figures(chain, dictionary_of, asked), lane_of(asked)
    question = {name: asked[name] for name in ("dataset", "classes", "analysis", "parameters")}
    if lane is not Lane.VAULT:  # which is what an operator of before there were lanes takes it for
        question["lane"] = int(lane)
    told = api.post("/api/v1/quotes", {**question, "cost": due["cost_nano_rho"]})
    if lane_of(told) is not lane:
        raise _differs("lane")
    for name in SAME:
        if told.get(name) != due[name]:
            raise _differs(name)
    _require_added_up(told)
    quote = due | {"fee": unsigned(told.get("fee"), FEE_BITS, "fee")}
    quote["escrow"] = str(escrow(quote))
    return {**quote, "in_words": quote_words(quote)}


def _require_added_up(told: Mapping[str, Any]) -> None:
    """The escrow that the operator names is that of its own figures."""
    parts = {name: told.get(name) for name in ("max_patients", "price_per_member", "fee")}
    for name, value in parts.items():
        unsigned(value, FEE_BITS, name)
    if told.get("escrow") != str(escrow(parts)):
        raise _differs("escrow")


def _differs(name: str) -> Refusal:
    return Refusal(
        code="quote_differs",
        message=f"The operator's quote names another {name} than follows from question and chain.",
        remedy="Pay nothing on it. Ask again, or ask another operator; if you gave no --manifest, the "
        "contracts were the operator's word, too.",
        field=name,
    )
