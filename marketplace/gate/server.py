"""The gate's routes. Thin: read the body, ask the service, answer."""

from __future__ import annotations

import flask

from marketplace.gate.service import Gate
from marketplace.gate.staging import read_records
from marketplace.wire import http
from marketplace.wire.auth import signed_by
from marketplace.wire.http import answer, hash_field, read_body

LARGEST_PAGE = 16 * 1024 * 1024
"""Bytes of one page of records: about 20,000 records of ten variables."""


def create_app(gate: Gate) -> flask.Flask:
    """The WSGI application of one gate. Every route but /health is signed by the request's operator.

    A signature may be used again until its deadline: every route is idempotent.
    """
    domain = gate.chain.manifest.api_domain
    app = http.create_app("gate", gate.reasons, LARGEST_PAGE)

    @app.post("/keys")
    def give_key() -> flask.Response:
        asker = signed_by(flask.request, domain).signer
        body = read_body({"request", "parameters", "dictionary"}, limit=LARGEST_PAGE)
        request = hash_field(body["request"], "request")
        return answer(gate.key(request, asker, body["parameters"], body["dictionary"]))

    @app.post("/computations/<request_id>/records")
    def stage(request_id: str) -> flask.Response:
        asker = signed_by(flask.request, domain).signer
        request = hash_field(request_id, "request")
        body = read_body({"records"}, limit=LARGEST_PAGE)
        return answer({"held": gate.stage(request, asker, read_records(body["records"]))})

    @app.post("/computations")
    def compute() -> flask.Response:
        asker = signed_by(flask.request, domain).signer
        optional = frozenset({"records"})
        body = read_body({"request", "parameters", "dictionary"}, optional, LARGEST_PAGE)
        return answer(
            gate.compute(
                hash_field(body["request"], "request"),
                asker,
                body["parameters"],
                body["dictionary"],
                read_records(body.get("records", [])),
            )
        )

    return app
