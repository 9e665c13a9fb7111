"""Signed HTTP requests: who asks is proved by an EIP-712 signature over method, path and body.

Header `Usufruct-Auth`: address, nonce (0x, 32 bytes), deadline (unix seconds) and signature (0x), parted
by semicolons, e.g. `address=0x..; nonce=0x..; deadline=1790000000; signature=0x..`.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

import flask

from marketplace.errors import Refusal
from marketplace.vocabulary import Address, address
from marketplace.wire.eip712 import BadSignature, Domain, SigningKey, sign
from marketplace.wire.http import AUTH_HEADER, hash_field, hex_field, to_hex
from marketplace.wire.structs import ApiRequest, require_signed

HEADER = AUTH_HEADER
LIFE = 120
"""Seconds that a signature made here holds."""
LONGEST_LIFE = 300
"""Seconds: no signed request may stay usable for longer."""
_KEYS = {"address", "nonce", "deadline", "signature"}


class Unauthenticated(Refusal):
    """A request that must be signed and is not, or not well."""

    CODE = "unauthenticated"


@dataclass(frozen=True)
class Voice:
    """An account in whose name requests are sent. Its key does not print.

    With `to`, what is signed says for whom it is, so that nobody who was sent it can send it on to another.
    """

    key: SigningKey = field(repr=False)
    address: str
    domain: Domain
    to: str = ""

    def header(self, method: str, path: str, content: bytes) -> dict[str, str]:
        """The header under which `content` is sent to `path` (with its query)."""
        nonce, deadline = secrets.token_bytes(32), int(time.time()) + LIFE
        struct = ApiRequest.of(method, self.to + path, content, nonce, deadline)
        parts = {
            "address": self.address,
            "nonce": to_hex(nonce),
            "deadline": str(deadline),
            "signature": to_hex(sign(struct, self.domain, self.key)),
        }
        return {HEADER: "; ".join(f"{name}={value}" for name, value in parts.items())}


@dataclass(frozen=True)
class SignedBy:
    """The account that signed a request, and what makes the signature usable once."""

    signer: Address
    nonce: bytes  # 32
    deadline: int  # unix seconds


def claimed_by(request: flask.Request) -> Address:
    """Who a request says that it is of, before any of its body is read: nothing of it is proved.

    Raises:
        Unauthenticated: naming what is missing.
    """
    given = _parts(request.headers.get(HEADER, ""))
    return address(given["address"], f"{HEADER}.address")


def to_custodian(place: int) -> str:
    """For whom a request to the custodian at this place is signed (`Voice.to`)."""
    return f"/custodians/{place}"


def signed_by(request: flask.Request, domain: Domain, to: str = "") -> SignedBy:
    """Who signed this very request, now. Whether for the first time, only a memory of nonces can say.

    Args:
        to: for whom it has to be signed: see `Voice`.

    Raises:
        Unauthenticated: naming what is missing; BadSignature: somebody else's.
    """
    given = _parts(request.headers.get(HEADER, ""))
    signer = address(given["address"], f"{HEADER}.address")
    nonce = hash_field(given["nonce"], f"{HEADER}.nonce")
    deadline = _deadline(given["deadline"])
    path = request.full_path.rstrip("?")
    signed = ApiRequest.of(request.method, to + path, request.get_data(), nonce, deadline)
    signature = hex_field(given["signature"], f"{HEADER}.signature", 65)
    try:
        require_signed(signed, domain, signature, signer)
    except BadSignature as refusal:
        refusal.field = f"{HEADER}.signature"
        raise
    return SignedBy(signer, nonce, deadline)


def unauthenticated(field: str, why: str) -> Unauthenticated:
    """The refusal that says what is wrong with the header's field."""
    return Unauthenticated(
        message=f"The request's {field} {why}.",
        remedy=f"Sign method, path and body (struct ApiRequest) and send them in {HEADER}.",
        field=f"{HEADER}.{field}",
    )


def _parts(header: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    given = {name: value for name, _, value in pairs}
    if set(given) != _KEYS:
        raise unauthenticated("header", f"needs exactly {', '.join(sorted(_KEYS))}")
    return given


def _deadline(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise unauthenticated("deadline", "is not unix seconds")
    deadline, now = int(text), int(time.time())
    if not now <= deadline <= now + LONGEST_LIFE:
        raise unauthenticated("deadline", f"must lie within the next {LONGEST_LIFE} seconds")
    return deadline
