"""A dataset's dictionary as analyses take it."""

from __future__ import annotations

from marketplace.wire.dictionary import Dictionary, Kind
from marketplace.wire.dictionary import Variable as WireVariable
from ml.dp.domain import Variable


def variables_of(dictionary: Dictionary) -> dict[str, Variable]:
    """The dictionary's variables by name, bounds scaled to whole numbers."""
    return {each.name: _variable(each) for each in dictionary.variables}


def _variable(variable: WireVariable) -> Variable:
    if variable.kind is Kind.CATEGORY:
        return Variable(variable.name, "category", categories=variable.categories)
    return Variable(
        variable.name,
        "number",
        unit=variable.unit,
        lower=variable.domain.start,
        upper=variable.domain.stop - 1,
        decimals=variable.decimals,
    )
