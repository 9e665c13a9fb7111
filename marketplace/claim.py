"""The folder of a local market: made here, and of one process at a time.

A mark in it says that a market made it, so that it may be deleted for a new one. Whoever runs the market
holds a lock on that mark (the kernel frees it, on SIGKILL too) and writes into it where the market is.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from marketplace.errors import Refusal

MARK: Final = ".usufruct-market"


@dataclass
class Claim:
    """This process's hold on a market's folder."""

    folder: Path
    _held: IO[str] | None = field(default=None, repr=False)

    def require_own(self) -> None:
        """What is marked as ours may be deleted later, so nobody else's folder may become so.

        Raises:
            Refusal: `not_a_market`, it holds something that no market made.
        """
        holds_something = self.folder.exists() and any(self.folder.iterdir())
        if holds_something and not (self.folder / MARK).exists():
            raise Refusal(
                code="not_a_market",
                message=f"{self.folder} is not empty and was not made by an earlier run.",
                remedy="Name a new or empty folder, or empty that one yourself.",
                field="data",
            )

    def require_free(self) -> None:
        """That no other process runs the market of this folder.

        Raises:
            Refusal: `already_running`, naming the folder, its operator's URL and the process to stop.
        """
        if self._held is not None or not (self.folder / MARK).exists():
            return
        with (self.folder / MARK).open("r") as handle:
            if not _lock(handle):
                raise _already_running(self.folder, handle.read())

    def take(self, url: str) -> None:
        """Makes the folder this process's until `release`, and notes where its operator answers.

        Raises:
            Refusal: as `require_own` and `require_free`.
        """
        if self._held is not None:
            return
        self.require_own()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = (self.folder / MARK).open("a+")
        if not _lock(handle):
            handle.seek(0)
            said = handle.read()
            handle.close()
            raise _already_running(self.folder, said)
        handle.truncate(0)
        json.dump({"process": os.getpid(), "url": url}, handle)
        handle.flush()
        self._held = handle

    def release(self) -> None:
        """Leaves the folder to others. Nothing, where it was not taken."""
        if self._held is not None:
            self._held.close()
            self._held = None


def _lock(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _already_running(folder: Path, said: str) -> Refusal:
    """From what its process wrote; without it, where that cannot be read (yet)."""
    try:
        found = json.loads(said)
        process, url = int(found["process"]), str(found["url"])
    except (ValueError, KeyError, TypeError):
        where, how = "", "Ctrl-C where it was started"
    else:
        where = f": its operator answers at {url}"
        how = f"Ctrl-C where it was started, or `kill {process}`"
    return Refusal(
        code="already_running",
        message=f"The market in {folder} is running already{where}.",
        remedy=f"Use it there, or stop it first ({how}). A second market takes another --data and --port.",
        field="data",
    )
