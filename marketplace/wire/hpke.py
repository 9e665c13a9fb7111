"""Envelopes to one X25519 key: HPKE base mode (RFC 9180) through PyCA cryptography.

Suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. Every envelope here is bound to its
purpose by `info`; the associated data stays empty. Envelope = encapsulated key (32) || ciphertext.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from marketplace.errors import BadParameter, EnvelopeUnreadable

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
KEY_BYTES = 32
OVERHEAD = KEY_BYTES + 16  # encapsulated key and GCM tag


@dataclass(frozen=True)
class SecretKey:
    """An X25519 private key that does not print."""

    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _require_key(self.raw, "secret_key")

    @property
    def public(self) -> bytes:
        """The 32-byte public key."""
        return X25519PrivateKey.from_private_bytes(self.raw).public_key().public_bytes_raw()


def generate() -> SecretKey:
    """A fresh key from the operating system's generator."""
    return SecretKey(X25519PrivateKey.generate().private_bytes_raw())


def seal(plaintext: bytes, public_key: bytes, info: bytes) -> bytes:
    """`plaintext` for the holder of `public_key`, usable only with the same `info`.

    Raises BadParameter for a key of the wrong length or of low order.
    """
    _require_key(public_key, "public_key")
    try:
        return SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public_key), info)
    except ValueError:
        raise BadParameter(
            message="public_key is a low-order point: a shared key with it is not secret.",
            remedy="Publish a public key made by an X25519 library.",
            field="public_key",
        ) from None


def open_envelope(envelope: bytes, secret: SecretKey, info: bytes) -> bytes:
    """The plaintext. Raises EnvelopeUnreadable for another key, another `info` or changed bytes."""
    try:
        return SUITE.decrypt(envelope, X25519PrivateKey.from_private_bytes(secret.raw), info)
    except (InvalidTag, ValueError):
        raise EnvelopeUnreadable(
            message="The envelope does not open with this key for this purpose.",
            remedy="Ask its sender to seal it again, to the current key and for this context.",
            field="envelope",
        ) from None


def _require_key(raw: bytes, name: str) -> None:
    if len(raw) != KEY_BYTES:
        raise BadParameter(
            message=f"{name} has {len(raw)} bytes.",
            remedy=f"Give an X25519 key of {KEY_BYTES} bytes.",
            field=name,
        )
