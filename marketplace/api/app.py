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
from marketplace.wire import crowd, http

PREFIX = "/api/v1"
CROWDED = frozenset(
    {
        "datasets.list_datasets",
        "datasets.show_dataset",
        "datasets.quote",
        "market.show_account",
        "requests.list_requests",
        "requests.list_public",
        "requests.list_older",
    }
)
"""What reads much for anybody who asks, and nobody needs to stop a consent or to take earnings."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Answers lie beside the pages, at their origin: a browser takes them for data and for nothing else."""


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
    crowd.install(app, operator.crowd, CROWDED.__contains__)
    app.after_request(_close)
    return app


def _close(response: flask.Response) -> flask.Response:
    response.headers.update(HEADERS)
    return response
