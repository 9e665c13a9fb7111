"""Tables and noised results: what is null, what is refused, and what a result looks like."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.dp.axes import Axis, cell_labels, cells_of
from ml.dp.clipping import Clip
from ml.dp.domain import Condition, Table, Variable
from ml.dp.interval import ratio_bounds
from ml.dp.noised import Estimate, Noised, decimal_text, scale_text
from ml.dp.quantiles import Grid, Level, search

X = Variable("x", "number", "u", 0, 100, 1)
SEX = Variable("sex", "category", categories=("f", "m"))
CANARY = 7_777_777


def table_of(x: list[int], valid: list[bool]) -> Table:
    return Table({"x": np.array(x, dtype=np.int64)}, {"x": np.array(valid)}, len(x))


@pytest.mark.parametrize(
    "variable",
    [
        {"kind": "number", "lower": 5, "upper": 5},
        {"kind": "number", "lower": 0, "upper": 2**40 + 1},
        {"kind": "number", "lower": 0, "upper": 1, "decimals": 10},
        {"kind": "number", "lower": 0, "upper": 1, "categories": ("a",)},
        {"kind": "category"},
        {"kind": "category", "categories": ("a", "a")},
        {"kind": "category", "categories": ("a",), "upper": 3},
    ],
)
def test_what_is_no_domain_is_no_variable(variable: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="v:"):
        Variable(name="v", **variable)  # type: ignore[arg-type]


def test_null_and_out_of_domain_values_are_equally_unknown() -> None:
    table = table_of([5, 101, -1, 5, 100], [True, True, True, False, True])
    assert table.known(X).tolist() == [True, False, False, False, True]
    assert table.values(X, ()).tolist() == [5, 100]


@pytest.mark.parametrize(
    ("op", "values", "kept"),
    [
        ("<", (5,), [1]),
        ("<=", (5,), [1, 5]),
        (">", (5,), [9]),
        (">=", (5,), [5, 9]),
        ("==", (5,), [5]),
        ("in", (1, 9), [1, 9]),
    ],
)
def test_each_comparison_keeps_what_it_says_and_never_a_null(
    op: str, values: tuple[int, ...], kept: list[int]
) -> None:
    table = table_of([1, 5, 9, 1, 5, 9], [True] * 3 + [False] * 3)
    assert table.values(X, [Condition(X, op, values)]).tolist() == kept  # type: ignore[arg-type]


def test_a_null_in_the_variable_of_a_condition_leaves_the_member_out() -> None:
    columns = {"x": np.array([10, 20, 30]), "sex": np.array([0, 0, 7])}
    valid = {"x": np.ones(3, dtype=np.bool_), "sex": np.array([True, False, True])}
    table = Table(columns, valid, 3)
    assert table.values(X, [Condition(SEX, "in", (0, 7))]).tolist() == [10]


def test_conditions_all_hold_together() -> None:
    table = table_of([1, 5, 9], [True] * 3)
    assert table.values(X, [Condition(X, ">", (1,)), Condition(X, "<", (9,))]).tolist() == [5]


@pytest.mark.parametrize(("op", "values"), [("!=", (1,)), ("<", ()), ("<", (1, 2)), ("in", ())])
def test_a_malformed_condition_is_refused(op: str, values: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"comparison|number of values"):
        Condition(X, op, values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("column", "mask", "n"),
    [
        (np.zeros(3, dtype=np.int64), np.ones(2, dtype=np.bool_), 3),
        (np.zeros(2, dtype=np.int64), np.ones(2, dtype=np.bool_), 3),
        (np.zeros(3, dtype=np.float64), np.ones(3, dtype=np.bool_), 3),
        (np.zeros(3, dtype=np.int64), np.ones(3, dtype=np.int64), 3),
        (np.zeros(0, dtype=np.int64), np.ones(0, dtype=np.bool_), 0),
    ],
)
def test_a_column_of_another_shape_or_type_is_refused(
    column: np.ndarray, mask: np.ndarray, n: int
) -> None:
    with pytest.raises(ValueError, match=r"column|member"):
        Table({"x": column}, {"x": mask}, n)


def test_a_column_without_its_mask_and_a_missing_column_are_refused() -> None:
    with pytest.raises(ValueError, match="mask"):
        Table({"x": np.zeros(1, dtype=np.int64)}, {}, 1)
    with pytest.raises(ValueError, match="no column sex"):
        table_of([1], [True]).column(SEX)


def test_records_do_not_appear_in_a_representation() -> None:
    assert str(CANARY) not in repr(table_of([CANARY], [True]))


def test_cells_are_half_open_but_the_last_and_nothing_outside_is_in_one() -> None:
    axis = Axis(X, (0, 50, 100))
    assert axis.labels == ("[0.0, 5.0)", "[5.0, 10.0]")
    places = axis.places(np.array([0, 49, 50, 100, 101, -1], dtype=np.int64))
    assert places.tolist() == [0, 0, 1, 1, -1, -1]


def test_cells_of_two_axes_leave_out_nulls_of_either() -> None:
    columns = {"x": np.array([10, 60, 60, 99]), "sex": np.array([0, 1, 1, 0])}
    valid = {"x": np.array([True] * 4), "sex": np.array([True, True, False, True])}
    axes = [Axis(SEX), Axis(X, (0, 50, 90))]
    assert cells_of(Table(columns, valid, 4), axes, ()).tolist() == [0, 3]
    assert cell_labels(axes)[3] == ("m", "[5.0, 9.0]")


@pytest.mark.parametrize("edges", [(), (1,), (2, 1), (1, 1)])
def test_edges_of_a_number_must_rise(edges: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="edges"):
        Axis(X, edges)


def test_a_category_has_no_edges() -> None:
    with pytest.raises(ValueError, match="edges"):
        Axis(SEX, (0, 1))


@pytest.mark.parametrize("of_one", ["0", "1", "1/1001"])
def test_a_level_is_strictly_between_nothing_and_all(of_one: str) -> None:
    with pytest.raises(ValueError, match="level"):
        Level(Fraction(of_one))


def test_clipping_needs_a_range() -> None:
    with pytest.raises(ValueError, match="lower < upper"):
        Clip(3, 3)


@given(st.integers(1, 10**7), st.integers(0, 10**9))
def test_every_value_of_the_range_belongs_to_exactly_one_candidate(width: int, pick: int) -> None:
    grid = Grid(Clip(-5, -5 + width))
    value = -5 + pick % (width + 1)
    place = (value + 5) // grid.step
    assert 0 <= place < grid.size <= 4096
    assert grid.first(place) <= value <= grid.last(place)


@given(st.integers(1, 5000), st.integers(0, 4999), st.integers(0, 50))
def test_a_search_with_true_comparisons_never_loses_the_quantile(
    size: int, pick: int, margin: int
) -> None:
    target, asked = pick % size, []

    def shortfall(place: int) -> int:
        asked.append(place)
        return target - place if target > place else target - place - 1

    low, high = search(size, shortfall, margin)
    assert low <= target <= high
    assert len(asked) <= 10
    assert len(set(asked)) == len(asked)
    if size <= 500 and margin == 0:
        assert low == high or size > 2**10


def test_a_ratio_with_an_uncertain_denominator_has_no_bounds() -> None:
    one = Fraction(1)
    assert ratio_bounds(Fraction(5), Fraction(2), (one, one), Fraction(3)) is None
    assert ratio_bounds(Fraction(5), Fraction(-9), (one, one), Fraction(3)) is None
    assert ratio_bounds(Fraction(50), Fraction(10), (one, one), Fraction(1)) is not None


@pytest.mark.parametrize(
    ("value", "digits", "rounding", "text"),
    [
        ("-1/3", 2, "nearest", "-0.33"),
        ("-1/3", 2, "down", "-0.34"),
        ("1/3", 2, "up", "0.34"),
        ("-1/1000", 2, "nearest", "0.00"),
        ("5/2", 0, "nearest", "2"),
        ("12", 1, "down", "12.0"),
    ],
)
def test_numbers_are_written_plainly_and_never_as_minus_nothing(
    value: str, digits: int, rounding: str, text: str
) -> None:
    assert decimal_text(Fraction(value), digits, rounding) == text  # type: ignore[arg-type]


def test_scales_are_rounded_up_and_have_no_exponent() -> None:
    assert scale_text(Fraction(1, 3)) == "0.333334"
    assert scale_text(Fraction(12_345_671)) == "12345700"


NOISED = Noised("mean", "u", (Estimate(("a",), "1.5", "1.0", "2.0"),), (("sum", "3"),), 5, 7)


def test_a_result_reads_back_as_itself_and_is_written_the_same_way_twice() -> None:
    assert Noised.from_json(NOISED.to_json()) == NOISED
    assert NOISED.to_json() == (
        b'{"confidence":"0.95","cost_nano_rho":5,"covers":"noise","estimates":[{"high":"2.0",'
        b'"label":["a"],"low":"1.0","value":"1.5"}],"format":1,"members":7,"noise":[["sum","3"]],'
        b'"quantity":"mean","unit":"u"}'
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"[" * 100_000,
        b"\xff",
        NOISED.to_json() + b" ",
        NOISED.to_json().replace(b'"format":1', b'"format":2'),
        NOISED.to_json().replace(b'"mean"', b'"mean","x":1'),
        NOISED.to_json().replace(b'["sum","3"]', b'["sum"]'),
    ],
)
def test_bytes_that_are_not_a_canonical_result_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a noised result"):
        Noised.from_json(data)
