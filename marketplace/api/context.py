"""What every route may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import flask

from marketplace.config import MAX_UPLOAD_BYTES
from marketplace.operator import Operator, Worker
from marketplace.wire.http import read_body

EXTENSION = "usufruct"


@dataclass(frozen=True)
class Context:
    """The operator behind the application, its worker, and the codes of what keeps it from working."""

    operator: Operator
    worker: Worker
    unready: Callable[[], list[str]]


def context() -> Context:
    """Of the application at hand."""
    return cast(Context, flask.current_app.extensions[EXTENSION])


def operator() -> Operator:
    """Of the application at hand."""
    return context().operator


def body(*keys: str, optional: tuple[str, ...] = ()) -> Any:
    """The JSON object of the request at hand, with exactly these keys."""
    return read_body(set(keys), frozenset(optional), MAX_UPLOAD_BYTES)
