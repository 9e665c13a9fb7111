"""The answer of a settled request: as the operator tells it, or from the chain with nobody's help.

A sealed result is delivered in the very transaction that settles (event `RequestSettled`), so whoever holds
the delivery key and a node needs no operator to be answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from eth_utils.crypto import keccak

from marketplace.chain.adapter import Chain, RequestStage
from marketplace.errors import Refusal
from marketplace.receipts import checks
from marketplace.receipts.build import build_receipt, life_of
from marketplace.receipts.format import Receipt, load
from marketplace.vocabulary import RequestId
from marketplace.wire import hpke
from marketplace.wire.delivery import DeliveryContext, Opened, open_result, result_hash
from marketplace.wire.http import to_hex
from ml.dp.noised import Noised


def open_answer(receipt: Mapping[str, Any], delivery: hpke.SecretKey, request: bytes) -> Opened:
    """Opens the sealed result in a request's receipt with the researcher's key.

    It is held against what the receipt says that was asked, counted, debited and signed. The receipt itself
    is whoever gave it's word; `usufruct verify-receipt` holds it against the chain.

    Raises:
        ReceiptInvalid. EnvelopeUnreadable: for another key. Refusal: `another_receipt`, `result_mismatch`.
    """
    read = load(receipt)
    require_receipt_of(read, request)
    context = DeliveryContext(
        read.deployment.chain_id, read.deployment.market, RequestId(read.request)
    )
    opened = open_result(read.sealed_result, delivery, context)
    require_signed_result(opened, read.settlement.result_hash)
    checks.opened(read, opened)
    return opened


def require_receipt_of(receipt: Receipt, request: bytes) -> None:
    """Raises Refusal (`another_receipt`) for the receipt of any other request, genuine or not."""
    if receipt.request != request:
        raise Refusal(
            code="another_receipt",
            message=f"This is a receipt of request {to_hex(receipt.request)}, not of the one that is meant.",
            remedy="Ask for the receipt of the request itself; do not use this one's answer for it.",
            field="request",
        )


def open_on_chain(chain: Chain, request: bytes, delivery: hpke.SecretKey) -> Opened:
    """Opens the sealed result that the settlement delivered on chain.

    Raises:
        Refusal: `not_settled`, `result_mismatch`, `another_answer`. EnvelopeUnreadable: for another key.
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
    require_answer(chain, request, opened)
    return opened


def require_answer(chain: Chain, request: bytes, opened: Opened) -> None:
    """The opened result is what was signed for this request, and answers what it asked, of whom it counted.

    Raises:
        Refusal: `result_mismatch`, `another_answer`. PartialLogs, ForgedLogs, NodeUnreachable, NodeFault.
    """
    view, terms = chain.request(request), chain.request_terms(request)
    require_signed_result(opened, view.result_hash)
    document = opened.document
    answered = {
        "analysis": keccak(text=str(document.get("analysis"))) == terms.analysis,
        "parameters": keccak(_parameters(opened)) == terms.parameters,
        "cohort_size": document.get("cohort_size") == view.members,
        "cost_nano_rho": 0 < checks.cost_of(document) <= view.cost,
    }
    for name, is_same in answered.items():
        if not is_same:
            raise _another_answer(name)


def noised_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The numbers of an opened answer, as every analysis writes them (`Noised`).

    Raises:
        Refusal: `malformed_answer`: its gate wrote something else, and custodians signed it unread.
    """
    given = document.get("noised")
    try:
        Noised.from_json(json.dumps(given, sort_keys=True, separators=(",", ":")).encode("ascii"))
    except ValueError:
        raise Refusal(
            code="malformed_answer",
            message="The opened answer holds no result that can be read.",
            remedy="Keep the receipt: it shows what its gate answered. Ask the gate's host.",
            field="result.noised",
        ) from None
    return dict(given or {})


def receipt_on_chain(chain: Chain, request: bytes, opened: Opened) -> dict[str, Any]:
    """The receipt of an opened answer, built from the chain; the answer names what only hashes do there.

    Raises:
        Refusal: `result_mismatch`; as `build_receipt`.
    """
    parameters = _parameters(opened)
    if keccak(parameters) != chain.request_terms(request).parameters:
        raise _mismatch()
    return build_receipt(chain, request, str(opened.document["analysis"]), parameters)


def _parameters(opened: Opened) -> bytes:
    """As analyses write them, and terms hash them: sorted keys, no spaces, ASCII."""
    given = opened.document.get("parameters")
    return json.dumps(given, sort_keys=True, separators=(",", ":")).encode("ascii")


def require_signed_result(opened: Opened, signed: bytes) -> None:
    """Raises Refusal (`result_mismatch`) unless it is what custodians signed the hash of."""
    if result_hash(opened.salt, opened.result) != signed:
        raise _mismatch()


def _another_answer(name: str) -> Refusal:
    return Refusal(
        code="another_answer",
        message=f"The delivered result is not of what was asked: its {name} differs from the request's.",
        remedy="Do not use it; keep the receipt and ask the operator and the custodians, who signed it.",
        field=f"result.{name}",
    )


def _mismatch() -> Refusal:
    return Refusal(
        code="result_mismatch",
        message="The delivered result is not the one that custodians signed.",
        remedy="Do not use it; keep the receipt and ask the operator and the custodians.",
    )
