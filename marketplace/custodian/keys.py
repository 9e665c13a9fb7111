"""A custodian's keys: signing, storage, relaying, and one HPKE key per epoch."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from marketplace.errors import Refusal
from marketplace.wire import hpke, keyfiles
from marketplace.wire.keyfiles import Signer

FOLDER = "keys"
SIGNING = "signing.key"
STORAGE = "storage.key"
RELAY = "relay.key"
NONCE_BYTES = 12


@dataclass(frozen=True)
class Keys:
    """Nothing here prints.

    signer: what the committee knows this custodian by. storage: AES-256-GCM of secrets at rest.
    relay: pays for relayed revocations; apart, since it is used online and needs money.
    envelopes: X25519 keys by epoch, the newest last.
    """

    signer: Signer
    relay: Signer
    storage: bytes = field(repr=False)
    envelopes: tuple[hpke.SecretKey, ...] = field(repr=False)

    def for_public(self, public: bytes) -> hpke.SecretKey | None:
        """The secret of a public key that the committee lists; None if it is not ours."""
        return next((key for key in self.envelopes if key.public == public), None)

    def lock(self, secret: bytes, about: bytes) -> bytes:
        """A secret under the storage key, bound to what it is about: nonce || ciphertext || tag."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(self.storage).encrypt(nonce, secret, about)

    def unlock(self, sealed: bytes, about: bytes, kind: str = "secret") -> bytes:
        """Inverse of `lock`. Raises Refusal (share_damaged), which calls the secret by its `kind`."""
        try:
            return AESGCM(self.storage).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
        except InvalidTag:
            raise Refusal(
                code="share_damaged",
                message=f"A {kind} in this custodian's journal file was damaged or replaced.",
                remedy="Restore the newest good copy of the journal and storage key.",
            ) from None


def create(data: Path, epoch: int) -> dict[str, str]:
    """Makes what is missing (files of mode 0600) and returns the public identity.

    Running it again with the same epoch changes nothing; with a new one it adds that epoch's key.
    """
    folder = data / FOLDER
    keyfiles.create(folder / SIGNING, keyfiles.new_signing_key())
    keyfiles.create(folder / RELAY, keyfiles.new_signing_key())
    keyfiles.create(folder / STORAGE, keyfiles.new_secret())
    path = folder / f"hpke-{epoch:06d}.key"
    keyfiles.create(path, hpke.generate().raw)
    keys = load(data)
    return {
        "signer": keys.signer.address,
        "relay": keys.relay.address,
        "x25519": "0x" + hpke.SecretKey(keyfiles.read(path)).public.hex(),
    }


def load(data: Path) -> Keys:
    """All keys of a data folder. Raises `Refusal` (key_file)."""
    folder = data / FOLDER
    return Keys(
        signer=Signer.of(keyfiles.read(folder / SIGNING)),
        relay=Signer.of(keyfiles.read(folder / RELAY)),
        storage=keyfiles.read(folder / STORAGE),
        envelopes=tuple(
            hpke.SecretKey(keyfiles.read(path)) for path in sorted(folder.glob("hpke-*.key"))
        ),
    )
