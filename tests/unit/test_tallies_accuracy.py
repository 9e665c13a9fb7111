"""An accuracy report: of each analysis of the homomorphic lane, what is foretold against what 300 answers do.

Each answer is of exact sums and the discrete Gaussian noise that five custodians make, of whom three can
decrypt. Models, curves and ratios are about a population, of which each answer's cohort is a sample; the
others about one cohort. A correct analysis fails a comparison with probability 1e-9.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats

from marketplace.analyses.analysis import Forecast
from marketplace.analyses.tallies import TALLIES
from ml.dp.noise import GaussianNoise
from ml.homomorphic.noise import gaussian
from tests.support.tallied_study import (
    DEATH,
    OVER_50,
    PREDICTORS,
    Asked,
    asked,
)
from tests.unit.test_tallies_models import told

ERROR_RATE = 1e-9
RUNS = 300
MEMBERS, POPULATION = 3000, 10_000
QUORUM, CONTRIBUTORS = 3, 5
COST = 40_000_000
SEED = 20261123
AGE = [{"variable": "age"}]
SBP = {"variable": "sbp"}
QUESTIONS: dict[str, dict[str, Any]] = {
    "count.v1": {"filters": [OVER_50]},
    "sum.v1": SBP,
    "mean.v1": {"variable": "bmi"},
    "variance.v1": {"variable": "bmi"},
    "histogram.v1": {"variable": "age", "edges": [18, 50, 65, 98]},
    "cross_table.v1": {"axes": [{"variable": "sex"}, {"variable": "age", "edges": [18, 50, 98]}]},
    "covariance.v1": {"variables": ["age", "bmi", "sbp"]},
    "correlation.v1": {"variables": ["age", "sbp"]},
    "linear_regression.v1": {"outcome": SBP, "predictors": PREDICTORS},
    "ridge.v1": {"outcome": SBP, "predictors": PREDICTORS, "penalty": "12.5"},
    "logistic.v1": {"outcome": DEATH, "predictors": AGE},
    "poisson.v1": {"outcome": {"variable": "visits"}, "predictors": AGE},
    "kaplan_meier.v1": {"time": "months", "event": DEATH},
    "log_rank.v1": {
        "time": "months",
        "event": DEATH,
        "group": "arm",
        "compare": ["control", "treated"],
    },
    "chi_square.v1": {"axes": [{"variable": "arm"}, {"variable": "status"}]},
    "score.v1": {"model": "0x" + "5c" * 32, "variables": ["age", "bmi", "sex=0"]},
}
SAMPLED = {
    *("linear_regression.v1", "ridge.v1", "logistic.v1"),
    *("poisson.v1", "kaplan_meier.v1", "log_rank.v1"),
}
AT_MOST = {"mean.v1": 0.4, "variance.v1": 0.4, "score.v1": 0.7}
"""What is foretold "at most", for the worst data: how much of it there must be. Everybody has every
value here, and no count is told above that, which takes half of its noise away.
"""
COVERED = {"covariance.v1": 0.94}
"""Of intervals of 95 %: its 4,000 draws, always the same, have them hold 94.3 % (37,500 measured)."""
SLACK = dict.fromkeys(SAMPLED, 0.15) | {"covariance.v1": 0.1, "correlation.v1": 0.1}
"""By how much a forecast may be off, being made of draws itself, and of the shapes it supposes; else 2%."""
HALVES = {"age": 40, "bmi": 25, "sbp": 100, "sex=male": 0.5}
EARLY = {("[0, 6)",), ("[6, 12)",), ("[12, 18)",)}


@pytest.fixture(scope="module")
def report() -> Any:
    """Prints one line for each analysis; `pytest -s` shows them."""
    lines: list[str] = []
    yield lines
    print("\n" + "\n".join(lines))


@dataclass(frozen=True)
class Answers:
    """Of each label that is judged: errors in the forecast's unit, and whether intervals held the truth."""

    forecast: Forecast
    errors: dict[tuple[str, ...], np.ndarray]
    covered: dict[tuple[str, ...], int]


def people(n: int, seed: int) -> np.ndarray:
    """What forecasts suppose: all known, unrelated, means in the middle, deviations a sixth of the range."""
    draw = np.random.default_rng(seed)
    age = np.clip(np.round(draw.normal(58, 80 / 6, n)), 18, 98)
    bmi = np.clip(np.round(draw.normal(70, 100 / 6, n)) * 5, 100, 600)
    sbp = np.clip(np.round(draw.normal(80, 100 / 6, n)) * 2, 60, 260)
    visits = np.clip(np.round(draw.normal(10, 20 / 6, n)), 0, 20)
    months = np.array([0, 6, 12, 18, 24, 36, 48])[np.arange(n) % 7]
    coins = [draw.integers(0, 2, n) for _ in range(3)]
    return np.stack([age, bmi, sbp, visits, months, *coins], axis=1).astype(int)


