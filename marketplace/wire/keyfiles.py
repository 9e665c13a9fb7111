"""Secret keys in files that only their owner can read; made once, never overwritten."""

from __future__ import annotations

import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from coincurve import PrivateKey
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from marketplace.errors import Refusal
from marketplace.vocabulary import Address
from marketplace.wire import feldman
from marketplace.wire.private import OWNER_ONLY, make_folder

KEY_BYTES = 32
MAKE = (
    "Check the path. If you never made one, make it with `usufruct key`; a custodian or gate makes its own "
    "with `init`."
)
MADE = "Is it the file that `usufruct key` made? If it was, restore it from your backup."


@dataclass(frozen=True)
class Signer:
    """A secp256k1 key and its address. The key does not print."""

    secret: bytes = field(repr=False)
    address: Address

    @classmethod
    def of(cls, secret: bytes) -> Signer:
        """Raises ValueError for bytes that are no key."""
        point = PrivateKey(secret).public_key.format(compressed=False)
        return cls(secret, Address(str(to_checksum_address(keccak(point[1:])[12:]))))


def new_signing_key() -> bytes:
    """32 bytes, uniform in [1, n - 1]."""
    return feldman.random_scalar().to_bytes(KEY_BYTES, "big")


def new_secret() -> bytes:
    """32 random bytes."""
    return secrets.token_bytes(KEY_BYTES)


def create(path: Path, secret: bytes) -> bool:
    """Writes a new key file (0600) durably. Returns False, changing nothing, where one exists."""
    make_folder(path.parent)
    if path.exists():
        return False
    # Written aside and linked, so that a kill between the two leaves no half key behind.
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    try:
        try:
            os.write(handle, secret.hex().encode() + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        os.link(part, path)
    except FileExistsError:
        return False
    finally:
        part.unlink()
    return True


def read(path: Path) -> bytes:
    """The 32 bytes of a key file.

    Raises:
        Refusal: `key_file`, if it is missing, readable by others, or no key. Never shows content.
    """
    try:
        mode = path.stat().st_mode
        raw = bytes.fromhex(path.read_text(encoding="ascii").strip().removeprefix("0x"))
    except FileNotFoundError:
        raise _bad(path, "is missing", MAKE) from None
    except (OSError, ValueError):
        raise _bad(path, "cannot be read as a key", MADE) from None
    if stat.S_IMODE(mode) & 0o077:
        raise _bad(path, "can be read by others", "Run `chmod 600` on it, or make new keys.")
    if len(raw) != KEY_BYTES:
        raise _bad(path, "does not hold 32 bytes", MADE)
    return raw


def _bad(path: Path, problem: str, remedy: str) -> Refusal:
    return Refusal(
        code="key_file",
        message=f"The key file {path} {problem}.",
        remedy=remedy,
    )
