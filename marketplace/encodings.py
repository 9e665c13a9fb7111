"""What a dictionary's encoding can say, in plain words: rounding, cuts, categories, and its products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from marketplace.analyses.variables import variables_of
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.encoding import TIMES, Encoded
from marketplace.wire.plain import plain
from marketplace.wire.units import rounded_to
from ml.dp.domain import Variable


@dataclass(frozen=True)
class EncodingTold:
    """variables: label and what can be said of it; products: what is multiplied with what, by labels."""

    variables: tuple[tuple[str, str], ...]
    products: tuple[str, ...]


def told(dictionary: Dictionary) -> EncodingTold | None:
    """None for a dictionary without an encoding."""
    encoding = dictionary.encoding
    if encoding is None:
        return None
    labels, known = labels_of(dictionary), variables_of(dictionary)
    places = {each.name: each for each in encoding.variables}

    def factor(atom: str) -> str:
        name, indicates, index = atom.partition("=")
        if indicates:
            return f"{labels[name]} {which(places[name], known[name], [int(index)])}"
        if atom.endswith("?"):
            return f"whether there is a value of {labels[atom[:-1]]}"
        return labels[atom]

    return EncodingTold(
        variables=tuple(
            (labels[each.name], _says(each, known[each.name])) for each in encoding.variables
        ),
        products=tuple(
            " x ".join(factor(atom) for half in pair for atom in half.split(TIMES))
            for pair in encoding.products
        ),
    )


def labels_of(dictionary: Dictionary) -> Mapping[str, str]:
    """What variables are called, by name, with nothing in it that would turn or hide the text beside it."""
    return {each.name: plain(each.label) for each in dictionary.variables}


def ends(of: Encoded, variable: Variable) -> list[str]:
    """Where the intervals of an encoded number begin, and where the last one ends, in the variable's unit."""
    return [variable.text(of.lower + of.step * q) for q in (*(of.starts or (0,)), of.steps)]


def which(of: Encoded, variable: Variable, chosen: Sequence[int]) -> str:
    """`from 40 to below 65` of a number's intervals; of a category the names of those."""
    if of.categories:
        return ", ".join(plain(variable.categories[i]) for i in chosen)
    at, last = ends(of, variable), of.indicators - 1
    return ", ".join(f"from {at[i]} to {'below ' * (i < last)}{at[i + 1]}" for i in chosen)


def _says(of: Encoded, variable: Variable) -> str:
    if of.categories:
        return f"which of its categories: {which(of, variable, range(of.categories))}"
    step = variable.text(of.step)
    cuts = ends(of, variable)[1:-1]
    where = f"can be cut at {', '.join(cuts)}" if cuts else "cannot be cut"
    return f"rounded {rounded_to(step, variable.unit)}; {where}"
