"""A true record's proof holds; no lie's does; and a proof says nothing beside that it is true."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.homomorphic import generators, validity
from ml.homomorphic.curve import (
    AT_INFINITY,
    INFINITY,
    ORDER,
    POINT_BYTES,
    Point,
    Points,
    random_scalar,
    sum_of_products,
    times_base,
    total,
)
from ml.homomorphic.elgamal import COLUMN_BYTES, draw_randomness, encrypt
from ml.homomorphic.relation import ONE, Builder, Form, Product, Relation, combined, evaluate
from ml.homomorphic.validity import (
    ProofInvalid,
    Statement,
    _prove,
    faults,
    proof_bytes,
    prove,
    verify,
    verify_batch,
)
from tests.support.forging import forged
from tests.support.tallying import CONTEXT, PUBLIC, SECRET, Known, flip, known
from tests.vectors import generate_validity

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "validity.json").read_text("utf-8"))
POINTS = 6
SCALARS = 3


def record(chosen: int | None = 1, value: int = 3, *, weigh: int = 1) -> Builder:
    """One of three indicators or none, a number in 0..5, their product, and what is linear in them."""
    builder = Builder()
    each = [builder.bit(int(i == chosen)) for i in range(3)]
    present = combined(*((1, form) for form in each))
    builder.require_bit(present)
    number = builder.number(5, value)
    product = builder.product(each[1], number)
    builder.encrypt([*each, number, product, combined((weigh, number), (-7, {ONE: 1}))])
    return builder


INDICATORS, BITS, PRODUCT = (0, 1, 2), (3, 4, 5), 6
"""Entries of the vector of `record`."""
VALUE_COLUMN, PRODUCT_COLUMN = 3, 4


@pytest.fixture(scope="module")
def honest() -> Known:
    return known(record())


@pytest.fixture(scope="module")
def proof(honest: Known) -> bytes:
    return prove(honest.statement, honest.vector, honest.randomness)


def refused(statement: Statement, raw: bytes, problem: str = "proof 0: ") -> None:
    with pytest.raises(ProofInvalid, match=problem) as refusal:
        verify(statement, raw)
    assert refusal.value.position == 0
    assert refusal.value.problem in str(refusal.value)


# --- true statements


FORMS = st.dictionaries(st.integers(ONE, 3), st.integers(-9, 9) | st.just(ORDER // 2), max_size=3)


@st.composite
def builders(draw: st.DrawFn) -> Builder:
    """Random relations: entries, bits, numbers and products of random forms of what is there."""
    builder = Builder()
    forms: list[Form] = [{ONE: draw(st.integers(-3, 3))}]
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["entry", "bit", "number", "product", "equal"]))
        left, right = draw(st.sampled_from(forms)), draw(st.sampled_from(forms))
        match kind:
            case "entry":
                forms.append(builder.entry(draw(st.integers(0, ORDER - 1))))
            case "bit":
                forms.append(builder.bit(draw(st.integers(0, 1))))
            case "number":
                largest = draw(st.integers(0, 9))
                forms.append(builder.number(largest, draw(st.integers(0, largest))))
            case "product":
                forms.append(builder.product(left, combined((2, right), (1, {ONE: 1}))))
            case "equal":
                builder.require_equal(
                    combined((1, left), (1, right)), combined((1, right), (1, left))
                )
    builder.encrypt(draw(st.lists(st.sampled_from(forms), max_size=4)))
    return builder


@given(builders(), st.binary(min_size=32, max_size=32))
@settings(max_examples=30)
def test_what_is_true_is_proved(builder: Builder, context: bytes) -> None:
    true = known(builder, context)
    raw = prove(true.statement, true.vector, true.randomness)
    assert len(raw) == proof_bytes(true.statement.relation)
    verify(true.statement, raw)


@pytest.mark.parametrize("chosen", [None, 0, 1, 2])
@pytest.mark.parametrize("value", [0, 5])
def test_every_kind_of_record_is_proved(chosen: int | None, value: int) -> None:
    true = known(record(chosen, value))
    verify(true.statement, prove(true.statement, true.vector, true.randomness))


def test_a_relation_without_entries_or_columns_is_proved() -> None:
    constant = Builder()
    constant.encrypt([{ONE: 5}, {}])
    for builder in (Builder(), constant):
        true = known(builder)
        verify(true.statement, prove(true.statement, [], true.randomness))


def test_a_vector_may_be_given_below_zero_or_beyond_the_order(honest: Known) -> None:
    """Entries are taken modulo the order, wherever they come from."""
    moved = [entry - ORDER if at % 2 else entry + ORDER for at, entry in enumerate(honest.vector)]
    verify(honest.statement, prove(honest.statement, moved, honest.randomness))


def test_a_falsehood_is_not_proved(honest: Known) -> None:
    bent = [2, *honest.vector[1:]]
    with pytest.raises(ValueError, match="does not satisfy"):
        prove(honest.statement, bent, honest.randomness)
    with pytest.raises(ValueError, match="does not satisfy"):
        prove(honest.statement, honest.vector[:-1], honest.randomness)
    for other in (honest.randomness[:-1], [*honest.randomness, 5]):
        with pytest.raises(ValueError, match="one random scalar"):
            prove(honest.statement, honest.vector, other)


# --- the published bytes


def stated(document: dict[str, object]) -> Statement:
    def form(terms: list[list[object]]) -> Form:
        return {int(str(at)): int(str(c), 16) for at, c in terms}

    said = document["relation"]
    assert isinstance(said, dict)
    products = tuple(Product(*map(form, three)) for three in said["products"])
    relation = Relation(said["size"], tuple(map(form, said["columns"])), products)
    assert relation.digest.hex() == said["digest"]
    public = Point.from_bytes(bytes.fromhex(str(document["public_key"])))
    context = bytes.fromhex(str(document["context"]))
    return Statement(context, public, relation, bytes.fromhex(str(document["columns"])))


def integers(name: str) -> list[int]:
    return [int(each, 16) for each in VECTOR[name]]


def test_the_vector_is_what_plain_arithmetic_says() -> None:
    assert generate_validity.vector() == VECTOR


def test_given_its_random_numbers_a_proof_has_the_published_bytes() -> None:
    statement, randomness = stated(VECTOR), integers("randomness")
    values = statement.relation.values(VECTOR["vector"])
    assert encrypt(values, randomness, statement.public_key) == statement.columns
    drawn = integers("blinds"), integers("drawn")
    assert _prove(statement, VECTOR["vector"], randomness, *drawn).hex() == VECTOR["proof"]


def test_the_published_proof_holds_under_the_published_challenges() -> None:
    statement, raw = stated(VECTOR), bytes.fromhex(VECTOR["proof"])
    verify(statement, raw)
    read = validity._read(0, statement, raw)
    assert (read.delta, read.x) == tuple(int(VECTOR["challenges"][n], 16) for n in ("delta", "x"))


def test_a_builder_states_the_published_relation() -> None:
    builder = Builder()
    number, bit = builder.number(5, 3), builder.bit(1)
    product = builder.product(number, bit)
    builder.encrypt([number, bit, product, combined((-3, product), (-7, {ONE: 1}))])
    statement = stated(VECTOR)
    assert builder.relation().digest == statement.relation.digest
    # 3 is 1 + 2, whichever of the twos: the vector is the other one's choice.
    assert statement.relation.values(builder.vector) == statement.relation.values(VECTOR["vector"])


# --- lies


@dataclass(frozen=True)
class Lie:
    """Changes of an honest record's vector, or of what its columns encrypt."""

    entries: dict[int, int]
    columns: dict[int, int]
    problem: str


