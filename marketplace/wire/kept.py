"""Small documents kept as files, each written whole or not at all."""

from __future__ import annotations

import errno
import secrets
from pathlib import Path

from marketplace.errors import Refusal
from marketplace.wire.private import make_folder


def keep(path: Path, content: bytes, folder: str) -> None:
    """Writes a file, whatever was there; `folder` is what a refusal calls the place that it lies in.

    Raises:
        Refusal: `storage_full`, `storage_unavailable`.
    """
    try:
        _write(path, content)
    except OSError as fault:
        raise _unwritten(fault, folder) from None


def _write(path: Path, content: bytes) -> None:
    make_folder(path.parent)
    if path.exists() and path.read_bytes() == content:
        return
    # A name of its own: two that write the same must not move each other's away.
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _unwritten(fault: OSError, folder: str) -> Refusal:
    full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
    return Refusal(
        code="storage_full" if full else "storage_unavailable",
        message=f"The folder of {folder} is full."
        if full
        else f"The folder of {folder} cannot be written.",
        remedy="Free disk space or repair the folder, then send it again.",
        field="disk" if full else None,
    )
