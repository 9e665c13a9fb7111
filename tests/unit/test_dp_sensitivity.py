"""Replacing any one record, by any other or none, moves nothing beyond what its noise is for."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.dp.axes import Axis, cell_count, cells_of
from ml.dp.clipping import Clip
from ml.dp.counts import cells_noise, count_noise, exact_cells, exact_count
from ml.dp.domain import Condition, Table, Variable
from ml.dp.means import exact_mean_vector, mean_noise
from ml.dp.quantiles import Grid, Level, exact_scores, exact_shortfall, quantile_noise
from ml.dp.sums import exact_sum, sum_noise
from ml.dp.variances import exact_variance_vector, variance_noise

X = Variable("x", "number", "u", -12, 20, 0)
SEX = Variable("sex", "category", categories=("f", "m", "x"))
COST = 1_000_000

Record = tuple[int | None, int | None]  # x and sex; None is null, and out of domain may occur too

records: st.SearchStrategy[Record] = st.tuples(
    st.one_of(st.none(), st.integers(-15, 24)), st.one_of(st.none(), st.integers(-1, 4))
)
clips = (
    st.tuples(st.integers(-12, 20), st.integers(-12, 20))
    .filter(lambda ends: ends[0] < ends[1])
    .map(lambda ends: Clip(*ends))
)
conditions = st.lists(
    st.one_of(
        st.builds(
            Condition,
            st.just(X),
            st.sampled_from(["<", "<=", ">", ">=", "=="]),
            st.tuples(st.integers(-12, 20)),
        ),
        st.builds(
            Condition,
            st.just(SEX),
            st.just("in"),
            st.lists(st.integers(0, 2), min_size=1, max_size=3).map(tuple),
        ),
    ),
    max_size=2,
)


def table_of(rows: Sequence[Record]) -> Table:
    columns, valid = {}, {}
    for place, name in enumerate(("x", "sex")):
        column = [row[place] for row in rows]
        columns[name] = np.array([0 if v is None else v for v in column], dtype=np.int64)
        valid[name] = np.array([v is not None for v in column])
    return Table(columns, valid, len(rows))


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[Table, Table]:
    rows = draw(st.lists(records, min_size=1, max_size=6))
    place = draw(st.integers(0, len(rows) - 1))
    changed = [*rows[:place], draw(records), *rows[place + 1 :]]
    return table_of(rows), table_of(changed)


def squared_distance(one: Sequence[int], other: Sequence[int]) -> int:
    return sum((int(a) - int(b)) ** 2 for a, b in zip(one, other, strict=True))


@settings(max_examples=200, deadline=None)
@given(neighbours(), conditions)
def test_a_count_moves_by_at_most_one(pair: tuple[Table, Table], where: list[Condition]) -> None:
    one, other = (exact_count(table, where) for table in pair)
    assert abs(one - other) ** 2 <= count_noise(pair[0].n, COST).squared_sensitivity


@settings(max_examples=200, deadline=None)
@given(neighbours(), conditions, clips)
def test_sum_mean_and_variance_vectors_stay_within_their_sensitivity(
    pair: tuple[Table, Table], where: list[Condition], clip: Clip
) -> None:
    one, other = (table.values(X, where) for table in pair)
    n = pair[0].n
    total = (exact_sum(one, clip) - exact_sum(other, clip)) ** 2
    assert total <= sum_noise(clip, n, COST).squared_sensitivity
    mean = squared_distance(exact_mean_vector(one, clip), exact_mean_vector(other, clip))
    assert mean <= mean_noise(clip, n, COST).squared_sensitivity
    spread = squared_distance(exact_variance_vector(one, clip), exact_variance_vector(other, clip))
    assert spread <= variance_noise(clip, n, COST).squared_sensitivity


@settings(max_examples=200, deadline=None)
@given(neighbours(), conditions)
def test_all_cells_of_a_table_together_move_by_at_most_root_two(
    pair: tuple[Table, Table], where: list[Condition]
) -> None:
    for axes in ([Axis(X, (-12, -3, 0, 9, 20))], [Axis(SEX), Axis(X, (-4, 0, 7))]):
        one, other = (exact_cells(cells_of(t, axes, where), cell_count(axes)) for t in pair)
        assert squared_distance(one, other) <= cells_noise(pair[0].n, COST).squared_sensitivity


@settings(max_examples=200, deadline=None)
@given(neighbours(), conditions, clips, st.sampled_from(["1/2", "1/4", "9/10", "1/3", "99/100"]))
def test_every_score_and_every_comparison_of_a_quantile_moves_by_at_most_q(
    pair: tuple[Table, Table], where: list[Condition], clip: Clip, of_one: str
) -> None:
    level, grid = Level(Fraction(of_one)), Grid(clip)
    tallies = [grid.tally(table.values(X, where)) for table in pair]
    one, other = (exact_scores(tally, level) for tally in tallies)
    assert int(np.abs(one - other).max()) <= level.q
    gaps = [[exact_shortfall(int(le), int(t.sum()), level) for le in np.cumsum(t)] for t in tallies]
    moved = max(abs(a - b) for a, b in zip(*gaps, strict=True))
    assert moved**2 <= quantile_noise(level, pair[0].n, COST).probe.squared_sensitivity


def farthest(vector: Callable[[np.ndarray], Sequence[int]], clip: Clip) -> int:
    """The largest squared distance of two one-record tables, null among them, by trying all."""
    singles = [np.array([x], dtype=np.int64) for x in range(clip.lower, clip.upper + 1)]
    vectors = [vector(single) for single in [*singles, np.array([], dtype=np.int64)]]
    return max(squared_distance(a, b) for a in vectors for b in vectors)


@pytest.mark.parametrize("clip", [Clip(0, 1), Clip(-7, 5), Clip(3, 20), Clip(-9, -2), Clip(0, 60)])
def test_the_stated_sensitivity_is_reached_and_so_wastes_nothing(clip: Clip) -> None:
    assert farthest(lambda x: [exact_sum(x, clip)], clip) == clip.sum_sensitivity**2
    mean = mean_noise(clip, 1, COST).squared_sensitivity
    assert farthest(lambda x: exact_mean_vector(x, clip), clip) == mean
    spread = variance_noise(clip, 1, COST).squared_sensitivity
    assert farthest(lambda x: exact_variance_vector(x, clip), clip) == spread


@pytest.mark.parametrize("width", [1, 2, 3, 10, 999, 2**30])
def test_the_weights_satisfy_the_inequalities_of_the_proofs(width: int) -> None:
    clip = Clip(0, width)
    a = clip.linear_weight
    assert clip.count_weight**2 <= 3 * width**2
    assert a**2 >= 2 * width**2
    assert clip.variance_count_weight**2 <= 3 * a**2 * width**2 - width**4
    assert clip.count_weight >= 1
    assert clip.variance_count_weight >= 1
    assert math.isqrt(3 * width**2) == clip.count_weight


@given(st.lists(st.integers(-15, 24), min_size=1, max_size=30), clips)
def test_the_best_score_is_zero_at_the_true_quantile(values: list[int], clip: Clip) -> None:
    level, grid = Level(Fraction(1, 4)), Grid(clip)
    tally = grid.tally(np.array(values, dtype=np.int64))
    clipped = sorted(min(max(v, clip.lower), clip.upper) for v in values)
    quantile = clipped[-(-len(values) // 4) - 1]
    assert exact_scores(tally, level)[quantile - clip.lower] == 0
    assert exact_scores(tally, level).max() == 0
