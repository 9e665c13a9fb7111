"""Who can see what, what is protected, and what is not: the README's own words, shorter."""

from __future__ import annotations

import flask

from web.site import site

routes = flask.Blueprint("trust", __name__)


@routes.get("/trust")
def show() -> str:
    """With this market's own numbers."""
    reads = site().operator.reads
    committee = reads.committee()
    return flask.render_template(
        "trust/show.html",
        quorum=committee["quorum"],
        custodians=len(committee["members"]),
        policy=reads.market()["manifest"]["policy"],
    )
