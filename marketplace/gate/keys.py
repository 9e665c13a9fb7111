"""A gate's keys: one to sign with, and a master secret from which every request's key follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from marketplace.wire import hpke, keyfiles
from marketplace.wire.keyfiles import Signer

FOLDER = "keys"
SIGNING = "signing.key"
MASTER = "master.key"


@dataclass(frozen=True)
class Keys:
    """Nothing here prints."""

    signer: Signer
    master: bytes = field(repr=False)

    def for_request(self, request: bytes, root: bytes) -> hpke.SecretKey:
        """The X25519 key of one sealed request; the same after a restart.

        HKDF-SHA256 (RFC 5869): without the master secret, one key says nothing about another.
        """
        info = b"usufruct/gate-key/1" + request + root
        raw = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(self.master)
        return hpke.SecretKey(raw)


def create(data: Path) -> dict[str, str]:
    """Makes what is missing (files of mode 0600) and returns the public identity."""
    folder = data / FOLDER
    keyfiles.create(folder / SIGNING, keyfiles.new_signing_key())
    keyfiles.create(folder / MASTER, keyfiles.new_secret())
    return {"signer": load(data).signer.address}


def load(data: Path) -> Keys:
    """Both keys of a data folder. Raises `Refusal` (key_file)."""
    folder = data / FOLDER
    return Keys(Signer.of(keyfiles.read(folder / SIGNING)), keyfiles.read(folder / MASTER))