LIES = {
    "a column that encrypts one more": Lie({}, {VALUE_COLUMN: 1}, "column does not encrypt"),
    "a column that encrypts one less": Lie({}, {0: -1}, "column does not encrypt"),
    "a column with a constant of its own": Lie({}, {5: 7}, "column does not encrypt"),
    "the last column": Lie({}, {5: 1}, "column does not encrypt"),
    "two columns whose lies cancel": Lie({}, {0: 1, 1: -1}, "column does not encrypt"),
    "all columns moved alike": Lie({}, dict.fromkeys(range(6), 1), "column does not encrypt"),
    "a bit of 2": Lie({BITS[0]: 2}, {}, "product does not hold"),
    "a bit of -1": Lie({BITS[1]: -1}, {}, "product does not hold"),
    "a number beyond its range": Lie({BITS[0]: 4}, {}, "product does not hold"),
    "a number below its range": Lie({BITS[0]: -1, BITS[1]: 0, BITS[2]: 0}, {}, "product"),
    "a half": Lie({BITS[0]: pow(2, -1, ORDER)}, {}, "product does not hold"),
    "two indicators at once": Lie({INDICATORS[0]: 1}, {}, "product does not hold"),
    "all indicators at once": Lie({0: 1, 1: 1, 2: 1}, {}, "product does not hold"),
    "indicators that add up to one": Lie({0: 2, 1: 1, 2: -2}, {}, "product does not hold"),
    "a product one too large": Lie({PRODUCT: 4}, {}, "product does not hold"),
    "a product left out": Lie({PRODUCT: 0}, {}, "product does not hold"),
}


