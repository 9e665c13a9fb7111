"""What a sum over encrypted columns can say: polynomials in the atoms of an encoding, and the columns that
hold them.

An atom is 0 or 1 (`name?`, `name=i`) or a whole number (`name`), and 0 where the variable is absent; so an
atom that is 0 or 1 is its own square, two indicators of one variable exclude each other, and presence is
idle beside any other atom of its variable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final

from marketplace.errors import BadParameter
from marketplace.wire.encoding import MOST_COLUMNS, TIMES, Encoded, Encoding

MOST_TERMS: Final = 4 * MOST_COLUMNS
"""Of a polynomial: every monomial needs columns of its own, but for presences that several are made up of."""
MOST_PRODUCTS: Final = 1 << 16
"""Of terms that are multiplied out at once, some 0.1 s: a few conditions on variables of many categories are
millions, and anybody may ask what a question costs.
"""

Monomial = tuple[str, ...]
"""Atoms in order, repeated as often as they are multiplied; empty for the constant 1."""


@dataclass(frozen=True)
class Polynomial:
    """Whole coefficients of monomials; no coefficient is 0."""

    terms: Mapping[Monomial, int]

    def __add__(self, other: Polynomial) -> Polynomial:
        sums = Counter(dict(self.terms))
        for monomial, coefficient in other.terms.items():
            sums[monomial] += coefficient
        return Polynomial({monomial: c for monomial, c in sums.items() if c})

    def __sub__(self, other: Polynomial) -> Polynomial:
        return self + other * -1

    def __mul__(self, other: Polynomial | int) -> Polynomial:
        if isinstance(other, int):
            return Polynomial({m: other * c for m, c in self.terms.items() if other})
        require_few(len(self.terms) * len(other.terms))
        sums = Counter[Monomial]()
        for (left, a), (right, b) in product(self.terms.items(), other.terms.items()):
            joined = _reduced(left + right)
            if joined is not None:
                sums[joined] += a * b
        if len(sums) > MOST_TERMS:
            raise _too_many()
        return Polynomial({monomial: c for monomial, c in sums.items() if c})


def require_few(products: int) -> None:
    """Before so many terms are multiplied out. Raises BadParameter: no encoding holds what they make."""
    if products > MOST_PRODUCTS:
        raise _too_many()


def _too_many() -> BadParameter:
    return BadParameter(
        message="The question multiplies out to more products of columns than any encoding can list.",
        remedy="Leave conditions or categories out, give one condition a variable, or ask in the vault lane.",
        field="encoding",
    )


ONE = Polynomial({(): 1})
NOTHING = Polynomial({})


def atom(name: str) -> Polynomial:
    """One atom alone."""
    return Polynomial({(name,): 1})


def present(name: str) -> Polynomial:
    """1 where the variable is present."""
    return atom(f"{name}?")


def any_of(name: str, chosen: Iterable[int]) -> Polynomial:
    """1 where the variable is one of these categories, or in one of these intervals."""
    return Polynomial({(f"{name}={i}",): 1 for i in chosen})


def columns_of(polynomial: Polynomial, encoding: Encoding) -> dict[int, int]:
    """position of a column -> coefficient, such that the columns' weighed sum is the polynomial of each
    record.

    Raises:
        BadParameter: a product that the encoding does not list; `facts["product"]` names it.
    """
    columns = _Columns.of(encoding)
    found: Counter[int] = Counter()
    for monomial, coefficient in polynomial.terms.items():
        for held in columns.require_held(monomial):
            found[held] += coefficient
    return {at: coefficient for at, coefficient in sorted(found.items()) if coefficient}


@dataclass(frozen=True)
class _Columns:
    """An encoding's columns by their atoms, and what was found of other monomials: each is looked for once,
    since an encoding of many intervals has more ways to split nine factors than anybody can wait for.
    """

    by_atoms: Mapping[Monomial, int]
    variables: Mapping[str, Encoded]
    known: dict[Monomial, tuple[int, ...] | None]

    @classmethod
    def of(cls, encoding: Encoding) -> _Columns:
        by_atoms = {column.atoms: at for at, column in enumerate(encoding.columns)}
        return cls(by_atoms, {each.name: each for each in encoding.variables}, {})

    def require_held(self, monomial: Monomial) -> tuple[int, ...]:
        held = self._held(monomial)
        if held is None:
            raise BadParameter(
                message=f"The dataset's encoding lists no product of {_words(monomial)}, which this question "
                "takes.",
                remedy="Ask for what the encoding lists, as the dataset's page says. Or ask in the vault "
                "lane, if the analysis is in its catalogue.",
                field="encoding",
                facts={"product": TIMES.join(monomial)},
            )
        return held

    def _held(self, monomial: Monomial) -> tuple[int, ...] | None:
        """The columns whose sum is this monomial: its own, or those of the indicators that make up a
        presence.
        """
        if monomial in self.by_atoms:
            return (self.by_atoms[monomial],)
        if monomial not in self.known:
            split = (self._split(monomial, at) for at in range(len(monomial)))
            self.known[monomial] = next((held for held in split if held is not None), None)
        return self.known[monomial]

    def _split(self, monomial: Monomial, at: int) -> tuple[int, ...] | None:
        """With the presence at this place as its indicators; None where it is none, or a part is not held."""
        variable = self.variables.get(monomial[at].removesuffix("?"))
        if not monomial[at].endswith("?") or variable is None or not variable.indicators:
            return None
        others, whole = monomial[:at] + monomial[at + 1 :], list[int]()
        for i in range(variable.indicators):
            part = self._held(tuple(sorted((*others, f"{variable.name}={i}"))))
            if part is None:
                return None
            whole += part
        return tuple(whole)


def _words(monomial: Monomial) -> str:
    told = [f"whether {each[:-1]} is there" if each.endswith("?") else each for each in monomial]
    return " x ".join(told) or "nothing"


def _reduced(atoms: Monomial) -> Monomial | None:
    """The same product with no idle atom; None where it is 0 of every record."""
    indicators: dict[str, str] = {}
    values: list[str] = []
    presences: set[str] = set()
    for each in atoms:
        variable = each.partition("=")[0].removesuffix("?")
        if "=" in each:
            if indicators.setdefault(variable, each) != each:
                return None
        elif each.endswith("?"):
            presences.add(variable)
        else:
            values.append(each)
    idle = indicators.keys() | set(values)
    left = [f"{variable}?" for variable in presences - idle]
    return tuple(sorted([*indicators.values(), *values, *left]))
