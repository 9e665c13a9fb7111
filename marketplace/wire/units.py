"""Units as people write them. Documents, tables and signed results keep the code of UCUM."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

WRITTEN: Final[Mapping[str, str]] = {
    "a": "years",
    "mm[Hg]": "mmHg",
    "kg/m2": "kg/m\N{SUPERSCRIPT TWO}",
}
"""Units of UCUM whose code is not how people write them."""
_SQUARE: Final = re.compile(r"\((.+)\)\^2")
"""That of a variance."""


def written(unit: str) -> str:
    """`mmHg` for `mm[Hg]`, `(mmHg)²` for `(mm[Hg])^2`; a unit without another spelling as it is."""
    squared = _SQUARE.fullmatch(unit)
    if squared is not None:
        return f"({written(squared[1])})\N{SUPERSCRIPT TWO}"
    return WRITTEN.get(unit, unit)


def rounded_to(step: str, unit: str) -> str:
    """`to the nearest 5 years`, of single ones `to whole years`; `unit` is UCUM's."""
    if step == "1":
        return f"to whole {written(unit) or 'numbers'}"
    return f"to the nearest {step} {written(unit)}".rstrip()
