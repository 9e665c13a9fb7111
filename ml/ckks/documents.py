"""Published documents: canonical JSON of texts, whole numbers and decimals, and what is wrong with one.

Canonical: keys sorted by code point, no white space, UTF-8, no floating point; one value, one byte string.
Decimals are texts without idle digits ("-0.25"), so that every reader has the same number.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Final, NoReturn

MOST_BYTES: Final = 1 << 18
DEEPEST: Final = 8
LONGEST_TEXT: Final = 200
_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]{0,8})(\.[0-9]{0,11}[1-9])?")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.=]{0,63}")


class BadDocument(ValueError):
    """A document that breaks a rule: `field` is where, `problem` what, `remedy` what to do."""

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{field}: {problem}. {remedy}")
        self.field, self.problem, self.remedy = field, problem, remedy


def require(holds: bool, field: str, problem: str, remedy: str) -> None:
    """Raises BadDocument unless it holds."""
    if not holds:
        raise BadDocument(field, problem, remedy)


def canonical(document: object) -> bytes:
    """The one byte string of a checked document."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8")


def parse(data: bytes) -> Any:
    """The value whose canonical form is `data`. Raises BadDocument."""
    small = len(data) <= MOST_BYTES
    require(small, "document", "is too large", f"Use at most {MOST_BYTES} bytes.")
    try:
        depth = _depth(data)
        value = _loaded(data.decode("utf-8")) if depth <= DEEPEST else None
        same = value is not None and canonical(value) == data
    except (ValueError, RecursionError):
        same = False
    require(same, "document", "is not canonical JSON", "Sort keys, drop white space.")
    return value


def document_hash(mark: str, data: bytes) -> bytes:
    """32 bytes: SHA-256 of the format's name and the canonical bytes."""
    return hashlib.sha256(mark.encode("ascii") + b"\0" + data).digest()


def fields(value: Any, names: Iterable[str], at: str) -> dict[str, Any]:
    """An object with exactly these keys."""
    wanted = set(names)
    have = set(value) if isinstance(value, dict) else None
    listed = ", ".join(sorted(wanted))
    require(have == wanted, at, "has other keys", f"Give exactly: {listed}.")
    return dict(value)


def listed(value: Any, at: str, most: int, least: int = 1) -> list[Any]:
    """A list of least to most entries."""
    sized = isinstance(value, list) and least <= len(value) <= most
    require(sized, at, "is not a list of the right length", f"List {least} to {most}.")
    return list(value)


def text(value: Any, at: str) -> str:
    """A printable text of 1 to LONGEST_TEXT characters."""
    good = isinstance(value, str) and 1 <= len(value) <= LONGEST_TEXT and value.isprintable()
    require(good, at, "is not a short text", f"Write 1 to {LONGEST_TEXT} characters.")
    return str(value)


def name(value: Any, at: str) -> str:
    """A variable's or column's name."""
    good = isinstance(value, str) and _NAME.fullmatch(value) is not None
    require(good, at, "is not a name", "Begin with a letter; use letters, digits, '_', '.', '='.")
    return str(value)


def decimal(value: Any, at: str) -> Fraction:
    """A finite decimal, exactly: at most 9 digits before the point and 12 after it, none of them idle."""
    good = isinstance(value, str) and _DECIMAL.fullmatch(value) is not None and value != "-0"
    require(good, at, "is not a decimal", 'Write it like "-0.25", without idle zeros.')
    return Fraction(value)


def decimals(value: Any, at: str, count: int) -> tuple[Fraction, ...]:
    """A list of so many decimals."""
    each = listed(value, at, count, count)
    return tuple(decimal(entry, f"{at}[{i}]") for i, entry in enumerate(each))


def decimal_text(value: float, places: int = 9) -> str:
    """A number as a document writes it, rounded to at most 12 places."""
    digits = f"{value:.{places}f}"
    shown = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return "0" if shown == "-0" else shown


def _loaded(text: str) -> Any:
    return json.loads(text, parse_float=_no_float, parse_constant=_no_float)


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"{text} is no whole number")


def _depth(data: bytes) -> int:
    deepest = depth = 0
    for byte in data:  # brackets in texts count, too: names and titles need none
        depth += (byte in b"[{") - (byte in b"]}")
        deepest = max(deepest, depth)
    return deepest
