"""What the aggregates read: bounded variables, fixed-point tables, conditions on members."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Kind = Literal["number", "category"]
Op = Literal["<", "<=", ">", ">=", "==", "in"]

MAX_DECIMALS = 9
MAX_MAGNITUDE = 2**40  # so that twice a bound, and a difference of two, stay far inside int64
MAX_CATEGORIES = 1024

_COMPARE: dict[str, Callable[[Ints, int], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}


@dataclass(frozen=True)
class Variable:
    """One variable of a data dictionary.

    A number is kept as an integer in units of 10**-decimals `unit`, within [lower, upper] (both
    inclusive, scaled alike). A category is kept as its index in `categories`, with lower, upper
    and decimals 0. Raises ValueError when the bounds are not a domain.
    """

    name: str
    kind: Kind
    unit: str = ""
    lower: int = 0
    upper: int = 0
    decimals: int = 0
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind == "category":
            self._require_categories()
        else:
            self._require_bounds()

    def _require_categories(self) -> None:
        labels = self.categories
        if not 1 <= len(labels) <= MAX_CATEGORIES or len(set(labels)) != len(labels):
            raise ValueError(f"{self.name}: 1 to {MAX_CATEGORIES} distinct categories are needed")
        if (self.lower, self.upper, self.decimals) != (0, 0, 0):
            raise ValueError(f"{self.name}: a category has no bounds and no decimals")

    def _require_bounds(self) -> None:
        if self.categories:
            raise ValueError(f"{self.name}: a number has no categories")
        if not 0 <= self.decimals <= MAX_DECIMALS:
            raise ValueError(f"{self.name}: decimals must be 0 to {MAX_DECIMALS}")
        if not -MAX_MAGNITUDE <= self.lower < self.upper <= MAX_MAGNITUDE:
            raise ValueError(f"{self.name}: lower < upper within +-2^40 is needed")

    @property
    def domain(self) -> tuple[int, int]:
        """Smallest and largest stored integer of a valid record, both inclusive."""
        if self.kind == "category":
            return 0, len(self.categories) - 1
        return self.lower, self.upper

    def text(self, scaled: int) -> str:
        """The stored integer as a decimal string in `unit`, always with all its decimals."""
        return format(Decimal(scaled).scaleb(-self.decimals), "f")


@dataclass(frozen=True)
class Condition:
    """One comparison of a variable with stored integers. A null record satisfies none."""

    variable: Variable
    op: Op
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.op != "in" and self.op not in _COMPARE:
            raise ValueError(f"unknown comparison {self.op!r}")
        if not self.values or (self.op != "in" and len(self.values) != 1):
            raise ValueError(f"{self.op!r} on {self.variable.name} has a wrong number of values")

    def holds(self, column: Ints) -> Bools:
        """(n,) bool, for the stored integers of this variable."""
        if self.op == "in":
            return np.isin(column, np.array(self.values, dtype=np.int64))
        held: Bools = _COMPARE[self.op](column, self.values[0])
        return held


@dataclass(frozen=True)
class Table:
    """The members of one cohort: `n` rows, null ones included, so that n is public.

    columns: name -> (n,) int64, stored integers; valid: name -> (n,) bool, False where null.
    Values where invalid are never read. Raises ValueError for a column of another shape or type.
    Neither appears in the representation: they are people's records.
    """

    columns: Mapping[str, Ints] = field(repr=False)
    valid: Mapping[str, Bools] = field(repr=False)
    n: int

    def __post_init__(self) -> None:
        if self.n < 1 or set(self.columns) != set(self.valid):
            raise ValueError("a table needs a member, and one validity mask per column")
        for name, column in self.columns.items():
            mask = self.valid[name]
            if column.shape != (self.n,) or mask.shape != (self.n,):
                raise ValueError(f"column {name} does not have one entry for each member")
            if column.dtype != np.int64 or mask.dtype != np.bool_:
                raise ValueError(f"column {name} is not int64 with a bool mask")

    def column(self, variable: Variable) -> Ints:
        """(n,) int64 stored integers; meaningful only where `known`."""
        if variable.name not in self.columns:
            raise ValueError(f"the table has no column {variable.name}")
        return self.columns[variable.name]

    def known(self, variable: Variable) -> Bools:
        """(n,) bool: the value is present *and* in its domain.

        A value outside its domain counts as null, because failing on it would tell of one record.
        """
        column = self.column(variable)
        lower, upper = variable.domain
        return self.valid[variable.name] & (column >= lower) & (column <= upper)

    def members(self, variables: Sequence[Variable], conditions: Sequence[Condition]) -> Bools:
        """(n,) bool: members with every variable known and every condition held."""
        chosen = np.ones(self.n, dtype=np.bool_)
        for variable in variables:
            chosen &= self.known(variable)
        for condition in conditions:
            chosen &= self.known(condition.variable)
            chosen &= condition.holds(self.column(condition.variable))
        return chosen

    def values(self, variable: Variable, conditions: Sequence[Condition]) -> Ints:
        """(m,) int64, m <= n: the variable's stored integers of the members that are counted."""
        return self.column(variable)[self.members([variable], conditions)]
