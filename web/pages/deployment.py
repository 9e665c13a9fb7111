"""What every module needs to know of this market: chain, contracts, committee, custodians. All is public."""

from __future__ import annotations

import flask

from marketplace.wire.http import answer
from web.site import site

routes = flask.Blueprint("deployment", __name__)


@routes.get("/deployment")
def show() -> flask.Response:
    """`{"chain_id", "contracts", "operator", "fee", "committee", "custodians"}`: JSON for the page's modules.

    `custodians` are the origins that a browser reaches them at, by place.
    """
    reads, manifest = site().operator.reads, site().operator.chain.manifest
    return answer(
        {
            "chain_id": manifest.chain_id,
            "contracts": {name: each.address for name, each in manifest.contracts.items()},
            "operator": site().operator.sender.address,
            "fee": str(site().config.fee),
            "committee": reads.committee(),
            "custodians": list(site().custodians),
        }
    )
