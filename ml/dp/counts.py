"""Counts: of members that meet conditions, and of members in each cell of a table."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ml.dp.domain import Condition, Ints, Table
from ml.dp.interval import clamp, half_width, within
from ml.dp.noise import GaussianNoise, add_gaussian, gaussian_noise
from ml.dp.noised import Estimate, ExpectedError, Noised, interval_estimate, scale_text

COUNT_SENSITIVITY = 1
# One replacement takes one member out of at most one cell and puts it into at most one other.
CELLS_SQUARED_SENSITIVITY = 2


def count_noise(members: int, cost: int) -> GaussianNoise:
    """Noise for one count. Raises CostRefused, NotRepresentable."""
    return gaussian_noise(cost, COUNT_SENSITIVITY**2, members)


def cells_noise(members: int, cost: int) -> GaussianNoise:
    """Noise for every cell of a table of counts. Raises CostRefused, NotRepresentable."""
    return gaussian_noise(cost, CELLS_SQUARED_SENSITIVITY, members)


def expected_count_error(noise: GaussianNoise) -> ExpectedError:
    """Error of one count, or of each cell, in members; holds for any data."""
    return ExpectedError(noise.sigma, Fraction(half_width(noise)))


def exact_count(table: Table, conditions: Sequence[Condition]) -> int:
    """The un-noised count; never to be released.

    Sensitivity 1: a member counts 1 or 0 (0 when null or filtered out), so replacing one record
    moves the sum by at most 1.
    """
    return int(np.count_nonzero(table.members([], conditions)))


def noised_count(table: Table, conditions: Sequence[Condition], cost: int) -> Noised:
    """Members that meet every condition, a number in [0, n], with a 95% interval for the noise.

    rho-zCDP with rho = 1 / (2 sigma^2) <= cost; replacement of one member's record, null allowed.
    Raises CostRefused, NotRepresentable.
    """
    noise = count_noise(table.n, cost)
    (noised,) = add_gaussian([exact_count(table, conditions)], noise)
    return count_answer(noised, noise, table.n)


def count_answer(noised: int, noise: GaussianNoise, members: int) -> Noised:
    """What `noised_count` says, from a noised `exact_count`."""
    estimate = _cell((), noised, members, noise)
    text = _noise_text("count", noise)
    return Noised("count", "members", (estimate,), text, noise.cost, members)


def exact_cells(cells: Ints, number: int) -> list[int]:
    """The un-noised count of each cell; never to be released.

    cells: (m,) int64 in 0..number-1, one for each member that is in a cell (nulls and members that
    are filtered out are not). L2 sensitivity sqrt(2): one replacement changes at most two counts,
    by one each.
    """
    return [int(count) for count in np.bincount(cells, minlength=number)]


def noised_cells(cells: Ints, labels: Sequence[tuple[str, ...]], members: int, cost: int) -> Noised:
    """Members in each labelled cell, each in [0, n], each with its own 95% interval for the noise.

    The intervals hold one by one, not all together.
    rho-zCDP with rho = 2 / (2 sigma^2) <= cost, for the whole table at once; replacement of one
    member's record, null allowed. Raises CostRefused, NotRepresentable.
    """
    noise = cells_noise(members, cost)
    return cells_answer(
        add_gaussian(exact_cells(cells, len(labels)), noise), noise, labels, members
    )


def cells_answer(
    noised: Sequence[int], noise: GaussianNoise, labels: Sequence[tuple[str, ...]], members: int
) -> Noised:
    """What `noised_cells` says, from noised `exact_cells`, one for each label."""
    estimates = tuple(
        _cell(label, value, members, noise) for label, value in zip(labels, noised, strict=True)
    )
    text = _noise_text("cell", noise)
    return Noised("counts", "members", estimates, text, noise.cost, members)


def _cell(label: tuple[str, ...], noised: int, members: int, noise: GaussianNoise) -> Estimate:
    low, high = Fraction(0), Fraction(members)
    wide = half_width(noise)
    value = clamp(Fraction(noised), low, high)
    bounds = within((Fraction(noised - wide), Fraction(noised + wide)), value, low, high)
    return interval_estimate(value, bounds, 0, label)


def _noise_text(name: str, noise: GaussianNoise) -> tuple[tuple[str, str], ...]:
    return ((name, scale_text(noise.sigma)),)
