"""Signed requests: who asks is proved by an EIP-712 signature over method, path and body.

Header `Usufruct-Auth`: address, nonce (0x, 32 bytes), deadline (unix seconds) and signature (0x), parted
by semicolons, e.g. `address=0x..; nonce=0x..; deadline=1790000000; signature=0x..`.
"""

from __future__ import annotations

import time

import flask

from marketplace.errors import Refusal
from marketplace.store import Database
from marketplace.vocabulary import Address, address
from marketplace.wire.eip712 import Domain
from marketplace.wire.http import hash_field, hex_field, to_hex
from marketplace.wire.structs import ApiRequest, require_signed

HEADER = "Usufruct-Auth"
LONGEST_LIFE = 300
"""Seconds: no signed request may stay usable for longer."""
_KEYS = {"address", "nonce", "deadline", "signature"}


class Unauthenticated(Refusal):
    """A request that must be signed and is not, or not well."""

    CODE = "unauthenticated"


def require_signer(request: flask.Request, domain: Domain, database: Database) -> Address:
    """The account that signed this very request, now, for the first time.

    Raises:
        Unauthenticated: naming what is missing; BadSignature: somebody else's.
    """
    given = _parts(request.headers.get(HEADER, ""))
    signer = address(given["address"], f"{HEADER}.address")
    nonce = hash_field(given["nonce"], f"{HEADER}.nonce")
    deadline = _deadline(given["deadline"])
    path = request.full_path.rstrip("?")
    signed = ApiRequest.of(request.method, path, request.get_data(), nonce, deadline)
    signature = hex_field(given["signature"], f"{HEADER}.signature", 65)
    require_signed(signed, domain, signature, signer)
    # The bytes, not the text: 0xAB and 0xab are one nonce.
    if not database.use_nonce(signer, to_hex(nonce), deadline):
        raise _unauthenticated("nonce", "was used before")
    return signer


def _parts(header: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    given = {name: value for name, _, value in pairs}
    if set(given) != _KEYS:
        raise _unauthenticated("header", f"needs exactly {', '.join(sorted(_KEYS))}")
    return given


def _deadline(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise _unauthenticated("deadline", "is not unix seconds")
    deadline, now = int(text), int(time.time())
    if not now <= deadline <= now + LONGEST_LIFE:
        raise _unauthenticated("deadline", f"must lie within the next {LONGEST_LIFE} seconds")
    return deadline


def _unauthenticated(field: str, why: str) -> Unauthenticated:
    return Unauthenticated(
        message=f"The request's {field} {why}.",
        remedy=f"Sign method, path and body (struct ApiRequest) and send them in {HEADER}.",
        field=f"{HEADER}.{field}",
    )
