"""Patients' signed messages: grants, revocations, rests, wakes, guardians, moves, withdrawals, erasures."""

from __future__ import annotations

from typing import Any

import flask

from marketplace.api.context import LARGEST_MESSAGES, body, operator
from marketplace.api.problems import outcome
from marketplace.errors import BadParameter
from marketplace.relay import MOST_MESSAGES, Outcome
from marketplace.vocabulary import patient_address
from marketplace.wire.http import answer, hash_field, to_hex

routes = flask.Blueprint("consents", __name__)


@routes.post("/messages")
def relay_messages() -> flask.Response:
    """Carries signed messages to the chain; each proves its own signer, none sinks another."""
    raw = body("messages", limit=LARGEST_MESSAGES)["messages"]
    if not isinstance(raw, list) or not 1 <= len(raw) <= MOST_MESSAGES:
        raise BadParameter(
            message=f"messages must be a list of 1 to {MOST_MESSAGES} signed messages.",
            remedy="Send more in several requests.",
            field="messages",
        )
    outcomes = operator().relay.carry_uploaded(raw)
    return answer({"outcomes": [_told(each) for each in outcomes]})


def _told(each: Outcome) -> dict[str, Any]:
    told = {"kind": each.kind, **outcome("relayed", each.refusal)}
    return told if each.transaction is None else told | {"transaction": to_hex(each.transaction)}


@routes.get("/datasets/<dataset>/consents/<patient>")
def show_consent(dataset: str, patient: str) -> flask.Response:
    """One pseudonymous patient's consent, budget and earnings, as the chain shows them to anyone."""
    found = operator().reads.consent(hash_field(dataset, "dataset"), patient_address(patient))
    return answer(found)
