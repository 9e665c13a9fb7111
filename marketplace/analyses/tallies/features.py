"""Numbers of a matrix or a model: variables as they are, or one category of a variable as 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from marketplace.analyses.fields import Fields, bad, some_of
from marketplace.analyses.polynomials import ONE, Polynomial, any_of, present
from marketplace.analyses.tallied import Wanted
from marketplace.analyses.tallies.grids import deviation, unit_of
from marketplace.analyses.tallies.indicators import encoded
from marketplace.errors import BadParameter
from marketplace.wire.encoding import MOST_FACTORS, Encoding
from ml.dp.domain import Variable
from ml.dp.units import Unit
from ml.tallied.moments import Design, Entry

FEATURE_KEYS = frozenset({"variable", "category"})


@dataclass(frozen=True)
class Feature:
    """A number of the dictionary, or whether a category variable is `category` (its index)."""

    variable: Variable
    category: int | None = None

    @property
    def label(self) -> str:
        """`age`, or `sex=male`."""
        if self.category is None:
            return self.variable.name
        return f"{self.variable.name}={self.variable.categories[self.category]}"

    def document(self) -> dict[str, Any]:
        """As JSON values that `read_feature` reads back."""
        if self.category is None:
            return {"variable": self.variable.name}
        chosen = self.variable.categories[self.category]
        return {"category": chosen, "variable": self.variable.name}

    def width(self, encoding: Encoding) -> int:
        """R: steps of the grid, or 1."""
        return encoded(self.variable, encoding, "variable").steps or 1

    def unit(self, encoding: Encoding) -> Unit:
        """Of q; of 0 and 1 where it is a category."""
        if self.category is not None:
            return Unit("", Fraction(1), 0)
        return unit_of(self.variable, encoded(self.variable, encoding, "variable"))

    def deviation(self, encoding: Encoding) -> Polynomial:
        """u in -R..R where the variable is present; -1 or 1 for a category; 0 where it is absent."""
        place = encoded(self.variable, encoding, "variable")
        if self.category is None:
            return deviation(place)
        return any_of(place.name, [self.category]) * 2 - present(place.name)


def read_feature(fields: Fields) -> Feature:
    """`variable`, and `category` exactly where it is a category. Raises BadParameter."""
    variable = fields.variable()
    if variable.kind == "number":
        if fields.has("category"):
            raise bad(fields.path("category"), "does not apply to a number", "Leave it out.")
        return Feature(variable)
    chosen = fields.get("category")
    if not isinstance(chosen, str) or chosen not in variable.categories:
        known = some_of(variable.categories)
        raise bad(
            fields.path("category"),
            f"is not a category of {variable.name}",
            f"Use one of: {known}.",
        )
    return Feature(variable, variable.categories.index(chosen))


def read_features(fields: Fields, key: str, least: int, most: int) -> tuple[Feature, ...]:
    """A list of `least` to `most` different features. Raises BadParameter."""
    given = fields.items(key, least, most)
    found = tuple(
        read_feature(fields.within(f"{key}[{i}]", entry, FEATURE_KEYS))
        for i, entry in enumerate(given)
    )
    if len(set(found)) < len(found):
        raise bad(fields.path(key), "name one twice", "Name each once.")
    return found


def wanted_of(
    design: Design,
    features: Sequence[Feature],
    encoding: Encoding,
    where: Polynomial,
    needed: Sequence[int] | None = None,
) -> tuple[Wanted, ...]:
    """The sums of a design over the records that meet `where` and have the features of an entry's cases
    (or `needed` of them, absent ones then counting as 0: the middle).
    """
    deviations = [feature.deviation(encoding) for feature in features]

    def summed(entry: Entry) -> Polynomial:
        whole = where
        for i in entry.cases if needed is None else needed:
            whole = whole * present(features[i].variable.name)
        product = ONE
        for i in entry.factors:
            product = product * deviations[i]
        if len(set(entry.factors)) < len(entry.factors):
            product = product * 2 - ONE * design.widths[entry.factors[0]] ** 2
        return product * whole * entry.weight

    return tuple(Wanted(summed(entry), *design.bounds(entry)) for entry in design.entries)


def require_factors(wanted: Sequence[Wanted], remedy: str) -> None:
    """Raises BadParameter for products of more atoms than any encoding can list."""
    most = max((len(monomial) for each in wanted for monomial in each.polynomial.terms), default=0)
    if most > MOST_FACTORS:
        raise BadParameter(
            message=f"This needs products of {most} columns, and an encoding has at most "
            f"{MOST_FACTORS} in one.",
            remedy=remedy,
            field="cases",
            facts={"factors": most},
        )
