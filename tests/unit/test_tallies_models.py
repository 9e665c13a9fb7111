"""Without noise, matrices and models say what NumPy and SciPy say of the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from ml.dp.noised import Noised
from tests.support.tallied_study import Asked, asked, cohort, column
from tests.unit.test_tallies_sums import ask

PEOPLE = cohort(3000, 20261122)
SPREAD = 0.03
"""By which a standard error of 4000 draws may differ from its formula."""


def told(noised: Noised) -> dict[tuple[str, ...], tuple[float, float, float]]:
    return {e.label: (float(e.value), float(e.low), float(e.high)) for e in noised.estimates}


def complete(*names: str, people: Any = PEOPLE) -> np.ndarray:
    table = np.stack([column(people, name) for name in names], axis=1)
    return table[~np.isnan(table).any(axis=1)]


# --- matrices


def test_covariances_of_complete_cases_are_numpys() -> None:
    names = ["age", "bmi", "sbp"]
    truth = np.cov(complete(*names), rowvar=False, bias=True)
    found = told(ask("covariance").answer(PEOPLE))
    assert len(found) == 6
    for (one, other), (value, low, high) in found.items():
        expected = truth[names.index(one), names.index(other)]
        assert value == pytest.approx(expected, abs=1e-4 * abs(truth).max())
        assert low <= expected + 1e-3
        assert expected - 1e-3 <= high


def test_covariances_pairwise_use_all_who_have_both() -> None:
    found = told(ask("covariance pairwise").answer(PEOPLE))
    for (one, other), (value, _, _) in found.items():
        both = complete(one, other)
        expected = np.cov(both, rowvar=False, bias=True)[0, 1] if one != other else both[:, 0].var()
        assert value == pytest.approx(expected, rel=1e-3, abs=1e-2)


def test_correlations_are_numpys() -> None:
    men = [row for row in PEOPLE if row[5] == 1]
    both = complete("age", "sbp", people=men)
    ((value, low, high),) = told(ask("correlation").answer(PEOPLE)).values()
    assert value == pytest.approx(stats.pearsonr(*both.T).statistic, abs=1e-4)
    assert high - low <= 3e-4


def test_pairwise_correlations_have_each_variance_over_all_who_have_the_number() -> None:
    found = told(ask("correlation pairwise").answer(PEOPLE))
    for (one, other), (value, _, _) in found.items():
        both = complete(one, other)
        spreads = [complete(name)[:, 0].std() for name in (one, other)]
        expected = np.cov(both, rowvar=False, bias=True)[0, 1] / np.prod(spreads)
        assert value == pytest.approx(expected, abs=1e-4)


# --- least squares


def design_of(*names: str, people: Any = PEOPLE) -> tuple[np.ndarray, np.ndarray]:
    """1, the predictors (sex as male or not), and the outcome, which is last; of complete cases."""
    table = complete(*names, people=people)
    if "sex" in names:
        table[:, names.index("sex")] = table[:, names.index("sex")] == 1
    return np.column_stack([np.ones(len(table)), table[:, :-1]]), table[:, -1]


def least_squares(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    fitted, _, _, _ = np.linalg.lstsq(x, y)
    residual = y - x @ fitted
    variance = residual @ residual / (len(y) - x.shape[1])
    return fitted, np.sqrt(np.diag(variance * np.linalg.inv(x.T @ x)))


def compare(found: Any, names: list[str], truth: np.ndarray, errors: np.ndarray) -> None:
    for name, expected, error in zip(names, truth, errors, strict=True):
        value, low, high = found[name, "coefficient"]
        assert value == pytest.approx(expected, rel=1e-3, abs=1e-3 * error)
        stated = found[name, "standard error"]
        assert stated[0] == stated[1] == stated[2] == pytest.approx(error, rel=SPREAD)
        assert high - low == pytest.approx(2 * 1.96 * error, rel=2 * SPREAD)


def test_linear_regression_is_least_squares_with_its_standard_errors() -> None:
    fitted, errors = least_squares(*design_of("age", "sex", "sbp"))
    answer = ask("linear").answer(PEOPLE)
    assert answer.covers == "noise and sampling"
    compare(told(answer), ["intercept", "age", "sex=male"], fitted, errors)


def test_absent_predictors_stand_in_the_middle_if_that_is_asked() -> None:
    middles = {"age": 58.0, "sex": 0.5, "bmi": 35.0, "visits": 10.0}
    with_outcome = [row for row in PEOPLE if row[2] is not None]
    columns = [np.ones(len(with_outcome))]
    for name, middle in middles.items():
        raw = column(with_outcome, name)
        values = np.where(np.isnan(raw), np.nan, raw == 1) if name == "sex" else raw
        columns.append(np.where(np.isnan(values), middle, values))
    fitted, errors = least_squares(np.stack(columns, axis=1), column(with_outcome, "sbp"))
    found = told(ask("linear of the middle").answer(PEOPLE))
    compare(found, ["intercept", "age", "sex=male", "bmi", "visits"], fitted, errors)


@pytest.mark.parametrize("penalty", [12.5, 400.0])
def test_ridge_is_least_squares_with_rows_of_its_penalty_and_its_own_standard_errors(
    penalty: float,
) -> None:
    """sigma^2 (X'X + P)^-1 X'X (X'X + P)^-1: of what the penalised estimate does, not of least squares."""
    x, y = design_of("age", "sex", "sbp")
    halves, middles, (half, middle) = np.array([40, 0.5]), np.array([58, 0.5]), (100, 160)
    scaled = np.column_stack([x[:, 0], (x[:, 1:] - middles) / halves])
    rows = np.sqrt(penalty) * np.eye(3)[1:]
    whole = np.vstack([scaled, rows]), np.append((y - middle) / half, [0, 0])
    fitted, _, _, _ = np.linalg.lstsq(*whole)
    to_units = np.diag([half, *half / halves])
    to_units[0, 1:] = -middles * half / halves
    truth = to_units @ fitted + [middle, 0, 0]
    residual = y - x @ truth
    inverse = np.linalg.inv(scaled.T @ scaled + rows.T @ rows)
    moves = to_units @ inverse @ scaled.T / half
    errors = np.sqrt(residual @ residual / (len(y) - 3) * np.diag(moves @ moves.T))
    found = told(
        asked("ridge.v1", {**linear_parameters(), "penalty": f"{penalty:g}"}).answer(PEOPLE)
    )
    compare(found, ["intercept", "age", "sex=male"], truth, errors)
    plain, larger = least_squares(x, y)
    assert abs(truth[1]) < abs(plain[1])
    assert errors[1] < larger[1]


def test_ridge_without_penalty_is_linear_regression() -> None:
    name, given = "ridge.v1", {**linear_parameters(), "penalty": "0"}
    free = told(asked(name, given).answer(PEOPLE))
    assert free == told(ask("linear").answer(PEOPLE))


def linear_parameters() -> dict[str, Any]:
    document: dict[str, Any] = ask("linear").parameters.document()
    return document


# --- where nothing can be told

HOPELESS = ["covariance", "correlation", "linear", "ridge", "logistic", "poisson"]


@pytest.mark.parametrize("question", [*HOPELESS, "survival", "log-rank", "chi-square"])
@pytest.mark.parametrize("scale", [3.0, 1e5, 1e9])
def test_noise_that_drowns_everything_makes_wide_intervals_and_no_failure(
    question: str, scale: float
) -> None:
    one = ask(question)
    draw = np.random.default_rng(1)
    for people in (PEOPLE[:30], [[None] * 8] * 30):
        exact = np.array(one.exact(people), dtype=float)
        for _ in range(3):
            noised = np.round(exact + scale * draw.standard_normal(len(exact))).astype(int)
            answer = one.answer(people, scale, noised.tolist())
            assert Noised.from_json(answer.to_json()) == answer
            for value, low, high in told(answer).values():
                assert low <= value <= high


def test_a_regression_on_nobody_says_that_it_cannot_tell() -> None:
    nobody = [[None] * 8] * 30
    for question in ("linear", "logistic", "poisson"):
        one = ask(question)
        draw = np.random.default_rng(2)
        noised = np.round(1e9 * draw.standard_normal(len(one.tallied.wanted))).astype(int)
        found = told(one.answer(nobody, 1e9, noised.tolist()))
        _, low, high = found["age", "coefficient"]
        largest = {"linear": 200, "logistic": 16, "poisson": np.log(20_000)}[question]
        assert (low, high) == (pytest.approx(-largest, rel=1e-3), pytest.approx(largest, rel=1e-3))


def test_correlations_of_nobody_may_be_anything() -> None:
    for noised in ([0] * 6, [-5] * 6):
        ((value, low, high),) = told(one_of("correlation", noised)).values()
        assert (value, low, high) == (0, -1, 1)


def one_of(question: str, noised: list[int]) -> Noised:
    one: Asked = ask(question)
    return one.answer([[None] * 8] * 30, 1e6, noised)
