"""What a receipt proves: by itself, computed in the browser, and beside the chain as this node has it."""

from __future__ import annotations

import flask

from marketplace.wire.http import answer, hash_field
from web.site import site

routes = flask.Blueprint("verify", __name__)


@routes.get("/verify")
def show() -> str:
    """Where a receipt is dropped; it stays in the browser."""
    return flask.render_template("verify/show.html", url=site().origin)


@routes.get("/verify/<request_id>")
def anchors(request_id: str) -> flask.Response:
    """What the chain keeps of a request, by this operator's node: JSON, to hold a receipt against.

    `{"request", "stage", "final", "receipt"}` as `marketplace.anchors` says. Raises BadParameter.
    """
    return answer(site().operator.reads.anchors(hash_field(request_id, "request")))
