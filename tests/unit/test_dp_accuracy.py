"""Intervals cover the truth of the cohort 95 times in 100; errors are what was promised.

Each test fails a correct mechanism with probability 1e-9 at most. Eighty runs, in many
settings, show only gross faults: most often they pass intervals that cover 75 times in 100. A thousand
runs, in a few, refuse those that cover 85 times in 100 nearly always.
"""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from ml.dp.clipping import Clip, Measured
from ml.dp.counts import count_noise, expected_count_error, noised_cells, noised_count
from ml.dp.domain import Condition, Table, Variable
from ml.dp.means import expected_mean_error, mean_noise, noised_mean
from ml.dp.noised import Noised
from ml.dp.quantiles import Grid, Level, expected_quantile_error, noised_quantile, quantile_noise
from ml.dp.sums import expected_sum_error, noised_sum, sum_noise
from ml.dp.variances import expected_variance_error, noised_variance, variance_noise

ERROR_RATE = 1e-10  # of each comparison; no test makes more than ten
RUNS = 1000
X = Variable("x", "number", "mm[Hg]", 600, 2600, 1)
CLIP = Clip(800, 2000)
MEASURED = Measured(X, CLIP, (Condition(X, ">", (1000,)),))


def table_of(values: np.ndarray, null: float = 0.05) -> Table:
    valid = np.arange(len(values)) >= null * len(values)
    return Table({"x": values.astype(np.int64)}, {"x": valid}, len(values))


def bell(n: int) -> Table:
    spread = stats.norm.ppf((np.arange(n) * 997 % n + 0.5) / n)
    return table_of(np.clip(1250 + 180 * spread, 600, 2600))


def at_the_edge(n: int) -> Table:
    return table_of(np.where(np.arange(n) % 7 == 0, 1900, 2600))


def one_value(n: int) -> Table:
    return table_of(np.full(n, 1203))


TABLES = [bell(300), at_the_edge(200), one_value(120), bell(20), bell(4000)]
COSTS = [2_000_000, 20_000_000, 1_000_000_000]


def truths(table: Table) -> np.ndarray:
    return np.clip(MEASURED.values(table), CLIP.lower, CLIP.upper)