def lied(lie: Lie) -> Known:
    relation, vector = record().relation(), list(record().vector)
    for at, entry in lie.entries.items():
        vector[at] = entry % ORDER
    values = relation.values(vector)
    for at, by in lie.columns.items():
        values[at] += by
    randomness = draw_randomness(len(values))
    columns = encrypt(values, randomness, PUBLIC)
    return Known(Statement(CONTEXT, PUBLIC, relation, columns), vector, randomness)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_every_kind_of_lie_is_caught(lie: Lie) -> None:
    false = lied(lie)
    refused(false.statement, forged(false.statement, false.vector, false.randomness), lie.problem)


@given(st.data())
@settings(max_examples=12)
def test_a_random_lie_in_a_random_relation_is_caught(data: st.DataObject) -> None:
    builder = data.draw(builders().filter(lambda each: bool(each.relation().columns)))
    true = known(builder)
    column = data.draw(st.integers(0, len(true.randomness) - 1))
    values = true.statement.relation.values(builder.vector)
    values[column] += data.draw(st.integers(1, ORDER - 1))
    statement = replace(true.statement, columns=encrypt(values, true.randomness, PUBLIC))
    raw = forged(statement, true.vector, true.randomness)
    refused(statement, raw, "column does not encrypt")


def test_lies_in_two_products_do_not_cancel() -> None:
    """left right - result is 6 in one and -6 in the other: the weights of products must not be alike."""
    builder = Builder()
    a, b = builder.entry(3), builder.entry(2)
    c, d = builder.entry(0), builder.entry(12)
    relation = Relation(4, (a, b, c, d), (Product(a, b, c), Product(a, b, d)))
    randomness = draw_randomness(4)
    columns = encrypt(builder.vector, randomness, PUBLIC)
    false = Statement(CONTEXT, PUBLIC, relation, columns)
    refused(false, forged(false, builder.vector, randomness), "product does not hold")


def test_randomness_that_is_not_that_of_the_columns_proves_nothing(honest: Known) -> None:
    other = [honest.randomness[0] + 1, *honest.randomness[1:]]
    raw = forged(honest.statement, honest.vector, other)
    refused(honest.statement, raw, "randomness is not known")


def test_randomness_whose_errors_cancel_proves_nothing(honest: Known) -> None:
    a, b, *rest = honest.randomness
    raw = forged(honest.statement, honest.vector, [a + 1, b - 1, *rest])
    refused(honest.statement, raw, "randomness is not known")


@pytest.mark.parametrize("at", [0, 5])
def test_halves_of_a_column_with_unlike_randomness_are_refused(honest: Known, at: int) -> None:
    """(r + 1) G beside r Y + v G: it would be opened as v G - Y, which nobody can take a logarithm of."""
    raw, start = honest.statement.columns, at * COLUMN_BYTES
    key = Point.from_bytes(raw[start : start + POINT_BYTES]) + times_base(1)
    columns = raw[:start] + key.to_bytes() + raw[start + POINT_BYTES :]
    statement = replace(honest.statement, columns=columns)
    proof = forged(statement, honest.vector, honest.randomness)
    refused(statement, proof, "randomness is not known")


def column(raw: bytes, at: int) -> bytes:
    return raw[at * COLUMN_BYTES : (at + 1) * COLUMN_BYTES]


def test_swapped_columns_are_refused(honest: Known, proof: bytes) -> None:
    raw = honest.statement.columns
    swapped = column(raw, 1) + column(raw, 0) + raw[2 * COLUMN_BYTES :]
    refused(replace(honest.statement, columns=swapped), proof)


def test_a_column_of_swapped_halves_is_refused(honest: Known, proof: bytes) -> None:
    raw = honest.statement.columns
    swapped = raw[POINT_BYTES:COLUMN_BYTES] + raw[:POINT_BYTES] + raw[COLUMN_BYTES:]
    refused(replace(honest.statement, columns=swapped), proof)


