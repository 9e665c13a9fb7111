"""The pages: one blueprint a noun, drawn by the server, with small modules for what only a browser can do."""

from __future__ import annotations

import flask
import jinja2

from marketplace.wire import crowd
from marketplace.wire.plain import plain
from web import access, csrf, headers, limits, refusals, showing, streams, workers
from web.pages import (
    ask,
    authority,
    clinic,
    consenting,
    contracts,
    datasets,
    deployment,
    export,
    guardian,
    home,
    join,
    keys,
    licences,
    me,
    my,
    odds,
    operating,
    requests,
    rotating,
    signing_in,
    static,
    steward,
    stop,
    transactions,
    trust,
    uses,
    verify,
)
from web.rules import RULES
from web.site import EXTENSION, Site

BLUEPRINTS = tuple(
    noun.routes
    for noun in (
        static,
        home,
        datasets,
        requests,
        contracts,
        verify,
        trust,
        licences,
        signing_in,
        transactions,
        deployment,
        keys,
        join,
        clinic,
        export,
        me,
        consenting,
        uses,
        guardian,
        rotating,
        odds,
        ask,
        my,
        stop,
        steward,
        authority,
        operating,
    )
)
"""Every noun; a route that none of them has is not there."""


def create_app(site: Site) -> flask.Flask:
    """The Flask application of one operator's pages."""
    app = flask.Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = limits.MOST_FORM
    app.extensions[EXTENSION] = site
    _prepare_templates(app, site)
    showing.install(app)
    streams.install(app, site)
    headers.install(app)  # judged in this order
    workers.install(app)
    csrf.refuse_foreign(app)
    for part in (csrf, limits, access, refusals):  # what no page of ours sent counts for nobody
        part.install(app)
    crowd.install(app, lambda endpoint: site.operator.crowd if RULES[endpoint].crowded else None)
    for routes in BLUEPRINTS:
        app.register_blueprint(routes)
    return app


def _prepare_templates(app: flask.Flask, site: Site) -> None:
    """An unknown name in a template is a fault, never an empty place."""
    app.jinja_env.undefined = jinja2.StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals["asset"] = site.assets.url
    app.jinja_env.filters["said"] = said


def said(text: object) -> str:
    """What somebody else wrote, on one line and without what would not be shown as itself."""
    return plain(str(text))
