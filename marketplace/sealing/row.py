"""Values as people write them -> the row of scaled integers that a record seals."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NoReturn

from marketplace.errors import BadParameter, OutOfDictionary
from marketplace.wire.dictionary import Dictionary, Kind, Row, Variable

Value = Decimal | str | None


def to_row(dictionary: Dictionary, values: Mapping[str, Value]) -> Row:
    """One entry a variable, in dictionary order; a name left out is absent.

    Raises BadParameter (unknown name, wrong type, too many decimals) or OutOfDictionary. Neither
    says the value.
    """
    unknown = sorted(set(values) - {v.name for v in dictionary.variables})
    if unknown:
        _bad(unknown[0], "is not a variable of the dictionary", "Leave it out.")
    return tuple(_scaled(v, values.get(v.name)) for v in dictionary.variables)


def _scaled(variable: Variable, value: Value) -> int | None:
    if value is None:
        return None
    if variable.kind is Kind.CATEGORY:
        return _category(variable, value)
    return _number(variable, value)


def _category(variable: Variable, value: Value) -> int:
    if not isinstance(value, str):
        _bad(variable.name, "is not text", "Give one of its categories.")
    if value not in variable.categories:
        raise OutOfDictionary(
            message=f"{variable.name} is none of its categories.",
            remedy=f"Give one of: {', '.join(variable.categories)}.",
            field=variable.name,
        )
    return variable.categories.index(value)


def _number(variable: Variable, value: Value) -> int:
    if not isinstance(value, Decimal) or not value.is_finite():
        _bad(variable.name, "is not a finite decimal", f"Give a number in {variable.unit}.")
    if not variable.lower <= value <= variable.upper:
        raise OutOfDictionary(
            message=f"{variable.name} lies outside {variable.lower:f} to {variable.upper:f} "
            f"{variable.unit}.",
            remedy="Check the measurement and its unit, or leave the variable out.",
            field=variable.name,
        )
    # Not by `scaleb` first: it rounds to 28 digits, and would take a value with more of them for a whole one.
    rounded = value.quantize(Decimal(1).scaleb(-variable.decimals))
    if rounded != value:
        _bad(variable.name, f"has more than {variable.decimals} decimals", "Round it.")
    return int(rounded.scaleb(variable.decimals))


def _bad(name: str, problem: str, remedy: str) -> NoReturn:
    raise BadParameter(message=f"{name} {problem}.", remedy=remedy, field=name)