def true_median(table: Table) -> float:
    ordered = np.sort(truths(table))
    return float(ordered[-(-len(ordered) // 2) - 1]) / 10


Run = Callable[[Table, int], Noised]
CASES: dict[str, tuple[Run, Callable[[Table], float]]] = {
    "count": (
        lambda t, cost: noised_count(t, MEASURED.conditions, cost),
        lambda t: float(len(truths(t))),
    ),
    "sum": (lambda t, cost: noised_sum(t, MEASURED, cost), lambda t: truths(t).sum() / 10),
    "mean": (lambda t, cost: noised_mean(t, MEASURED, cost), lambda t: truths(t).mean() / 10),
    "variance": (
        lambda t, cost: noised_variance(t, MEASURED, cost),
        lambda t: truths(t).var() / 100,
    ),
}


def noised_median(table: Table, cost: int) -> Noised:
    return noised_quantile(table, MEASURED, Level(Fraction(1, 2)), cost)


def covered(run: Run, table: Table, cost: int, truth: float, runs: int) -> int:
    hits = 0
    for _ in range(runs):
        (estimate,) = run(table, cost).estimates
        hits += float(estimate.low) - 1e-6 <= truth <= float(estimate.high) + 1e-6
    return hits


def too_few(hits: int, runs: int) -> bool:
    return bool(stats.binom.cdf(hits, runs, 0.95) < ERROR_RATE)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("case", CASES)
def test_intervals_cover_the_truth(case: str, cost: int) -> None:
    run, truth = CASES[case]
    for table in TABLES:
        assert not too_few(covered(run, table, cost, truth(table), 80), 80)


@pytest.mark.parametrize("table", [bell(300), one_value(120)], ids=["bell", "one value"])
@pytest.mark.parametrize("case", CASES)
def test_intervals_of_a_thousand_runs_cover_the_truth(case: str, table: Table) -> None:
    run, truth = CASES[case]
    # A count's noise is drawn large enough that the width's last whole unit hides no fault.
    cost = 200_000 if case == "count" else 20_000_000
    assert not too_few(covered(run, table, cost, truth(table), RUNS), RUNS)


def test_the_coverage_test_sees_intervals_of_half_the_width() -> None:
    table, hits = table_of(np.full(300, 1200)), 0
    for _ in range(RUNS):
        (estimate,) = noised_count(table, MEASURED.conditions, 20_000_000).estimates
        half = (int(estimate.high) - int(estimate.low)) / 2
        hits += abs(int(estimate.value) - 285) <= 0.5 * half
    assert too_few(hits, RUNS)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("table", [bell(300), one_value(120), bell(20), bell(4000)])
def test_quantile_intervals_cover_the_truth(table: Table, cost: int) -> None:
    assert not too_few(covered(noised_median, table, cost, true_median(table), 80), 80)


def test_quantile_intervals_of_a_thousand_runs_cover_the_truth() -> None:
    """Where margins of the comparisons that are too narrow show most: equal values, much noise."""
    table = one_value(120)
    assert not too_few(covered(noised_median, table, 2_000_000, true_median(table), RUNS), RUNS)


def test_each_cell_of_a_histogram_is_covered_by_its_own_interval() -> None:
    cells = np.repeat(np.arange(4), [0, 3, 40, 157])
    labels = [(str(i),) for i in range(4)]
    hits = np.zeros(4, dtype=int)
    for _ in range(RUNS):
        estimates = noised_cells(cells, labels, 200, 20_000_000).estimates
        for i, (estimate, truth) in enumerate(zip(estimates, [0, 3, 40, 157], strict=True)):
            hits[i] += int(estimate.low) <= truth <= int(estimate.high)
    assert not any(too_few(int(h), RUNS) for h in hits)


def spread_limits(runs: int) -> tuple[float, float]:
    """How far a sample's standard deviation strays from its normal population's, as factors."""
    low, high = stats.chi2.ppf(ERROR_RATE / 2, runs), stats.chi2.isf(ERROR_RATE / 2, runs)
    return float(np.sqrt(low / runs)), float(np.sqrt(high / runs))


def measured_spread(run: Run, table: Table, cost: int, truth: float) -> float:
    found = [float(run(table, cost).estimates[0].value) - truth for _ in range(RUNS)]
    return float(np.sqrt(np.mean(np.square(found))))


@pytest.mark.parametrize("case", CASES)
def test_measured_error_is_within_the_error_stated_before_payment(case: str) -> None:
    table, cost = bell(4000), 20_000_000
    run, truth = CASES[case]
    counted = len(truths(table))
    expected, scale = {
        "count": (expected_count_error(count_noise(table.n, cost)), 1),
        "sum": (expected_sum_error(sum_noise(CLIP, table.n, cost)), 10),
        "mean": (expected_mean_error(CLIP, mean_noise(CLIP, table.n, cost), counted), 10),
        "variance": (
            expected_variance_error(CLIP, variance_noise(CLIP, table.n, cost), counted),
            100,
        ),
    }[case]
    low, high = spread_limits(RUNS)
    # Exact for count and sum; for mean and variance the statement is for the worst place.
    least = {"count": 1.0, "sum": 1.0, "mean": 0.85, "variance": 0.5}[case]
    stated = float(expected.standard_error) / scale
    found = measured_spread(run, table, cost, truth(table))
    assert least * low * stated * 0.99 <= found <= high * stated * 1.01
    (estimate,) = run(table, cost).estimates
    half = (float(estimate.high) - float(estimate.low)) / 2
    assert half <= float(expected.half_width) / scale * 1.05


def test_the_rank_of_a_quantile_is_within_the_error_stated_before_payment() -> None:
    table, cost, level = bell(4000), 20_000_000, Level(Fraction(1, 2))
    noise = quantile_noise(level, table.n, cost)
    expected = expected_quantile_error(level, Grid(CLIP), noise, table.n)
    ordered = np.sort(truths(table))
    inside = 0
    for _ in range(200):
        value = float(noised_quantile(table, MEASURED, level, cost).estimates[0].value) * 10
        rank = np.searchsorted(ordered, value, side="right")
        inside += abs(int(rank) - len(ordered) / 2) <= float(expected.half_width)
    assert not too_few(inside, 200)


@pytest.mark.parametrize("run", [noised_mean, noised_variance])
def test_nobody_counted_gives_the_whole_range_and_no_failure(
    run: Callable[[Table, Measured, int], Noised],
) -> None:
    empty = Table({"x": np.zeros(30, dtype=np.int64)}, {"x": np.zeros(30, dtype=np.bool_)}, 30)
    (estimate,) = run(empty, Measured(X, CLIP), 1_000_000).estimates
    assert float(estimate.low) <= float(estimate.value) <= float(estimate.high)
    whole = 120 if run is noised_mean else 3600
    assert float(estimate.high) - float(estimate.low) == whole


def test_a_coarse_grid_still_covers_the_quantile_within_one_step() -> None:
    wide = Variable("x", "number", "u", 0, 10_000_000, 0)
    table = Table({"x": np.full(500, 7_654_321)}, {"x": np.ones(500, dtype=np.bool_)}, 500)
    measured = Measured(wide, Clip(0, 10_000_000))
    (estimate,) = noised_quantile(table, measured, Level(Fraction(1, 2)), 10**9).estimates
    assert float(estimate.low) <= 7_654_321 <= float(estimate.high)
