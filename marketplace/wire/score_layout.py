"""How a dataset's records lie in the slots that published models run on: from its dictionary, the same for
patients who encrypt and for operators who compute.

Numbers have their own names and bounds. A category has an indicator for each of its categories, `name=i`, 1
for that category and 0 for another; a value that is absent leaves all of them absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from marketplace.errors import Refusal
from marketplace.wire.dictionary import Dictionary, Kind, Variable
from ml.ckks.documents import BadDocument
from ml.ckks.layout import FORMAT, MOST_VARIABLES, Layout, layout_of

FIELD: Final = "dataset"


def layout_of_dictionary(dictionary: Dictionary) -> Layout:
    """The layout of every encrypted record of a dataset.

    Raises:
        Refusal: `not_scorable`: the dictionary has more values, or larger bounds, than a record has room for.
    """
    entries = [entry for variable in dictionary.variables for entry in _entries(variable)]
    if len(entries) > MOST_VARIABLES:
        raise _not_scorable(
            f"A record of this dataset has {len(entries)} values, each category counted by itself; one that "
            f"is scored has at most {MOST_VARIABLES}."
        )
    try:
        return layout_of({"format": FORMAT, "variables": entries})
    except BadDocument as bad:
        raise _not_scorable(f"This dataset's {bad.field} {bad.problem}.") from None


def values_in_layout(
    dictionary: Dictionary, values: Mapping[str, Decimal | str | None]
) -> dict[str, Fraction | int | None]:
    """What the layout has of a record's values, by its names. The values are a patient's, and secret."""
    found: dict[str, Fraction | int | None] = {}
    for variable in dictionary.variables:
        value = values.get(variable.name)
        if variable.kind is Kind.NUMBER:
            found[variable.name] = None if value is None else Fraction(value)
        else:
            found |= _indicators(variable, value)
    return found


def _indicators(
    variable: Variable, value: Decimal | str | None
) -> dict[str, Fraction | int | None]:
    return {
        f"{variable.name}={i}": None if value is None else int(value == category)
        for i, category in enumerate(variable.categories)
    }


def _entries(variable: Variable) -> list[dict[str, Any]]:
    if variable.kind is Kind.NUMBER:
        bounds = {"lower": _text(variable.lower), "upper": _text(variable.upper)}
        return [{"name": variable.name, **bounds}]
    names = (f"{variable.name}={i}" for i in range(len(variable.categories)))
    return [{"name": name, "lower": "0", "upper": "1"} for name in names]


def _text(bound: Decimal) -> str:
    """As documents write decimals: without idle zeros."""
    digits = f"{bound:f}"
    shown = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return "0" if shown == "-0" else shown


def _not_scorable(why: str) -> Refusal:
    return Refusal(
        code="not_scorable",
        message=f"Records of this dataset cannot be scored. {why}",
        remedy="Choose another dataset.",
        field=FIELD,
    )
