"""Fiat-Shamir: what a verifier would have asked at random is a hash of everything that was said before.

A. Fiat and A. Shamir, CRYPTO 1986; statement and context always go in (the strong form: D. Bernhard, O.
Pereira, B. Warinschi, ASIACRYPT 2012). Everything absorbed has a label and a length, so no two
conversations look alike.
"""

from __future__ import annotations

import hashlib

from ml.homomorphic.curve import ORDER


class Transcript:
    """One conversation: `absorb` what is said, `challenge` for what is asked."""

    def __init__(self, protocol: str, context: bytes) -> None:
        """`protocol` names the proof and its version; `context` binds it to what it is about, 32 bytes."""
        self._hash = hashlib.sha512()
        self.absorb("protocol", protocol.encode("ascii"))
        self.absorb("context", context)

    def absorb(self, label: str, data: bytes) -> None:
        """Four bytes of the label's length, the label, eight of the data's length, the data."""
        name = label.encode("ascii")
        self._hash.update(len(name).to_bytes(4, "big") + name)
        self._hash.update(len(data).to_bytes(8, "big") + data)

    def challenge(self, label: str) -> int:
        """A scalar below the group's order: 64 bytes of SHA-512 reduced, so 2^-256 from uniform."""
        self.absorb("challenge", label.encode("ascii"))
        drawn = self._hash.digest()
        self.absorb("drawn", drawn)
        return int.from_bytes(drawn, "big") % ORDER
