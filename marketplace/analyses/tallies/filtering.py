"""Conditions that an encoding has no products for: refused as such, with those that it has products for.

A mean under a condition is a sum of products of the number's columns with the condition's indicators, and
only products that the encoding lists have columns. Which those are, nobody can guess from a column's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from marketplace.analyses.fields import some_of
from marketplace.analyses.polynomials import Polynomial, any_of, columns_of
from marketplace.analyses.tallied import Tallied
from marketplace.analyses.tallies.indicators import FILTERS
from marketplace.errors import BadParameter
from marketplace.wire.encoding import Encoded, Encoding
from ml.dp.domain import Condition, Variable

MOST_TRIED: Final = 64
"""Sums, and indicators, that conditions are tried with: else a refusal would cost more than an answer."""

Express = Callable[[Any, Encoding], Tallied]


def forms_or_filters(
    express: Express, parameters: Any, tallied: Tallied, encoding: Encoding
) -> list[Mapping[int, int]]:
    """The forms of sums that `express` made of these parameters.

    Raises:
        BadParameter: `filters`, where conditions are what the encoding has no products for, naming those that
            it has; `encoding`, where it lacks a product even without them.
    """
    try:
        return tallied.forms(encoding)
    except BadParameter as lacking:
        conditions = conditions_of(parameters)
        if not conditions or len(tallied.wanted) > MOST_TRIED:
            raise
        tried = _Tried(express(_unfiltered(parameters), encoding), encoding)
        if not tried.works and not tried.unfiltered:
            raise
        raise _refusal(conditions, tried, encoding, lacking) from None


def conditions_of(parameters: Any) -> tuple[Condition, ...]:
    """Who is counted; empty where the analysis knows no conditions."""
    holder = getattr(parameters, "measured", parameters)
    found: tuple[Condition, ...] = getattr(holder, "conditions", ())
    return found


def _unfiltered(parameters: Any) -> Any:
    """The same question about everybody."""
    measured = getattr(parameters, "measured", None)
    if measured is not None:
        return replace(parameters, measured=replace(measured, conditions=()))
    return replace(parameters, conditions=())


class _Tried:
    """A question about everybody, and with one indicator of a variable at a time as its condition.

    unfiltered: whether it can be asked about everybody. works: variable -> the indicators that it can be
    asked with, for those that have any. all_tried: whether there are no others than those that were tried.
    """

    def __init__(self, everybody: Tallied, encoding: Encoding) -> None:
        self._encoding = encoding
        self._sums = [each.polynomial for each in everybody.wanted]
        self.unfiltered = self._held(self._sums)
        pairs = [(each.name, i) for each in encoding.variables for i in range(each.indicators)]
        multiplied = {at for each in encoding.columns if len(each.atoms) > 1 for at in each.atoms}
        # Those of no product go last: where not all can be tried, they fit the fewest questions.
        pairs.sort(key=lambda pair: f"{pair[0]}={pair[1]}" not in multiplied)
        self.all_tried = len(pairs) <= MOST_TRIED
        self.works: dict[str, list[int]] = {}
        for name, i in pairs[:MOST_TRIED]:
            chosen = any_of(name, [i])
            # One by one, lazily: of most conditions the first sum tells that they cannot be.
            if all(self._held([each * chosen]) for each in self._sums):
                self.works[name] = sorted([*self.works.get(name, []), i])

    def _held(self, sums: Sequence[Polynomial]) -> bool:
        # Every product once: whether it is held does not depend on its factor, and factors may cancel.
        products = {monomial: 1 for each in sums for monomial in each.terms}
        try:
            columns_of(Polynomial(products), self._encoding)
        except BadParameter:
            return False
        return True


def _refusal(
    conditions: Sequence[Condition],
    tried: _Tried,
    encoding: Encoding,
    lacking: BadParameter,
) -> BadParameter:
    variables = {each.variable.name: each.variable for each in conditions}
    names, works = list(variables), tried.works
    listed = [
        f"{each.name}{_which(each, works[each.name], variables.get(each.name), encoding)}"
        for each in encoding.variables
        if each.name in works
    ]
    together = " together" if len(names) > 1 else ""
    others = "" if tried.all_tried else "; others were not tried"
    ways = [f"Here filters can choose by: {', '.join(listed)}{others}."] if listed else []
    if listed and together:
        ways.append("By two at once only where the encoding lists the products of both.")
    if not listed:
        ways.append(
            "Here no condition can be answered."
            if tried.all_tried
            else f"None of {MOST_TRIED} conditions that were tried can be answered here."
        )
    way = "leave filters out, or ask" if tried.unfiltered else "ask"
    way = f"or {way}" if listed else way
    ways.append(
        f"{way[0].upper()}{way[1:]} in the vault lane, if the analysis is in its catalogue."
    )
    return BadParameter(
        message=f"{FILTERS} cannot choose by {' and '.join(names)}{together} in this question: the dataset's "
        "encoding lists no products of what is asked for with that.",
        remedy=" ".join(ways),
        field=FILTERS,
        facts={**lacking.facts, "works": {name: list(each) for name, each in works.items()}},
    )


def _which(
    of: Encoded, chosen: Sequence[int], variable: Variable | None, encoding: Encoding
) -> str:
    """What conditions on a variable can say: where a number can be cut, or which intervals or categories."""
    if of.categories:
        if len(chosen) == of.categories:
            return ""
        if variable is None:
            return f" ({len(chosen)} of {of.categories} categories)"
        return f" ({some_of([variable.categories[i] for i in chosen])})"
    edges = _edges(of, encoding)
    if len(chosen) == of.indicators:
        return f" (cut at {some_of(edges)})"
    return f" ({some_of([_interval(i, edges) for i in chosen])})"


def _edges(of: Encoded, encoding: Encoding) -> list[str]:
    """Where the encoding cuts a number, as its publisher wrote it."""
    listed = encoding.document["variables"]
    return [str(edge) for each in listed if each["name"] == of.name for edge in each["edges"]]


def _interval(i: int, edges: Sequence[str]) -> str:
    if i == 0:
        return f"below {edges[0]}"
    return f"from {edges[i - 1]}" + (f" to below {edges[i]}" if i < len(edges) else "")
