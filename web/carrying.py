"""One signed message of whoever is signed in, read from a page's request and handed to the chain."""

from __future__ import annotations

from typing import Any, Final

import flask

from marketplace.wire.http import answer, read_body, to_hex
from marketplace.wire.messages import Message, parse_message
from web.site import site

MOST_BODY: Final = 64 * 1024
"""Of one signed message: two signatures of the largest size, and its fields."""


def uploaded() -> tuple[Any, Message]:
    """`{"message"}` of the request at hand: as it came, and read. Raises Refusal: `malformed_message`."""
    raw = read_body({"message"}, limit=MOST_BODY)["message"]
    return raw, parse_message(raw, "message")


def carried(raw: Any) -> flask.Response:
    """`{"kind", "transaction"}` of a message that may be carried; raises what relay or contract refuse."""
    [outcome] = site().operator.relay.carry_uploaded([raw])
    if outcome.refusal is not None:
        raise outcome.refusal
    transaction = None if outcome.transaction is None else to_hex(outcome.transaction)
    return answer({"kind": outcome.kind, "transaction": transaction})
