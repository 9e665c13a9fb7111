"""Nobody reads the truth from the last bits of a released number.

Mironov (CCS 2012, "On significance of the least significant bits for differential privacy"): a sampler
that computes noise in floating point can produce some doubles and not others, and which ones depends on
the true answer, so that whoever knows two possible answers often sees that only one of them could have
given this output. The attack is written out here and wins against two such samplers. Against ours, whose
noise is OpenDP's exact discrete Gaussian on integers, it does no better than guessing, by more than rho
allows to anybody.

A game asks: which of two neighbouring answers was it? By Pinsker's inequality rho-zCDP lets nobody win
more often than 1/2 + sqrt(rho / 2) / 2. The bound on chance is Hoeffding's: a sound sampler fails a
test with probability 1e-9 at most.
"""

import math
from collections.abc import Callable, Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special

from ml.dp.accounting import rho
from ml.dp.clipping import Clip, Measured
from ml.dp.counts import noised_count
from ml.dp.domain import Table, Variable
from ml.dp.noise import add_gaussian, gaussian_noise
from ml.dp.sums import noised_sum

ERROR_RATE = 1e-9
ROUNDS = 20_000
LUCK = math.sqrt(math.log(1 / ERROR_RATE) / (2 * ROUNDS))
COST = 1_000_000  # nano-rho; nobody may win more often than 0.512
SCALE = gaussian_noise(COST, 1, 2_000).scale
GRID = 2.0**53  # a uniform double is one of so many fractions
NEAR = np.arange(-24, 25)  # so many grid points off, the rounding of a distribution function can be
PAIRS = [(0, 1), (1_000, 1_001), (-3, 4)]

Floats = npt.NDArray[np.float64]
Function = Callable[[Floats], Floats]
Guess = npt.NDArray[np.bool_]


def laplace_quantile(u: Floats) -> Floats:
    """As NumPy's generator computes it from one uniform number."""
    return np.where(u < 0.5, np.log(u + u), -np.log(2.0 - u - u))


def laplace_cdf(x: Floats) -> Floats:
    return np.where(x < 0, 0.5 * np.exp(x), 1 - 0.5 * np.exp(-x))


def gaussian_quantile(u: Floats) -> Floats:
    return np.asarray(special.ndtri(u), dtype=np.float64)


def gaussian_cdf(x: Floats) -> Floats:
    return np.asarray(special.ndtr(x), dtype=np.float64)


SAMPLERS: dict[str, tuple[Function, Function]] = {
    "laplace": (laplace_quantile, laplace_cdf),
    "gaussian": (gaussian_quantile, gaussian_cdf),
}


def could_give(outputs: Floats, truth: int, scale: float, sampler: str) -> Guess:
    """Whether some uniform double leads from this truth to exactly this output."""
    quantile, cdf = SAMPLERS[sampler]
    place = np.rint(cdf((outputs - truth) / scale) * GRID)
    nearby = np.clip(place[:, None] + NEAR, 1, GRID - 1) / GRID
    found: Guess = (truth + scale * quantile(nearby) == outputs[:, None]).any(axis=1)
    return found


def attack(outputs: Floats, pair: tuple[int, int], scale: float, sampler: str) -> Guess:
    """True where the second truth is guessed; a coin decides where both or neither could be."""
    first, second = (could_give(outputs, truth, scale, sampler) for truth in pair)
    coins = np.random.default_rng(7).random(len(outputs)) < 0.5
    return np.where(first == second, coins, second)


def won(guesses: Guess) -> float:
    """The first half of the rounds was played with the first truth, the second with the second."""
    half = len(guesses) // 2
    return float(np.mean(guesses == np.repeat([False, True], half)))


def look_up(known: Sequence[Floats], outputs: Floats) -> Guess:
    """As `attack`, without knowing how the noise is made: by what each truth was seen to give before."""
    first, second = (np.isin(outputs, each) for each in known)
    coins = np.random.default_rng(8).random(len(outputs)) < 0.5
    return np.where(first == second, coins, second)


def floating(truth: int, sampler: str, bits: int = 53, seed: int = 0) -> Floats:
    """What not to do: noise is a function of one double, of so many random bits, and added to another."""
    drawn = np.random.default_rng([seed, truth]).integers(1, 2**bits, ROUNDS // 2)
    return truth + SCALE * SAMPLERS[sampler][0](drawn / 2.0**bits)


def ours(truth: int, distance: int = 1) -> Floats:
    noise = gaussian_noise(COST, distance**2, 2_000)
    return np.array(add_gaussian([truth] * (ROUNDS // 2), noise), dtype=np.float64)


def most_allowed() -> float:
    return 0.5 + math.sqrt(float(rho(COST)) / 2) / 2 + LUCK


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_attack_tells_the_truth_behind_floating_point_noise(sampler: str) -> None:
    outputs = np.concatenate([floating(truth, sampler) for truth in (0, 1)])
    assert won(attack(outputs, (0, 1), SCALE, sampler)) > 0.8 > most_allowed()


@pytest.mark.parametrize("pair", PAIRS)
def test_the_attack_on_ours_does_no_better_than_rho_allows(pair: tuple[int, int]) -> None:
    distance = pair[1] - pair[0]
    outputs = np.concatenate([ours(truth, distance) for truth in pair])
    for sampler in SAMPLERS:
        guesses = attack(outputs, pair, SCALE * distance, sampler)
        assert won(guesses) <= most_allowed()


def test_looking_outputs_up_betrays_a_sampler_of_few_bits() -> None:
    known, outputs = (
        [floating(truth, "gaussian", bits=12, seed=seed) for truth in (0, 1)] for seed in (1, 2)
    )
    assert won(look_up(known, np.concatenate(outputs))) > 0.8 > most_allowed()


def test_looking_outputs_of_ours_up_does_no_better_than_rho_allows() -> None:
    known, outputs = ([ours(truth) for truth in (0, 1)] for _ in range(2))
    assert won(look_up(known, np.concatenate(outputs))) <= most_allowed()


def table(values: Sequence[int]) -> Table:
    column = np.array(values, dtype=np.int64)
    return Table({"x": column}, {"x": np.ones(len(values), dtype=bool)}, len(values))


def test_what_is_released_lies_on_the_grid_of_the_data() -> None:
    """Whole numbers and no other, so that there are no last bits to look at."""
    drawn = add_gaussian([1_000] * 100, gaussian_noise(COST, 1, 2_000))
    assert {type(value) for value in drawn} == {int}
    variable = Variable("x", "number", "u", -1_000, 1_000, 1)  # stored in tenths
    measured = Measured(variable, Clip(-1_000, 1_000))
    for _ in range(50):
        (counted,) = noised_count(table([3] * 500), [], COST).estimates
        (summed,) = noised_sum(table([3] * 500), measured, COST).estimates
        assert Decimal(counted.value) % 1 == 0
        assert (Decimal(summed.value) * 10) % 1 == 0
