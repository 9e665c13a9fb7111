"""A relation says what its builder was told: the right vectors satisfy it, and no vector beside them."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import permutations
from itertools import product as every_choice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.homomorphic.curve import ORDER
from ml.homomorphic.relation import (
    ONE,
    Builder,
    Form,
    Product,
    Relation,
    bits_of,
    combined,
    evaluate,
    weights,
)
from tests.support.tallying import scalars

forms = st.dictionaries(st.integers(ONE, 4), scalars, max_size=4)
vectors = st.lists(scalars, min_size=5, max_size=5)


# --- weights and bits


@pytest.mark.parametrize("largest", [*range(40), 63, 64, 65, 100, 127, 128, 500, 1023])
def test_weights_make_exactly_the_numbers_of_the_range(largest: int) -> None:
    parts = weights(largest)
    sums = {0}
    for part in parts:
        sums |= {each + part for each in sums}
    assert sums == set(range(largest + 1))
    assert sum(parts) == largest
    assert len(parts) == largest.bit_length()  # no more than any range needs


@given(st.integers(1, 2**64))
def test_weights_of_a_large_range_leave_no_gap(largest: int) -> None:
    """Sorted, each is at most one more than all before it: so every number up to the sum is made."""
    reached = 0
    for part in sorted(weights(largest)):
        assert 0 < part <= reached + 1
        reached += part
    assert reached == largest


@given(st.integers(0, 2**40).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_the_bits_of_a_number_weigh_that_number(case: tuple[int, int]) -> None:
    largest, value = case
    bits = bits_of(value, largest)
    assert set(bits) <= {0, 1}
    assert sum(w * b for w, b in zip(weights(largest), bits, strict=True)) == value


@pytest.mark.parametrize("largest", range(70))
def test_every_number_of_a_small_range_has_bits(largest: int) -> None:
    for value in range(largest + 1):
        pairs = zip(weights(largest), bits_of(value, largest), strict=True)
        assert sum(w * b for w, b in pairs) == value


@pytest.mark.parametrize(("value", "largest"), [(-1, 5), (6, 5), (1, 0), (2**40, 2**40 - 1)])
def test_a_number_out_of_its_range_has_no_bits(value: int, largest: int) -> None:
    with pytest.raises(ValueError, match="outside its range"):
        bits_of(value, largest)


# --- forms


@given(forms, vectors, scalars)
def test_a_form_is_the_sum_of_its_terms(form: Form, vector: list[int], one: int) -> None:
    whole = [*vector, one]  # position -1 is the last
    assert evaluate(form, vector, one) == sum(c * whole[at] for at, c in form.items()) % ORDER


@given(st.lists(st.tuples(st.integers(-5, 5) | scalars, forms), max_size=4), vectors, scalars)
def test_a_combination_has_the_combined_values_and_nothing_that_cancels(
    parts: list[tuple[int, Form]], vector: list[int], one: int
) -> None:
    whole = combined(*parts)
    assert evaluate(whole, vector, one) == (
        sum(scale * evaluate(form, vector, one) for scale, form in parts) % ORDER
    )
    assert all(coefficient % ORDER for coefficient in whole.values())


def test_what_cancels_is_left_out() -> None:
    assert combined((1, {0: 1, 1: 2}), (-1, {0: 1})) == {1: 2}
    assert combined((1, {0: 1}), (ORDER - 1, {0: 1}), (3, {ONE: 0})) == {}
    assert combined() == {}


# --- builders


def values_of(builder: Builder) -> list[int]:
    return builder.relation().values(builder.vector)


@given(st.integers(0, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
@settings(max_examples=40)
def test_a_number_satisfies_its_relation_and_no_single_changed_entry_does(
    case: tuple[int, int],
) -> None:
    largest, value = case
    builder = Builder()
    builder.encrypt([builder.number(largest, value)])
    relation = builder.relation()
    assert relation.holds(builder.vector)
    assert values_of(builder) == [value]
    for at in range(relation.size):
        for planted in (2, ORDER - 1, builder.vector[at] + 2, ORDER // 2):
            bent = [*builder.vector]
            bent[at] = planted
            assert not relation.holds(bent)


@pytest.mark.parametrize("largest", [0, 1, 2, 5, 6, 11])
def test_exactly_the_numbers_of_the_range_satisfy_a_number(largest: int) -> None:
    """Every vector with entries of -1 to 3, tried: what holds encrypts a number in the range."""
    builder = Builder()
    builder.encrypt([builder.number(largest)])
    relation = builder.relation()
    found = {
        relation.values(vector)[0]
        for vector in every_choice([-1, 0, 1, 2, 3], repeat=relation.size)
        if relation.holds(vector)
    }
    assert found == set(range(largest + 1))


KINDS = ("bit", "number", "product", "equal", "product of sums")


def stated(kinds: list[str], values: list[int]) -> Builder:
    """One of each, about what stands before it."""
    builder = Builder()
    first = builder.bit(values[0] % 2)
    last: Form = first
    for kind, value in zip(kinds, values[1:], strict=False):
        match kind:
            case "bit":
                last = builder.bit(value % 2)
            case "number":
                last = builder.number(17, value % 18)
            case "product":
                last = builder.product(last, combined((1, first), (1, {ONE: 1})))
            case "equal":
                same = builder.entry(evaluate(last, builder.vector, 1))
                builder.require_equal(last, same)
                last = same
            case "product of sums":
                other = combined((3, last), (-2, {ONE: 1}))
                right = evaluate(other, builder.vector, 1) * evaluate(last, builder.vector, 1)
                result = builder.entry(right)
                builder.require_product(other, last, result)
                last = result
    builder.encrypt([first, last])
    return builder


statements = st.tuples(
    st.lists(st.sampled_from(KINDS), max_size=4),
    st.lists(st.integers(0, 1000), min_size=5, max_size=5),
)


@given(statements)
def test_what_is_stated_together_with_its_values_holds(
    drawn: tuple[list[str], list[int]],
) -> None:
    builder = stated(*drawn)
    assert builder.relation().holds(builder.vector)


@given(statements, st.data())
def test_one_changed_entry_breaks_a_statement(
    drawn: tuple[list[str], list[int]], data: st.DataObject
) -> None:
    """By an amount that no bit, number or result may move by."""
    builder = stated(*drawn)
    at = data.draw(st.integers(0, len(builder.vector) - 1))
    bent = [*builder.vector]
    bent[at] += data.draw(st.integers(2, 99))
    assert not builder.relation().holds(bent)


@given(statements)
def test_the_relation_says_nothing_of_the_values(drawn: tuple[list[str], list[int]]) -> None:
    kinds, values = drawn
    relation = stated(kinds, values).relation()
    assert relation == stated(kinds, [0] * 5).relation()
    assert relation.digest == stated(kinds, [0] * 5).relation().digest


def test_a_vector_of_another_length_does_not_hold() -> None:
    builder = stated(["number"], [1, 5, 0, 0, 0])
    for vector in ([], builder.vector[:-1], [*builder.vector, 0]):
        assert not builder.relation().holds(vector)


def test_a_value_out_of_range_is_never_stated() -> None:
    for value in (-1, 18):
        with pytest.raises(ValueError, match="outside its range"):
            Builder().number(17, value)


def test_entries_are_kept_modulo_the_order() -> None:
    builder = Builder()
    builder.encrypt([builder.entry(-3), builder.entry(ORDER + 2)])
    assert builder.vector == [ORDER - 3, 2] == values_of(builder)


# --- digests


def described() -> dict[str, Any]:
    """Every part of one relation, by where it stands."""
    return {
        "size": 4,
        "columns": ({0: 1, 2: 5}, {ONE: 7}),
        "products": (
            Product({0: 1}, {1: 2}, {2: 3}),
            Product({3: 1, ONE: 4}, {}, {0: 9}),
        ),
    }


def every_bend(form: Form) -> list[Form]:
    """The form with one coefficient, one position or one term changed."""
    bent: list[Form] = [] if 3 in form else [{**form, 3: 1}]
    for at, coefficient in form.items():
        rest = {key: value for key, value in form.items() if key != at}
        bent += [rest, {**form, at: coefficient + 1}, {**form, at: -coefficient}]
        bent += [{**rest, other: coefficient} for other in range(ONE, 4) if other not in form]
    return bent


def variants() -> list[Relation]:
    whole = described()
    columns, products = whole["columns"], whole["products"]
    found = [
        Relation(3, columns, products),
        Relation(5, columns, products),
        Relation(4, columns[::-1], products),
        Relation(4, columns, products[::-1]),
        Relation(4, columns[:1], products),
        Relation(4, (*columns, {}), products),
        Relation(4, columns, products[:1]),
        Relation(4, columns, (*products, Product({}, {}, {}))),
        # A column less, and a product more that begins with it: the same forms in the same order.
        Relation(4, columns[:1], (Product(columns[1], products[0].left, products[0].right),)),
    ]
    for i, column in enumerate(columns):
        for bent in every_bend(column):
            found.append(Relation(4, (*columns[:i], bent, *columns[i + 1 :]), products))
    for i, each in enumerate(products):
        sides = [each.left, each.right, each.result]
        orders = [list(order) for order in permutations(sides)][1:]
        bends = [
            [*sides[:k], bent, *sides[k + 1 :]] for k in range(3) for bent in every_bend(sides[k])
        ]
        for three in [*orders, *bends]:
            changed = (*products[:i], Product(*three), *products[i + 1 :])
            found.append(Relation(4, columns, changed))
    return found


def test_a_digest_changes_with_every_coefficient_position_and_order() -> None:
    every = [Relation(**described()), *variants()]
    assert len(every) > 60
    digests = Counter(each.digest for each in every)
    repeated = [each for each in every if digests[each.digest] > 1]
    assert repeated == []


def test_a_digest_does_not_depend_on_the_order_in_which_a_form_was_written() -> None:
    one, other = {ONE: 1, 0: 2, 3: 4}, {3: 4, ONE: 1, 0: 2}
    assert Relation(4, (one,), ()).digest == Relation(4, (other,), ()).digest


def test_a_digest_takes_coefficients_modulo_the_order() -> None:
    assert Relation(1, ({0: -1},), ()).digest == Relation(1, ({0: ORDER - 1},), ()).digest


def test_a_digest_has_the_bytes_that_every_implementation_hashes() -> None:
    def number(value: int) -> bytes:
        return value.to_bytes(4, "big")

    def term(at: int, coefficient: int) -> bytes:
        return number(at + 1) + (coefficient % ORDER).to_bytes(32, "big")

    relation = Relation(2, ({1: -3, ONE: 2},), (Product({0: 1}, {}, {1: 1}),))
    text = b"usufruct/relation/1" + number(2) + number(1) + number(1)
    text += number(2) + term(ONE, 2) + term(1, -3)
    text += number(1) + term(0, 1) + number(0) + number(1) + term(1, 1)
    assert relation.digest == hashlib.sha256(text).digest()
