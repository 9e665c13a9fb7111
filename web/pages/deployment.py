"""What every module needs to know of this market: chain, contracts, committee, custodians. All is public."""

from __future__ import annotations

import flask

from marketplace.wire.http import answer
from web.site import site

routes = flask.Blueprint("deployment", __name__)


@routes.get("/deployment")
def show() -> flask.Response:
    """`{"chain_id", "contracts", "operator", "fee", "token", "committee", "custodians"}`: JSON for modules.

    `custodians` are the origins that a browser reaches them at, by place.
    """
    reads = site().operator.reads
    shown = {"committee": reads.committee(), "custodians": list(site().custodians)}
    return answer({**reads.deployment(), **shown})
