"""Regenerates tally.json, what the browser's tallies must agree with: python -m tests.vectors.generate_tally

Everything that is drawn at random is given, so that columns and proofs can be the same byte for byte.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from marketplace.wire import dictionary
from marketplace.wire.dictionary import Dictionary, Kind
from marketplace.wire.encoding import Encoding
from ml.homomorphic import generators, validity
from ml.homomorphic.curve import ORDER, Point, times_base
from ml.homomorphic.elgamal import encrypt
from ml.homomorphic.relation import bits_of, weights
from ml.homomorphic.transcript import Transcript
from tests.vectors.generate_web import written
from tests.vectors.tagging import hexed, outcome, seeded

FILE = Path(__file__).parent / "tally.json"
SCHEMA = "usufruct-vectors-tally/1"
CODE = {"system": "http://loinc.org", "code": "29463-7"}
LIMIT = 2**32


def number(name: str, lower: str, upper: str, decimals: int = 0) -> dict[str, Any]:
    bounds = {"lower": lower, "upper": upper, "decimals": decimals}
    return {"name": name, "kind": "number", "label": name, "code": CODE, "unit": "1", **bounds}


def category(name: str, categories: int) -> dict[str, Any]:
    listed = [f"c{i}" for i in range(categories)]
    return {"name": name, "kind": "category", "label": name, "code": CODE, "categories": listed}


def grid(name: str, step: str, *edges: str) -> dict[str, Any]:
    return {"name": name, "step": step, "edges": list(edges)}


def document(
    variables: list[dict[str, Any]], encoded: list[dict[str, Any]], *products: list[str]
) -> dict[str, Any]:
    encoding = {"variables": encoded, "products": list(products)}
    head = {"schema": dictionary.ENCODED, "name": "tallied", "version": 1}
    return {**head, "variables": variables, "encoding": encoding}


AGE, WEIGHT = number("age", "0", "120"), number("weight", "-5.0", "80.5", 1)
SEX, SMOKER = category("sex", 2), category("smoker", 3)
BIG, WIDE = number("big", "0", str(LIMIT)), number("wide", "0", str(2 * LIMIT))
EVERY_EDGE = [f"{each}" for each in range(1, 121)]
ALL = [AGE, SMOKER, WEIGHT, SEX]
ENCODED = [
    grid("weight", "0.5", "0.0", "20.5", "80.5"),
    grid("age", "10"),
    {"name": "sex"},
]
PRODUCTS = [["age", "age"], ["age*age", "sex=1"], ["weight?", "age"], ["weight=1", "weight"]]
WHOLE = document(ALL, ENCODED, *PRODUCTS)
MANY_COLUMNS = document([category("most", 64)], [{"name": "most"}])

GOOD: tuple[dict[str, Any], ...] = (
    document([AGE], [grid("age", "10")]),
    document([AGE], [grid("age", "1")], ["age", "age"]),
    document([AGE], [grid("age", "60", "60", "120")]),
    document([SMOKER], [{"name": "smoker"}]),
    document([WEIGHT], [grid("weight", "0.3", "0.1", "0.4", "79.9")]),
    document([BIG], [grid("big", "1.0")]),
    MANY_COLUMNS,
    document(
        ALL, [{"name": "smoker"}, {"name": "sex"}], ["sex=0", "smoker=2"], ["sex?", "smoker=0"]
    ),
    document(
        [AGE],
        [grid("age", "1")],
        *(["age", "age"], ["age", "age*age"], ["age*age", "age*age"]),
    ),
    WHOLE,
    document(
        [AGE, SEX],
        [grid("age", "60"), {"name": "sex"}],
        *(["age", "age"], ["age*age", "age*age"], ["age*age*age*age", "age*age*age*age"]),
        ["age*age*age*age*age*age*age*age", "sex=1"],
    ),
)
PROVEN = (0, 2, 3, 9, 10)
"""Which of GOOD have a proof here."""

FIRST, LAST = "encoding.variables.0.", "encoding.variables.1."
BAD: dict[str, Any] = {
    "schema": "usufruct-dictionary/3",
    "schema ": dictionary.SCHEMA,
    "encoding": 5,
    "encoding ": {},
    "encoding  ": {"variables": ENCODED, "products": [], "more": 1},
    "encoding.variables": [],
    "encoding.variables ": {},
    "encoding.variables  ": ENCODED * 2,
    "encoding.variables   ": [None],
    "encoding.variables.0": [],
    FIRST + "name": "height",
    FIRST + "name ": 5,
    FIRST + "name  ": "sex",
    FIRST + "more": 1,
    LAST + "name": "smoker",
    LAST + "name ": "weight",
    "encoding.variables.2": {"step": "1"},
    "encoding.variables.2 ": grid("sex", "1"),
    "encoding.variables.1": {"name": "age", "step": "10"},
    LAST + "step": "7",
    LAST + "step ": "0",
    LAST + "step  ": "-10",
    LAST + "step   ": "240",
    LAST + "step    ": 10,
    LAST + "step     ": "1e1",
    LAST + "step      ": "0.5",
    LAST + "edges": "10",
    LAST + "edges ": EVERY_EDGE[:64],
    LAST + "edges  ": ["0"],
    LAST + "edges   ": ["-10"],
    LAST + "edges    ": ["20", "20"],
    LAST + "edges     ": ["20", "10"],
    LAST + "edges      ": ["15"],
    LAST + "edges       ": ["130"],
    LAST + "edges        ": [10],
    LAST + "edges         ": ["10.5"],
    "encoding.products": 5,
    "encoding.products ": [["age", "age"]] * 513,
    "encoding.products  ": ["age*age"],
    "encoding.products   ": [["age"]],
    "encoding.products    ": [["age", "age", "age"]],
    "encoding.products     ": [["age", 5]],
    "encoding.products      ": [["age", "smoker"]],
    "encoding.products       ": [["age", "sex"]],
    "encoding.products        ": [["age", "sex=2"]],
    "encoding.products         ": [["age*age", "age"], ["age", "age"]],
    "encoding.products          ": [["sex=0", "sex=1"]],
    "encoding.products           ": [["sex=0", "sex=0"]],
    "encoding.products            ": [["sex?", "sex=0"]],
    "encoding.products             ": [["age?", "age"]],
    "encoding.products              ": [["weight?", "weight"]],
    "encoding.products               ": [["age?", "age?"]],
    "encoding.products                ": [["age", "sex=0"], ["sex=0", "age"]],
    "encoding.products                 ": [
        *(["age", "age"], ["age", "weight"], ["age*age", "weight"], ["age", "age*weight"])
    ],
    "encoding.products                  ": [
        *(["age", "age"], ["age*age", "age*age"], ["age*age*age*age", "age*age*age*age"]),
        ["age*age", "age*age*age*age*age*age*age*age"],
    ],
}
MANY = [category(f"m{i}", 64) for i in range(8)]
ALSO_BAD: tuple[Any, ...] = (
    {name: each for name, each in WHOLE.items() if name != "encoding"},
    {name: each for name, each in WHOLE.items() if name != "encoding"}
    | {"schema": "usufruct-dictionary/3"},
    document([WIDE], [grid("wide", "1")]),
    document([*MANY, SEX], [{"name": each["name"]} for each in (*MANY, SEX)]),
    document([BIG], [grid("big", "1")], ["big", "big"]),
    document([BIG, SEX], [grid("big", "1"), {"name": "sex"}], ["big", "sex=0"], ["big", "big"]),
)
"""The fourth has 514 columns; the fifth and sixth a product that is too large."""


def changed(path: str, value: Any) -> Any:
    """WHOLE with another value at a dotted path; spaces at its end only tell two changes apart."""
    copy = json.loads(json.dumps(WHOLE))
    put(copy, path.strip(), value)
    return copy


def put(place: Any, path: str, value: Any) -> None:
    """Another value at a dotted path of a document."""
    *steps, last = path.split(".")
    for step in steps:
        place = place[int(step) if step.isdigit() else step]
    place[int(last) if last.isdigit() else last] = value


def vectors() -> dict[str, Any]:
    bad = [*(changed(path, value) for path, value in BAD.items()), *ALSO_BAD]
    return {
        "schema": SCHEMA,
        "parts": {
            "transcripts": [_transcript(length) for length in (0, 1, 33, 1000)],
            "generators": _generators(6),
            "bits": [_bits(*each) for each in BITS],
            "columns": [_columns()],
        },
        "encodings": {
            "good": [_good(each) for each in GOOD],
            "bad": [{"document": each, **outcome(partial(_refused, each))} for each in bad],
        },
        "proofs": {
            "given": [
                _proof(which, row)
                for which in PROVEN
                for row in _rows(dictionary.from_json(GOOD[which]))[:4:3]
            ],
        },
    }


BITS = (
    *((0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (4, 3), (5, 4), (9, 8)),
    *((120, 0), (120, 57), (120, 119), (120, 120), (1000, 511), (LIMIT, LIMIT), (LIMIT, 1)),
)
VALUES = (0, 1, -1, 255, LIMIT, -LIMIT, ORDER - 1)


def _scalar(name: str) -> int:
    return int.from_bytes(seeded(name), "big") % (ORDER - 1) + 1


def _scalars(name: str, count: int) -> list[int]:
    return [_scalar(f"{name}.{i}") for i in range(count)]


def _texts(numbers: list[int]) -> list[str]:
    return [str(each) for each in numbers]


def _hexes(scalars: list[int]) -> list[str]:
    return [f"0x{each:064x}" for each in scalars]


def _key(name: str) -> Point:
    return times_base(_scalar(f"{name}.key"))


def _transcript(length: int) -> dict[str, Any]:
    context, data = seeded(f"context.{length}"), seeded(f"data.{length}", length)
    talk = Transcript("usufruct/test/1", context)
    talk.absorb("first", data)
    first = talk.challenge("one")
    talk.absorb("second", data[:1])
    challenges = [first, talk.challenge("two"), talk.challenge("two")]
    said = {"context": hexed(context), "data": hexed(data)}
    return {"protocol": "usufruct/test/1", **said, "challenges": _hexes(challenges)}


def _generators(size: int) -> dict[str, Any]:
    raw = generators.vector(size).to_bytes()
    return {
        "blinding": hexed(generators.blinding().to_bytes()),
        "single": hexed(generators.single().to_bytes()),
        "vector": [hexed(raw[33 * i : 33 * i + 33]) for i in range(size)],
    }


def _bits(largest: int, value: int) -> dict[str, Any]:
    shown = {"largest": str(largest), "value": str(value)}
    return {**shown, "weights": _texts(weights(largest)), "bits": bits_of(value, largest)}


def _columns() -> dict[str, Any]:
    randomness, key = _scalars("columns", len(VALUES)), _key("columns")
    return {
        "values": _texts(list(VALUES)),
        "randomness": _hexes(randomness),
        "key": hexed(key.to_bytes()),
        "columns": hexed(encrypt(VALUES, randomness, key)),
    }


def _encoding(read: Dictionary) -> Encoding:
    if read.encoding is None:
        raise AssertionError("every dictionary here has an encoding")
    return read.encoding


def _rows(read: Dictionary) -> list[list[int | None]]:
    """All present at one end and at the other, nothing, and some of both."""
    ends = [(each.domain[0], each.domain[-1]) for each in read.variables]
    return [
        [upper for _, upper in ends],
        [lower for lower, _ in ends],
        *(_drawn(read, each) for each in range(5)),
        [None for _ in ends],
    ]


def _drawn(read: Dictionary, which: int) -> list[int | None]:
    row: list[int | None] = []
    for each in read.variables:
        drawn = int.from_bytes(seeded(f"row.{which}.{each.name}"), "big")
        is_absent = drawn % 5 == 0 and each.kind is Kind.NUMBER
        row.append(None if is_absent else each.domain[drawn // 5 % len(each.domain)])
    return row


def _good(given: Any) -> dict[str, Any]:
    read = dictionary.load(json.dumps(given).encode())
    encoding = _encoding(read)
    relation = encoding.relation
    return {
        "document": given,
        "bytes": hexed(read.to_bytes()),
        "hash": hexed(read.hash()),
        "columns": [[each.name, list(each.atoms), str(each.largest)] for each in encoding.columns],
        "counts": [relation.size, len(relation.columns), len(relation.products)],
        "digest": hexed(relation.digest),
        "rows": [_row(encoding, each) for each in _rows(read)],
    }


def _refused(given: Any) -> None:
    dictionary.load(json.dumps(given).encode())
    raise AssertionError(f"it is accepted: {given}")


def _row(encoding: Encoding, row: list[int | None]) -> dict[str, Any]:
    vector = encoding.stated(row).vector
    return {"row": row, "vector": _texts(vector), "values": _texts(encoding.values(row))}


def _proof(which: int, row: list[int | None]) -> dict[str, Any]:
    """Columns and proof with nothing left to chance, which the product itself accepts."""
    encoding = _encoding(dictionary.from_json(GOOD[which]))
    relation, vector = encoding.relation, encoding.stated(row).vector
    name = f"proof.{which}.{row}"
    context, key = seeded(name), _key(name)
    randomness = _scalars(f"{name}.r", len(relation.columns))
    entries, drawn = _scalars(f"{name}.a", relation.size), _scalars(f"{name}.drawn", 5)
    columns = encrypt(encoding.values(row), randomness, key)
    statement = validity.Statement(context, key, relation, columns)
    proof = validity._prove(statement, vector, randomness, entries, drawn)
    validity.verify(statement, proof)
    return {
        "good": which,
        "row": row,
        "context": hexed(context),
        "key": hexed(key.to_bytes()),
        "randomness": _hexes(randomness),
        "entries": _hexes(entries),
        "drawn": _hexes(drawn),
        "columns": hexed(columns),
        "proof": hexed(proof),
    }


if __name__ == "__main__":
    FILE.write_text(written(vectors()), encoding="utf-8")
