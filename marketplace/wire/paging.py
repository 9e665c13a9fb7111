"""Uploads in pieces: whoever takes them bounds what one may hold, in number and in bytes.

A record's share takes about 1.5 KB, its tally 10 to 350 KB: so a sender counts bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from marketplace.wire.canonical import canonical

MOST_DEPOSITS: Final = 500
"""In one upload to a custodian."""
LARGEST_DEPOSITS: Final = 4 * 1024 * 1024
"""Bytes of one upload to a custodian: eleven of the largest tallies."""
MOST_RECORDS: Final = 500
"""In one upload to an operator."""
LARGEST_UPLOAD: Final = 8 * 1024 * 1024
"""Bytes of one upload to an operator: about 1,000 records of ten variables, or 16 with the largest tally."""
LARGEST_SCORED: Final = 17 * 1024 * 1024
"""Bytes of one record that is handed in to be scored: 12.7 MB of one length, in base64 (a test compares)."""
FRAME_BYTES: Final = 1024
"""Of an upload, around its items."""

T = TypeVar("T")


def pages(
    items: Iterable[T], size: Callable[[T], int], *, most: int, largest: int
) -> Iterator[list[T]]:
    """The items in order, in as few uploads as fit; none is empty. Reads one item ahead.

    Args:
        size: bytes of one item as it is sent; one that is too large for any upload goes alone, and whoever
            gets it says so.
        most: items of an upload.
        largest: bytes of an upload, all that stands around the items included.
    """
    page: list[T] = []
    room = largest - FRAME_BYTES
    for item in items:
        taken = size(item) + 1  # a comma
        if page and (len(page) == most or taken > room):
            yield page
            page, room = [], largest - FRAME_BYTES
        page.append(item)
        room -= taken
    if page:
        yield page


def sent_bytes(document: object) -> int:
    """Of a document in an upload: uploads are canonical JSON. Raises MalformedJson."""
    return len(canonical(document))
