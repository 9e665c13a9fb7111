"""Sums side by side in memory, and sums of products, are what plain arithmetic says."""

from __future__ import annotations

import secrets

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from ml.homomorphic import curve
from ml.homomorphic.curve import (
    AT_INFINITY,
    INFINITY,
    MEMORY_BYTES,
    ORDER,
    POINT_BYTES,
    G,
    NotAPoint,
    Point,
    Points,
    points_from_bytes,
    random_scalar,
    sum_of_products,
    times_base,
    total,
)
from tests.support import plain_curve
from tests.support.tallying import scalars, secret_scalars

SMALL = st.integers(1, 40).flatmap(lambda n: st.sampled_from([n, ORDER - n]))
"""Scalars whose points meet and cancel often."""
ERROR_RATE = 1e-9
"""A correct sampler fails with this probability at most."""
NOT_ON_CURVE = b"\x02" + (5).to_bytes(32, "big")
NO_POINTS = {
    "another first byte": b"\x05" + G.to_bytes()[1:],
    "no point has this x": NOT_ON_CURVE,
    "x beyond the field": b"\x02" + plain_curve.FIELD.to_bytes(32, "big"),
    "x + the field": b"\x02" + (plain_curve.FIELD + 1).to_bytes(32, "big"),
    "infinity": AT_INFINITY,
    "the first byte of an uncompressed point": b"\x04" + G.to_bytes()[1:],
    "the first byte of a hybrid point": b"\x06" + G.to_bytes()[1:],
}


def points(multiples: list[int]) -> Points:
    return Points.parse(b"".join(times_base(each).to_bytes() for each in multiples))


# --- one element


@given(scalars, scalars)
@settings(max_examples=30)
def test_products_and_sums_are_those_of_plain_arithmetic(one: int, other: int) -> None:
    p, q = times_base(one), times_base(other)
    assert p.to_bytes() == plain_curve.compress(plain_curve.times(one))
    assert (p + q).to_bytes() == plain_curve.compress(
        plain_curve.add(plain_curve.times(one), plain_curve.times(other))
    )
    assert p * other == times_base(one * other) == q * one
    assert p - q == times_base(one - other)
    assert -p + p == INFINITY == p * 0 == p * ORDER


@given(scalars)
@settings(max_examples=30)
def test_a_negative_is_another_point_and_its_original_stays(multiple: int) -> None:
    """libsecp256k1 turns a point in place, and points are immutable here."""
    point, raw = times_base(multiple), times_base(multiple).to_bytes()
    negative = -point
    assert negative.to_bytes() == plain_curve.compress(plain_curve.times(-multiple))
    assert point.to_bytes() == raw
    assert -negative == point


