"""Models that researchers publish, to be run on encrypted records."""

from __future__ import annotations

import flask

from marketplace.api.auth import signed_once
from marketplace.api.context import body, operator
from marketplace.wire.http import answer, hash_field, to_hex

routes = flask.Blueprint("models", __name__)


@routes.post("/models")
def publish() -> flask.Response:
    """Takes a model of a credentialed researcher; it stays as it is, under its hash."""
    here = operator()
    with signed_once(flask.request, here.chain.manifest.api_domain, here.database) as publisher:
        document = body("model")["model"]
        return answer({"model": here.scoring.models.publish(publisher, document)})


@routes.get("/models")
def list_models() -> flask.Response:
    """The latest models."""
    return answer({"models": operator().scoring.models.listed()})


@routes.get("/models/<model>")
def show_model(model: str) -> flask.Response:
    """One model, whole."""
    return answer(operator().scoring.models.document(to_hex(hash_field(model, "model"))))
