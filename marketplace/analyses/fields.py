"""Reading the parameters of an analysis: exact, complete, and refusing what it does not know."""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, get_args

from marketplace.errors import BadParameter
from marketplace.wire.units import written
from ml.dp.axes import Axis
from ml.dp.clipping import Clip, Measured
from ml.dp.domain import Condition, Op, Variable

MAX_FILTERS = 8
MAX_VALUES = 1024  # in one "in", and edges of one axis

_NAMES_SHOWN = 20

Dictionary = Mapping[str, Variable]

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_OPS: dict[str, Op] = {op: op for op in get_args(Op)}
_CATEGORY_OPS = ("==", "in")


class Fields:
    """One object of parameters, with a dictionary (name -> variable) to read it by.

    Raises BadParameter at once for keys that the analysis does not have.
    """

    def __init__(self, given: object, dictionary: Dictionary, keys: frozenset[str], at: str = ""):
        self._at = at
        if not isinstance(given, Mapping):
            raise bad(at or "parameters", "is not an object", "Give named parameters.")
        unknown = sorted(str(key) for key in given if key not in keys)
        if unknown:
            name = unknown[0] if re.fullmatch(r"[A-Za-z0-9_]{1,40}", unknown[0]) else ""
            raise bad(
                self.path(name) if name else at or "parameters",
                "is not a parameter here" if name else "has a parameter of no known name",
                f"Use only: {', '.join(sorted(keys))}.",
            )
        self._given: Mapping[Any, object] = given
        self._dictionary = dictionary

    def path(self, key: str) -> str:
        """The full name of a field, for messages."""
        return f"{self._at}.{key}" if self._at else key

    def has(self, key: str) -> bool:
        """Whether the key was given at all, be it with null: what is absent takes its default."""
        return key in self._given

    def get(self, key: str) -> object:
        """The raw value. Raises BadParameter when it is missing."""
        if key not in self._given:
            raise bad(self.path(key), "is missing", f"Give {key}.")
        return self._given[key]

    def items(self, key: str, least: int, most: int) -> list[object]:
        """A list of `least` to `most` raw values."""
        value = self.get(key)
        if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
            raise bad(
                self.path(key), "is not a list of the right length", f"Give {least} to {most}."
            )
        return list(value)

    def variable(self, key: str = "variable") -> Variable:
        """A variable of the dictionary, by name."""
        return self.named(self.get(key), self.path(key))

    def named(self, name: object, at: str) -> Variable:
        """The variable of the dictionary that has this name; `at` names the field, for messages."""
        if not isinstance(name, str) or name not in self._dictionary:
            known = some_of(sorted(self._dictionary))
            raise bad(at, "is not in the data dictionary", f"Use one of: {known}.")
        return self._dictionary[name]

    def number(self, key: str = "variable") -> Variable:
        """`variable`, which must be a number."""
        return _require_number(self.variable(key), self.path(key))

    def numbers(self, key: str, least: int, most: int) -> tuple[Variable, ...]:
        """A list of `least` to `most` different numbers of the dictionary, by name, in the order given."""
        names = self.items(key, least, most)
        found = [(self.named(name, f"{self.path(key)}[{i}]"), i) for i, name in enumerate(names)]
        if len({variable.name for variable, _ in found}) < len(found):
            raise bad(self.path(key), "name a variable twice", "Name each variable once.")
        return tuple(_require_number(each, f"{self.path(key)}[{i}]") for each, i in found)

    def measured(self) -> Measured:
        """`variable`, a number; `clip`, [lower, upper] or the dictionary's bounds; `filters`."""
        variable = self.number()
        return Measured(variable, self._clip(variable), self.filters())

    def _clip(self, variable: Variable) -> Clip:
        if not self.has("clip"):
            return Clip(variable.lower, variable.upper)
        ends = self.items("clip", 2, 2)
        path = self.path("clip")
        lower, upper = (scaled(end, variable, f"{path}[{i}]") for i, end in enumerate(ends))
        if lower >= upper:
            raise bad(path, "does not rise", "Give [lower, upper] with lower below upper.")
        return Clip(lower, upper)

    def filters(self) -> tuple[Condition, ...]:
        """`filters`: conditions that must all hold; in canonical order, without repetition."""
        if not self.has("filters"):
            return ()
        given = self.items("filters", 0, MAX_FILTERS)
        read = [
            self._filter(entry, f"{self.path('filters')}[{i}]") for i, entry in enumerate(given)
        ]
        return tuple(
            {_order(condition): condition for condition in sorted(read, key=_order)}.values()
        )

    def _filter(self, entry: object, at: str) -> Condition:
        fields = Fields(entry, self._dictionary, frozenset({"variable", "op", "value"}), at)
        variable, op = fields.variable(), fields.get("op")
        allowed = _CATEGORY_OPS if variable.kind == "category" else tuple(_OPS)
        if not isinstance(op, str) or op not in allowed:
            raise bad(f"{at}.op", "does not apply", f"Use one of: {' '.join(allowed)}.")
        if op != "in":
            return Condition(
                variable, _OPS[op], (stored(fields.get("value"), variable, f"{at}.value"),)
            )
        values = fields.items("value", 1, MAX_VALUES)
        read = {stored(v, variable, f"{at}.value[{i}]") for i, v in enumerate(values)}
        return Condition(variable, "in", tuple(sorted(read)))

    def axis(self) -> Axis:
        """`variable`, and `edges` if it is a number."""
        variable = self.variable()
        path = self.path("edges")
        if variable.kind == "category":
            if self.has("edges"):
                raise bad(path, "does not apply to a category", "Leave edges out.")
            return Axis(variable)
        given = self.items("edges", 2, MAX_VALUES)
        edges = [scaled(edge, variable, f"{path}[{i}]") for i, edge in enumerate(given)]
        if edges != sorted(set(edges)):
            raise bad(path, "do not rise", "Give each edge above the one before.")
        return Axis(variable, tuple(edges))

    def within(self, key: str, entry: object, keys: frozenset[str]) -> "Fields":
        """Fields of an object inside this one; `key` is its name, for messages."""
        return Fields(entry, self._dictionary, keys, self.path(key))


