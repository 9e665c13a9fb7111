"""Conditions and cells as sums of indicators: what an encoding cannot say exactly is refused.

A number counts as it stands on the encoding's grid, lower + q step; a condition on it must be met by all or
none of the q in each interval that the encoding has.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from marketplace.analyses.fields import bad, some_of
from marketplace.analyses.polynomials import NOTHING, ONE, Polynomial, any_of, present
from marketplace.errors import BadParameter
from marketplace.wire.encoding import Encoded, Encoding
from ml.dp.axes import Axis
from ml.dp.domain import Condition, Variable

FILTERS = "filters"


def encoded(variable: Variable, encoding: Encoding, field: str) -> Encoded:
    """A variable's place in the encoding. Raises BadParameter where it has none, naming those that do."""
    for each in encoding.variables:
        if each.name == variable.name:
            return each
    names = some_of([each.name for each in encoding.variables])
    raise bad(field, f"uses {variable.name}, which is not encoded", f"Use: {names}.")


def holding(conditions: Sequence[Condition], encoding: Encoding) -> Polynomial:
    """1 for a record that meets every condition. Raises BadParameter."""
    whole = ONE
    for condition in conditions:
        whole = whole * _condition(condition, encoded(condition.variable, encoding, FILTERS))
    return whole


def cells(axis: Axis, encoding: Encoding, field: str) -> list[Polynomial]:
    """1 for a record in the cell, one polynomial for each cell of an axis. Raises BadParameter."""
    variable = encoded(axis.variable, encoding, field)
    if not axis.edges:
        return [any_of(variable.name, [i]) for i in range(variable.categories)]
    ends = [_first_at(variable, edge) for edge in axis.edges[:-1]]
    ends.append(_first_above(variable, axis.edges[-1]))
    return [_within([range(a, b)], variable, axis.variable, field) for a, b in pairwise(ends)]


def interval_labels(variable: Variable, place: Encoded) -> list[str]:
    """Of the intervals that the encoding has: `[0, 30)`, the last one closed; in the variable's unit."""
    ends = [*place.starts, place.steps]
    text = [variable.text(place.lower + place.step * end) for end in ends]
    closings = [")"] * (len(text) - 2) + ["]"]
    return [f"[{a}, {b}{c}" for (a, b), c in zip(pairwise(text), closings, strict=True)]


def _condition(condition: Condition, variable: Encoded) -> Polynomial:
    if variable.categories:
        return _chosen(variable, sorted(set(condition.values)))
    return _within(_places(condition, variable), variable, condition.variable, FILTERS)


def _chosen(variable: Encoded, indicators: Sequence[int]) -> Polynomial:
    """Presence where all are chosen: one column or product instead of many."""
    everything = len(indicators) == variable.indicators
    return present(variable.name) if everything else any_of(variable.name, indicators)


def _places(condition: Condition, variable: Encoded) -> list[range]:
    """The q that meet a condition."""
    end = variable.steps + 1
    if condition.op in ("==", "in"):
        exact = [Fraction(v - variable.lower, variable.step) for v in set(condition.values)]
        return [range(int(q), int(q) + 1) for q in exact if q.denominator == 1]
    (value,) = condition.values
    at, above = _first_at(variable, value), _first_above(variable, value)
    return [
        {">=": range(at, end), ">": range(above, end), "<": range(at), "<=": range(above)}[
            condition.op
        ]
    ]


def _within(
    places: Sequence[range], variable: Encoded, described: Variable, field: str
) -> Polynomial:
    """1 where q is in one of these disjoint ranges. Raises BadParameter where no intervals make them up."""
    ends = [*(variable.starts or (0,)), variable.steps + 1]
    full = []
    for i, (start, stop) in enumerate(pairwise(ends)):
        met = sum(max(0, min(stop, each.stop) - max(start, each.start)) for each in places)
        if met not in (0, stop - start):
            raise _inexpressible(variable, described, field)
        full += [i] if met else []
    if not variable.starts:
        return present(variable.name) if full else NOTHING
    return _chosen(variable, full)


def _first_at(variable: Encoded, stored: int) -> int:
    """The least q whose value is at least this."""
    return -((variable.lower - stored) // variable.step)


def _first_above(variable: Encoded, stored: int) -> int:
    """The least q whose value is above this."""
    return (stored - variable.lower) // variable.step + 1


def _inexpressible(variable: Encoded, described: Variable, field: str) -> BadParameter:
    places = [*variable.starts, variable.steps]
    edges = [described.text(variable.lower + variable.step * q) for q in places]
    remedy = (
        f"Cut it at {some_of(edges)}: each interval is closed below, the last one closed."
        if variable.starts
        else "The encoding has no intervals of it: leave it out, or ask in the vault lane."
    )
    return BadParameter(
        message=f"{field} cuts {described.name} where the dataset's encoding does not.",
        remedy=remedy,
        field=field,
        facts={"variable": described.name, "edges": edges if variable.starts else []},
    )
