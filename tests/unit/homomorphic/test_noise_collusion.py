"""What is left of an answer's noise for k - 1 custodians, who take off what they put in.

Not of what the sampler draws, but of what is contributed, proved and encrypted, added up and opened. Each of
these tests fails a correct lane with probability 1e-9 at most.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest

from ml.homomorphic.logarithm import Table
from ml.homomorphic.noise import Contributor, Shares, contribute, verify_contribution
from ml.homomorphic.threshold import Sum, sums_from_bytes
from tests.support.daily import daily
from tests.support.noise_statistics import (
    SHAPE,
    Draws,
    mean_of_squares,
    shape_p_value,
    variance_limits,
)
from tests.support.tallying import PUBLIC, decrypted, encrypted

TABLE = Table.build(1000)
COST = 200_000_000
SQUARED = 36
SIGMA_SQUARED = SQUARED / (2 * 0.2)  # 90: what one trusted party would add
SUMS = 512  # of one request
ANSWERS = 1000
"""True sums lie in 0..ANSWERS."""

SETS = [(k, m) for k, n in ((2, 3), (3, 5)) for m in range(k, n + 1)]
"""Every quorum and every size of a set whose noise counts."""


@dataclass(frozen=True)
class Opened:
    """The noise of many sums as answers have it, (sums,), and each contributor's own, (m, sums)."""

    whole: Draws
    own: Draws

    def without(self, known: tuple[int, ...]) -> Draws:
        """What those contributors, who know their own, cannot tell from the answer."""
        left: Draws = self.whole - self.own[list(known)].sum(axis=0)
        return left


def opened(shares: Shares, size: int, requests: int) -> Opened:
    found = [one_request(shares, size, request) for request in range(requests)]
    wholes, owns = [each.whole for each in found], [each.own for each in found]
    return Opened(np.concatenate(wholes), np.concatenate(owns, axis=1))


def one_request(shares: Shares, size: int, request: int) -> Opened:
    session = hashlib.sha256(request.to_bytes(4, "big")).digest()
    true = np.arange(SUMS) * ANSWERS // SUMS
    sums, own = encrypted(true.tolist()), []
    for place in range(size):
        by = Contributor(session, place)
        given = contribute(shares, size, PUBLIC, by)
        if request == 0:
            verify_contribution(given, shares, size, PUBLIC, by)
        added = sums_from_bytes(given.columns)
        own.append(values_of(added, -shares.bound(size), shares.bound(size)))
        sums = [one + other for one, other in zip(sums, added, strict=True)]
    room = size * shares.bound(size)
    return Opened(values_of(sums, -room, ANSWERS + room) - true, np.stack(own))


def values_of(sums: list[Sum], low: int, high: int) -> Draws:
    return np.array(TABLE.find([decrypted(each) for each in sums], low, high), dtype=np.int64)


def splits(quorum: int, size: int) -> list[tuple[int, ...]]:
    return list(combinations(range(size), quorum - 1))


def require_enough(found: Opened, quorum: int, expected: float) -> None:
    """For every set of k - 1 contributors, of the noise that the others made."""
    colluding = splits(quorum, len(found.own))
    draws = len(found.whole)
    low, high = variance_limits(draws, 2 * len(colluding))  # half the errors each: variance, shape
    for known in colluding:
        left = found.without(known)
        variance, shape = mean_of_squares(left), shape_p_value(left, expected)
        print(
            f"no seed, {draws} sums: without {known} {variance:.2f} of {expected:.2f}, p {shape:.2g}"
        )
        assert low * expected < variance < high * expected
        assert shape > SHAPE / (2 * len(colluding))


CASES = [(quorum, size, 8) for quorum, size in SETS]
DAILY = (2, 3, 2)


def said(case: tuple[int, int, int]) -> str:
    return f"quorum {case[0]}, {case[1]} contributors, {case[2]} requests"


@pytest.mark.parametrize("case", daily([DAILY, *CASES], [DAILY]), ids=said)
def test_what_a_coalition_cannot_take_off_an_answer_is_noise_enough(
    case: tuple[int, int, int],
) -> None:
    """As a discrete Gaussian of variance (m - k + 1) s^2, which is sigma^2 or more."""
    quorum, size, requests = case
    shares = Shares(COST, SQUARED, SUMS, quorum)
    expected = (size - quorum + 1) * shares.scale(size) ** 2
    assert SIGMA_SQUARED <= expected < SIGMA_SQUARED * (1 + 1e-9)
    require_enough(opened(shares, size, requests), quorum, expected)


class Careless(Shares):
    """Splits sigma^2 among all contributors, as though none of them colluded."""

    def scale(self, contributors: int) -> float:
        return math.sqrt(SIGMA_SQUARED / contributors)


@pytest.mark.parametrize("case", daily(CASES, []), ids=said)
def test_noise_that_is_split_as_though_nobody_colluded_is_seen(case: tuple[int, int, int]) -> None:
    """Of a coalition; the whole has the variance that it should."""
    quorum, size, requests = case
    found = opened(Careless(COST, SQUARED, SUMS, quorum), size, requests)
    low, high = variance_limits(len(found.whole), 2)
    assert low * SIGMA_SQUARED < mean_of_squares(found.whole) < high * SIGMA_SQUARED
    for known in splits(quorum, size):
        assert mean_of_squares(found.without(known)) < low * SIGMA_SQUARED


@pytest.mark.parametrize("known", [(0,), (1,), (2,)])
def test_a_contribution_that_is_no_noise_is_seen(known: tuple[int, ...]) -> None:
    """Where one of two honest contributors adds nothing, only a coalition with it has all it should have."""
    rng = np.random.default_rng(5)
    own = np.rint(rng.normal(0, math.sqrt(SIGMA_SQUARED / 2), (3, 4096))).astype(np.int64)
    own[2] = 0
    found = Opened(own.sum(axis=0), own)
    low, high = variance_limits(4096, 1)
    enough = low * SIGMA_SQUARED < mean_of_squares(found.without(known)) < high * SIGMA_SQUARED
    assert enough == (known == (2,))