def test_columns_swapped_before_their_proof_are_refused(honest: Known) -> None:
    """Of equal values, so that only the randomness tells them apart; and of others."""
    raw = honest.statement.columns
    swapped = column(raw, 2) + raw[COLUMN_BYTES : 2 * COLUMN_BYTES] + column(raw, 0)
    statement = replace(honest.statement, columns=swapped + raw[3 * COLUMN_BYTES :])
    refused(statement, forged(statement, honest.vector, honest.randomness), "randomness")
    first, second, *rest = honest.randomness
    statement = replace(
        honest.statement, columns=column(raw, 1) + column(raw, 0) + raw[2 * COLUMN_BYTES :]
    )
    raw = forged(statement, honest.vector, [second, first, *rest])
    refused(statement, raw, "column does not encrypt")


@pytest.mark.parametrize(
    "context", [b"patient 8 in data set 3".ljust(32, b"\0"), bytes(32), b"", CONTEXT + b"\0"]
)
def test_columns_replayed_for_another_patient_or_data_set_are_refused(
    honest: Known, proof: bytes, context: bytes
) -> None:
    refused(replace(honest.statement, context=context), proof)


@pytest.mark.parametrize("public", [times_base(SECRET + 1), -PUBLIC, times_base(1)])
def test_a_proof_under_another_key_is_refused(honest: Known, proof: bytes, public: Point) -> None:
    refused(replace(honest.statement, public_key=public), proof)


def other_relations() -> dict[str, Relation]:
    """As large as the true one, so that only what they say differs. The vector satisfies all of them."""
    relation = record().relation()
    shuffled = (*relation.products[1:], relation.products[0])
    return {
        "another weight": record(weigh=2).relation(),
        "columns in another order": replace(relation, columns=relation.columns[::-1]),
        "products in another order": replace(relation, products=shuffled),
        "a product less": replace(relation, products=relation.products[:-1]),
        "a product more": replace(relation, products=(*relation.products, relation.products[0])),
        "another constant": replace(
            relation, columns=(*relation.columns[:-1], {**relation.columns[-1], ONE: -6})
        ),
    }


@pytest.mark.parametrize("name", other_relations())
def test_a_proof_of_another_relation_is_refused(honest: Known, proof: bytes, name: str) -> None:
    relation = other_relations()[name]
    assert relation.size == honest.statement.relation.size
    refused(replace(honest.statement, relation=relation), proof)


def test_a_proof_from_another_record_is_refused(honest: Known, proof: bytes) -> None:
    """Also from one of the same values: a proof is of its columns."""
    refused(known(record()).statement, proof)
    refused(known(record(2, 5)).statement, proof)


def test_a_column_taken_from_another_record_is_refused(honest: Known, proof: bytes) -> None:
    other = known(record()).statement.columns
    for at in range(6):
        start, end = at * COLUMN_BYTES, (at + 1) * COLUMN_BYTES
        raw = honest.statement.columns
        mixed = raw[:start] + other[start:end] + raw[end:]
        refused(replace(honest.statement, columns=mixed), proof)


def test_a_column_rerandomised_or_moved_by_a_known_amount_is_refused(
    honest: Known, proof: bytes
) -> None:
    """What ElGamal allows anybody to do, a proof does not."""
    parts = Points.parse(honest.statement.columns)
    key, value = parts.point(6), parts.point(7)
    for new in (
        (key + times_base(5), value + PUBLIC * 5),
        (key, value + times_base(1)),
        (key * 2, value * 2),
        (-key, -value),
    ):
        raw = honest.statement.columns
        moved = b"".join(point.to_bytes() for point in new)
        mixed = raw[: 3 * COLUMN_BYTES] + moved + raw[4 * COLUMN_BYTES :]
        refused(replace(honest.statement, columns=mixed), proof)


# --- bent bytes


@pytest.fixture(scope="module")
def smallest() -> tuple[Statement, bytes]:
    builder = Builder()
    builder.encrypt([builder.bit(1)])
    true = known(builder)
    return true.statement, prove(true.statement, true.vector, true.randomness)


