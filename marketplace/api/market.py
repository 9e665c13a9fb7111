"""The market itself: contracts, committee, catalogue, accounts, the API's own description."""

from __future__ import annotations

import flask

from marketplace.api.context import operator
from marketplace.api.openapi import DOCUMENT
from marketplace.vocabulary import Lane, address
from marketplace.wire.http import answer

routes = flask.Blueprint("market", __name__)


@routes.get("/market")
def show_market() -> flask.Response:
    """Chain, contracts, policy, operator and fee."""
    return answer(operator().reads.market())


@routes.get("/committee")
def show_committee() -> flask.Response:
    """The current epoch's custodians and gates."""
    return answer(operator().reads.committee())


@routes.get("/catalogue")
def show_catalogue() -> flask.Response:
    """Every analysis that can be asked for, of the vault lane first: an id may be there once a lane."""
    reads = operator().reads
    return answer({"analyses": [each for lane in Lane for each in reads.catalogue(lane)]})


@routes.get("/accounts/<account>")
def show_account(account: str) -> flask.Response:
    """Balance, credit and bond, in token units."""
    return answer(operator().reads.account(address(account, "account")))


@routes.get("/openapi.json")
def show_openapi() -> flask.Response:
    """This API, described in OpenAPI 3.1."""
    return answer(DOCUMENT)
