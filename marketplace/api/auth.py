"""Who signed an API request, each signature counting once (see `wire.auth`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import flask

from marketplace.errors import Refusal
from marketplace.store import Database
from marketplace.vocabulary import Address
from marketplace.wire.auth import (
    LONGEST_LIFE,
    Unauthenticated,
    claimed_by,
    signed_by,
    unauthenticated,
)
from marketplace.wire.eip712 import Domain
from marketplace.wire.http import to_hex

__all__ = ["LONGEST_LIFE", "Unauthenticated", "claimed_by", "signed_once"]


@contextmanager
def signed_once(request: flask.Request, domain: Domain, database: Database) -> Iterator[Address]:
    """The account that signed this very request, now, for the first time, for what is done within.

    The nonce is used before anything is done, and given back where that is refused: a refusal changes
    nothing, so the same signed request may be sent again once its reason is gone.

    Raises:
        Unauthenticated: naming what is missing; BadSignature: somebody else's.
    """
    signed = signed_by(request, domain)
    # The bytes, not the text: 0xAB and 0xab are one nonce.
    nonce = to_hex(signed.nonce)
    if not database.use_nonce(signed.signer, nonce, signed.deadline):
        raise unauthenticated("nonce", "was used before")
    try:
        yield signed.signer
    except Refusal:
        database.forget_nonce(signed.signer, nonce)
        raise
