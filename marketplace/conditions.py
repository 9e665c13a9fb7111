"""Which condition goes together with which variable in the homomorphic lane: what an encoding multiplies.

A mean of one variable under a condition on another is a sum of products, and only products that the encoding
lists have columns. A page says beforehand which those are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from marketplace.analyses.polynomials import Polynomial, any_of, columns_of
from marketplace.analyses.tallies import TALLIES
from marketplace.analyses.variables import variables_of
from marketplace.encodings import ends, labels_of, which
from marketplace.errors import BadParameter
from marketplace.wire.dictionary import Dictionary, load
from marketplace.wire.encoding import Encoded, Encoding
from ml.dp.domain import Variable

OF_ONE_VARIABLE: Final = ("sum.v1", "mean.v1", "variance.v1", "histogram.v1")
"""Analyses that are about one variable, and may have conditions on others."""
KEPT: Final = 64
NONE: Final = (
    "No condition goes together with this variable in this lane: the dataset's encoding multiplies it with "
    "none. Leave conditions out, or ask in the vault lane."
)
TOGETHER: Final = "With this variable a condition can be on one of these, alone: {}."


def together(dictionary: Dictionary) -> Mapping[str, Mapping[str, str]]:
    """Of each analysis of one variable, by the variable's name: which conditions it can have, in a sentence.

    Empty without an encoding. Made once a dictionary, since that asks for every product.
    """
    return _sentences(dictionary.to_bytes())


def conditions(dictionary: Dictionary) -> dict[str, dict[str, dict[str, list[int]]]]:
    """Analysis -> variable -> other variable -> its categories, or its intervals, that a condition can be."""
    encoding = dictionary.encoding
    if encoding is None:
        return {}
    known = variables_of(dictionary)
    pairs = _pairs(encoding)
    found: dict[str, dict[str, dict[str, list[int]]]] = {}
    for analysis in OF_ONE_VARIABLE:
        for each in encoding.variables:
            sums = _sums(analysis, each, known, encoding)
            if sums is not None:
                fitting = _fitting(sums, pairs[each.name], encoding)
                found.setdefault(analysis, {})[each.name] = fitting
    return found


@lru_cache(maxsize=KEPT)
def _sentences(document: bytes) -> Mapping[str, Mapping[str, str]]:
    dictionary = load(document)
    labels = labels_of(dictionary)
    known = variables_of(dictionary)
    places = (
        {each.name: each for each in dictionary.encoding.variables} if dictionary.encoding else {}
    )

    def told(fitting: Mapping[str, Sequence[int]]) -> str:
        listed = [
            f"{labels[name]} {_which(places[name], known[name], chosen)}"
            for name, chosen in fitting.items()
        ]
        return TOGETHER.format("; ".join(listed)) if listed else NONE

    return {
        analysis: {name: told(fitting) for name, fitting in of.items()}
        for analysis, of in conditions(dictionary).items()
    }


def _pairs(encoding: Encoding) -> dict[str, list[tuple[str, int]]]:
    """Of each variable: itself, and every category or interval that a column multiplies it with.

    An analysis of one variable needs such a column at least: what else it needs is looked for of these alone.
    """
    found = {
        each.name: [(each.name, i) for i in range(each.indicators)] for each in encoding.variables
    }
    for column in encoding.columns:
        if len(column.atoms) != 2:
            continue
        for one, other in (column.atoms, column.atoms[::-1]):
            name, equals, index = other.partition("=")
            pair = (name, int(index)) if equals else None
            of = found[one.partition("=")[0].removesuffix("?")]
            if pair is not None and pair not in of:
                of.append(pair)
    return found


def _sums(
    analysis: str, of: Encoded, known: Mapping[str, Variable], encoding: Encoding
) -> list[Polynomial] | None:
    """What the analysis adds up of a variable without a condition; None where it takes no such variable."""
    tally, parameters = (
        TALLIES[analysis],
        {"variable": of.name, **_edges(analysis, of, known[of.name])},
    )
    try:
        tallied = tally.tallied(tally.parse(parameters, known), encoding)
        tallied.forms(encoding)
    except BadParameter:
        return None
    return [each.polynomial for each in tallied.wanted]


def _edges(analysis: str, of: Encoded, variable: Variable) -> dict[str, Any]:
    """A histogram's cells of a number: all that the encoding has."""
    if analysis != "histogram.v1" or of.categories:
        return {}
    return {"edges": ends(of, variable)}


def _fitting(
    sums: Sequence[Polynomial], pairs: Sequence[tuple[str, int]], encoding: Encoding
) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, index in pairs:
        chosen = any_of(name, [index])
        products = {monomial: 1 for each in sums for monomial in (each * chosen).terms}
        try:
            columns_of(Polynomial(products), encoding)
        except BadParameter:
            continue
        found.setdefault(name, []).append(index)
    return {name: sorted(chosen) for name, chosen in found.items()}


def _which(of: Encoded, variable: Variable, chosen: Sequence[int]) -> str:
    """`at 40, 65` where every interval can stand, `from 40 to below 65` for one; of a category its names."""
    if of.categories or len(chosen) < of.indicators:
        return which(of, variable, chosen)
    return "at " + ", ".join(ends(of, variable)[1:-1])
