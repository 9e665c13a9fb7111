"""The pages that patients read before they consent: one for each class, proved by the class's terms."""

from __future__ import annotations

import flask

from marketplace.api.context import body, operator
from marketplace.wire.canonical import canonical
from marketplace.wire.http import answer, hash_field, to_hex

routes = flask.Blueprint("class_pages", __name__)


@routes.post("/class-pages")
def keep_page() -> flask.Response:
    """Takes a page whose hash some consent class on chain names; needs no other proof."""
    kept = operator().class_pages.keep(canonical(body("page")["page"]))
    return answer({"terms_hash": to_hex(kept.hash())})


@routes.get("/class-pages/<terms_hash>")
def show_page(terms_hash: str) -> flask.Response:
    """The page that hashes to what a class's terms carry as `termsHash`."""
    found = operator().class_pages.of(hash_field(terms_hash, "terms_hash"))
    return answer({"terms_hash": to_hex(found.hash()), "page": found.to_json()})
