"""Curves and tests without noise are SciPy's; with noise, a test errs as often as it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from ml.dp.noised import Noised
from tests.support.tallied_study import Asked, asked, cohort, column
from tests.unit.test_tallies_models import PEOPLE, told
from tests.unit.test_tallies_sums import ask

STARTS = np.array([0, 6, 12, 18, 24, 36, 48])
LABELS = ["[0, 6)", "[6, 12)", "[12, 18)", "[18, 24)", "[24, 36)", "[36, 48)", "[48, 60]"]
ERROR_RATE = 1e-9


def binned(people: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interval, death and arm of those who have them all."""
    table = np.stack([column(people, name) for name in ("months", "status", "arm")], axis=1)
    table = table[~np.isnan(table).any(axis=1)]
    interval = np.searchsorted(STARTS, table[:, 0], side="right") - 1
    return interval, table[:, 1] == 0, table[:, 2]


def censored(interval: np.ndarray, dead: np.ndarray) -> stats.CensoredData:
    return stats.CensoredData.right_censored(interval, ~dead)


def test_the_curve_is_kaplan_and_meiers_of_the_intervals() -> None:
    men = [row for row in PEOPLE if row[5] == 1 and row[4] is not None and row[7] is not None]
    filled = [[*row[:6], 0, row[7]] for row in men]
    interval, dead, _ = binned(filled)
    sf = stats.ecdf(censored(interval, dead)).sf
    found = told(ask("survival").answer(PEOPLE))
    assert [label for (label,) in found] == LABELS
    limits = sf.confidence_interval(method="log-log")
    for i, (value, low, high) in enumerate(found.values()):
        assert value == pytest.approx(float(sf.evaluate(i)), abs=1e-4)
        assert low == pytest.approx(float(limits.low.evaluate(i)), abs=4e-3)
        assert high == pytest.approx(float(limits.high.evaluate(i)), abs=4e-3)


def test_the_log_rank_test_is_scipys_of_the_intervals() -> None:
    interval, dead, arm = binned(PEOPLE)
    groups = [censored(interval[arm == each], dead[arm == each]) for each in (1, 0)]
    truth = stats.logrank(*groups)
    found = told(ask("log-rank").answer(PEOPLE))
    assert found["chi-square",][0] == pytest.approx(truth.statistic**2, rel=1e-4, abs=1e-4)
    assert found["p-value",][0] == pytest.approx(truth.pvalue, abs=1e-4)
    ratio, low, high = found["log hazard ratio",]
    assert low > 0.2
    assert high < 1.0
    assert ratio == pytest.approx(np.log(50 / 28), abs=0.25)  # Peto's, of the true hazards


def test_chi_square_is_scipys() -> None:
    table = np.zeros((2, 2))
    for row in PEOPLE:
        if row[6] is not None and row[7] is not None:
            table[row[6], row[7]] += 1
    truth = stats.chi2_contingency(table, correction=False)
    found = told(ask("chi-square").answer(PEOPLE))
    assert found["chi-square",][0] == pytest.approx(truth.statistic, rel=1e-4)
    assert found["degrees of freedom",][0] == truth.dof
    assert found["p-value",][0] == pytest.approx(max(truth.pvalue, 1 / 4001), abs=0.03)


def test_chi_square_of_a_larger_table_is_scipys() -> None:
    axes = [{"variable": "sex"}, {"variable": "age", "edges": [18, 50, 65, 98]}]
    edges = [{"variable": "age", "edges": [18, 50, 65, 98]}, {"variable": "arm"}]
    one = asked("chi_square.v1", {"axes": edges})
    table = np.zeros((3, 2))
    for row in PEOPLE:
        if row[0] is not None and row[6] is not None:
            table[int(np.searchsorted([50, 65], row[0], side="right")), row[6]] += 1
    truth = stats.chi2_contingency(table, correction=False)
    found = told(one.answer(PEOPLE))
    assert found["chi-square",][0] == pytest.approx(truth.statistic, rel=1e-4)
    assert found["p-value",][0] == pytest.approx(truth.pvalue, abs=0.03)
    # Nobody here is of the third category: a table with an empty row is not judged.
    assert told(asked("chi_square.v1", {"axes": axes}).answer(PEOPLE))["p-value",][0] == 1


def test_an_answer_says_whether_its_intervals_cover_sampling_and_nothing_else_is_read() -> None:
    answer = ask("survival").answer(PEOPLE)
    assert b'"covers":"noise and sampling"' in answer.to_json()
    assert Noised.from_json(answer.to_json()) == answer
    assert b'"covers":"noise"' in ask("covariance").answer(PEOPLE).to_json()
    with pytest.raises(ValueError, match="noised result"):
        Noised.from_json(answer.to_json().replace(b"noise and sampling", b"all that there is"))


# --- with noise

SCALES = {"chi-square": 25.0, "log-rank": 12.0}


def rejections(one: Asked, scale: float, runs: int, seed: int, people: Any) -> int:
    print(f"seed {seed}")
    draw = np.random.default_rng(seed)
    count = 0
    everybody = one.vectors(people).astype(np.int64)
    for _ in range(runs):
        exact = everybody[draw.integers(0, len(everybody), 1500)].sum(axis=0)
        noised = np.round(exact + scale * draw.standard_normal(len(exact))).astype(int)
        count += told(one.answer([[None] * 8] * 1500, scale, noised.tolist()))["p-value",][0] < 0.05
    return count


RELATED = cohort(10_000, 20261103, missing=0.0)
UNRELATED = [[*row[:6], arm, row[7]] for row in RELATED for arm in (0, 1)]
"""Whose arm says nothing of when they die, or whether: everybody is in both."""


@pytest.mark.parametrize("question", SCALES)
def test_where_there_is_nothing_one_test_in_twenty_at_most_finds_something(question: str) -> None:
    runs = 200
    found = rejections(ask(question), SCALES[question], runs, 20261101, UNRELATED)
    assert stats.binom.sf(found - 1, runs, 0.05) > ERROR_RATE


@pytest.mark.parametrize("question", SCALES)
def test_where_there_is_something_it_is_found_through_the_noise(question: str) -> None:
    runs = 60
    found = rejections(ask(question), SCALES[question], runs, 20261102, RELATED)
    assert found >= 0.6 * runs


def test_a_test_that_forgets_the_noise_finds_something_in_nothing() -> None:
    """What SciPy would make of the noised tables: the statistics here are not its."""
    draw, one, found = np.random.default_rng(4), ask("chi-square"), 0
    everybody = one.vectors(UNRELATED).astype(np.int64)
    for _ in range(200):
        exact = everybody[draw.integers(0, len(everybody), 1500)].sum(axis=0)
        noised = exact + 40 * draw.standard_normal(4)
        table = np.maximum(noised, 1).reshape(2, 2)
        found += stats.chi2_contingency(table, correction=False).pvalue < 0.05
    assert stats.binom.sf(found - 1, 200, 0.05) < ERROR_RATE
