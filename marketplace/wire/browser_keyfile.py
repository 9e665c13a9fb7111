"""The file that keeps a browser's root under a passphrase (usufruct-keys/1).

Canonical JSON, and nothing that is not:

    {"box", "cipher": "AES-256-GCM", "hint", "kdf": {"lanes": 1, "memory_kib": 65536, "name": "argon2id",
     "passes": 3, "salt"}, "nonce", "schema": "usufruct-keys/1"}

salt (16 bytes) and nonce (12) are 0x hexadecimal in small letters, box is base64. The key is Argon2id
(RFC 9106, version 0x13, no secret, no associated data, 32 bytes) of the passphrase: NFKC, then UTF-8. The
box is AES-256-GCM (ciphertext || tag) of canonical JSON {"datasets": [{"chain_id", "dataset", "index",
"registry"}], "imported": [{"key", "label"}], "root"}; its associated data is the canonical JSON of
everything beside the box. `index` is the address in use (see `browser_keys`); `imported` are keys of the
command line, which sign and from which nothing is derived.

A file is made to be copied, so it is guarded against guessing off line by the memory that each guess takes.
One from a stranger is refused before anything is computed if it asks for more work than a phone can do, or
for less than this format ever wrote. GCM does not commit to its key: that a file opens says that its maker
knew the passphrase, no more. Vectors: tests/vectors/browser_keys.json.
"""

from __future__ import annotations

import secrets
import unicodedata
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from marketplace.errors import Refusal
from marketplace.wire.canonical import canonical
from marketplace.wire.http import binary_field, to_base64, to_hex
from marketplace.wire.keyring import (
    LARGEST_KEYRING,
    Keyring,
    canonical_object,
    exactly,
    read_field,
    read_keyring,
    require_keys,
    require_text,
    unreadable,
    within,
)

SCHEMA: Final = "usufruct-keys/1"
CIPHER: Final = "AES-256-GCM"
KDF: Final = "argon2id"
MEMORY_KIB: Final = 64 * 1024
"""What a guess takes: RFC 9106's second choice, 64 MiB and 3 passes, in one lane for browsers' one thread."""
PASSES: Final = 3
LANES: Final = 1
MOST_MEMORY_KIB: Final = 1024 * 1024
MOST_PASSES: Final = 10
SALT_BYTES: Final = 16  # RFC 9106, section 3.1
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
KEY_BYTES: Final = 32
LARGEST_FILE: Final = 256 * 1024
LARGEST_BOX: Final = LARGEST_KEYRING + TAG_BYTES
MOST_HINT: Final = 80  # characters
FEWEST_CHARACTERS: Final = 12
FEWEST_DIFFERENT: Final = 6
MOST_PASSPHRASE: Final = 1024  # bytes of UTF-8


class WrongPassphrase(Refusal):
    """A passphrase that does not open the file, or a file that was changed."""

    CODE = "wrong_passphrase"


class WeakPassphrase(Refusal):
    """A passphrase that would not protect a file, or cannot be typed again."""

    CODE = "weak_passphrase"


@dataclass(frozen=True)
class _Header:
    salt: bytes
    nonce: bytes
    hint: str = ""
    memory_kib: int = MEMORY_KIB
    passes: int = PASSES

    def to_json(self) -> dict[str, Any]:
        return {
            "cipher": CIPHER,
            "hint": self.hint,
            "kdf": {
                "lanes": LANES,
                "memory_kib": self.memory_kib,
                "name": KDF,
                "passes": self.passes,
                "salt": to_hex(self.salt),
            },
            "nonce": to_hex(self.nonce),
            "schema": SCHEMA,
        }

    def aad(self) -> bytes:
        return canonical(self.to_json())


def lock(keyring: Keyring, passphrase: str, hint: str = "") -> bytes:
    """The file: canonical JSON. `hint` can be read by whoever has it, and is bound to it.

    Raises:
        WeakPassphrase: `passphrase` would not protect it (see `require_strong`).
        KeysUnreadable: the keyring or the hint is not one that could be read back.
    """
    require_strong(passphrase)
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    return _lock(keyring, passphrase, _Header(salt, nonce, hint))


