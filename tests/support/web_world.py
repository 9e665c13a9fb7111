"""The operator's pages and API over one API world, behind the very server that a process would run."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import web
from marketplace.api import create_app
from marketplace.config import MAX_BODY_BYTES
from marketplace.operator import Worker
from marketplace.pulse import Pulse
from marketplace.serve import Switch
from marketplace.wire.http import bind
from tests.support.api_world import ApiWorld
from tests.support.serving import in_a_thread
from web.site import Site

THREADS = 24


@dataclass
class WebWorld:
    """`url` serves pages and API; `pages` is the application itself, and `client` calls it directly."""

    api: ApiWorld
    site: Site
    pages: flask.Flask
    url: str

    @property
    def client(self) -> "Visitor":
        """A browser's worth of cookies, new at each look."""
        return Visitor(self.pages, self.pages.response_class, origin=self.url)


class Visitor(FlaskClient):
    """Comes by the site's own origin, unless a test says otherwise."""

    def __init__(self, *arguments: Any, origin: str) -> None:
        super().__init__(*arguments)
        self.origin = origin

    def open(self, *arguments: Any, **options: Any) -> TestResponse:
        if arguments and isinstance(arguments[0], str):
            options.setdefault("base_url", self.origin)
        return super().open(*arguments, **options)


@dataclass
class _Later:
    """Listens before the application is there, which has to know the port."""

    application: list[Any] = field(default_factory=list)

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        found: Iterable[bytes] = self.application[0](environ, start_response)
        return found


@contextmanager
def web_world(api: ApiWorld) -> Iterator[WebWorld]:
    """Pages and API of the world's operator, on a port of their own."""
    later = _Later()
    server = bind(later, "127.0.0.1", 0, most_body=MAX_BODY_BYTES, threads=THREADS)
    operator = replace(api.operator, pulse=Pulse(api.operator.pulse.sources))
    worker = Worker(operator)
    site = Site(operator, worker, f"http://127.0.0.1:{server.effective_port}")
    pages = web.create_app(site)
    later.application.append(Switch(create_app(operator, worker, site.origin), pages))
    operator.pulse.start()
    try:
        with in_a_thread(server):
            yield WebWorld(api, site, pages, site.origin)
    finally:
        operator.pulse.stop()
