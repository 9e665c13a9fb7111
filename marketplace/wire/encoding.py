"""Encodings: which columns a record has in the homomorphic lane, and what a row makes of them.

Part of a dictionary (usufruct-dictionary/2), so that the chain's dictionary hash pins it. A variable has
atoms, all 0 where it is absent:

    name?      1 where it is present
    name       numbers: q = (s - lower + step / 2) div step, with s, lower and step in the dictionary's
               stored integers; halves go up, and 0 <= q <= (upper - lower) / step
    name=i     categories: 1 for category i. Numbers with edges: 1 for the i-th interval of q, each closed
               below, the last one closed

Columns are `name?` (numbers without edges; else it is the sum of the `name=i`), `name`, `name=i` of every
encoded variable, then the products that the encoding lists, each of two atoms or earlier products.
`statement` says what a validity proof shows of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

from marketplace.wire.dictionary_checks import require, require_keys, scaled
from ml.homomorphic.relation import ONE, Builder, Form, Relation, combined

MOST_COLUMNS: Final = 512
MOST_EDGES: Final = 63
MOST_FACTORS: Final = 9
"""Atoms in one product: the square of one of eight numbers, beside the presence of the others."""
LARGEST_COLUMN: Final = 2**32
"""A value of one patient. That the sum of a cohort can be opened is for each request to see."""
TIMES: Final = "*"
Row = Sequence[int | None]


class Described(Protocol):
    """A variable of the dictionary, as far as an encoding needs it."""

    @property
    def name(self) -> str:
        """The name in the dictionary."""

    @property
    def decimals(self) -> int:
        """Of its stored integers."""

    @property
    def domain(self) -> range:
        """Every stored integer that it allows."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Their names; empty for a number."""


@dataclass(frozen=True)
class Column:
    """One encrypted column: its name, its atoms, and the largest value that a record can have in it."""

    name: str
    atoms: tuple[str, ...]  # sorted, with repetitions
    largest: int


@dataclass(frozen=True)
class Encoded:
    """One variable: its position in the dictionary, and its grid (numbers) or number of categories."""

    name: str
    position: int
    lower: int
    step: int
    steps: int  # (upper - lower) / step; 0 for a category
    starts: tuple[int, ...]  # numbers with edges: first q of each interval, 0 first
    categories: int  # 0 for a number

    @property
    def indicators(self) -> int:
        """How many `name=i` there are."""
        return self.categories or len(self.starts)

    @property
    def names(self) -> list[str]:
        """Of its columns, in order."""
        present = [] if self.indicators else [f"{self.name}?"]
        value = [] if self.categories else [self.name]
        return [*present, *value, *(f"{self.name}={i}" for i in range(self.indicators))]

    def quantised(self, stored: int) -> int:
        """q of a stored integer. Raises ValueError outside the variable's domain."""
        if not self.lower <= stored <= self.lower + self.step * self.steps:
            raise ValueError("the value lies outside its domain")
        return (2 * (stored - self.lower) + self.step) // (2 * self.step)

    def interval(self, q: int) -> int:
        """Which interval holds q."""
        return max(i for i, start in enumerate(self.starts) if start <= q)

    @property
    def widths(self) -> list[int]:
        """Values of q in each interval."""
        ends = [*self.starts[1:], self.steps + 1]
        return [end - start for start, end in zip(self.starts, ends, strict=True)]