@cache
def ask(name: str) -> Asked:
    return asked(name, QUESTIONS[name])


def unit_of(name: str, label: tuple[str, ...]) -> float:
    """What one of the forecast's units is, in the answer's; 0 for what it does not foretell."""
    if name == "covariance.v1":
        return HALVES[label[0]] * HALVES[label[1]]
    if name == "kaplan_meier.v1":
        return float(label in EARLY)
    if name == "log_rank.v1":
        return float(label[-1] == "log hazard ratio")
    if name in SAMPLED:
        return (
            1 / (2 * HALVES[label[0]])
            if label[1:] == ("coefficient",) and label[0] in HALVES
            else 0.0
        )
    return 1.0


def noise_of(one: Asked) -> tuple[GaussianNoise, np.ndarray]:
    """Its description, and (RUNS, sums) of it, by the sampler that custodians use."""
    shares = one.tallied.shares(COST, QUORUM)
    scale, sums = shares.scale(CONTRIBUTORS), shares.sums
    drawn = np.array(gaussian(scale, RUNS * CONTRIBUTORS * sums))
    whole = drawn.reshape(CONTRIBUTORS, RUNS, sums).sum(axis=0)
    return one.tallied.noise(COST, CONTRIBUTORS, shares), whole


def answers(name: str) -> Answers:
    one = ask(name)
    forecast = TALLIES[name].foretell(
        one.parameters, one.encoding, MEMBERS, COST, QUORUM, CONTRIBUTORS
    )
    everybody = people(POPULATION if name in SAMPLED else MEMBERS, 3).tolist()
    vectors = one.vectors(everybody).astype(np.int64)
    noise, drawn = noise_of(one)
    if name == "chi_square.v1":  # its cells are not told: what goes into the statistic is foretold
        return Answers(forecast, {(): drawn.astype(float).ravel()}, {})
    truth = told(one.answer(everybody))
    labels = [each for each in truth if unit_of(name, each)]
    draw = np.random.default_rng(SEED)
    errors, covered = {each: np.zeros(RUNS) for each in labels}, dict.fromkeys(labels, 0)
    for i in range(RUNS):
        chosen = draw.integers(0, POPULATION, MEMBERS) if name in SAMPLED else slice(None)
        noised = (vectors[chosen].sum(axis=0) + drawn[i]).tolist()
        found = told(one.tallied.finish(noised, noise, MEMBERS, COST))
        for each in labels:
            value, low, high = found[each]
            errors[each][i] = (value - truth[each][0]) / unit_of(name, each)
            covered[each] += low <= truth[each][0] <= high
    return Answers(forecast, errors, covered)


@pytest.mark.parametrize("name", QUESTIONS)
def test_errors_are_what_was_foretold_and_intervals_hold_the_truth(
    name: str, report: list[str]
) -> None:
    print(f"seed {SEED}")
    found = answers(name)
    judged = ERROR_RATE / len(found.errors)
    slack = SLACK.get(name, 0.02)
    foretold = float(found.forecast.error.standard_error)
    runs = min(len(each) for each in found.errors.values())
    worst = max(float(np.sqrt(np.mean(each**2))) for each in found.errors.values())
    most = float(np.sqrt(stats.chi2.isf(judged, runs) / runs)) * (1 + slack)
    least = float(np.sqrt(stats.chi2.ppf(judged, runs) / runs)) * (1 - slack)
    inside = min(
        int(np.count_nonzero(np.abs(each) <= float(found.forecast.error.half_width) * (1 + slack)))
        for each in found.errors.values()
    )
    covered = min(found.covered.values(), default=RUNS)
    report.append(
        f"{name:22} foretold {foretold:12.5g}  found {worst:12.5g}  ratio {worst / foretold:5.3f} "
        f"({least:.2f} to {most:.2f})  within the half-width {inside / runs:.3f}  "
        f"intervals hold {covered / RUNS:.3f}"
    )
    assert worst <= foretold * most
    assert worst >= foretold * AT_MOST.get(name, 1.0) * least
    assert stats.binom.cdf(inside, runs, 0.95) >= judged
    assert stats.binom.cdf(covered, RUNS, COVERED.get(name, 0.95)) >= judged


def test_every_analysis_is_in_the_report() -> None:
    assert set(QUESTIONS) == set(TALLIES)


@pytest.mark.parametrize("name", ["mean.v1", "log_rank.v1"])
def test_the_report_sees_a_forecast_of_half_the_error(name: str) -> None:
    found = answers(name)
    worst = max(float(np.sqrt(np.mean(each**2))) for each in found.errors.values())
    most = float(np.sqrt(stats.chi2.isf(ERROR_RATE, RUNS) / RUNS)) * (1 + SLACK.get(name, 0.02))
    assert worst > float(found.forecast.error.standard_error) / 2 * most
