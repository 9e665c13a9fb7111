"""Another address for a record: what moves with it, and where somebody ends up whose address was left."""

from __future__ import annotations

import flask

from marketplace.wire.http import hash_field
from web import consents, sessions
from web.pages.datasets import name_of
from web.pages.me import consent_of, stop_facts
from web.site import site

routes = flask.Blueprint("rotating", __name__)


@routes.get("/me/<dataset>/key")
def show(dataset: str) -> str:
    """Says what a move changes, and offers it; after one, lets the browser's key file follow."""
    key, account = hash_field(dataset, "dataset"), sessions.account()
    found, consent = site().operator.reads.dataset(key), consent_of(key, account)
    return flask.render_template(
        "me/key.html",
        dataset=found["dataset"],
        name=name_of(found),
        account=account,
        has_moved=consent["state"] == "moved",
        has_record=consents.record_state(consent) != "none",
        has_guardian=consent["guardian"] is not None,
        facts=stop_facts(found, consent, account),
    )
