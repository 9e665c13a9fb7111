"""The answer of a settled request: as the operator tells it, or from the chain with nobody's help.

A sealed result is delivered in the very transaction that settles (event `RequestSettled`), so whoever holds
the delivery key and a node needs no operator to be answered.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from eth_utils.crypto import keccak

from marketplace.chain.adapter import Chain, RequestStage
from marketplace.errors import Refusal
from marketplace.receipts.build import build_receipt, life_of
from marketplace.vocabulary import RequestId
from marketplace.wire import hpke
from marketplace.wire.canonical import canonical
from marketplace.wire.delivery import DeliveryContext, Opened, open_result, result_hash


def open_answer(receipt: Mapping[str, Any], delivery: hpke.SecretKey) -> Opened:
    """Opens the sealed result in a receipt with the researcher's key, held against what custodians signed.

    The receipt itself is whoever gave it's word; `usufruct verify-receipt` holds it against the chain.

    Raises:
        EnvelopeUnreadable: for another key. Refusal: `result_mismatch`.
    """
    context = DeliveryContext(
        receipt["chain_id"],
        receipt["contracts"]["ResearchMarket"]["address"],
        RequestId(bytes.fromhex(receipt["request"][2:])),
    )
    opened = open_result(base64.b64decode(receipt["sealed_result"]), delivery, context)
    require_signed_result(opened, bytes.fromhex(receipt["settlement"]["resultHash"][2:]))
    return opened


def open_on_chain(chain: Chain, request: bytes, delivery: hpke.SecretKey) -> Opened:
    """Opens the sealed result that the settlement delivered on chain.

    Raises:
        Refusal: `not_settled`, `result_mismatch`. EnvelopeUnreadable: for another key.
        PartialLogs, NodeUnreachable, NodeFault.
    """
    view = chain.request(request)
    if view.stage is not RequestStage.SETTLED:
        raise Refusal(
            code="not_settled",
            message=f"The request is {view.stage.name.lower()} on chain; there is no result.",
            remedy="See `usufruct status`.",
            field="request",
        )
    event = life_of(chain, request, view)["settled"]
    context = DeliveryContext(chain.chain_id, chain.manifest.market, RequestId(request))
    opened = open_result(bytes(event.args["sealedResult"]), delivery, context)
    require_signed_result(opened, view.result_hash)
    return opened


def receipt_on_chain(chain: Chain, request: bytes, opened: Opened) -> dict[str, Any]:
    """The receipt of an opened answer, built from the chain; the answer names what only hashes do there.

    Raises:
        Refusal: `result_mismatch`; as `build_receipt`.
    """
    parameters = canonical(opened.document["parameters"])
    if keccak(parameters) != chain.request_terms(request).parameters:
        raise _mismatch()
    return build_receipt(chain, request, str(opened.document["analysis"]), parameters)


def require_signed_result(opened: Opened, signed: bytes) -> None:
    """Raises Refusal (`result_mismatch`) unless it is what custodians signed the hash of."""
    if result_hash(opened.salt, opened.result) != signed:
        raise _mismatch()


def _mismatch() -> Refusal:
    return Refusal(
        code="result_mismatch",
        message="The delivered result is not the one that custodians signed.",
        remedy="Do not use it; keep the receipt and ask the operator and the custodians.",
    )
