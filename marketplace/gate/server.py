"""The gate's routes. Thin: read the body, ask the service, answer."""

from __future__ import annotations

import flask

from marketplace.gate.service import Gate
from marketplace.gate.staging import read_records
from marketplace.wire import http
from marketplace.wire.http import answer, hash_field, read_body

LARGEST_PAGE = 16 * 1024 * 1024
"""Bytes of one page of records: about 20,000 records of ten variables."""


def create_app(gate: Gate) -> flask.Flask:
    """The WSGI application of one gate."""
    app = http.create_app("gate", gate.reasons, LARGEST_PAGE)

    @app.post("/keys")
    def give_key() -> flask.Response:
        body = read_body({"request"})
        return answer(gate.key(hash_field(body["request"], "request")))

    @app.post("/computations/<request_id>/records")
    def stage(request_id: str) -> flask.Response:
        request = hash_field(request_id, "request")
        body = read_body({"records"}, limit=LARGEST_PAGE)
        return answer({"held": gate.stage(request, read_records(body["records"]))})

    @app.post("/computations")
    def compute() -> flask.Response:
        optional = frozenset({"records"})
        body = read_body({"request", "parameters", "dictionary"}, optional, LARGEST_PAGE)
        return answer(
            gate.compute(
                hash_field(body["request"], "request"),
                body["parameters"],
                body["dictionary"],
                read_records(body.get("records", [])),
            )
        )

    return app
