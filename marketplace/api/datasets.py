"""Datasets, their dictionaries, and the price of a question before it is asked."""

from __future__ import annotations

import flask

from marketplace.api.context import LARGEST_DICTIONARY, body, operator
from marketplace.wire.dictionary import from_json
from marketplace.wire.http import answer, hash_field

routes = flask.Blueprint("datasets", __name__)


@routes.get("/datasets")
def list_datasets() -> flask.Response:
    """Every dataset on chain, with its classes."""
    return answer({"datasets": operator().reads.datasets()})


@routes.get("/datasets/<dataset>")
def show_dataset(dataset: str) -> flask.Response:
    """One dataset."""
    return answer(operator().reads.dataset(hash_field(dataset, "dataset")))


@routes.post("/dictionaries")
def keep_dictionary() -> flask.Response:
    """Takes a dictionary whose hash some dataset on chain names; needs no other proof."""
    given = body("dictionary", limit=LARGEST_DICTIONARY)["dictionary"]
    kept = operator().dictionaries.keep(from_json(given).to_bytes())
    return answer({"dictionary_hash": "0x" + kept.hash().hex()})


@routes.post("/quotes")
def quote() -> flask.Response:
    """Price, privacy cost and expected error, before anything is paid."""
    keys = ("dataset", "classes", "analysis", "parameters")
    asked = body(*keys, optional=("lane", "cost", "target_error"))
    hash_field(asked["dataset"], "dataset")
    return answer(operator().reads.quote(asked))
