"""Folders and files that nobody but their owner can look into, from the moment they exist."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from marketplace.errors import Refusal

OWNER_ONLY: Final = 0o600
OWNER_ONLY_FOLDER: Final = 0o700
SIDE_FILES: Final = ("-wal", "-shm")
"""What SQLite keeps beside a database. It gives them the database file's own mode."""


def make_folder(path: Path) -> None:
    """Makes the folder and what is missing above it, for its owner only; one that exists stays as it is."""
    for each in reversed([path, *path.parents]):
        if not each.exists():
            each.mkdir(exist_ok=True, mode=OWNER_ONLY_FOLDER)


def make_database(path: Path) -> None:
    """Makes an empty SQLite file for its owner only, or takes everybody else's rights to the one that exists.

    To be called before SQLite opens it: that would make it, and its log, readable to all.

    Raises:
        Refusal: `storage_unavailable`.
    """
    try:
        make_folder(path.parent)
        _make_empty(path)
        for each in (path, *(path.with_name(path.name + side) for side in SIDE_FILES)):
            if each.exists():
                each.chmod(OWNER_ONLY)
    except OSError as fault:
        raise Refusal(
            code="storage_unavailable",
            message=f"The database {path.name} cannot be made, or not kept from others ({fault.strerror}).",
            remedy="Let the account that this process runs as own its data folder.",
        ) from None


def _make_empty(path: Path) -> None:
    """Never opens a file that exists: closing it again would drop every lock that SQLite holds on it in this
    process (https://www.sqlite.org/howtocorrupt.html, section 2.2)."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, OWNER_ONLY))
