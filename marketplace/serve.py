"""The operator's server: pages, API and worker in one process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import web
from marketplace.api import create_app
from marketplace.config import MAX_BODY_BYTES, load_config, most_body
from marketplace.metrics import Watched, serve_metrics
from marketplace.operator import Operator, Worker, build_operator
from marketplace.wire.http import serve
from web.site import Site
from web.streams import Streams, streams_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

OF_THE_API = ("/health", "/live", "/ready")
"""What answers probes, besides everything below /api/."""
A_WORKERS_SCRIPT = "HTTP_SERVICE_WORKER"
"""What a browser asks for with this header is the pages' to answer, wherever it lies: see `web.workers`."""


@dataclass(frozen=True)
class Switch:
    """Two applications behind one port, told apart by path: they share no cookie, session or handler."""

    api: WSGIApplication
    pages: WSGIApplication

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """WSGI (PEP 3333)."""
        path = environ.get("PATH_INFO", "")
        is_api = path == "/api" or path.startswith("/api/") or path in OF_THE_API
        is_api = is_api and A_WORKERS_SCRIPT not in environ
        return (self.api if is_api else self.pages)(environ, start_response)


def application(operator: Operator, worker: Worker) -> tuple[Switch, Streams]:
    """Everything that the operator answers, and the streams among it."""
    pages = web.create_app(Site(operator, worker, operator.config.origin))
    return Switch(create_app(operator, worker), pages), streams_of(pages)


def run_operator(path: Path) -> None:
    """Serves until SIGTERM. Raises Refusal where it cannot start."""
    config = load_config(path)
    operator = build_operator(config)
    worker = Worker(operator)
    served, streams = application(operator, worker)
    with _at_work(operator, worker), _measured(operator, worker, streams):
        serve(
            served,
            config.host,
            config.port,
            most_body=MAX_BODY_BYTES,
            most_body_of=most_body,
            threads=config.threads,
            trusted_proxy=config.trusted_proxy,
            ending=operator.pulse.stop,
        )


@contextmanager
def _at_work(operator: Operator, worker: Worker) -> Iterator[None]:
    """What goes on in the background, meanwhile."""
    worker.start()
    operator.attendance.start()
    operator.pulse.start()
    try:
        yield
    finally:
        worker.stop()
        operator.attendance.stop()
        operator.pulse.stop()


@contextmanager
def _measured(operator: Operator, worker: Worker, streams: Streams) -> Iterator[None]:
    """Prometheus is answered, meanwhile, where a port is given for it."""
    port = operator.config.metrics_port
    if port is None:
        yield
        return
    places = streams.places
    watched = Watched(
        operator.reads,
        operator.attendance,
        lambda: worker.faults,
        lambda: (places.taken(), places.refused()),
    )
    metrics = serve_metrics(watched, port)
    try:
        yield
    finally:
        metrics.stop()
