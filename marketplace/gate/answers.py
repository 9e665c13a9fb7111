"""The one answer of a gate to a request: how it is made, kept and given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.gate.asked import Asked
from marketplace.gate.checks import OpenRequest
from marketplace.gate.keys import Keys
from marketplace.gate.models import ComputationRow
from marketplace.gate.quorum import Fault, Turn
from marketplace.vocabulary import RequestId
from marketplace.wire.canonical import JSON_LIMIT, canonical, parse
from marketplace.wire.delivery import (
    DeliveryContext,
    delivery_hash,
    encode_result,
    new_salt,
    result_hash,
    seal_result,
)
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.stated import Stated
from marketplace.wire.structs import SETTLEMENT_SCHEMA, VAULT, Settlement, sign
from ml.dp.noised import Noised

Signatures = Sequence[tuple[int, bytes]]
"""Of custodians under the settlement, by place."""


@dataclass(frozen=True)
class Turned:
    """Whose turns opened the cohort, and who was at fault."""

    turns: Sequence[Turn]
    faults: Sequence[Fault]


def new_answer(
    chain: Chain, keys: Keys, opened: OpenRequest, asked: Asked, noised: Noised, turned: Turned
) -> ComputationRow:
    """The noised answer sealed to its researcher, with the settlement that this gate signs for it."""
    request = opened.cohort.request
    sealed, hashed = _sealed(chain, opened, asked, noised)
    settlement = Settlement(
        request=request,
        root=opened.view.root,
        epoch=opened.view.epoch,
        lane=VAULT,
        schema=SETTLEMENT_SCHEMA,
        ciphertext_root=opened.ciphertext_root,
        noise=bytes(32),
        result_hash=hashed,
        delivery_hash=delivery_hash(sealed),
        gate=keys.signer.address,
    )
    notes = {
        "turns": [turn.public for turn in turned.turns],
        "faults": [{"place": fault.place, "code": fault.code} for fault in turned.faults],
        "stated": Stated(noised.cost_nano_rho, noised.noise).to_json(),
    }
    return ComputationRow(
        request=request,
        settlement=canonical(settlement.to_json()).decode(),
        sealed_result=sealed,
        gate_signature=sign(settlement, chain.domain("ResearchMarket"), keys.signer.secret),
        turns=canonical(notes).decode(),
    )


def _sealed(chain: Chain, opened: OpenRequest, asked: Asked, noised: Noised) -> tuple[bytes, bytes]:
    """The result, sealed to its researcher, and the salted hash of what is in it."""
    request = RequestId(opened.cohort.request)
    context = DeliveryContext(chain.chain_id, chain.manifest.market, request)
    size, answer = len(opened.cohort.members), json.loads(noised.to_json())
    result = encode_result(request, asked.analysis.id, asked.document, size, answer)
    salt = new_salt()
    sealed = seal_result(salt, result, opened.terms.delivery_key, context)
    return sealed, result_hash(salt, result)


def answer_document(row: ComputationRow) -> dict[str, Any]:
    """What the operator is answered: the same for ever."""
    notes = parse(row.turns.encode(), limit=JSON_LIMIT)
    return {
        "settlement": parse(row.settlement.encode(), limit=JSON_LIMIT),
        "sealed_result": to_base64(row.sealed_result),
        "gate_signature": to_hex(row.gate_signature),
        "turns": notes["turns"],
        "faults": notes["faults"],
        "stated": notes.get("stated"),
        "signatures": parse((row.signatures or "[]").encode(), limit=JSON_LIMIT),
    }


def signatures_text(signatures: Signatures) -> str:
    """As they are kept: canonical JSON."""
    listed = [{"place": place, "signature": to_hex(each)} for place, each in signatures]
    return canonical(listed).decode()
