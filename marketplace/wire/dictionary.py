"""Data dictionaries (usufruct-dictionary/1; /2 with an encoding) and the fixed-length row of a record.

A row is one format byte, then 9 bytes a variable in dictionary order: presence, and the fixed-point
value or category index as a big-endian int64. Its length says nothing about the patient.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from eth_hash.auto import keccak

from marketplace.errors import RecordUnreadable
from marketplace.vocabulary import DictionaryHash
from marketplace.wire import encoding as encodings
from marketplace.wire.canonical import JSON_LIMIT, canonical, parse
from marketplace.wire.dictionary_checks import refuse, require, require_keys, scaled
from marketplace.wire.encoding import Encoding

SCHEMA = "usufruct-dictionary/1"
ENCODED = "usufruct-dictionary/2"
"""With an encoding: for the homomorphic lane, too."""
MOST_VARIABLES = 64
LARGEST_SCALED = (
    2**40
)  # 64 variables over 10,000 patients keep every sum of squares far from overflow
MOST_DECIMALS = 9
CATEGORY_COUNT = range(2, 65)
ROW_FORMAT = b"\x01"
CELL_BYTES = 9
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
SHARED_KEYS = {"name", "kind", "label", "code"}
NUMBER_KEYS = SHARED_KEYS | {"unit", "lower", "upper", "decimals"}
CATEGORY_KEYS = SHARED_KEYS | {"categories"}

Row = tuple[int | None, ...]


class Kind(StrEnum):
    """What a variable holds."""

    NUMBER = "number"
    CATEGORY = "category"


@dataclass(frozen=True)
class Code:
    """A term of a coding system (LOINC, SNOMED CT)."""

    system: str
    code: str


@dataclass(frozen=True)
class Variable:
    """One bounded variable. Numbers have unit (UCUM), bounds, decimals; the others categories."""

    name: str
    kind: Kind
    label: str
    code: Code
    unit: str = ""
    lower: Decimal = Decimal(0)
    upper: Decimal = Decimal(0)
    decimals: int = 0
    categories: tuple[str, ...] = ()

    @property
    def domain(self) -> range:
        """Every scaled value (or category index) that this variable allows."""
        if self.kind is Kind.CATEGORY:
            return range(len(self.categories))
        return range(self._scaled(self.lower), self._scaled(self.upper) + 1)

    def _scaled(self, bound: Decimal) -> int:
        return int(bound.scaleb(self.decimals))

    def as_json(self) -> dict[str, object]:
        """The variable as it stands in the dictionary."""
        shared = {
            "name": self.name,
            "kind": self.kind.value,
            "label": self.label,
            "code": {"system": self.code.system, "code": self.code.code},
        }
        if self.kind is Kind.CATEGORY:
            return {**shared, "categories": list(self.categories)}
        # Digit for digit as it was read: `str` would write small bounds as 1E-7, which cannot be read.
        bounds = {"lower": f"{self.lower:f}", "upper": f"{self.upper:f}"}
        return {**shared, "unit": self.unit, **bounds, "decimals": self.decimals}


@dataclass(frozen=True)
class Dictionary:
    """A named, versioned list of variables. Build one with `from_json` or `load`."""

    name: str
    version: int
    variables: tuple[Variable, ...]
    encoding: Encoding | None = None  # without one: vault lane only

    @property
    def row_bytes(self) -> int:
        """The length of every row."""
        return 1 + CELL_BYTES * len(self.variables)

    def hash(self) -> DictionaryHash:
        """keccak256 of the canonical bytes: what the chain keeps."""
        return DictionaryHash(keccak(self.to_bytes()))

    def variable(self, name: str) -> Variable:
        """The variable of that name. Raises BadDictionary."""
        for variable in self.variables:
            if variable.name == name:
                return variable
        return refuse("name", f"{self.name} has no variable of that name.", "Use one it lists.")

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        variables = [v.as_json() for v in self.variables]
        schema = SCHEMA if self.encoding is None else ENCODED
        encoding = {} if self.encoding is None else {"encoding": self.encoding.document}
        head = {"schema": schema, "name": self.name, "version": self.version}
        return canonical({**head, "variables": variables, **encoding})


def load(data: bytes) -> Dictionary:
    """A dictionary from JSON bytes. Raises MalformedJson or BadDictionary."""
    return from_json(parse(data, limit=JSON_LIMIT))


def from_json(document: Any) -> Dictionary:
    """A checked dictionary. Raises BadDictionary naming the field and the remedy."""
    encoded = isinstance(document, dict) and document.get("schema") == ENCODED
    keys = {"schema", "name", "version", "variables"}
    require_keys(document, keys | {"encoding"} if encoded else keys, "dictionary")
    known = document["schema"] in (SCHEMA, ENCODED)
    require(known, "schema", "is another", f"Set it to {SCHEMA}.")
    _require_name(document["name"], "name")
    version = document["version"]
    require(_is_int(version) and version >= 1, "version", "is not a positive integer", "Count up.")
    listed = document["variables"]
    sized = isinstance(listed, list) and 1 <= len(listed) <= MOST_VARIABLES
    require(sized, "variables", "has a wrong length", f"List 1 to {MOST_VARIABLES} variables.")
    variables = tuple(_variable(v, f"variables[{i}]") for i, v in enumerate(listed))
    names = {v.name for v in variables}
    require(len(names) == len(variables), "variables", "repeats a name", "Name each once.")
    encoding = encodings.read(document["encoding"], variables) if encoded else None
    return Dictionary(document["name"], version, variables, encoding)


def encode_row(dictionary: Dictionary, row: Sequence[int | None]) -> bytes:
    """Scaled values and category indices (None = absent) as bytes. Raises RecordUnreadable."""
    if len(row) != len(dictionary.variables):
        raise _unreadable("row", "The row has another number of values than the dictionary.")
    cells = [_cell(variable, v) for variable, v in zip(dictionary.variables, row, strict=True)]
    return ROW_FORMAT + b"".join(cells)


def decode_row(dictionary: Dictionary, plaintext: bytes) -> Row:
    """Strict inverse of `encode_row`. Raises RecordUnreadable: such a record counts as null."""
    if len(plaintext) != dictionary.row_bytes or plaintext[:1] != ROW_FORMAT:
        raise _unreadable("row", "The row has a wrong length or format.")
    starts = range(1, len(plaintext), CELL_BYTES)
    cells = zip(dictionary.variables, starts, strict=True)
    return tuple(_value(variable, plaintext[at : at + CELL_BYTES]) for variable, at in cells)


def _cell(variable: Variable, value: int | None) -> bytes:
    if value is None:
        return bytes(CELL_BYTES)
    if value not in variable.domain:
        raise _unreadable(variable.name, f"{variable.name} is outside its domain.")
    return b"\x01" + value.to_bytes(8, "big", signed=True)


def _value(variable: Variable, cell: bytes) -> int | None:
    if cell == bytes(CELL_BYTES):
        return None
    value = int.from_bytes(cell[1:], "big", signed=True)
    if cell[0] != 1 or value not in variable.domain:
        raise _unreadable(variable.name, f"{variable.name} is malformed or outside its domain.")
    return value


def _variable(entry: Any, path: str) -> Variable:
    require(isinstance(entry, dict), path, "is not an object", "Describe one variable.")
    kinds = list(Kind)
    require(entry.get("kind") in kinds, f"{path}.kind", "is unknown", "Use number or category.")
    number = entry["kind"] == Kind.NUMBER
    require_keys(entry, NUMBER_KEYS if number else CATEGORY_KEYS, path)
    _require_name(entry["name"], f"{path}.name")
    _require_text(entry["label"], f"{path}.label")
    shared = {
        "name": entry["name"],
        "kind": Kind(entry["kind"]),
        "label": entry["label"],
        "code": _code(entry["code"], f"{path}.code"),
    }
    return Variable(**shared, **(_bounds(entry, path) if number else _categories(entry, path)))


def _code(entry: Any, path: str) -> Code:
    require_keys(entry, {"system", "code"}, path)
    _require_text(entry["system"], f"{path}.system")
    _require_text(entry["code"], f"{path}.code")
    return Code(entry["system"], entry["code"])


def _bounds(entry: Mapping[str, Any], path: str) -> dict[str, Any]:
    decimals = entry["decimals"]
    fits = _is_int(decimals) and 0 <= decimals <= MOST_DECIMALS
    require(fits, f"{path}.decimals", "is out of range", f"Use 0 to {MOST_DECIMALS}.")
    _require_text(entry["unit"], f"{path}.unit")
    lower = _bound(entry["lower"], decimals, f"{path}.lower")
    upper = _bound(entry["upper"], decimals, f"{path}.upper")
    require(lower < upper, f"{path}.lower", "is not below upper", "Swap or widen the bounds.")
    return {"unit": entry["unit"], "lower": lower, "upper": upper, "decimals": decimals}


def _bound(text: Any, decimals: int, path: str) -> Decimal:
    value, integer = scaled(text, decimals, path)
    require(abs(integer) <= LARGEST_SCALED, path, "is too large", "Keep it within 2^40 units.")
    return value


def _categories(entry: Mapping[str, Any], path: str) -> dict[str, Any]:
    path = f"{path}.categories"
    listed = entry["categories"]
    sized = isinstance(listed, list) and len(listed) in CATEGORY_COUNT
    require(sized, path, "has a wrong length", "List 2 to 64 categories.")
    for i, category in enumerate(listed):
        _require_text(category, f"{path}[{i}]")
    require(len(set(listed)) == len(listed), path, "repeats a category", "List each once.")
    return {"categories": tuple(listed)}


def _require_name(value: Any, path: str) -> None:
    matches = isinstance(value, str) and NAME.fullmatch(value) is not None
    require(matches, path, "is not a name", "Use a-z, 0-9 and _, a letter first, at most 40.")


def _require_text(value: Any, path: str) -> None:
    fits = isinstance(value, str) and 1 <= len(value) <= 200
    require(fits, path, "is not text of 1 to 200 characters", "Give a short text.")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _unreadable(field: str, message: str) -> RecordUnreadable:
    return RecordUnreadable(
        message=message, remedy="Seal the record again with this dictionary.", field=field
    )
