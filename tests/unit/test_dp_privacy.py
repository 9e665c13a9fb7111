"""Someone who compares two neighbouring cohorts learns no more than the ledger says.

For any event, the binary Kullback-Leibler divergence of its two probabilities is at most the
mechanism's, which is at most rho (order 1 of zCDP). Measured probabilities are taken at the ends of
Clopper-Pearson bounds, so that a sound mechanism fails with probability 1e-9 at most.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from marketplace.analyses import CATALOGUE
from ml.dp.accounting import MAX_COST
from ml.dp.clipping import Clip, Measured
from ml.dp.domain import Table, Variable
from ml.dp.noise import add_gaussian
from ml.dp.noised import Noised
from ml.dp.sums import exact_sum, sum_noise

ERROR_RATE = 1e-9
RUNS = 1400  # enough to see a mechanism that spends nine times what it says
HONEST_RUNS = 600
COST = 400_000_000
X = Variable("x", "number", "u", 0, 10, 0)
SEX = Variable("sex", "category", categories=("f", "m"))
DICTIONARY = {"x": X, "sex": SEX}

Event = Callable[[Noised], bool]


def cohort(last: tuple[int, int] | None) -> Table:
    """Five people in the middle, and one whose record the attacker guesses; None is null."""
    x, sex = last or (0, 0)
    valid = np.array([True] * 5 + [last is not None])
    columns = {"x": np.array([5, 4, 6, 5, 5, x]), "sex": np.array([0, 1, 0, 1, 0, sex])}
    return Table(columns, {"x": valid, "sex": valid.copy()}, 6)


def above(limit: float, cell: int = 0) -> Event:
    return lambda noised: float(noised.estimates[cell].value) > limit


OVER_7: dict[str, object] = {"filters": [{"variable": "x", "op": ">", "value": 7}]}
LOW, HIGH = cohort((0, 0)), cohort((10, 1))
GAMES: dict[str, tuple[str, dict[str, object], Table, Table, Event]] = {
    "count": ("count.v1", OVER_7, HIGH, LOW, above(0.5)),
    "count of a null": ("count.v1", OVER_7, HIGH, cohort(None), above(0.5)),
    "sum": ("sum.v1", {"variable": "x"}, HIGH, LOW, above(30)),
    "mean": ("mean.v1", {"variable": "x"}, HIGH, LOW, above(5)),
    "mean of a null": ("mean.v1", {"variable": "x"}, HIGH, cohort(None), above(5.4)),
    "variance": ("variance.v1", {"variable": "x"}, HIGH, cohort((5, 0)), above(2)),
    "histogram": ("histogram.v1", {"variable": "sex"}, HIGH, LOW, above(2.5, 1)),
    "quantile": ("quantile.v1", {"variable": "x", "level": "0.9"}, HIGH, LOW, above(8)),
    "cross table": (
        "cross_table.v1",
        {"axes": [{"variable": "sex"}, {"variable": "x", "edges": [0, 5, 10]}]},
        HIGH,
        LOW,
        above(1.5, 3),
    ),
}


def divergence_shown(hits_one: int, hits_other: int, runs: int) -> float:
    """The least binary divergence that these hits allow, either way round."""
    bounds = [
        stats.binomtest(hits, runs).proportion_ci(1 - ERROR_RATE / 2, method="exact")
        for hits in (hits_one, hits_other)
    ]
    one, other = bounds
    if one.low <= other.high and other.low <= one.high:
        return 0.0
    p, q = (one.low, other.high) if one.low > other.high else (one.high, other.low)
    return max(binary_divergence(p, q), binary_divergence(q, p))


def binary_divergence(p: float, q: float) -> float:
    parts = [(p, q), (1 - p, 1 - q)]
    return sum(a * math.log(a / b) for a, b in parts if a > 0)


def play(game: str, cost: int, runs: int) -> float:
    name, given, one, other, event = GAMES[game]
    analysis = CATALOGUE[name]
    parameters = analysis.parse(given, DICTIONARY)
    hits = [
        sum(event(analysis.run(parameters, table, cost)) for _ in range(runs))
        for table in (one, other)
    ]
    return divergence_shown(hits[0], hits[1], runs)


@pytest.mark.parametrize("game", GAMES)
def test_neighbouring_cohorts_are_told_apart_no_better_than_the_cost_allows(game: str) -> None:
    runs = HONEST_RUNS // 2 if game == "quantile" else HONEST_RUNS  # eleven draws in each run
    assert play(game, COST, runs) <= COST / 1e9


@pytest.mark.parametrize("game", ["count", "mean"])
def test_the_game_sees_a_mechanism_that_spends_nine_times_its_ledger(game: str) -> None:
    honest = 100_000_000
    assert play(game, 9 * honest, RUNS) > honest / 1e9


# --- the same question before and after a patient leaves, and once more when she is back

MEASURED = Measured(X, Clip(0, 10))
STUDY_COST = 200_000_000
LATER = 9  # answers without her, each at the highest cost there is
ROUNDS = 2_000


def without_the_last(table: Table) -> Table:
    keep = {name: column[:-1] for name, column in table.columns.items()}
    return Table(keep, {name: valid[:-1] for name, valid in table.valid.items()}, table.n - 1)


def sums(table: Table, cost: int, times: int) -> np.ndarray:
    """(ROUNDS,) the mean of so many released sums, in each round of the game."""
    total = exact_sum(MEASURED.values(table), MEASURED.clip)
    drawn = add_gaussian([total] * (ROUNDS * times), sum_noise(MEASURED.clip, table.n, cost))
    return np.array(drawn).reshape(ROUNDS, times).mean(axis=1)


def divergence_of_differences(cost: int, times: int) -> float:
    """What the answers with her, so many, and those without her show together about her record."""
    hits = [
        int(np.count_nonzero(sums(t, cost, times) - sums(without_the_last(t), MAX_COST, LATER) > 5))
        for t in (HIGH, LOW)
    ]
    return divergence_shown(hits[0], hits[1], ROUNDS)


@pytest.mark.parametrize("times", [1, 2], ids=["leaves", "leaves and comes back"])
def test_differencing_around_a_revocation_shows_no_more_than_the_patient_was_charged(
    times: int,
) -> None:
    """Answers without her are charged to others and say nothing of her: nothing is refunded, nor free."""
    assert divergence_of_differences(STUDY_COST, times) <= STUDY_COST * times / 1e9


def test_the_differences_see_a_ledger_that_forgets_by_regranting() -> None:
    """Nine requests at the price of one: what resetting a budget would allow."""
    charged = 100_000_000
    assert divergence_of_differences(charged, 9) > charged / 1e9
