"""95% intervals cover what they say, from noise that drowns everything to none, in people who are related.

Each comparison fails a correct interval with probability 1e-10 at most, no test makes more than ten: so
they are generous, and refuse only intervals that cover about 65 times in 100 (85 times:
`test_tallies_accuracy`, with the noise in between). Matrices cover noise about one cohort; models, curves
and ratios noise and sampling from a population, here 20,000 people.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats

from marketplace.analyses.tallies import TALLIES
from ml.dp.accounting import scale_for
from ml.dp.noised import Noised
from tests.support.tallied_study import COST, Row, cohort
from tests.unit.test_tallies_models import told
from tests.unit.test_tallies_sums import ask

ERROR_RATE = 1e-10
RUNS = 40
SEED = 20261122
N = 1500
POPULATION = cohort(20_000, 77)
NOBODY: list[Row] = [[None] * 8] * N
MATRICES = ("covariance", "correlation", "covariance pairwise")
MODELS = ("linear", "logistic", "poisson", "survival", "log-rank")
COSTS = [4_000_000, 800_000_000]
"""Noise that drowns most of it, and noise that is less than chance."""


@cache
def everybody(question: str) -> np.ndarray:
    return ask(question).vectors(POPULATION).astype(np.int64)


def judged(label: tuple[str, ...]) -> bool:
    """Neither errors nor tests have an interval; a difference grows with the cohort."""
    return label[-1] not in ("standard error", "chi-square", "p-value", "events less expected")


def run(question: str, cost: int, draw: np.random.Generator, sampled: bool) -> Noised:
    one, people = ask(question), everybody(question)
    chosen = draw.integers(0, len(people), N) if sampled else slice(None, N)
    exact = people[chosen].sum(axis=0)
    scale = scale_for(cost, one.tallied.squared_sensitivity) if cost else 0.0
    noised = np.round(exact + scale * draw.standard_normal(len(exact))).astype(int)
    return one.answer(NOBODY, scale, noised.tolist())


def hits_of(
    question: str, cost: int, sampled: bool, shrink: float = 1.0, runs: int = RUNS
) -> dict[object, int]:
    """How often each interval, shrunk about its middle, holds the truth."""
    seed = SEED + cost
    print(f"seed {seed}")
    draw = np.random.default_rng(seed)
    exact = everybody(question)[: None if sampled else N].sum(axis=0).tolist()
    truth = told(ask(question).answer(NOBODY, 0.0, exact))
    hits: dict[object, int] = {label: 0 for label in truth if judged(label)}
    for _ in range(runs):
        found = told(run(question, cost, draw, sampled))
        for label in hits:
            _, low, high = found[label]
            middle, half = (low + high) / 2, shrink * (high - low) / 2
            hits[label] += abs(truth[label][0] - middle) <= half + 1e-3
    return hits


def too_few(hits: int, runs: int = RUNS) -> bool:
    return bool(stats.binom.cdf(hits, runs, 0.95) < ERROR_RATE)


@pytest.mark.parametrize(
    ("question", "cost"),
    [
        *((each, cost) for each in MATRICES for cost in COSTS),
        *((each, COSTS[0]) for each in MODELS),
    ],
)
def test_intervals_cover_the_truth(question: str, cost: int) -> None:
    for label, hits in hits_of(question, cost, question in MODELS).items():
        assert not too_few(hits), (label, hits)


@pytest.mark.parametrize("question", ["covariance", "linear", "survival"])
def test_the_coverage_test_sees_intervals_of_half_the_width(question: str) -> None:
    hits = hits_of(question, 40_000_000, question in MODELS, shrink=0.5, runs=150)
    assert any(too_few(each, 150) for each in hits.values())


@pytest.mark.parametrize("question", ["linear", "logistic", "poisson", "survival"])
def test_without_noise_intervals_still_cover_sampling(question: str) -> None:
    """What is left is chance in who takes part."""
    for label, hits in hits_of(question, 0, sampled=True).items():
        assert not too_few(hits), (label, hits)


# --- errors before payment


def typical(n: int) -> list[list[int | None]]:
    """What forecasts suppose: all known, unrelated, means in the middle, deviations a sixth of the range."""
    draw = np.random.default_rng(9)
    age = np.clip(np.round(draw.normal(58, 80 / 6, n)), 18, 98).astype(int)
    bmi = np.clip(np.round(draw.normal(70, 100 / 6, n)) * 5, 100, 600).astype(int)
    sbp = np.clip(np.round(draw.normal(80, 100 / 6, n)) * 2, 60, 260).astype(int)
    months = np.array([0, 6, 12, 18, 24, 36, 48])[np.arange(n) % 7]
    parts = [age, bmi, sbp, np.full(n, 10), months]
    parts += [draw.integers(0, 2, n) for _ in range(3)]
    return [[int(each) for each in row] for row in zip(*parts, strict=True)]


@pytest.mark.parametrize(
    "question", ["covariance", "correlation", "linear", "logistic", "survival", "log-rank"]
)
def test_intervals_are_as_wide_as_was_foretold(question: str) -> None:
    one, n = ask(question), 3000
    forecast = TALLIES[one.name].foretell(one.parameters, one.encoding, n, COST, 2, 3)
    shares = one.tallied.shares(COST, 2)
    scale = float(shares.sigma(3))
    people = typical(n)
    if question in ("correlation", "survival"):  # which count men only
        people = [[*row[:5], 1, *row[6:]] for row in people]
    widest = max(
        (high - low) / 2 / unit_of(question, label)
        for label, (_, low, high) in told(one.answer(people, scale)).items()
        if judged(label) and label[0] != "intercept" and label not in LATE
    )
    assert widest == pytest.approx(float(forecast.error.half_width), rel=0.3)
    assert not forecast.tells_nothing


LATE = {("[18, 24)",), ("[24, 36)",), ("[36, 48)",), ("[48, 60]",)}


def unit_of(question: str, label: tuple[str, ...]) -> float:
    """What one of the forecast's units is, in the answer's."""
    halves = {"age": 40, "bmi": 25, "sbp": 100, "sex=male": 0.5}
    if question == "covariance":
        return halves[label[0]] * halves[label[1]]
    return 1 / (2 * halves[label[0]]) if question in ("linear", "logistic") else 1


@pytest.mark.parametrize("question", [*MATRICES, *MODELS, "chi-square"])
def test_paying_more_never_makes_the_error_larger_and_too_little_tells_nothing(
    question: str,
) -> None:
    one = ask(question)
    found = [
        TALLIES[one.name].foretell(one.parameters, one.encoding, 2000, cost, 2, 3)
        for cost in (5, 10**6, 10**8, 10**9)
    ]
    for field in ("half_width", "standard_error"):
        errors = [getattr(each.error, field) for each in found]
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < errors[0]
    assert found[0].tells_nothing
    assert set(found[0].texts()) == {
        "half_width",
        "holds",
        "standard_error",
        "tells_nothing",
        "unit",
    }
