"""Which products an encoding must list so that an analysis can be asked."""

from __future__ import annotations

from collections.abc import Iterable

from marketplace.analyses.polynomials import Monomial
from marketplace.analyses.tallied import Tallied
from marketplace.wire.encoding import TIMES, Encoding

Pair = tuple[str, str]


def products_for(tallied: Tallied, encoding: Encoding) -> list[Pair]:
    """What to append to the encoding's products, in order, so that `tallied.forms` finds all columns.

    Each is of two atoms or of products before it; nothing that is there already. Empty where nothing lacks.
    Whether the encoding then still reads (columns, factors, sizes) is for `encoding.read` to say.
    """
    names = {column.atoms: column.name for column in encoding.columns}
    added: list[Pair] = []
    for monomial in _needed(tallied):
        _name(monomial, names, added)
    return added


def _needed(tallied: Tallied) -> Iterable[Monomial]:
    """Products of two or more atoms, short ones first, so that longer ones build on them."""
    found = {monomial for wanted in tallied.wanted for monomial in wanted.polynomial.terms}
    return sorted((each for each in found if len(each) > 1), key=lambda each: (len(each), each))


def _name(monomial: Monomial, names: dict[Monomial, str], added: list[Pair]) -> str:
    """The name of a product's column, once whatever it is made of is listed."""
    if len(monomial) == 1:
        return monomial[0]
    if monomial not in names:
        left, right = _split(monomial, names)
        pair = (_name(left, names, added), _name(right, names, added))
        added.append(pair)
        names[monomial] = TIMES.join(pair)
    return names[monomial]


def _split(monomial: Monomial, names: dict[Monomial, str]) -> tuple[Monomial, Monomial]:
    """One atom and a rest that is listed already, where there is such a rest."""
    for at in range(len(monomial)):
        rest = monomial[:at] + monomial[at + 1 :]
        if rest in names or len(rest) == 1:
            return rest, monomial[at : at + 1]
    return monomial[:-1], monomial[-1:]
