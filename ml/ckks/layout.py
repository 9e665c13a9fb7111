"""How a record lies in the slots of one ciphertext, so that any model over its variables can run on it.

A layout is a published document: names and bounds of at most 32 variables, in order. Slot 64 i + h holds, for
every h below 64,

    i < 32    u = (value - lower) / (upper - lower) of variable i, or 0 where it is absent
    i >= 32   1 where variable i - 32 is present, else 0

Each h is one copy of the record, for one hidden unit of a network. A sum over the variables is one over i: it
takes rotations by multiples of 64 (`add_up` of `score`), with keys for 64, 256 and 1024 only. A sum over all
slots takes none at all: it is the constant coefficient of the plaintext, 4096 times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.ckks import documents
from ml.ckks.context import SLOTS
from ml.ckks.documents import BadDocument, decimal, fields, listed, require

FORMAT: Final = "usufruct-ckks-layout/1"
MOST_VARIABLES: Final = 32
ROWS: Final = 64
"""Values of i: variables, then their presence."""
COPIES: Final = SLOTS // ROWS

Number = Fraction | float | int
Values = Mapping[str, Number | None]
"""A patient's values by name, in the variables' units; None, or not there, is absent. Secret."""
Slots = npt.NDArray[np.float64]
"""(ROWS, COPIES)"""


class NotInLayout(ValueError):
    """A value outside its bounds, or of no variable of the layout. The text says which, never the value."""


@dataclass(frozen=True)
class Variable:
    """One variable: its name, and the bounds of its domain in its unit."""

    name: str
    lower: Fraction
    upper: Fraction


@dataclass(frozen=True)
class Layout:
    """Which variables a record has, in which order. Build one with `layout_of` or `parse_layout`."""

    variables: tuple[Variable, ...]
    canonical: bytes
    hash: bytes
    """32 bytes; every encrypted record names it."""

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Where each variable is, by its name."""
        return {variable.name: i for i, variable in enumerate(self.variables)}

    def place(self, values: Values) -> Slots:
        """What the slots hold for a record: 0 to 1 everywhere. Raises NotInLayout."""
        unknown = set(values) - set(self.position)
        if unknown:
            raise NotInLayout(f"the layout has no variable {min(unknown)}")
        slots = np.zeros((ROWS, COPIES))
        for i, variable in enumerate(self.variables):
            value = values.get(variable.name)
            if value is not None:
                slots[i] = _share(value, variable)
                slots[MOST_VARIABLES + i] = 1.0
        return slots


def parse_layout(data: bytes) -> Layout:
    """A layout from its canonical bytes. Raises BadDocument."""
    return layout_of(documents.parse(data))


def layout_of(document: Any) -> Layout:
    """A checked layout. Raises BadDocument, naming field and remedy."""
    given = fields(document, ("format", "variables"), "layout")
    require(given["format"] == FORMAT, "format", "is another", f"Write {FORMAT}.")
    entries = listed(given["variables"], "variables", MOST_VARIABLES)
    variables = [_variable(entry, f"variables[{i}]") for i, entry in enumerate(entries)]
    require_distinct([variable.name for variable in variables], "variables")
    canonical = documents.canonical(document)
    return Layout(tuple(variables), canonical, documents.document_hash(FORMAT, canonical))


def require_distinct(names: Sequence[str], at: str) -> None:
    """Raises BadDocument for a repeated name."""
    for i, name in enumerate(names):
        if name in names[:i]:
            raise BadDocument(f"{at}[{i}].name", "is repeated", "Name each variable once.")


def _variable(entry: Any, at: str) -> Variable:
    given = fields(entry, ("name", "lower", "upper"), at)
    name = documents.name(given["name"], f"{at}.name")
    lower, upper = (decimal(given[end], f"{at}.{end}") for end in ("lower", "upper"))
    require(lower < upper, f"{at}.upper", "is not above lower", "Give the larger bound.")
    return Variable(name, lower, upper)


def _share(value: Number, variable: Variable) -> float:
    inside = variable.lower <= value <= variable.upper  # False for NaN
    if not inside:
        raise NotInLayout(f"the value of {variable.name} lies outside its bounds")
    return float((Fraction(value) - variable.lower) / (variable.upper - variable.lower))
