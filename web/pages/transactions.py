"""Transactions of accounts whose key is in the browser: what one needs, carrying it, what became of it."""

from __future__ import annotations

from typing import Final

import flask

from marketplace.errors import BadParameter
from marketplace.wire.http import answer, hash_field, hex_field, read_body, to_hex
from web import sessions
from web.site import site

MOST_DATA: Final = 120 * 1024
"""Bytes of call data: a transaction of the largest size that pools take, less what stands around it."""
MOST_RAW: Final = 128 * 1024
MOST_BODY: Final = 2 * MOST_RAW + 1_024

routes = flask.Blueprint("transactions", __name__)


@routes.post("/transactions/ways")
def way() -> flask.Response:
    """`{"to", "data"}` -> chain, number, gas and fees (wei) for a call of the account that is signed in."""
    given = read_body({"to", "data"}, limit=MOST_BODY)
    if not isinstance(given["to"], str):
        raise BadParameter(message="to is no address.", remedy="Give an address.", field="to")
    data = hex_field(given["data"], "data", MOST_DATA)
    return answer(site().operator.carriage.way(sessions.account(), given["to"], data))


@routes.post("/transactions")
def carry() -> flask.Response:
    """`{"raw"}` -> `{"transaction"}`: hands a signed transaction of the account to the chain."""
    given = read_body({"raw"}, limit=MOST_BODY)
    raw = hex_field(given["raw"], "raw", MOST_RAW)
    return answer({"transaction": to_hex(site().operator.carriage.carry(sessions.account(), raw))})


@routes.get("/transactions/<transaction>")
def fate(transaction: str) -> flask.Response:
    """`{"transaction", "state", "block", "reason"}`: waiting, done or failed."""
    return answer(site().operator.carriage.fate(hash_field(transaction, "transaction")))