def test_a_negative_is_no_product(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(point: Point, scalar: int) -> Point:
        raise AssertionError(f"a product with {scalar}")

    monkeypatch.setattr(Point, "__mul__", never)
    negative = -G
    assert -negative == G != negative
    assert -INFINITY == INFINITY


def test_random_scalars_are_drawn_evenly_from_all_but_0_and_never_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = [random_scalar() for _ in range(20_000)]
    assert len(set(drawn)) == len(drawn)
    for cells in ([d * 64 // ORDER for d in drawn], [d % 64 for d in drawn]):
        counts = [cells.count(cell) for cell in range(64)]
        assert stats.chisquare(counts).pvalue > ERROR_RATE
    for drawing, expected in ((lambda below: 0, 1), (lambda below: below - 1, ORDER - 1)):
        monkeypatch.setattr(secrets, "randbelow", drawing)
        assert random_scalar() == expected


@given(secret_scalars, secret_scalars)
@settings(max_examples=40)
def test_secret_and_public_products_agree(multiple: int, scalar: int) -> None:
    point = times_base(multiple)
    assert point.times_secret(scalar) == point * scalar


@pytest.mark.parametrize("scalar", [0, -1, ORDER, ORDER + 1])
def test_a_secret_scalar_out_of_range_is_refused(scalar: int) -> None:
    with pytest.raises(ValueError, match="secret scalar"):
        G.times_secret(scalar)


def test_a_secret_never_multiplies_infinity() -> None:
    with pytest.raises(ValueError, match="finite point"):
        INFINITY.times_secret(1)


@given(secret_scalars)
@settings(max_examples=30)
def test_a_point_is_the_one_that_its_bytes_say(scalar: int) -> None:
    point = times_base(scalar)
    read = Point.from_bytes(point.to_bytes())
    assert read == point == Point.sum_from_bytes(point.to_bytes())
    assert (hash(read), read.is_infinity, len(point.to_bytes())) == (
        hash(point),
        False,
        POINT_BYTES,
    )
    assert point.to_bytes().hex() in repr(point)
    assert point != -point
    assert point != point.to_bytes()


def test_infinity_has_bytes_of_its_own_which_only_sums_may_have() -> None:
    assert INFINITY.to_bytes() == AT_INFINITY == bytes(33)
    assert Point.sum_from_bytes(AT_INFINITY) == INFINITY
    assert INFINITY.is_infinity
    with pytest.raises(NotAPoint):
        Point.from_bytes(AT_INFINITY)


@pytest.mark.parametrize("raw", [*NO_POINTS.values(), b"", G.to_bytes()[:-1], G.to_bytes() + b"\0"])
def test_what_is_no_point_is_refused_alone(raw: bytes) -> None:
    with pytest.raises(NotAPoint, match="entry 0"):
        Point.from_bytes(raw)
    if raw != AT_INFINITY:
        with pytest.raises(NotAPoint):
            Point.sum_from_bytes(raw)


def test_an_uncompressed_point_is_refused_although_the_library_reads_it() -> None:
    x, y = plain_curve.times(7) or (0, 0)
    with pytest.raises(NotAPoint):
        Point.from_bytes(b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big"))


@given(st.lists(SMALL, max_size=12))
@example([])
@example([1, ORDER - 1])
@example([3, ORDER - 3, 5])
def test_a_total_is_the_sum_whatever_cancels(multiples: list[int]) -> None:
    listed = [times_base(each) for each in multiples]
    assert total(listed) == times_base(sum(multiples))
    assert total([INFINITY, *listed, INFINITY]) == times_base(sum(multiples))


# --- columns


@given(st.lists(SMALL, max_size=30), st.data())
@settings(max_examples=150)
def test_a_sum_of_rows_is_the_sum_of_what_they_hold(
    multiples: list[int], data: st.DataObject
) -> None:
    column = points(multiples)
    assert column.sum() == times_base(sum(multiples))
    row = st.integers(0, max(0, len(multiples) - 1))
    rows = data.draw(st.lists(row, max_size=40 if multiples else 0))
    expected = times_base(sum(multiples[each] for each in rows))
    assert column.sum(np.array(rows, dtype=np.int64)) == expected


def test_a_row_counts_as_often_as_it_is_named() -> None:
    column = points([5, 7])
    assert column.sum(np.array([1, 1, 1, 0], dtype=np.int64)) == times_base(26)


def test_no_rows_add_up_to_infinity() -> None:
    assert points([]).sum() == points([5]).sum(np.array([], dtype=np.int64)) == INFINITY


def test_sums_pass_infinity_on_their_way() -> None:
    """1 - 1 first, then something: the addition formulae of a careless library fail there."""
    column = points([1, ORDER - 1, 2, 2, ORDER - 4, 9])
    for end, expected in enumerate([1, 0, 2, 4, 0, 9], start=1):
        assert column.sum(np.arange(end, dtype=np.int64)) == times_base(expected)


@pytest.mark.parametrize("row", [-1, 2, 2**40])
def test_a_row_that_is_not_there_is_refused(row: int) -> None:
    with pytest.raises(IndexError):
        points([1, 2]).sum(np.array([0, row], dtype=np.int64))
    with pytest.raises(IndexError):
        points([]).sum(np.array([0], dtype=np.int64))


@pytest.mark.parametrize("kind", [np.bool_, np.int32, np.uint64, np.float64])
def test_what_are_no_row_numbers_is_refused(kind: type) -> None:
    """A mask above all: it would be read as the rows 0 and 1, again and again."""
    column = points([1, 2])
    with pytest.raises(ValueError, match="rows are"):
        column.sum(np.array([True, False]).astype(kind))
    with pytest.raises(ValueError, match="rows are"):
        column.sum(np.array([[0, 1]], dtype=np.int64))


@pytest.mark.parametrize("block", [1, 2, 3, 7, 8, 9])
def test_a_sum_of_many_blocks_is_the_sum(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve, "_BLOCK", block)
    multiples = [1, ORDER - 1, 2, 3, ORDER - 5, 40, 40, ORDER - 80]
    column = points(multiples)
    assert column.sum() == INFINITY
    rows = np.array([5, 0, 5, 5, 7, 2, 1, 1, 4], dtype=np.int64)
    assert column.sum(rows) == times_base(sum(multiples[each] for each in rows))


def test_a_column_longer_than_a_block_adds_up() -> None:
    rows = np.resize(np.arange(3, dtype=np.int64), curve._BLOCK + 5)
    counts = np.bincount(rows)
    assert points([1, 10, 100]).sum(rows) == times_base(int(counts @ [1, 10, 100]))


@given(st.lists(secret_scalars, max_size=8))
@settings(max_examples=30)
def test_memory_and_bytes_round_trip(multiples: list[int]) -> None:
    raw = b"".join(times_base(each).to_bytes() for each in multiples)
    column = Points.parse(raw)
    assert (len(column), column.to_bytes()) == (len(multiples), raw)
    assert column.memory.shape == (len(multiples), MEMORY_BYTES)
    kept = np.frombuffer(column.memory.tobytes(), dtype=np.uint8).reshape(-1, MEMORY_BYTES)
    assert Points(kept).to_bytes() == raw
    assert [column.point(i) for i in range(len(column))] == [times_base(each) for each in multiples]
    assert Points(kept).sum() == column.sum()
    assert points_from_bytes(raw) == tuple(times_base(each) for each in multiples)


@pytest.mark.parametrize("raw", NO_POINTS.values(), ids=NO_POINTS)
@pytest.mark.parametrize("position", [0, 3, 7])
def test_what_is_no_point_is_refused_by_its_place_in_the_column(raw: bytes, position: int) -> None:
    good = [times_base(each).to_bytes() for each in range(1, 9)]
    later = [*good[:position], raw, *good[position + 1 :]]
    with pytest.raises(NotAPoint, match=f"entry {position} is") as refusal:
        Points.parse(b"".join(later))
    assert refusal.value.position == position
    later[-1] = raw
    for read in (Points.parse, points_from_bytes):
        with pytest.raises(NotAPoint, match=f"entry {position} is"):  # the first of them
            read(b"".join(later))


@pytest.mark.parametrize("cut", [1, 32])
def test_a_column_that_ends_within_a_point_is_refused(cut: int) -> None:
    for read in (Points.parse, points_from_bytes):
        with pytest.raises(NotAPoint) as refusal:
            read((G.to_bytes() * 3)[:-cut])
        assert refusal.value.position == 2


@pytest.mark.parametrize(
    "memory",
    [
        np.zeros((2, 63), dtype=np.uint8),
        np.zeros((2, 65), dtype=np.uint8),
        np.zeros(64, dtype=np.uint8),
        np.zeros((1, 2, 64), dtype=np.uint8),
        np.zeros((2, 64), dtype=np.int8),
        np.zeros((2, 64), dtype=np.uint16),
        np.zeros((4, 64), dtype=np.uint8)[::2],
        np.zeros((64, 2), dtype=np.uint8).T,
    ],
    ids=["short", "long", "flat", "deep", "signed", "wide", "every other row", "transposed"],
)
def test_memory_of_another_shape_or_layout_is_refused(memory: np.ndarray) -> None:
    with pytest.raises(ValueError, match="contiguous"):
        Points(memory)


# --- sums of products


def drawn(count: int) -> tuple[list[int], list[int]]:
    """Multiples of G, and scalars, with what is special among them."""
    special = [0, 1, ORDER - 1, ORDER, -1, 2, 1 << 255, (1 << 256) - 1]
    pairs = [(1 + secrets.randbelow(ORDER - 1), secrets.randbelow(ORDER)) for _ in range(count)]
    multiples, factors = [a for a, _ in pairs], [b for _, b in pairs]
    for i, each in enumerate(special[:count]):
        factors[-1 - i] = each
    return multiples, factors


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 64, 65, 130, 260, 2500])
def test_a_sum_of_products_is_the_product_with_the_sum_of_logarithms(count: int) -> None:
    multiples, factors = drawn(count)
    expected = times_base(sum(a * b for a, b in zip(multiples, factors, strict=True)))
    column = points(multiples)
    assert column.sum_of_products(factors) == expected
    assert sum_of_products([column.point(i) for i in range(count)], factors) == expected
    # With one more that cancels all of it.
    rest = points([*multiples, *([1] * (count > 0))])
    opposite = -sum(a * b for a, b in zip(multiples, factors, strict=True))
    assert rest.sum_of_products([*factors, *([opposite] * (count > 0))]) == INFINITY


@given(st.lists(st.tuples(SMALL, scalars | SMALL), max_size=24))
@settings(max_examples=60)
@example([(1, 1), (ORDER - 1, 1)])
@example([(1, 1), (ORDER - 1, 1), (2, 1)])
@example([(1, 0)])
@example([(1, 3), (ORDER - 1, 3), (1, 5), (ORDER - 1, 4)])
def test_a_sum_of_products_holds_where_buckets_and_partial_sums_cancel(
    pairs: list[tuple[int, int]],
) -> None:
    multiples, factors = [a for a, _ in pairs], [b for _, b in pairs]
    expected = times_base(sum(a * b for a, b in pairs))
    assert points(multiples).sum_of_products(factors) == expected


@pytest.mark.parametrize("width", [1, 2, 5, 8, 13, 14])
def test_every_width_of_window_gives_the_same_sum(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that do not divide 256, and those that only many points would choose."""
    multiples, factors = drawn(20)
    monkeypatch.setattr(curve, "_window", lambda points: width)
    expected = times_base(sum(a * b for a, b in zip(multiples, factors, strict=True)))
    assert points(multiples).sum_of_products(factors) == expected


def test_a_window_is_chosen_for_any_number_of_points() -> None:
    widths = [curve._window(count) for count in (0, 1, 31, 32, 10**3, 10**6, 10**9)]
    assert widths == sorted(widths)
    assert (widths[0], widths[-1]) == (1, 14)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_list_of_another_length_is_refused(count: int) -> None:
    three = points([1, 2, 3])
    with pytest.raises(ValueError, match="one scalar"):
        three.sum_of_products([1] * count)
    with pytest.raises(ValueError, match="argument"):
        sum_of_products([G, G, G], [1] * count)