@pytest.fixture
def unexplained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saying which equation fails takes longer than finding that one does."""
    monkeypatch.setattr(validity._Checked, "fault", lambda self: "false")


def test_every_flipped_byte_of_a_proof_is_refused(
    smallest: tuple[Statement, bytes], unexplained: None
) -> None:
    statement, raw = smallest
    for byte in range(len(raw)):
        refused(statement, flip(raw, byte, secrets.randbelow(8)))


def test_every_flipped_byte_of_the_columns_is_refused(
    smallest: tuple[Statement, bytes], unexplained: None
) -> None:
    statement, raw = smallest
    for byte in range(len(statement.columns)):
        bent = flip(statement.columns, byte, secrets.randbelow(8))
        refused(replace(statement, columns=bent), raw)


@given(st.data())
@settings(max_examples=25)
def test_any_flipped_bit_of_a_larger_proof_is_refused(data: st.DataObject) -> None:
    statement, raw = stated(VECTOR), bytes.fromhex(VECTOR["proof"])
    byte, bit = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(0, 7))
    refused(statement, flip(raw, byte, bit))


@pytest.mark.parametrize("at", range(POINTS))
def test_the_negative_of_any_point_is_refused(honest: Known, proof: bytes, at: int) -> None:
    """The first byte alone, which says which of two points it is."""
    refused(honest.statement, flip(proof, at * POINT_BYTES))


def test_points_of_a_proof_in_another_order_are_refused(honest: Known, proof: bytes) -> None:
    for at in range(POINTS - 1):
        start, middle, end = (POINT_BYTES * (at + by) for by in range(3))
        swapped = proof[:start] + proof[middle:end] + proof[start:middle] + proof[end:]
        refused(honest.statement, swapped)


def test_a_proof_of_another_length_is_refused(honest: Known, proof: bytes) -> None:
    for raw in (b"", proof[:-1], proof[:-32], proof[1:], proof + b"\0", proof + bytes(32)):
        refused(honest.statement, raw, "wrong length")


def test_columns_of_another_number_are_refused(honest: Known, proof: bytes) -> None:
    raw = honest.statement.columns
    for columns in (b"", raw[:-1], raw[:-COLUMN_BYTES], raw + raw[:COLUMN_BYTES], raw + b"\0"):
        refused(replace(honest.statement, columns=columns), proof, "another number of columns")


@pytest.mark.parametrize("bad", [AT_INFINITY, b"\x02" + (5).to_bytes(32, "big"), b"\x07" * 33])
def test_what_is_no_point_is_refused(honest: Known, proof: bytes, bad: bytes) -> None:
    """The point at infinity above all: an upload of it would encrypt its value for all to see."""
    raw = honest.statement.columns
    for at in range(len(raw) // POINT_BYTES):
        bent = raw[: at * POINT_BYTES] + bad + raw[(at + 1) * POINT_BYTES :]
        refused(replace(honest.statement, columns=bent), proof, f"entry {at} is not a point")
    for at in range(POINTS):
        bent = proof[: at * POINT_BYTES] + bad + proof[(at + 1) * POINT_BYTES :]
        refused(honest.statement, bent, f"entry {at} is not a point")


@pytest.mark.parametrize("scalar", [ORDER, ORDER + 1, 2**256 - 1])
def test_a_scalar_that_is_not_reduced_is_refused(honest: Known, proof: bytes, scalar: int) -> None:
    for start in range(POINTS * POINT_BYTES, len(proof), 32):
        bent = proof[:start] + scalar.to_bytes(32, "big") + proof[start + 32 :]
        refused(honest.statement, bent, "not reduced")


# --- batches


@pytest.fixture(scope="module")
def truths() -> list[tuple[Statement, bytes]]:
    made = [known(record(i % 3, i % 6), bytes([i]) * 32) for i in range(6)]
    return [(each.statement, prove(each.statement, each.vector, each.randomness)) for each in made]


BATCHES = [(1, []), (1, [0]), (2, [1]), (3, []), (5, [0, 4]), (6, [3]), (7, [1, 2]), (9, [8])]


@pytest.mark.parametrize(("size", "false"), BATCHES)
def test_a_batch_holds_if_all_do_and_else_names_the_first_that_does_not(
    truths: list[tuple[Statement, bytes]], size: int, false: list[int]
) -> None:
    pairs = [truths[i % len(truths)] for i in range(size)]
    raws = [flip(raw, -1) if at in false else raw for at, (_, raw) in enumerate(pairs)]
    statements = [statement for statement, _ in pairs]
    if not false:
        verify_batch(statements, raws)
        return
    with pytest.raises(ProofInvalid, match=f"proof {false[0]}: ") as refusal:
        verify_batch(statements, raws)
    assert refusal.value.position == false[0]
    assert refusal.value.problem == "a product does not hold"


def test_a_batch_of_proofs_in_another_order_is_refused(
    truths: list[tuple[Statement, bytes]],
) -> None:
    statements = [statement for statement, _ in truths]
    raws = [raw for _, raw in truths]
    verify_batch(statements, raws)
    with pytest.raises(ProofInvalid, match="proof 2: "):
        verify_batch(statements, [*raws[:2], raws[3], raws[2], *raws[4:]])


@pytest.mark.parametrize("position", [0, 2, 5])
def test_what_cannot_be_read_is_named_by_its_place(
    truths: list[tuple[Statement, bytes]], position: int
) -> None:
    raws = [raw for _, raw in truths]
    raws[position] = raws[position][:-1]
    with pytest.raises(ProofInvalid, match="wrong length") as refusal:
        verify_batch([statement for statement, _ in truths], raws)
    assert refusal.value.position == position


def moved(raw: bytes, scalar: int, by: int) -> bytes:
    """A proof whose scalar, counted from the end (-1 is tau, -2 z, -3 phi), is moved by so much."""
    start = len(raw) + 32 * scalar
    new = (int.from_bytes(raw[start : start + 32], "big") + by) % ORDER
    return raw[:start] + new.to_bytes(32, "big") + raw[start + 32 :]


@pytest.mark.parametrize("scalar", [-1, -2, -3, -4])
def test_errors_of_two_proofs_do_not_cancel(
    truths: list[tuple[Statement, bytes]], scalar: int
) -> None:
    """Each off by as much as the other: only their random weights tell."""
    (one, first), (other, second) = truths[:2]
    with pytest.raises(ProofInvalid, match="proof 0: "):
        verify_batch([one, other], [moved(first, scalar, 1), moved(second, scalar, -1)])


def test_errors_of_two_equations_do_not_cancel(honest: Known, proof: bytes) -> None:
    """phi and tau both stand before H: one more and one less."""
    refused(honest.statement, moved(moved(proof, -3, 1), -1, -1), "committed vector")


def test_a_batch_has_one_relation_one_key_and_a_proof_for_each(honest: Known, proof: bytes) -> None:
    statement = honest.statement
    others = [
        replace(statement, public_key=times_base(5)),
        replace(statement, relation=record(weigh=2).relation()),
    ]
    for other in others:
        with pytest.raises(ValueError, match="a batch has one relation"):
            verify_batch([statement, other], [proof, proof])
    for raws in ([], [proof], [proof] * 3):
        with pytest.raises(ValueError, match="a batch has one relation"):
            verify_batch([statement] * 2, raws)
    with pytest.raises(ValueError, match="a batch has one relation"):
        verify_batch([], [proof])
    with pytest.raises(ValueError, match="public key is the point at infinity"):
        verify_batch([replace(statement, public_key=INFINITY)], [proof])
    verify_batch([], [])


BENDS: dict[str | None, Callable[[bytes], bytes]] = {
    None: lambda raw: raw,
    "it has a wrong length": lambda raw: raw[:-1],
    "a scalar is not reduced": lambda raw: raw[:-32] + b"\xff" * 32,
    "a product does not hold": lambda raw: moved(raw, -1, 1),
    "the columns' randomness is not known": lambda raw: moved(raw, -2, 1),
    "the answers are not of the committed vector": lambda raw: moved(raw, -3, 1),
}
LENGTH, SCALAR, OF_PRODUCT, OF_COLUMN, OF_VECTOR = list(BENDS)[1:]


@pytest.mark.parametrize(
    "problems",
    [
        [],
        [None],
        [LENGTH],
        [SCALAR, None],
        [None, OF_PRODUCT, None, None, OF_VECTOR],
        [OF_COLUMN, LENGTH, OF_COLUMN, None, SCALAR, OF_PRODUCT],
        [None, None, LENGTH, None, None, None, None, OF_VECTOR],
    ],
)
def test_every_false_one_of_a_batch_is_told_with_what_does_not_hold(
    truths: list[tuple[Statement, bytes]], problems: list[str | None]
) -> None:
    pairs = [truths[at % len(truths)] for at in range(len(problems))]
    raws = [BENDS[each](raw) for each, (_, raw) in zip(problems, pairs, strict=True)]
    assert faults([statement for statement, _ in pairs], raws) == problems


@pytest.mark.parametrize("size", [5, 9])
def test_of_a_flood_of_false_proofs_every_one_is_found_and_few_are_explained(
    truths: list[tuple[Statement, bytes]], size: int
) -> None:
    """All but one are false; the true one among them is not mistaken for one of them."""
    for true in (0, size // 2, size - 1):
        pairs = [truths[at % len(truths)] for at in range(size)]
        raws = [raw if at == true else moved(raw, -1, 1) for at, (_, raw) in enumerate(pairs)]
        found = faults([statement for statement, _ in pairs], raws)
        assert [at for at, problem in enumerate(found) if problem is None] == [true]
        explained = [problem for problem in found if problem == OF_PRODUCT]
        assert len(explained) == min(size - 1, validity._EXPLAINED)
        assert set(found) <= {None, OF_PRODUCT, "it does not hold"}


def test_a_flood_costs_one_look_at_each_and_a_few_more(
    truths: list[tuple[Statement, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, looks = validity._adds_up, []

    def counted(read: list[validity._Checked]) -> bool:
        looks.append(len(read))
        return honest(read)

    monkeypatch.setattr(validity, "_adds_up", counted)
    statement, raw = truths[0]
    assert None not in faults([statement] * 16, [moved(raw, -1, 1)] * 16)
    assert len(looks) <= 16 + 4 + 4  # halves down to the first four, then each: not 31
    looks.clear()
    one = [raw] * 11 + [moved(raw, -1, 1)] + [raw] * 4
    assert [at for at, each in enumerate(faults([statement] * 16, one)) if each] == [11]
    assert len(looks) == 1 + 2 * 4  # a single one is found by halves
    looks.clear()
    assert faults([statement] * 16, [raw] * 16) == [None] * 16
    assert looks == [16]  # where all are true, one


def test_a_sum_that_is_off_while_every_equation_holds_is_refused_all_the_same(
    honest: Known, proof: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validity, "_adds_up", lambda read: False)
    refused(honest.statement, proof, "does not add up")


# --- what a proof says beside that: nothing


def scalars_of(raw: bytes) -> list[int]:
    start = POINTS * POINT_BYTES
    return [int.from_bytes(raw[at : at + 32], "big") for at in range(start, len(raw), 32)]


def test_two_proofs_of_one_statement_share_no_point_and_no_scalar(honest: Known) -> None:
    one, other = (prove(honest.statement, honest.vector, honest.randomness) for _ in range(2))
    both = [*scalars_of(one), *scalars_of(other)]
    assert len(set(both)) == len(both)
    points = [raw[at : at + 33] for raw in (one, other) for at in range(0, POINTS * 33, 33)]
    assert len(set(points)) == 2 * POINTS
    assert not set(both) & {*honest.randomness, *honest.vector, SECRET}


def test_whatever_hides_something_is_drawn_anew_from_all_scalars(
    honest: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def seen(*given: Any) -> bytes:
        drawn.extend([*given[3], *given[4]])
        return _prove(*given)

    monkeypatch.setattr(validity, "_prove", seen)
    for _ in range(20):
        prove(honest.statement, honest.vector, honest.randomness)
    assert len(drawn) == len(set(drawn)) == 20 * (7 + 5)
    assert 0 < min(drawn) < max(drawn) < ORDER
    # Both values of the first and of the last bit, but for a probability of 2^-238.
    assert {each >> 255 for each in drawn} == {each & 1 for each in drawn} == {0, 1}


def test_what_a_prover_hides_is_multiplied_in_constant_time_only(
    honest: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    public = Point.__mul__

    def seen(point: Point, scalar: int) -> Point:
        used.append(scalar)
        return public(point, scalar)

    monkeypatch.setattr(Point, "__mul__", seen)
    prove(honest.statement, honest.vector, honest.randomness)
    assert used == []


class Programmed:
    """Challenges that a simulator has chosen before it speaks."""

    delta, y, x = (0x1234567 + 2**200, 0x7654321 + 2**220, 0xABCDEF + 2**240)

    def __init__(self, statement: Statement) -> None: ...

    def columns(self, *_: Point) -> int:
        return self.delta

    def products(self, *_: Point) -> int:
        return self.y

    def answers(self, *_: Point) -> int:
        return self.x


def simulated(statement: Statement, tau: int | None = None) -> bytes:
    """The honest verifier's simulator: answers first, then the announcements that fit. Knows no secret."""
    relation, asked = statement.relation, Programmed(statement)
    x = asked.x
    bases, hide, single = (
        generators.vector(relation.size),
        generators.blinding(),
        generators.single(),
    )
    f = [random_scalar() for _ in range(relation.size)]
    phi, z = random_scalar(), random_scalar()
    tau = random_scalar() if tau is None else tau
    committed, linear = times_base(random_scalar()), times_base(random_scalar())
    blinds = total((sum_of_products([bases.point(i) for i in range(len(f))], f), hide * phi))
    held = Points.parse(statement.columns)
    powers = [pow(asked.delta, j, ORDER) for j in range(len(relation.columns))]
    keys = sum_of_products([held.point(2 * j) for j in range(len(powers))], powers)
    values = sum_of_products([held.point(2 * j + 1) for j in range(len(powers))], powers)
    weighed = sum(p * evaluate(c, f, x) for p, c in zip(powers, relation.columns, strict=True))
    left_over = sum(
        pow(asked.y, k, ORDER)
        * (evaluate(e.left, f, x) * evaluate(e.right, f, x) - x * evaluate(e.result, f, x))
        for k, e in enumerate(relation.products)
    )
    announced = [
        committed,
        blinds - committed * x,
        times_base(z) - keys * x,
        statement.public_key * z + times_base(weighed) - values * x,
        linear,
        single * left_over + hide * tau - linear * x,
    ]
    scalars = [*f, phi, z, tau]
    return b"".join(
        [point.to_bytes() for point in announced] + [each.to_bytes(32, "big") for each in scalars]
    )


