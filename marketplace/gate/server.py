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
LARGEST_QUESTION = 2 * 1024 * 1024
"""Bytes of what is asked: parameters, a dictionary of at most 1 MB, and a few records."""


def create_app(gate: Gate) -> flask.Flask:
    """The WSGI application of one gate. What leads to an answer is signed by the request's operator.

    A signature may be used again until its deadline: every route is idempotent. Bodies are parsed once the
    chain shows that the asker is served, as far as the path says what is asked about.
    """
    domain = gate.chain.manifest.api_domain
    app = http.create_app("gate", gate.reasons, LARGEST_PAGE)

    @app.post("/keys")
    def give_key() -> flask.Response:
        body = read_body({"request", "parameters", "dictionary"}, limit=LARGEST_QUESTION)
        request = hash_field(body["request"], "request")
        return answer(gate.key(request, body["parameters"], body["dictionary"]))

    @app.post("/computations/<request_id>/records")
    def stage(request_id: str) -> flask.Response:
        asker = signed_by(flask.request, domain).signer
        request = hash_field(request_id, "request")
        gate.require_staging(request, asker)
        body = read_body({"records"}, limit=LARGEST_PAGE)
        return answer({"held": gate.stage(request, asker, read_records(body["records"]))})

    @app.post("/computations")
    def compute() -> flask.Response:
        asker = signed_by(flask.request, domain).signer
        optional = frozenset({"records"})
        body = read_body({"request", "parameters", "dictionary"}, optional, LARGEST_QUESTION)
        request = hash_field(body["request"], "request")
        gate.require_served(request, asker)
        return answer(
            gate.compute(
                request,
                asker,
                body["parameters"],
                body["dictionary"],
                read_records(body.get("records", [])),
            )
        )

    return app