def unlock(document: bytes, passphrase: str) -> Keyring:
    """What a key file keeps. Takes 64 MiB and about a fifth of a second, at most 1 GiB.

    Raises:
        KeysUnreadable: naming the field; nothing was computed.
        WrongPassphrase: it does not open with this one.
    """
    header, box = _read_file(document)
    try:
        key = _stretched(passphrase, header)
        plaintext = AESGCM(key).decrypt(header.nonce, box, header.aad())
    except InvalidTag:
        raise WrongPassphrase(
            message="Wrong passphrase, or the key file was changed.",
            remedy="Type it as it was set, or take an earlier copy of the file.",
            field="passphrase",
        ) from None
    return read_keyring(plaintext)


def require_strong(passphrase: str) -> None:
    """At least 12 characters after NFKC, six of them different. Raises WeakPassphrase."""
    text = _normalised(passphrase)
    if len(text) < FEWEST_CHARACTERS or len(set(text)) < FEWEST_DIFFERENT:
        _weak(
            f"The passphrase has fewer than {FEWEST_CHARACTERS} characters, or fewer than "
            f"{FEWEST_DIFFERENT} different ones.",
            "Take five words or more that have nothing to do with each other.",
        )


def _lock(keyring: Keyring, passphrase: str, header: _Header) -> bytes:
    require_text(header.hint, MOST_HINT, "hint")
    plaintext = canonical(keyring.to_json())
    read_keyring(plaintext)
    box = AESGCM(_stretched(passphrase, header)).encrypt(header.nonce, plaintext, header.aad())
    return canonical(header.to_json() | {"box": to_base64(box)})


def _stretched(passphrase: str, header: _Header) -> bytes:
    stretch = Argon2id(
        salt=header.salt,
        length=KEY_BYTES,
        iterations=header.passes,
        lanes=LANES,
        memory_cost=header.memory_kib,
    )
    try:
        return stretch.derive(_normalised(passphrase).encode("utf-8"))
    except MemoryError:
        unreadable("kdf.memory_kib", "asks for more memory than there is")


def _normalised(passphrase: str) -> str:
    """NFKC; nothing is cut off, so what cannot be seen at its ends is refused."""
    text = unicodedata.normalize("NFKC", passphrase)
    if any(unicodedata.category(each) in ("Cc", "Cs") for each in text):
        _weak("The passphrase holds a control character.", "Type it without tabs and line ends.")
    if text != text.strip(" "):
        _weak("The passphrase begins or ends with a space.", "Leave that space out.")
    if len(text.encode("utf-8")) > MOST_PASSPHRASE:
        _weak(f"The passphrase has more than {MOST_PASSPHRASE} bytes.", "Take a shorter one.")
    return text


# --- reading


def _read_file(document: bytes) -> tuple[_Header, bytes]:
    whole = canonical_object(document, LARGEST_FILE, "$")
    if whole.get("schema") != SCHEMA:
        unreadable("schema", f"is not {SCHEMA}")
    require_keys(whole, {"box", "cipher", "hint", "kdf", "nonce", "schema"}, "$")
    if whole["cipher"] != CIPHER:
        unreadable("cipher", f"is not {CIPHER}")
    header = _header(whole, _kdf(whole["kdf"]))
    box = read_field("box", lambda: binary_field(whole["box"], "box", LARGEST_BOX))
    if not TAG_BYTES < len(box) <= LARGEST_BOX or to_base64(box) != whole["box"]:
        unreadable("box", "is too short, too long or not written in its one form")
    return header, box


def _header(whole: dict[str, Any], kdf: dict[str, Any]) -> _Header:
    require_text(whole["hint"], MOST_HINT, "hint")
    return _Header(
        salt=exactly(kdf["salt"], SALT_BYTES, "kdf.salt"),
        nonce=exactly(whole["nonce"], NONCE_BYTES, "nonce"),
        hint=whole["hint"],
        memory_kib=within(kdf["memory_kib"], MEMORY_KIB, MOST_MEMORY_KIB, "kdf.memory_kib"),
        passes=within(kdf["passes"], PASSES, MOST_PASSES, "kdf.passes"),
    )


def _kdf(value: object) -> dict[str, Any]:
    kdf = require_keys(value, {"lanes", "memory_kib", "name", "passes", "salt"}, "kdf")
    if kdf["name"] != KDF:
        unreadable("kdf.name", f"is not {KDF}")
    within(kdf["lanes"], LANES, LANES, "kdf.lanes")
    return kdf


def _weak(message: str, remedy: str) -> NoReturn:
    raise WeakPassphrase(message=message, remedy=remedy, field="passphrase")
