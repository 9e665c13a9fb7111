"""What patients hand in to be scored, and fetch: each their own, and every score encrypted to its patient.

There is no route that takes or returns a score that was opened, and none by which a researcher gets one.
"""

from __future__ import annotations

import flask

from marketplace.api.auth import claimed_by, signed_once
from marketplace.api.context import LARGEST_SCORED, body, operator, take_in
from marketplace.wire.http import answer, hash_field, to_hex

routes = flask.Blueprint("scores", __name__)


@routes.post("/datasets/<dataset>/score-records")
def hand_in(dataset: str) -> flask.Response:
    """Takes the signer's own encrypted record, with the material to compute on it."""
    here, of = operator(), hash_field(dataset, "dataset")
    take_in(LARGEST_SCORED)
    # Whoever it says that it is of, and before 17 MB are read: the signature is over all of them.
    here.scoring.records.require_may_hand_in(of, claimed_by(flask.request))
    with signed_once(flask.request, here.chain.manifest.api_domain, here.database) as patient:
        sent = body("material", "record", limit=LARGEST_SCORED)
        given = (sent["material"], sent["record"])
        return answer({"record": here.scoring.records.hand_in(of, patient, *given)})


@routes.post("/datasets/<dataset>/scores")
def list_scores(dataset: str) -> flask.Response:
    """The signer's own scores in a dataset, and what of the signer's is here to be scored."""
    here, of = operator(), hash_field(dataset, "dataset")
    with signed_once(flask.request, here.chain.manifest.api_domain, here.database) as patient:
        body()
        return answer(here.scoring.records.told(of, patient))


@routes.post("/requests/<request_id>/score")
def hand_out(request_id: str) -> flask.Response:
    """The signer's own score of a request, encrypted to the signer's own key."""
    here, request = operator(), to_hex(hash_field(request_id, "request"))
    with signed_once(flask.request, here.chain.manifest.api_domain, here.database) as patient:
        body()
        return answer(here.scoring.records.score(request, patient))
