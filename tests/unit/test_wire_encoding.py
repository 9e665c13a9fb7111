"""What a row's columns are, what a proof shows of them, and which encodings a dictionary may have."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from itertools import product as every_choice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.errors import BadDictionary
from marketplace.wire import encoding as encodings
from marketplace.wire.dictionary import ENCODED, SCHEMA, Dictionary, from_json, load
from marketplace.wire.encoding import (
    LARGEST_COLUMN,
    MOST_COLUMNS,
    MOST_EDGES,
    MOST_FACTORS,
    Encoding,
)
from ml.homomorphic.curve import ORDER
from tests.support.encoded import (
    Document,
    category,
    column_values,
    document,
    documents,
    grid_index,
    names,
    number,
    rows,
)

AGE: Document = {"name": "age", "step": "5", "edges": ["40", "65"]}
GLUCOSE: Document = {"name": "glucose", "step": "0.5", "edges": []}
SMOKER: Document = {"name": "smoker"}


def study(products: Any = ()) -> Document:
    variables = [
        number("age", "0", "100"),
        number("glucose", "2", "30", 1),
        category("smoker", 3),
        category("sex", 2),
    ]
    return document(variables, [copy.deepcopy(AGE), dict(GLUCOSE), dict(SMOKER)], products)


def encoding_of(whole: Document) -> Encoding:
    found = from_json(whole).encoding
    assert found is not None
    return found


# --- what a column is


@given(st.data())
@settings(max_examples=150)
def test_every_column_of_any_row_is_what_the_documents_say(data: st.DataObject) -> None:
    whole = data.draw(documents())
    dictionary = from_json(whole)
    encoding = encoding_of(whole)
    assert [column.name for column in encoding.columns] == names(whole)
    assert encoding.position == {name: at for at, name in enumerate(names(whole))}
    row = data.draw(rows(dictionary))
    values = encoding.values(row)
    assert values == column_values(whole, row)
    pairs = zip(values, encoding.columns, strict=True)
    assert all(0 <= value <= column.largest for value, column in pairs)


@given(st.data())
@settings(max_examples=80)
def test_the_statement_of_a_row_says_nothing_of_the_row(data: st.DataObject) -> None:
    """Its relation is the dictionary's, whoever's record it is; and it holds for what the row makes."""
    whole = data.draw(documents())
    encoding = encoding_of(whole)
    stated = encoding.stated(data.draw(rows(from_json(whole))))
    assert stated.relation() == encoding.relation
    assert stated.relation().digest == encoding.relation.digest
    assert encoding.relation.holds(stated.vector)


@given(st.data())
@settings(max_examples=50)
def test_one_changed_entry_breaks_the_statement_of_a_row(data: st.DataObject) -> None:
    whole = data.draw(documents())
    encoding = encoding_of(whole)
    vector = encoding.stated(data.draw(rows(from_json(whole)))).vector
    at = data.draw(st.integers(0, len(vector) - 1))
    for by in (2, -2, 5, ORDER // 2):
        bent = [*vector]
        bent[at] += by
        assert not encoding.relation.holds(bent)


def grid(lower: str, upper: str, step: str, *edges: str, decimals: int = 0) -> Document:
    entry = {"name": "x", "step": step, "edges": list(edges)}
    return document([number("x", lower, upper, decimals)], [entry])


SMALL = {
    "a number": grid("0", "5", "1"),
    "a number of one step": grid("0", "7", "7"),
    "a number below zero": grid("-3", "3", "2"),
    "intervals": grid("0", "4", "1", "2"),
    "intervals of unlike widths": grid("0", "5", "1", "1", "2"),
    "an interval of the upper bound alone": grid("0", "3", "1", "3"),
    "intervals of one value each": grid("0", "2", "1", "1", "2"),
    "a category": document([category("x", 4)], [{"name": "x"}]),
    "two of them": document(
        [category("x", 2), number("y", "0", "2")],
        [{"name": "y", "step": "1", "edges": []}, {"name": "x"}],
        [("x=1", "y"), ("y", "y")],
    ),
}


@pytest.mark.parametrize("whole", SMALL.values(), ids=SMALL)
def test_exactly_the_columns_of_rows_satisfy_the_statement(whole: Document) -> None:
    """Every choice of bits, tried: what a proof can be made of is some row's, and every row's can."""
    dictionary, encoding = from_json(whole), encoding_of(whole)
    domains = [[None, *variable.domain] for variable in dictionary.variables]
    allowed = {tuple(column_values(whole, row)) for row in every_choice(*domains)}
    relation = encoding.relation
    products = len(encoding.products)
    bits = relation.size - products
    assert bits <= 12
    largest = range(1 + max(column.largest for column in encoding.columns))
    shown = set()
    for choice in every_choice((0, 1), repeat=bits):
        for results in every_choice(largest, repeat=products):
            if relation.holds([*choice, *results]):
                shown.add(tuple(relation.values([*choice, *results])))
    assert shown == allowed


def test_a_row_of_nothing_is_zero_in_every_column() -> None:
    whole = study([("age", "glucose"), ("smoker=1", "age")])
    assert encoding_of(whole).values([None] * 4) == [0] * len(names(whole))


def test_what_is_not_encoded_changes_nothing() -> None:
    encoding = encoding_of(study())
    values = [encoding.values([40, 55, 1, sex]) for sex in (None, 0, 1)]
    assert values[0] == values[1] == values[2]


def test_columns_stand_in_the_order_of_the_encoding_not_of_the_dictionary() -> None:
    whole = study([("glucose?", "age=1")])
    whole["encoding"]["variables"].reverse()
    expected = ["smoker=0", "smoker=1", "smoker=2", "glucose?", "glucose", "age"]
    expected += ["age=0", "age=1", "age=2", "glucose?*age=1"]
    assert [column.name for column in encoding_of(whole).columns] == expected
    # Rows are in the order of the dictionary all the same.
    row = [64, 39, 2, None]  # 65 of the third interval; 1.9 / 0.5 above 2 is 3.8
    assert encoding_of(whole).values(row) == [0, 0, 1, 1, 4, 13, 0, 0, 1, 0]


@pytest.mark.parametrize(
    "row", [(101, 20, 0), (-1, 20, 0), (5, 19, 0), (5, 301, 0), (5, 20, 3), (5, 20, -1)]
)
def test_a_value_outside_its_domain_has_no_columns_and_is_not_told(
    row: tuple[int, int, int],
) -> None:
    with pytest.raises(ValueError, match="outside its domain") as refusal:
        encoding_of(study()).stated([*row, None])
    assert not any(character.isdigit() for character in str(refusal.value))


# --- rounding


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 7, 10])
@pytest.mark.parametrize("lower", [-30, -7, 0, 11])
def test_a_stored_value_goes_to_the_nearest_step_and_halves_go_up(step: int, lower: int) -> None:
    """At every value of the domain, so at every half step, below zero and above."""
    upper = lower + 6 * step
    whole = grid(f"{lower}", f"{upper}", f"{step}")
    encoding = encoding_of(whole)
    (variable,) = encoding.variables
    for stored in range(lower, upper + 1):
        q = variable.quantised(stored)
        apart = (stored - lower) - q * step  # what is lost
        assert -step <= 2 * apart < step
        assert q == grid_index(whole["variables"][0], f"{step}", stored)
        assert encoding.values([stored]) == [1, q]
    assert (variable.quantised(lower), variable.quantised(upper)) == (0, 6)
    if step % 2 == 0:
        for q in range(6):
            assert variable.quantised(lower + q * step + step // 2) == q + 1
            assert variable.quantised(lower + q * step + step // 2 - 1) == q


def test_steps_are_in_the_variables_own_decimals() -> None:
    encoding = encoding_of(grid("2", "30", "0.25", decimals=2))
    assert encoding.variables[0].step == 25
    assert encoding.values([212]) == [1, 0]  # 0.12 above 2
    assert encoding.values([213]) == [1, 1]  # 0.13
    assert encoding.values([3000]) == [1, 112]


# --- intervals


@pytest.mark.parametrize(
    ("edges", "starts", "widths"),
    [
        ([], (), [6]),
        (["10"], (0, 1), [1, 5]),
        (["50"], (0, 5), [5, 1]),
        (["20", "30"], (0, 2, 3), [2, 1, 3]),
        (["10", "20", "30", "40", "50"], (0, 1, 2, 3, 4, 5), [1] * 6),
    ],
)
def test_intervals_are_closed_below_and_the_last_one_above_too(
    edges: list[str], starts: tuple[int, ...], widths: list[int]
) -> None:
    (variable,) = encoding_of(grid("0", "50", "10", *edges)).variables
    assert variable.starts == starts
    if edges:
        assert variable.widths == widths
        held = Counter(variable.interval(q) for q in range(6))
        assert [held[i] for i in range(len(widths))] == widths
        assert [variable.interval(start) for start in starts] == list(range(len(starts)))
        ends = [variable.interval(start - 1) for start in starts[1:]]
        assert ends == list(range(len(starts) - 1))


def test_a_value_counts_in_the_interval_of_what_it_is_rounded_to() -> None:
    """38 is 40 in steps of 5, and so of those from 40: q and its interval never disagree."""
    encoding = encoding_of(study())
    at = [encoding.position[f"age={i}"] for i in range(3)]

    def interval(age: int) -> list[int]:
        values = encoding.values([age, None, None, None])
        return [values[each] for each in at]

    assert interval(37) == [1, 0, 0]
    assert interval(38) == interval(40) == interval(62) == [0, 1, 0]
    assert interval(63) == interval(65) == interval(100) == [0, 0, 1]
    assert interval(0) == [1, 0, 0]


# --- refusals: each names its field, and what to do

Change = Callable[[Document], Any]
AT = "encoding.variables[0]"
P0 = "encoding.products[0]"


def with_age(**changes: Any) -> Change:
    def change(encoding: Document) -> None:
        encoding["variables"][0] |= changes

    return change


def with_products(*pairs: Any) -> Change:
    def change(encoding: Document) -> None:
        encoding["products"] = list(pairs)

    return change


def with_variables(listed: Any) -> Change:
    def change(encoding: Document) -> None:
        encoding["variables"] = listed

    return change


NEXT = "is not the next on the grid"
NO_STEP = "does not divide the range"
NOT_DECIMAL = "is not a decimal in text"
KEYS = "has missing or unknown keys"
IDLE = "says nothing new"
NO_PAIR = "is not a pair of names"
UNKNOWN = "names no column before it"
REFUSED: dict[str, tuple[Change, str, str, str]] = {
    "no products": (lambda e: e.pop("products"), "encoding", KEYS, "products, variables"),
    "no variables": (lambda e: e.pop("variables"), "encoding", KEYS, "products, variables"),
    "another key": (lambda e: e.update(more=1), "encoding", KEYS, "products, variables"),
    "variables not a list": (with_variables({}), "encoding.variables", "is not a list", "List one"),
    "variables none": (with_variables(None), "encoding.variables", "is not a list", "List one"),
    "nothing encoded": (with_variables([]), "encoding.variables", "is not a list", "List one"),
    "a name alone": (with_variables(["age"]), AT, "is not an object", "Describe"),
    "a variable without a name": (with_variables([{}]), f"{AT}.name", "is no variable", "the dict"),
    "a name of no variable": (with_age(name="bmi"), f"{AT}.name", "is no variable", "the dict"),
    "a name that is a number": (with_age(name=1), f"{AT}.name", "is no variable", "the dict"),
    "a name that is a list": (with_age(name=[]), f"{AT}.name", "is no variable", "the dict"),
    "a name that is an object": (with_age(name={}), f"{AT}.name", "is no variable", "the dict"),
    "a name that is nothing": (with_age(name=None), f"{AT}.name", "is no variable", "the dict"),
    "a variable twice": (
        lambda e: e["variables"].append(dict(SMOKER)),
        "encoding.variables[3].name",
        "is repeated",
        "once",
    ),
    "a number without step": (lambda e: e["variables"][0].pop("step"), AT, KEYS, "edges, name"),
    "a number without edges": (lambda e: e["variables"][0].pop("edges"), AT, KEYS, "edges, name"),
    "a number with more": (with_age(unit="a"), AT, KEYS, "edges, name"),
    "a category with a step": (
        lambda e: e["variables"][2].update(step="1"),
        "encoding.variables[2]",
        KEYS,
        "exactly name",
    ),
    "a category with edges": (
        lambda e: e["variables"][2].update(edges=[]),
        "encoding.variables[2]",
        KEYS,
        "exactly name",
    ),
    "a step that is a number": (with_age(step=5), f"{AT}.step", NOT_DECIMAL, "Write it"),
    "a step that is nothing": (with_age(step=None), f"{AT}.step", NOT_DECIMAL, "Write it"),
    "a step with an exponent": (with_age(step="5e0"), f"{AT}.step", NOT_DECIMAL, "Write it"),
    "a step with a plus": (with_age(step="+5"), f"{AT}.step", NOT_DECIMAL, "Write it"),
    "a step of more decimals": (with_age(step="2.5"), f"{AT}.step", "more decimals", "Round it"),
    "no step": (with_age(step="0"), f"{AT}.step", NO_STEP, "upper - lower"),
    "a step down": (with_age(step="-5"), f"{AT}.step", NO_STEP, "upper - lower"),
    "a step that does not divide": (with_age(step="3"), f"{AT}.step", NO_STEP, "upper - lower"),
    "a step beyond the range": (with_age(step="200"), f"{AT}.step", NO_STEP, "upper - lower"),
    "edges that are text": (with_age(edges="40"), f"{AT}.edges", "right length", "at most 63"),
    "edges that are nothing": (with_age(edges=None), f"{AT}.edges", "right length", "at most 63"),
    "an edge that is a number": (with_age(edges=[40]), f"{AT}.edges[0]", NOT_DECIMAL, "Write it"),
    "an edge between steps": (with_age(edges=["40", "41"]), f"{AT}.edges[1]", NEXT, "multiple"),
    "the lower bound": (with_age(edges=["0"]), f"{AT}.edges[0]", NEXT, "multiple"),
    "an edge below the range": (with_age(edges=["-5"]), f"{AT}.edges[0]", NEXT, "multiple"),
    "an edge above the range": (with_age(edges=["40", "105"]), f"{AT}.edges[1]", NEXT, "multiple"),
    "edges in another order": (with_age(edges=["65", "40"]), f"{AT}.edges[1]", NEXT, "multiple"),
    "an edge twice": (with_age(edges=["40", "40"]), f"{AT}.edges[1]", NEXT, "multiple"),
    "products that are none": (
        lambda e: e.update(products=None),
        "encoding.products",
        "right length",
        "at most 512",
    ),
    "too many products": (
        with_products(*([["age", "age"]] * (MOST_COLUMNS + 1))),
        "encoding.products",
        "right length",
        "at most 512",
    ),
    "a product of one": (with_products(["age"]), P0, NO_PAIR, "Name two"),
    "a product of three": (with_products(["age"] * 3), P0, NO_PAIR, "Name two"),
    "a product as text": (with_products("ab"), P0, NO_PAIR, "Name two"),
    "a product with a number": (with_products(["age", 1]), P0, NO_PAIR, "Name two"),
    "a product with a list": (with_products(["age", ["age"]]), P0, NO_PAIR, "Name two"),
    "a product of what is not": (with_products(["age", "bmi"]), P0, UNKNOWN, "Use names"),
    "a product of what is not encoded": (with_products(["sex=0", "age"]), P0, UNKNOWN, "Use names"),
    "an indicator that is not": (with_products(["smoker=3", "age"]), P0, UNKNOWN, "Use names"),
    "an indicator of a number without edges": (
        with_products(["age", "glucose=0"]),
        P0,
        UNKNOWN,
        "Use names",
    ),
    "a category's value": (with_products(["smoker", "age"]), P0, UNKNOWN, "Use names"),
    "a product of itself": (with_products(["age*age", "age"]), P0, UNKNOWN, "Use names"),
    "a later product": (
        with_products(["age*age", "age"], ["age", "age"]),
        P0,
        UNKNOWN,
        "Use names",
    ),
    "ten factors": (
        with_products(
            ["age", "age"],
            ["age*age", "age*age"],
            ["age*age*age*age", "age*age*age*age"],
            ["age*age*age*age*age*age*age*age", "age*age"],
        ),
        "encoding.products[3]",
        "too many factors",
        "at most 9",
    ),
    "an indicator squared": (with_products(["smoker=1", "smoker=1"]), P0, IDLE, "Leave it out"),
    "two of one category": (with_products(["smoker=1", "smoker=2"]), P0, IDLE, "Leave it out"),
    "two intervals of one number": (with_products(["age=0", "age=2"]), P0, IDLE, "Leave it out"),
    "presence squared": (with_products(["glucose?", "glucose?"]), P0, IDLE, "Leave it out"),
    "presence and its value": (with_products(["glucose", "glucose?"]), P0, IDLE, "Leave it out"),
    "presence and its indicator": (
        with_products(["smoker?", "smoker=1"]),
        P0,
        IDLE,
        "Leave it out",
    ),
    "presence and its intervals' value": (with_products(["age?", "age"]), P0, IDLE, "Leave it out"),
    "presence of a value in a product": (
        with_products(["age", "glucose"], ["age*glucose", "age?"]),
        "encoding.products[1]",
        IDLE,
        "Leave it out",
    ),
    "two of one category, with a value between": (
        with_products(["smoker=1", "age"], ["smoker=1*age", "smoker=2"]),
        "encoding.products[1]",
        IDLE,
        "Leave it out",
    ),
    "a product twice": (
        with_products(["age", "glucose"], ["age", "glucose"]),
        "encoding.products[1]",
        IDLE,
        "Leave it out",
    ),
    "a product turned round": (
        with_products(["age", "glucose"], ["glucose", "age"]),
        "encoding.products[1]",
        IDLE,
        "Leave it out",
    ),
    "a product grouped otherwise": (
        with_products(
            ["age", "age"], ["age", "glucose"], ["age*age", "glucose"], ["age", "age*glucose"]
        ),
        "encoding.products[3]",
        IDLE,
        "Leave it out",
    ),
}


def refused(whole: Document) -> BadDictionary:
    with pytest.raises(BadDictionary) as refusal:
        from_json(whole)
    return refusal.value


@pytest.mark.parametrize("name", REFUSED)
def test_every_refusal_names_its_field_and_the_remedy(name: str) -> None:
    change, field, problem, remedy = REFUSED[name]
    whole = study()
    from_json(whole)
    change(whole["encoding"])
    refusal = refused(whole)
    assert refusal.field == field
    assert refusal.message.startswith(field)
    assert problem in refusal.message
    assert remedy in refusal.remedy


@pytest.mark.parametrize("encoding", [None, [], "x", 5])
def test_an_encoding_is_an_object(encoding: object) -> None:
    refusal = refused(study() | {"encoding": encoding})
    assert (refusal.field, "missing or unknown" in refusal.message) == ("encoding", True)


def test_a_dictionary_has_an_encoding_if_its_schema_says_so() -> None:
    plain = study() | {"schema": SCHEMA}
    assert refused(plain).field == "dictionary"
    del plain["encoding"]
    assert from_json(plain).encoding is None
    assert refused(plain | {"schema": ENCODED}).field == "dictionary"
    assert refused(plain | {"schema": "usufruct-dictionary/3"}).field == "schema"


# --- the largest


def test_a_grid_is_as_fine_as_a_column_may_be_large_and_no_finer() -> None:
    assert encoding_of(grid("0", f"{LARGEST_COLUMN}", "1")).columns[1].largest == LARGEST_COLUMN
    refusal = refused(grid("0", f"{LARGEST_COLUMN + 1}", "1"))
    assert (refusal.field, "too fine" in refusal.message) == (f"{AT}.step", True)
    assert "coarser" in refusal.remedy


def test_a_product_is_as_large_as_a_column_may_be_and_no_larger() -> None:
    whole = grid("0", "65536", "1")
    whole["encoding"]["products"] = [["x", "x"]]
    assert encoding_of(whole).columns[2].largest == LARGEST_COLUMN
    more = grid("0", "65537", "1")
    more["encoding"]["products"] = [["x", "x"]]
    refusal = refused(more)
    assert (refusal.field, "too large" in refusal.message) == (P0, True)
    assert "coarser" in refusal.remedy


def test_there_are_as_many_edges_as_may_be_and_no_more() -> None:
    edges = [f"{i}" for i in range(1, MOST_EDGES + 2)]
    assert len(encoding_of(grid("0", "100", "1", *edges[:-1])).columns) == 1 + MOST_EDGES + 1
    assert refused(grid("0", "100", "1", *edges)).field == f"{AT}.edges"


def test_there_are_as_many_columns_as_may_be_and_no_more() -> None:
    variables = [category(name, 64) for name in "abcdefgh"]
    whole = document(variables, [{"name": name} for name in "abcdefgh"])
    assert len(encoding_of(whole).columns) == MOST_COLUMNS == 512
    whole["encoding"]["products"] = [["a=0", "b=0"]]
    refusal = refused(whole)
    assert (refusal.field, "too many columns" in refusal.message) == ("encoding", True)
    assert "512" in refusal.remedy


def test_a_product_has_factors_of_any_kind() -> None:
    whole = study(
        [
            ("age", "age"),
            ("age*age", "age*age"),
            ("smoker=1", "glucose"),
            ("smoker=1*glucose", "age=2"),
            ("smoker?", "glucose?"),
            ("age=0", "age"),
        ]
    )
    row = [80, 100, 1, None]
    q, g = 16, 16
    expected = [q * q, q**4, g, g, 1, 0]
    assert encoding_of(whole).values(row)[-6:] == expected
    assert column_values(whole, row)[-6:] == expected
    largest = [column.largest for column in encoding_of(whole).columns[-6:]]
    assert largest == [400, 160_000, 56, 56, 1, 20]


def test_a_product_has_up_to_nine_factors() -> None:
    """So many have complete cases of eight: the square of one, beside the presence of the others."""
    letters = "abcdefghi"
    powers = [["a", "a"], ["a*a", "a*a"], ["a*a*a*a", "a*a*a*a"], ["a*a*a*a*a*a*a*a", "a"]]
    others = [["*".join(f"{each}?" for each in letters[:i]), f"{letters[i]}?"] for i in range(1, 9)]
    whole = document(
        [number(each, "0", "3") for each in letters],
        [{"name": each, "step": "1", "edges": []} for each in letters],
        [*powers, *others],
    )
    for row in ([2] * 9, [3, *[0] * 8], [3, *[1] * 7, None]):
        values = encoding_of(whole).values(row)
        assert values == column_values(whole, row)
        assert values[-9] == (row[0] or 0) ** 9
        assert values[-1] == int(None not in row)
    assert [encoding_of(whole).columns[-9].largest, MOST_FACTORS] == [3**9, 9]


@given(documents())
@settings(max_examples=60)
def test_a_dictionary_with_an_encoding_round_trips_and_its_hash_covers_it(whole: Document) -> None:
    dictionary = from_json(whole)
    again = load(dictionary.to_bytes())
    assert again == dictionary
    assert (again.to_bytes(), again.hash()) == (dictionary.to_bytes(), dictionary.hash())
    without = Dictionary(dictionary.name, dictionary.version, dictionary.variables)
    assert without.hash() != dictionary.hash()
    assert encodings.read(whole["encoding"], dictionary.variables) == dictionary.encoding
