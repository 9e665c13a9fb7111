"""Dictionaries with an encoding, rows of them, and what the documents alone say of each column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias

from hypothesis import strategies as st

from marketplace.errors import BadDictionary
from marketplace.wire.dictionary import ENCODED, Dictionary, from_json

Document: TypeAlias = dict[str, Any]
Row: TypeAlias = Sequence[int | None]
CODE = {"system": "http://loinc.org", "code": "1"}


def number(name: str, lower: str, upper: str, decimals: int = 0) -> Document:
    described = {"name": name, "kind": "number", "label": name, "code": CODE, "unit": "1"}
    return {**described, "lower": lower, "upper": upper, "decimals": decimals}


def category(name: str, count: int) -> Document:
    described = {"name": name, "kind": "category", "label": name, "code": CODE}
    return {**described, "categories": [f"c{i}" for i in range(count)]}


def document(variables: list[Document], encoded: Any, products: Any = ()) -> Document:
    encoding = {"variables": encoded, "products": [list(pair) for pair in products]}
    head = {"schema": ENCODED, "name": "tried", "version": 1}
    return {**head, "variables": variables, "encoding": encoding}


# --- what a column is


def grid_index(variable: Document, step: str, stored: int) -> int:
    """How many steps above the lower bound, rounded to the nearest, halves up."""
    value = Fraction(stored, 10 ** variable["decimals"])
    return math.floor((value - Fraction(variable["lower"])) / Fraction(step) + Fraction(1, 2))


def atom(whole: Document, name: str, row: Row) -> int:
    """`x?`, `x` or `x=i` of a row."""
    of = name.partition("=")[0].removesuffix("?")
    position, variable = next(
        (i, each) for i, each in enumerate(whole["variables"]) if each["name"] == of
    )
    entry = next(each for each in whole["encoding"]["variables"] if each["name"] == of)
    stored = row[position]
    if stored is None:
        return 0
    if name.endswith("?"):
        return 1
    if variable["kind"] == "category":
        return int(stored == int(name.partition("=")[2]))
    q = grid_index(variable, entry["step"], stored)
    if "=" not in name:
        return q
    rounded = Fraction(variable["lower"]) + q * Fraction(entry["step"])
    passed = sum(Fraction(edge) <= rounded for edge in entry["edges"])
    return int(passed == int(name.partition("=")[2]))


def names(whole: Document) -> list[str]:
    """Of all columns, in order."""
    described = {each["name"]: each for each in whole["variables"]}
    found: list[str] = []
    for entry in whole["encoding"]["variables"]:
        name = entry["name"]
        if described[name]["kind"] == "category":
            found += [f"{name}={i}" for i in range(len(described[name]["categories"]))]
        elif entry["edges"]:
            found += [name, *(f"{name}={i}" for i in range(len(entry["edges"]) + 1))]
        else:
            found += [f"{name}?", name]
    return found + [f"{left}*{right}" for left, right in whole["encoding"]["products"]]


def column_values(whole: Document, row: Row) -> list[int]:
    """What each column holds, in order."""
    return [math.prod(atom(whole, each, row) for each in name.split("*")) for name in names(whole)]


# --- any of them


@st.composite
def numbers(draw: st.DrawFn, name: str) -> tuple[Document, Document]:
    """A variable and its entry, whose step divides its range, with or without edges."""
    decimals = draw(st.integers(0, 2))
    step, steps, lower = (
        draw(st.integers(1, 7)),
        draw(st.integers(1, 9)),
        draw(st.integers(-40, 40)),
    )

    def text(scaled: int) -> str:
        return f"{Decimal(scaled).scaleb(-decimals):f}"

    described = number(name, text(lower), text(lower + step * steps), decimals)
    edges = draw(st.sets(st.integers(1, steps), max_size=3))
    grid = [text(lower + step * edge) for edge in sorted(edges)]
    return described, {"name": name, "step": text(step), "edges": grid}


@st.composite
def categories(draw: st.DrawFn, name: str) -> tuple[Document, Document]:
    return category(name, draw(st.integers(2, 4))), {"name": name}


@st.composite
def documents(draw: st.DrawFn, most: int = 3) -> Document:
    """Any dictionary of a few variables, some of them encoded, in any order, with any products."""
    kinds = st.sampled_from([numbers, categories])
    pairs = [draw(draw(kinds)(name)) for name in "abcd"[: draw(st.integers(1, most))]]
    entries = draw(st.permutations([entry for _, entry in pairs]))
    entries = entries[: draw(st.integers(1, len(entries)))]
    whole = document([variable for variable, _ in pairs], entries)
    listed: list[list[str]] = whole["encoding"]["products"]
    for _ in range(draw(st.integers(0, 4))):
        known = [*names(whole), *(f"{entry['name']}?" for entry in entries)]
        listed.append([draw(st.sampled_from(known)), draw(st.sampled_from(known))])
        try:
            from_json(whole)
        except BadDictionary:
            listed.pop()
    return whole


def rows(dictionary: Dictionary) -> st.SearchStrategy[tuple[int | None, ...]]:
    """Any row: every value of each variable, or none."""
    return st.tuples(*(st.none() | st.sampled_from(each.domain) for each in dictionary.variables))