def _require_number(variable: Variable, at: str) -> Variable:
    if variable.kind != "number":
        raise bad(at, "is a category", "Choose a number, or use histogram.v1.")
    return variable


def exact_number(value: object, field: str) -> Fraction:
    """A JSON number or decimal string as the fraction that it writes out. Raises BadParameter."""
    text = str(value) if isinstance(value, (int, float, str)) else ""
    if isinstance(value, bool) or len(text) > 40 or not _NUMBER.fullmatch(text):
        raise bad(field, "is not a plain decimal number", 'Give a number such as "120.5".')
    return Fraction(Decimal(text))


def scaled(value: object, variable: Variable, field: str) -> int:
    """A number in the variable's unit as its stored integer; exact and within its bounds."""
    whole = exact_number(value, field) * 10**variable.decimals
    if whole.denominator != 1:
        raise bad(
            field,
            f"has more decimals than {variable.name} has",
            f"Give at most {variable.decimals} decimals.",
        )
    if not variable.lower <= whole <= variable.upper:
        low, high = variable.text(variable.lower), variable.text(variable.upper)
        raise bad(
            field,
            f"is outside the bounds of {variable.name}",
            f"Give a value from {low} to {high} {written(variable.unit)}".rstrip() + ".",
        )
    return int(whole)


def stored(value: object, variable: Variable, field: str) -> int:
    """A number, or the name of a category, as the stored integer. Raises BadParameter."""
    if variable.kind == "number":
        return scaled(value, variable, field)
    if not isinstance(value, str) or value not in variable.categories:
        raise bad(
            field,
            f"is not a category of {variable.name}",
            f"Use one of: {some_of(variable.categories)}.",
        )
    return variable.categories.index(value)


def filters_document(conditions: tuple[Condition, ...]) -> list[dict[str, Any]]:
    """Conditions as JSON values that `Fields.filters` reads back."""
    return [_filter_document(condition) for condition in conditions]


def measured_document(measured: Measured) -> dict[str, Any]:
    """A clipped variable and its conditions as JSON values that `Fields.measured` reads back."""
    variable, clip = measured.variable, measured.clip
    return {
        "clip": [variable.text(clip.lower), variable.text(clip.upper)],
        "filters": filters_document(measured.conditions),
        "variable": variable.name,
    }


def axis_document(axis: Axis) -> dict[str, Any]:
    """An axis as JSON values that `Fields.axis` reads back."""
    if not axis.edges:
        return {"variable": axis.variable.name}
    edges = [axis.variable.text(edge) for edge in axis.edges]
    return {"edges": edges, "variable": axis.variable.name}


def some_of(names: Sequence[str]) -> str:
    """The first names of a list, for a message that stays readable."""
    return ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")


def bad(field: str, fault: str, remedy: str) -> BadParameter:
    """A refusal that names the field and says what would do."""
    return BadParameter(message=f"{field} {fault}.", remedy=remedy, field=field)


def _filter_document(condition: Condition) -> dict[str, Any]:
    variable = condition.variable
    texts = [
        variable.text(v) if variable.kind == "number" else variable.categories[v]
        for v in condition.values
    ]
    value = texts if condition.op == "in" else texts[0]
    return {"op": condition.op, "value": value, "variable": variable.name}


def _order(condition: Condition) -> str:
    return json.dumps(_filter_document(condition), sort_keys=True)
