"""What every route may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import flask

from marketplace.config import MAX_UPLOAD_BYTES
from marketplace.operator import Operator, Worker
from marketplace.wire.canonical import JSON_LIMIT
from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.http import SMALL_BODY, read_body, take_in
from marketplace.wire.paging import LARGEST_SCORED

__all__ = [
    "EXTENSION",
    "LARGEST_DICTIONARY",
    "LARGEST_MESSAGES",
    "LARGEST_RECORDS",
    "LARGEST_SCORED",
    "ONE_MESSAGE",
    "Context",
    "body",
    "context",
    "operator",
    "take_in",
]

EXTENSION = "usufruct"

LARGEST_RECORDS: Final = MAX_UPLOAD_BYTES
"""Bytes: a batch of whole records, ciphertext and all. Only one that is handed in to be scored is larger."""
LARGEST_MESSAGES: Final = 1024 * 1024
"""Bytes: as many messages as one upload may hold, each of about 700 as accounts sign them. Those of wallets
with long signatures go in several."""
LARGEST_DICTIONARY: Final = JSON_LIMIT + 4 * 1024
"""Bytes: a dictionary as its format bounds it, and what stands around it."""
ONE_MESSAGE: Final = 2 * 2 * MOST_SIGNATURE + 4 * 1024
"""Bytes: any one message, with two signatures (in hexadecimal) as long as wallets may give them."""


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


def body(*keys: str, optional: tuple[str, ...] = (), limit: int = SMALL_BODY) -> Any:
    """The JSON object of the request at hand, with exactly these keys, of at most `limit` bytes.

    The default holds every question, request and class page many times over.
    """
    return read_body(set(keys), frozenset(optional), limit)
