"""The key that sums of the homomorphic lane are opened with, from the same file as any other delivery key.

A delivery key is 32 secret bytes. In the vault lane they are an X25519 key. Here HKDF-SHA256 (RFC 5869)
makes 48 bytes of them, with an empty salt and `info` "usufruct/tally-delivery/1"; they become a scalar of
secp256k1 as (their number, big-endian) mod (n - 1) + 1, which is never 0 and uniform up to 2^-128. Of it and
its negative, the one whose point has the even y counts; that point's x coordinate is the request's
`deliveryKey` (BIP 340). Neither key tells anything of the other.

Vectors: tests/vectors/tally_delivery.json.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from marketplace.vocabulary import Lane
from marketplace.wire import hpke
from marketplace.wire.tallying import own_recipient
from ml.homomorphic.curve import ORDER

INFO: Final = b"usufruct/tally-delivery/1"
SCALAR_SOURCE: Final = 48
"""Bytes from which the scalar is made: 128 bits more than it has, so that the remainder shows no bias."""


@dataclass(frozen=True)
class TallyKey:
    """A researcher's key of secp256k1: p with the even y, which does not print, and P's x coordinate."""

    secret: int = field(repr=False)
    public: bytes

    @classmethod
    def of(cls, delivery: hpke.SecretKey) -> Self:
        """The same for the same delivery key, always."""
        derived = HKDF(algorithm=SHA256(), length=SCALAR_SOURCE, salt=None, info=INFO)
        source = int.from_bytes(derived.derive(delivery.raw), "big")
        return cls(*own_recipient(source % (ORDER - 1) + 1))


def delivery_key(delivery: hpke.SecretKey, lane: Lane) -> bytes:
    """What a request of this lane names as its `deliveryKey`, 32 bytes."""
    return TallyKey.of(delivery).public if lane is Lane.HOMOMORPHIC else delivery.public
