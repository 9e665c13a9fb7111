"""The operator's server: API and worker in one process."""

from __future__ import annotations

from pathlib import Path

from marketplace.api import create_app
from marketplace.config import MAX_UPLOAD_BYTES, load_config
from marketplace.operator import Worker, build_operator
from marketplace.wire.http import serve


def run_operator(path: Path) -> None:
    """Serves until SIGTERM. Raises Refusal where it cannot start."""
    config = load_config(path)
    operator = build_operator(config)
    worker = Worker(operator)
    worker.start()
    operator.attendance.start()
    try:
        serve(create_app(operator, worker), config.host, config.port, most_body=MAX_UPLOAD_BYTES)
    finally:
        worker.stop()
        operator.attendance.stop()