FALSE = lied(LIES["a column that encrypts one more"]).statement


@pytest.mark.parametrize("statement", [known(record()).statement, FALSE], ids=["true", "false"])
def test_who_chooses_the_challenges_needs_no_witness_and_who_does_not_cannot_cheat(
    statement: Statement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zero knowledge: what a verifier sees, a simulator makes alone, of a falsehood even."""
    raw = simulated(statement)
    refused(statement, raw)
    monkeypatch.setattr(validity, "_Talk", Programmed)
    verify(statement, raw)
    assert validity._read(0, statement, raw).fault() == "it does not add up"  # no equation fails
    refused(statement, flip(raw, -1), "product does not hold")


def test_a_scalar_and_the_order_more_are_one_number_and_only_one_of_them_is_a_proof(
    honest: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """s + n would hold as well as s: a second proof beside the first, which nobody made."""
    monkeypatch.setattr(validity, "_Talk", Programmed)
    raw = simulated(honest.statement, tau=5)
    verify(honest.statement, raw)
    refused(honest.statement, raw[:-32] + (ORDER + 5).to_bytes(32, "big"), "not reduced")


def test_answers_to_two_challenges_give_vector_and_randomness_away(
    honest: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Special soundness: who could answer twice knows what the proof says."""
    monkeypatch.setattr(validity, "_Talk", Programmed)
    blinds, drawn = [random_scalar() for _ in honest.vector], [random_scalar() for _ in range(5)]
    answers, asked = [], (Programmed.x, Programmed.x + 12345)
    for x in asked:
        monkeypatch.setattr(Programmed, "x", x)
        raw = _prove(honest.statement, honest.vector, honest.randomness, blinds, drawn)
        verify(honest.statement, raw)
        answers.append(scalars_of(raw))
    apart = pow(asked[1] - asked[0], -1, ORDER)
    found = [(b - a) * apart % ORDER for a, b in zip(*answers, strict=True)]
    size = len(honest.vector)
    assert found[:size] == honest.vector
    powers = [pow(Programmed.delta, j, ORDER) for j in range(len(honest.randomness))]
    weighed = sum(r * p for r, p in zip(honest.randomness, powers, strict=True)) % ORDER
    assert found[size:] == [drawn[0], weighed, drawn[3]]


def test_every_challenge_depends_on_all_that_was_said_before_it(honest: Known) -> None:
    """Columns, key, relation and context before the first; each announcement before the next."""
    statement = honest.statement
    one, other, third = times_base(1), times_base(2), times_base(3)

    def asked(statement: Statement, points: Sequence[Point]) -> list[int]:
        talk = validity._Talk(statement)
        v, w, s, c, t1, t0 = points
        return [talk.columns(v), talk.products(w, s, c), talk.answers(t1, t0)]

    base = asked(statement, [one] * 6)
    for at in range(6):
        points = [one] * 6
        points[at] = other
        first = 0 if at == 0 else 1 if at < 4 else 2
        again = asked(statement, points)
        assert [a == b for a, b in zip(base, again, strict=True)] == [i < first for i in range(3)]
    changes: list[Callable[[], Statement]] = [
        lambda: replace(statement, context=bytes(32)),
        lambda: replace(statement, public_key=third),
        lambda: replace(statement, relation=record(weigh=3).relation()),
        lambda: replace(statement, columns=flip(statement.columns, 5)),
    ]
    for change in changes:
        assert not set(asked(change(), [one] * 6)) & set(base)
