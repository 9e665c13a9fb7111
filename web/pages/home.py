"""The first page: what this is, for whom, where to begin, and what it does not do."""

from __future__ import annotations

import flask

from marketplace.errors import Refusal
from web.site import site

routes = flask.Blueprint("home", __name__)


@routes.get("/")
def show() -> str:
    """The page stands without its figures where the node does not answer."""
    return flask.render_template("home/show.html", figures=_figures())


def _figures() -> list[tuple[str, str]] | None:
    """Name and number of what the chain holds now; None where it cannot be read."""
    try:
        datasets = site().operator.reads.datasets()
        committee = site().operator.reads.committee()
    except Refusal:
        return None
    consents = sum(each["live"] for dataset in datasets for each in dataset["classes"])
    together = f"{committee['quorum']} of {len(committee['members'])}"
    return [
        ("dataset" if len(datasets) == 1 else "datasets", f"{len(datasets):,}"),
        ("live consent" if consents == 1 else "live consents", f"{consents:,}"),
        ("custodians have to agree before a record opens", together),
    ]
