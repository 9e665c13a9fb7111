"""Requests of researchers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any, Final

import flask

from marketplace.api.auth import signed_once
from marketplace.api.context import body, context, operator
from marketplace.errors import BadParameter
from marketplace.wire.http import answer, hash_field, to_hex
from marketplace.wire.terms import RequestTerms

routes = flask.Blueprint("requests", __name__)
BUNDLE: Final = "application/jsonl"


@routes.post("/requests")
def submit() -> flask.Response:
    """Takes terms and parameters, signed by their researcher, before they are opened on chain."""
    here = operator()
    domain = here.chain.manifest.api_domain
    with signed_once(flask.request, domain, here.database) as researcher:
        sent = body("terms", "parameters")
        terms = RequestTerms.from_json(sent["terms"], "terms.")
        request = here.pipeline.submit(researcher, terms, sent["parameters"])
    context().worker.nudge()
    return answer({"request": request})


@routes.get("/requests")
def list_requests() -> flask.Response:
    """The latest requests: public."""
    return answer({"requests": operator().reads.requests()})


@routes.get("/market/requests")
def list_public() -> flask.Response:
    """Every request ever opened on this market, whoever operates it: the newest first, a page of them."""
    return answer(operator().public.document())


@routes.get("/market/requests/before/<place>")
def list_older(place: str) -> flask.Response:
    """The page that follows the one whose `before` this is."""
    return answer(operator().public.document(place))


@routes.get("/requests/<request_id>")
def show_request(request_id: str) -> flask.Response:
    """One request and its stages: public."""
    return answer(operator().reads.request(to_hex(hash_field(request_id, "request"))))


@routes.get("/requests/<request_id>/receipt")
def show_receipt(request_id: str) -> flask.Response:
    """The receipt, once settled. Public: the result in it is sealed to its researcher."""
    settled = operator().reads.receipt(to_hex(hash_field(request_id, "request")))
    return answer(settled.receipt)


@routes.post("/requests/<request_id>/bundle")
def hand_out_bundle(request_id: str) -> flask.Response:
    """What the receipt of a request of the homomorphic lane is verified with: for its researcher alone."""
    here = operator()
    request = to_hex(hash_field(request_id, "request"))
    # On disk, whole, before its first byte leaves: a refusal must not come in the middle of a file.
    whole = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        with signed_once(flask.request, here.chain.manifest.api_domain, here.database) as asker:
            here.bundles.write(
                request, asker, whole, whole=_with_proofs(body(optional=("proofs",)))
            )
    except BaseException:
        whole.close()
        raise
    whole.seek(0)
    return flask.send_file(whole, mimetype=BUNDLE)


def _with_proofs(sent: Mapping[str, Any]) -> bool:
    found = sent.get("proofs", False)
    if not isinstance(found, bool):
        raise BadParameter(
            message="proofs must be true or false.", remedy="Correct the request.", field="proofs"
        )
    return found
