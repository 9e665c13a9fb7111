"""The application: one blueprint per noun, one size limit for all, refusals as problem+json."""

from __future__ import annotations

import flask

from marketplace.api import (
    class_pages,
    consents,
    datasets,
    front,
    market,
    probes,
    records,
    requests,
)
from marketplace.api.context import EXTENSION, Context
from marketplace.api.health import Recently
from marketplace.config import MAX_UPLOAD_BYTES
from marketplace.errors import Refusal
from marketplace.operator import Operator, Worker
from marketplace.wire import http

PREFIX = "/api/v1"


def create_app(operator: Operator, worker: Worker) -> flask.Flask:
    """The operator's Flask application."""

    def look() -> list[str]:
        try:
            operator.chain.require_healthy()
        except Refusal as refusal:
            return [refusal.code]
        return []

    unready = Recently(look)
    app = http.create_app("usufruct", unready, MAX_UPLOAD_BYTES, others=operator.attendance.told)
    app.extensions[EXTENSION] = Context(operator, worker, unready)
    app.register_blueprint(probes.routes)
    for noun in (front, market, datasets, class_pages, records, consents, requests):
        app.register_blueprint(noun.routes, url_prefix=PREFIX)
    return app
