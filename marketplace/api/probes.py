"""What an orchestrator asks: whether this process lives, and whether it should be given requests."""

from __future__ import annotations

import flask

from marketplace.api.context import context
from marketplace.errors import Refusal
from marketplace.wire.http import answer

routes = flask.Blueprint("probes", __name__)


@routes.get("/live")
def show_live() -> flask.Response:
    """Whoever reads this was answered: a reason to start the process anew is no answer at all."""
    return answer({"live": True})


@routes.get("/ready")
def show_ready() -> flask.Response:
    """200, or 503 with the codes of what keeps this server from working (as /health has them, in 200).

    Custodians and gates are no reason: others must reach this operator to hear of them, and to revoke.
    """
    reasons = context().unready()
    if reasons:
        raise Refusal(
            code="not_ready",
            message=f"This server is not ready: {', '.join(reasons)}.",
            remedy="Ask again in a moment; if it persists, its host must look at its node.",
        )
    return answer({"ready": True})
