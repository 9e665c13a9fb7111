"""The files that browsers fetch: read once at start, so that what was hashed is what is served.

All of them share one hash in their URLs, since modules import each other by relative path: a change in
any file changes every URL, and each URL's bytes never change.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).parent / "static"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
}
"""Content types by suffix; what has another suffix (a licence's text) is not served from here."""


@dataclass(frozen=True)
class Asset:
    """One file: its bytes and their type."""

    data: bytes = field(repr=False)
    content_type: str


@dataclass(frozen=True)
class Assets:
    """Every file below `folder` that browsers may fetch, by its path."""

    folder: Path = STATIC

    @cached_property
    def files(self) -> dict[str, Asset]:
        """Read at the first look, and never again."""
        return {
            path.relative_to(self.folder).as_posix(): Asset(path.read_bytes(), TYPES[path.suffix])
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.suffix in TYPES
        }

    @cached_property
    def version(self) -> str:
        """16 hexadecimal digits over every path and byte."""
        digest = hashlib.sha256()
        for path, asset in self.files.items():
            digest.update(f"{path}\0{len(asset.data)}\0".encode())
            digest.update(asset.data)
        return digest.hexdigest()[:16]

    def url(self, path: str) -> str:
        """Where a page finds this file. Raises KeyError where there is none: a page's own mistake."""
        if path not in self.files:
            raise KeyError(path)
        return f"/static/{self.version}/{path}"
