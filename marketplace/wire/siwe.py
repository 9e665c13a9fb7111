"""The text that an account signs to sign in: EIP-4361 (Sign-In with Ethereum), signed as EIP-191 says.

We write the whole text and keep it, so nothing here reads one: what was signed is held against what was
kept. Whoever is asked to sign reads it (`static/js/siwe.js`), and signs only what names its own origin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from eth_utils.crypto import keccak

from marketplace.errors import BadParameter
from marketplace.vocabulary import Address, address
from marketplace.wire.eip712 import recover_digest

STATEMENT: Final = "Sign in to Usufruct. This moves no money and gives no consent."
VERSION: Final = "1"
LONGEST_LIFE: Final = 600
"""Seconds that a text may wait for its signature."""

_DOMAIN = re.compile(r"(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
_NONCE = re.compile(r"[A-Za-z0-9]{8,64}")  # EIP-4361: at least eight alphanumeric characters
_LATEST: Final = 253_402_300_799
"""31 December 9999: RFC 3339 has years of four digits."""


@dataclass(frozen=True)
class SignIn:
    """One text. `uri` is the origin that asks, e.g. `https://market.example`; times are unix seconds.

    Raises:
        BadParameter: a field that could not stand in its line, naming it.
    """

    account: Address
    uri: str
    chain_id: int
    nonce: str
    issued_at: int
    expires_at: int

    def __post_init__(self) -> None:
        if address(self.account, "account") != self.account:
            raise _bad("account", "lacks its checksum (EIP-55)")
        parts = urlsplit(self.uri)
        if not _DOMAIN.fullmatch(parts.netloc) or self.uri != f"{parts.scheme}://{parts.netloc}":
            raise _bad(
                "uri", "is not an origin: scheme, host, and port where it is not the scheme's"
            )
        if parts.scheme not in ("http", "https"):
            raise _bad("uri", "is neither http nor https")
        if not _NONCE.fullmatch(self.nonce):
            raise _bad("nonce", "is not 8 to 64 letters and digits")
        if self.chain_id < 1:
            raise _bad("chain_id", "is not positive")
        if not 0 <= self.issued_at < self.expires_at <= min(self.issued_at + LONGEST_LIFE, _LATEST):
            raise _bad("expires_at", f"is not within {LONGEST_LIFE} seconds of issued_at")

    @property
    def domain(self) -> str:
        """Host and port that the account signs in to (RFC 3986 authority)."""
        return urlsplit(self.uri).netloc

    def text(self) -> str:
        """What is signed: eleven lines, no line break at the end, no resources."""
        return "\n".join(
            (
                f"{self.domain} wants you to sign in with your Ethereum account:",
                self.account,
                "",
                STATEMENT,
                "",
                f"URI: {self.uri}",
                f"Version: {VERSION}",
                f"Chain ID: {self.chain_id}",
                f"Nonce: {self.nonce}",
                f"Issued At: {_rfc3339(self.issued_at)}",
                f"Expiration Time: {_rfc3339(self.expires_at)}",
            )
        )


def text_digest(text: str) -> bytes:
    """What `personal_sign` signs of a text, 32 bytes (EIP-191, version 0x45)."""
    raw = text.encode()
    return bytes(keccak(b"\x19Ethereum Signed Message:\n" + str(len(raw)).encode() + raw))


def recover_text(text: str, signature: bytes) -> str:
    """The account whose own key signed this text, judged as strictly as the contracts judge theirs.

    Raises:
        BadSignature: not 65 bytes, v neither 27 nor 28, s in the upper half, or no such point.
    """
    return recover_digest(text_digest(text), signature)


def _rfc3339(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _bad(field: str, why: str) -> BadParameter:
    return BadParameter(
        message=f"The {field} of a sign-in {why}.", remedy=f"Correct {field}.", field=field
    )
