"""Text of other parties, made fit for a terminal."""

from __future__ import annotations

import unicodedata
from typing import Final

REPLACED: Final = "\N{REPLACEMENT CHARACTER}"
NOT_SHOWN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of what moves a cursor, erases or rewrites a line (C0 and C1 controls, escape
sequences with them), turns the direction of text (bidirectional overrides and isolates), hides in it (format
characters), breaks a line, or is no character that can be written."""


def plain(text: str) -> str:
    """The text on one line, as long as it was, with U+FFFD in place of what would not be shown as itself."""
    return "".join(REPLACED if unicodedata.category(each) in NOT_SHOWN else each for each in text)
