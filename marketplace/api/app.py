"""The application: one blueprint per noun, one size limit for all, refusals as problem+json."""

from __future__ import annotations

import flask

from marketplace.api import consents, datasets, front, market, records, requests
from marketplace.api.context import EXTENSION, Context
from marketplace.api.health import Recently
from marketplace.config import MAX_UPLOAD_BYTES
from marketplace.errors import Refusal
from marketplace.operator import Operator, Worker
from marketplace.wire import http

PREFIX = "/api/v1"


def create_app(operator: Operator, worker: Worker) -> flask.Flask:
    """The operator's Flask application."""

    def unready() -> list[str]:
        try:
            operator.chain.require_healthy()
        except Refusal as refusal:
            return [refusal.code]
        return []

    app = http.create_app(
        "usufruct", Recently(unready), MAX_UPLOAD_BYTES, others=operator.attendance.told
    )
    app.extensions[EXTENSION] = Context(operator, worker)
    app.register_blueprint(front.routes)
    for noun in (market, datasets, records, consents, requests):
        app.register_blueprint(noun.routes, url_prefix=PREFIX)
    return app
