"""The axes of histograms and cross tables: which cell, if any, a member belongs to."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.dp.domain import Condition, Ints, Table, Variable

OUTSIDE = -1


@dataclass(frozen=True)
class Axis:
    """A category, one cell for each; or a number cut at `edges` (stored integers, rising).

    Cells of a number are [e0, e1), [e1, e2), ..., the last closed; what lies outside is in no cell.
    """

    variable: Variable
    edges: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if (self.variable.kind == "category") == bool(self.edges):
            raise ValueError(f"{self.variable.name}: a number needs edges, a category has none")
        if self.edges and (len(self.edges) < 2 or list(self.edges) != sorted(set(self.edges))):
            raise ValueError(f"{self.variable.name}: edges must rise, and be two or more")

    @property
    def size(self) -> int:
        """How many cells it has; there is none for a null, nor for what lies outside."""
        return len(self.edges) - 1 if self.edges else len(self.variable.categories)

    @property
    def labels(self) -> tuple[str, ...]:
        """One for each cell, in order: a category's name, or `[120, 130)` in the variable's unit."""
        if not self.edges:
            return self.variable.categories
        text = [self.variable.text(edge) for edge in self.edges]
        closings = [")"] * (self.size - 1) + ["]"]
        return tuple(f"[{a}, {b}{c}" for a, b, c in zip(text, text[1:], closings, strict=False))

    def places(self, values: Ints) -> Ints:
        """(m,) int64 cell numbers of (m,) stored integers; OUTSIDE where there is none."""
        if not self.edges:
            return values
        edges = np.array(self.edges, dtype=np.int64)
        places = np.searchsorted(edges, values, side="right").astype(np.int64) - 1
        places[values == edges[-1]] = self.size - 1
        places[values > edges[-1]] = OUTSIDE
        return places


def cell_count(axes: Sequence[Axis]) -> int:
    """How many cells the axes span."""
    return math.prod(axis.size for axis in axes)


def cell_labels(axes: Sequence[Axis]) -> list[tuple[str, ...]]:
    """One label for each cell, the last axis running fastest."""
    return list(itertools.product(*(axis.labels for axis in axes)))


def cells_of(table: Table, axes: Sequence[Axis], conditions: Sequence[Condition]) -> Ints:
    """(m,) int64: cells of the members that are in one; nulls and filtered members are in none."""
    counted = table.members([axis.variable for axis in axes], conditions)
    cells = np.zeros(int(np.count_nonzero(counted)), dtype=np.int64)
    inside = np.ones(len(cells), dtype=np.bool_)
    for axis in axes:
        places = axis.places(table.column(axis.variable)[counted])
        inside &= places != OUTSIDE
        cells = cells * axis.size + places
    return cells[inside]
