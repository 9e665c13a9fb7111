"""Sealed records on their way in."""

from __future__ import annotations

from typing import Any

import flask

from marketplace.api.context import LARGEST_RECORDS, body, operator
from marketplace.api.problems import outcome
from marketplace.errors import BadParameter
from marketplace.intake import MOST_RECORDS, Entry
from marketplace.wire.http import answer

routes = flask.Blueprint("records", __name__)


@routes.post("/records")
def take_records() -> flask.Response:
    """Takes sealed, attested records; answers for each how far it came."""
    entries = body("entries", limit=LARGEST_RECORDS)["entries"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_RECORDS:
        raise BadParameter(
            message=f"entries must be a list of 1 to {MOST_RECORDS} uploads.",
            remedy="Send more records in several uploads.",
            field="entries",
        )
    taken = operator().intake.receive(entries)
    return answer({"outcomes": [_outcome(entry) for entry in taken]})


def _outcome(entry: Entry) -> dict[str, Any]:
    patient = None if entry.attestation is None else entry.attestation.patient
    return {"patient": patient, **outcome(entry.state, entry.refusal)}
