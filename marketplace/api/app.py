"""The application: one blueprint per noun, small bodies unless a route says so, refusals as problem+json."""

from __future__ import annotations

from functools import partial

import flask

from marketplace.api import (
    class_pages,
    consents,
    datasets,
    foreign,
    front,
    market,
    models,
    probes,
    records,
    requests,
    scores,
)
from marketplace.api.context import EXTENSION, ONE_MESSAGE, Context
from marketplace.api.health import Recently
from marketplace.errors import Refusal
from marketplace.operator import Operator, Worker
from marketplace.wire import crowd, http
from marketplace.wire.crowd import Crowd

PREFIX = "/api/v1"
CROWDED = frozenset(
    {
        "datasets.list_datasets",
        "datasets.show_dataset",
        "datasets.quote",
        "market.show_account",
        "models.list_models",
        "models.show_model",
        "requests.list_requests",
        "requests.list_public",
        "requests.list_older",
        "requests.show_receipt",
        "requests.hand_out_bundle",
        "scores.list_scores",
        "scores.hand_out",
    }
)
"""What reads much for anybody who asks, and nobody needs to stop a consent or to take earnings."""
HANDED_IN = frozenset(
    {
        "class_pages.keep_page",
        "datasets.keep_dictionary",
        "models.publish",
        "records.take_records",
        "requests.submit",
        "scores.hand_in",
    }
)
"""What anybody may hand in, and much has to be read, parsed or looked up before it can be refused. It has
places of its own, so that no reader keeps a clinic from handing in records."""
SOME_MESSAGES = "consents.relay_messages"
"""One message, a revocation say, is carried whatever strangers do; several are handed in as all else is."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Answers lie beside the pages, at their origin: a browser takes them for data and for nothing else."""


def create_app(operator: Operator, worker: Worker, origin: str | None = None) -> flask.Flask:
    """The operator's Flask application.

    Args:
        origin: of the pages that may post here; unless given, as the configuration has it.
    """

    def look() -> list[str]:
        try:
            operator.chain.require_healthy()
        except Refusal as refusal:
            return [refusal.code]
        return []

    unready = Recently(look)
    app = http.create_app("usufruct", unready, others=operator.attendance.told)
    app.extensions[EXTENSION] = Context(operator, worker, unready)
    app.register_blueprint(probes.routes)
    for noun in (
        *(front, market, datasets, class_pages, records, consents, requests),
        *(models, scores),
    ):
        app.register_blueprint(noun.routes, url_prefix=PREFIX)
    foreign.install(app, origin or operator.config.origin)
    crowd.install(app, partial(_crowd_of, operator))
    app.after_request(_close)
    return app


def _crowd_of(operator: Operator, endpoint: str) -> Crowd | None:
    if endpoint in CROWDED:
        return operator.crowd
    length = flask.request.content_length
    is_one_message = length is not None and length <= ONE_MESSAGE
    if endpoint in HANDED_IN or (endpoint == SOME_MESSAGES and not is_one_message):
        return operator.uploads
    return None


def _close(response: flask.Response) -> flask.Response:
    response.headers.update(HEADERS)
    return response
