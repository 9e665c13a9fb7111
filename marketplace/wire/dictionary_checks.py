"""What the documents of a dictionary are held against: each problem names its field and the remedy."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, NoReturn

from marketplace.errors import BadDictionary

DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,9})?")


def require(holds: bool, path: str, problem: str, remedy: str) -> None:
    """Raises BadDictionary unless it holds."""
    if not holds:
        refuse(path, f"{path} {problem}.", remedy)


def refuse(path: str, message: str, remedy: str) -> NoReturn:
    """Raises BadDictionary."""
    raise BadDictionary(message=message, remedy=remedy, field=path)


def require_keys(entry: Any, keys: set[str], path: str) -> None:
    """An object with exactly these keys."""
    exact = isinstance(entry, dict) and set(entry) == keys
    require(exact, path, "has missing or unknown keys", f"Give exactly {', '.join(sorted(keys))}.")


def scaled(text: Any, decimals: int, path: str) -> tuple[Decimal, int]:
    """A decimal in text, as it is and as an integer in units of 10**-decimals."""
    matches = isinstance(text, str) and DECIMAL.fullmatch(text) is not None
    require(matches, path, "is not a decimal in text", 'Write it like "72.5".')
    value = Decimal(text)
    integer = value.scaleb(decimals)
    whole = integer == integer.to_integral_value()
    require(whole, path, "has more decimals than the variable", "Round it, or raise decimals.")
    return value, int(integer)