@dataclass(frozen=True)
class Encoding:
    """What the dictionary publishes. Build one with `read`."""

    variables: tuple[Encoded, ...]
    products: tuple[tuple[str, str], ...]
    document: Mapping[str, Any]
    """As it stands in the dictionary, digit for digit."""

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """All columns in order: of the variables, then products."""
        single = [
            Column(name, (name,), each.steps if name == each.name else 1)
            for each in self.variables
            for name in each.names
        ]
        known = {column.name: column for column in single} | self._presences()
        for left, right in self.products:
            known[left + TIMES + right] = _product(known[left], known[right])
        return (*single, *(known[left + TIMES + right] for left, right in self.products))

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Where each column is, by its name."""
        return {column.name: at for at, column in enumerate(self.columns)}

    @cached_property
    def relation(self) -> Relation:
        """What the validity proof of every record shows."""
        return self.stated([None] * (1 + max(each.position for each in self.variables))).relation()

    def values(self, row: Row) -> list[int]:
        """What each column holds for a row of stored integers and category indices (None = absent)."""
        return self.relation.values(self.stated(row).vector)

    def stated(self, row: Row) -> Builder:
        """Relation and vector of one row; the vector is the record's, and secret.

        Raises ValueError, without the value, for one outside its domain.
        """
        builder = Builder()
        forms: dict[str, Form] = {}
        for each in self.variables:
            forms |= _state(builder, each, row[each.position])
        for left, right in self.products:
            forms[left + TIMES + right] = builder.product(forms[left], forms[right])
        builder.encrypt(forms[column.name] for column in self.columns)
        return builder

    def _presences(self) -> dict[str, Column]:
        return {
            f"{each.name}?": Column(f"{each.name}?", (f"{each.name}?",), 1)
            for each in self.variables
        }


def read(document: Any, variables: Sequence[Described]) -> Encoding:
    """A checked encoding of these variables. Raises BadDictionary naming the field and the remedy."""
    require_keys(document, {"variables", "products"}, "encoding")
    listed = document["variables"]
    require(
        isinstance(listed, list) and bool(listed),
        "encoding.variables",
        "is not a list",
        "List one.",
    )
    positions = {each.name: at for at, each in enumerate(variables)}
    encoded: list[Encoded] = []
    for i, entry in enumerate(listed):
        at = f"encoding.variables[{i}]"
        require(isinstance(entry, dict), at, "is not an object", "Describe one variable.")
        name = entry.get("name")
        position = positions.get(name, -1) if isinstance(name, str) else -1
        require(position >= 0, f"{at}.name", "is no variable here", "Use the dictionary's.")
        repeated = any(each.position == position for each in encoded)
        require(not repeated, f"{at}.name", "is repeated", "Encode each variable once.")
        encoded.append(_variable(entry, variables[position], position, at))
    encoding = Encoding(tuple(encoded), _products(document["products"]), document)
    _require_sensible(encoding)
    return encoding


def _variable(entry: dict[str, Any], variable: Described, position: int, at: str) -> Encoded:
    if variable.categories:
        require_keys(entry, {"name"}, at)
        return Encoded(variable.name, position, 0, 1, 0, (), len(variable.categories))
    require_keys(entry, {"name", "step", "edges"}, at)
    lower, width = variable.domain[0], len(variable.domain) - 1
    step = scaled(entry["step"], variable.decimals, f"{at}.step")[1]
    fits = step > 0 and width % step == 0
    require(fits, f"{at}.step", "does not divide the range", "Give a part of upper - lower.")
    require(width // step <= LARGEST_COLUMN, f"{at}.step", "is too fine", "Give a coarser one.")
    starts = _starts(entry["edges"], variable, step, f"{at}.edges")
    return Encoded(variable.name, position, lower, step, width // step, starts, 0)


def _starts(edges: Any, variable: Described, step: int, at: str) -> tuple[int, ...]:
    sized = isinstance(edges, list) and len(edges) <= MOST_EDGES
    require(sized, at, "is not a list of the right length", f"List at most {MOST_EDGES}.")
    if not edges:
        return ()
    starts, width = [0], len(variable.domain) - 1
    for i, edge in enumerate(edges):
        start = scaled(edge, variable.decimals, f"{at}[{i}]")[1] - variable.domain[0]
        good = start % step == 0 and starts[-1] < start // step <= width // step
        require(
            good, f"{at}[{i}]", "is not the next on the grid", "Give lower + a multiple of step."
        )
        starts.append(start // step)
    return tuple(starts)


def _products(listed: Any) -> tuple[tuple[str, str], ...]:
    at = "encoding.products"
    sized = isinstance(listed, list) and len(listed) <= MOST_COLUMNS
    require(sized, at, "is not a list of the right length", f"List at most {MOST_COLUMNS}.")
    for i, pair in enumerate(listed):
        two = isinstance(pair, list) and [type(each) for each in pair] == [str, str]
        require(two, f"{at}[{i}]", "is not a pair of names", "Name two columns.")
    return tuple((left, right) for left, right in listed)


def _require_sensible(encoding: Encoding) -> None:
    """Every product is of what stands before it, says something new, and stays in bounds."""
    known = {name for each in encoding.variables for name in (*each.names, f"{each.name}?")}
    atoms: dict[str, tuple[str, ...]] = {name: (name,) for name in known}
    said = set(atoms.values())
    for i, (left, right) in enumerate(encoding.products):
        at = f"encoding.products[{i}]"
        for factor in (left, right):
            require(
                factor in atoms, at, "names no column before it", "Use names of atoms, or products."
            )
        whole = tuple(sorted(atoms[left] + atoms[right]))
        require(
            len(whole) <= MOST_FACTORS, at, "has too many factors", f"Use at most {MOST_FACTORS}."
        )
        new = not _is_idle(whole) and whole not in said
        require(new, at, "says nothing new", "Leave it out: it is 0, or another column.")
        atoms[left + TIMES + right] = whole
        said.add(whole)
    columns = sum(len(each.names) for each in encoding.variables) + len(encoding.products)
    require(columns <= MOST_COLUMNS, "encoding", "has too many columns", f"At most {MOST_COLUMNS}.")
    for i, column in enumerate(encoding.columns[len(encoding.columns) - len(encoding.products) :]):
        small = column.largest <= LARGEST_COLUMN
        require(small, f"encoding.products[{i}]", "is too large", "Use coarser steps.")


def _is_idle(atoms: Sequence[str]) -> bool:
    """Whether a product of these atoms is 0, or a product of fewer: 0 and 1 are their own squares."""
    zero_or_one = [atom for atom in atoms if "=" in atom or "?" in atom]
    of_one = [_variable_of(atom) for atom in zero_or_one]
    values = {_variable_of(atom) for atom in atoms if atom not in zero_or_one}
    presences = {_variable_of(atom) for atom in atoms if "?" in atom}
    return len(set(of_one)) < len(of_one) or bool(presences & values)


def _variable_of(atom: str) -> str:
    return atom.partition("=")[0].removesuffix("?")


def _product(left: Column, right: Column) -> Column:
    atoms = tuple(sorted(left.atoms + right.atoms))
    return Column(left.name + TIMES + right.name, atoms, left.largest * right.largest)


def _state(builder: Builder, variable: Encoded, stored: int | None) -> dict[str, Form]:
    """What one variable adds to the statement: the forms of its atoms, `name?` always among them."""
    if variable.categories:
        return _one_of(builder, variable, stored)
    q = None if stored is None else variable.quantised(stored)
    if variable.starts:
        return _in_intervals(builder, variable, q)
    present = builder.bit(int(q is not None))
    value = builder.number(variable.steps, q or 0)
    builder.require_product(combined((1, {ONE: 1}), (-1, present)), value, {})
    return {f"{variable.name}?": present, variable.name: value}


def _one_of(builder: Builder, variable: Encoded, chosen: int | None) -> dict[str, Form]:
    """One of the indicators is 1, or none."""
    if chosen is not None and not 0 <= chosen < variable.indicators:
        raise ValueError("the category lies outside its domain")
    each = [builder.bit(int(i == chosen)) for i in range(variable.indicators)]
    present = combined(*((1, form) for form in each))
    builder.require_bit(present)
    named = {f"{variable.name}={i}": form for i, form in enumerate(each)}
    return {f"{variable.name}?": present, **named}


def _in_intervals(builder: Builder, variable: Encoded, q: int | None) -> dict[str, Form]:
    """q is the start of its interval and a rest; rest and what is missing to the end make up the interval's
    width less 1.

    Both are at least 0, so the rest stays in the interval; where no interval is chosen, it is 0.
    """
    chosen = None if q is None else variable.interval(q)
    forms = _one_of(builder, variable, chosen)
    widest = max(variable.widths) - 1
    rest = 0 if q is None or chosen is None else q - variable.starts[chosen]
    width = 0 if chosen is None else variable.widths[chosen] - 1
    above = builder.number(widest, rest)
    below = builder.number(widest, width - rest)
    indicators = [forms[f"{variable.name}={i}"] for i in range(variable.indicators)]
    room = [(w - 1, form) for w, form in zip(variable.widths, indicators, strict=True)]
    builder.require_equal(combined((1, above), (1, below)), combined(*room))
    starts = [(start, form) for start, form in zip(variable.starts, indicators, strict=True)]
    return {**forms, variable.name: combined(*starts, (1, above))}
