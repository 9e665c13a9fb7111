"""Key files as the SDK's users name them: of an account, and of whoever opens answers."""

from __future__ import annotations

from pathlib import Path

from marketplace.errors import Refusal
from marketplace.wire import hpke, keyfiles


def signing_key(path: Path) -> bytes:
    """An account's key. Raises Refusal (`key_file`)."""
    return keyfiles.read(path)


def delivery_key(path: Path) -> hpke.SecretKey:
    """The key that answers are sealed to; made if it is missing. Keep it: nothing else opens them.

    Raises:
        Refusal: `key_file`.
    """
    keyfiles.create(path, hpke.generate().raw)
    return hpke.SecretKey(keyfiles.read(path))


def require_other_key(own: bytes, path: Path) -> None:
    """Raises Refusal (`same_key`): whoever gets one of the two must not have the other with it."""
    if path.exists() and keyfiles.read(path) == own:
        raise Refusal(
            code="same_key",
            message="The delivery key is the account's own key.",
            remedy="Name another file with --delivery-key-file: it is made if it is missing.",
            field="delivery_key_file",
        )
