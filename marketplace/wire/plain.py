"""Text made fit for people: of other parties on a terminal, and counts with their nouns."""

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


def counted(number: int, noun: str) -> str:
    """`1 patient`, `2,000 patients`: a noun whose plural ends in s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
