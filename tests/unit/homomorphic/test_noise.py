"""Whoever colludes, what the others add is enough alone; and nobody adds more than the bound.

Each statistical test fails a correct sampler with probability 1e-9 at most.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ml.dp.accounting import MAX_COST, CostRefused, rho
from ml.dp.noise import gaussian_mechanism
from ml.homomorphic import noise, validity
from ml.homomorphic.curve import ORDER, times_base
from ml.homomorphic.elgamal import draw_randomness, encrypt
from ml.homomorphic.logarithm import Table
from ml.homomorphic.noise import (
    LARGEST_BOUND,
    LEAST_SCALE,
    ROOM,
    Contribution,
    Contributor,
    Sampler,
    Shares,
    contribute,
    gaussian,
    inflation,
    verify_contribution,
)
from ml.homomorphic.relation import Builder, combined
from ml.homomorphic.threshold import Sum, sums_from_bytes
from ml.homomorphic.validity import ProofInvalid, Statement, prove, verify
from tests.support.noise_statistics import ERROR_RATE, SHAPE, shape_p_value, variance_limits
from tests.support.tallying import CONTEXT, PUBLIC, decrypted

DRAWS = 20_000
TABLE = Table.build(500)
SETS = [(quorum, size) for size in range(1, 17) for quorum in range(1, size + 1)]
COSTS = [1, 7, 1_000, 1_000_000, 55_555_555, MAX_COST - 1, MAX_COST]
SQUARED = [1, 2, 3, 49, 10_007, 2**40 + 1, 2**72]


def honest_of(size: int, quorum: int) -> int:
    return size - (quorum - 1)


# --- what is enough


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("squared", SQUARED)
def test_the_honest_of_any_set_add_what_the_cost_needs_exactly(cost: int, squared: int) -> None:
    """h s^2 >= D^2 / (2 rho), in exact fractions; and no more than that by a billionth."""
    needed = Fraction(squared) / (2 * rho(cost))
    for quorum, size in SETS:
        scale = Shares(cost, squared, 5, quorum).scale(size)
        variance, honest = Fraction(scale) ** 2, honest_of(size, quorum)
        assert honest * variance >= needed
        least = Fraction(LEAST_SCALE) ** 2
        assert scale >= LEAST_SCALE
        assert variance == least or honest * variance <= needed * (1 + Fraction(1, 10**9))
        assert scale == LEAST_SCALE or needed > honest * least * (1 - Fraction(1, 10**9))


def tau_above(scale: float, honest: int) -> Fraction:
    """Kairouz, Liu and Steinke 2021, proposition 14, in 60 digits and rounded up."""
    if scale > 100:
        return Fraction(1, 10**400)  # less than exp(-9 * 100^2) a term
    with localcontext() as context:
        context.prec = 60
        pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
        square = Decimal(scale) ** 2
        terms = [(-2 * pi * pi * square * j / (j + 1)).exp() for j in range(1, honest)]
        return Fraction(10 * sum(terms, Decimal(0))) * (1 + Fraction(1, 10**40))


@pytest.mark.parametrize("cost", [1_000, 55_555_555, MAX_COST])
@pytest.mark.parametrize("sums", [1, 512, 10**6])
def test_many_sums_cost_no_more_than_the_cost(cost: int, sums: int) -> None:
    """(1/2) eps^2 <= rho with eps^2 = D^2 / (h s^2) + tau d / 2, by a reading of its own."""
    for quorum, size in SETS:
        scale = Shares(cost, sums, sums, quorum).scale(size)
        honest = honest_of(size, quorum)
        squared = Fraction(sums) / (honest * Fraction(scale) ** 2)
        squared += tau_above(scale, honest) * sums / 2
        assert squared / 2 <= rho(cost)


@pytest.mark.parametrize("honest", [2, 3, 16, 64, 1000])
def test_at_the_least_scale_sums_of_discrete_gaussians_are_one_for_every_purpose(
    honest: int,
) -> None:
    assert 0 < tau_above(LEAST_SCALE, honest) < Fraction(16, 10**37)


def test_little_noise_is_raised_to_the_least_scale() -> None:
    assert Shares(MAX_COST, 1, 1, 1).scale(1) == LEAST_SCALE == 3.0
    assert Shares(MAX_COST, 18, 1, 1).scale(1) > LEAST_SCALE  # 18 / 2 = 3^2 and a hair
    assert Shares(MAX_COST, 36, 1, 1).scale(2) > LEAST_SCALE
    assert Shares(MAX_COST, 17, 1, 1).scale(1) == LEAST_SCALE


def test_a_scale_below_what_the_cost_needs_never_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = Shares(1_000_000, 4, 3, 2)
    scale = shares.scale(4)
    shares._require_private(scale, 3)
    with pytest.raises(ArithmeticError, match="below what the cost needs"):
        shares._require_private(scale * (1 - 1e-9), 3)
    with pytest.raises(ArithmeticError, match="below what the cost needs"):
        shares._require_private(scale, 2)
    with pytest.raises(ArithmeticError, match="below what the cost needs"):
        replace(shares, squared_sensitivity=5)._require_private(scale, 3)
    with pytest.raises(ArithmeticError, match="below what the cost needs"):
        replace(shares, cost=999_999)._require_private(scale, 3)
    monkeypatch.setattr(noise, "scale_for", lambda cost, squared: 3.0)
    with pytest.raises(ArithmeticError, match="below what the cost needs"):
        shares.scale(4)


def test_tau_counts() -> None:
    """At scale 1, far below the least, sums of discrete Gaussians are dearer than one."""
    shares = Shares(MAX_COST, 2, 10**6, 1)
    shares._require_private(1.0, 1)  # one contributor: no sum, no tau
    with pytest.raises(ArithmeticError):
        replace(shares, squared_sensitivity=1)._require_private(1.0, 2)
    replace(shares, squared_sensitivity=1, sums=1)._require_private(1.0, 2)


@pytest.mark.parametrize(("quorum", "size"), [(0, 3), (-1, 3), (2, 1), (3, 2), (1, 0)])
def test_fewer_contributors_than_the_quorum_have_no_scale(quorum: int, size: int) -> None:
    with pytest.raises(ValueError, match="as many contributors"):
        Shares(1_000, 1, 1, quorum).scale(size)


@pytest.mark.parametrize("cost", [0, -1, MAX_COST + 1])
def test_a_cost_out_of_range_is_refused(cost: int) -> None:
    with pytest.raises(CostRefused):
        Shares(cost, 1, 1, 1).scale(1)


@given(st.integers(1, 2**64))
def test_the_root_that_divides_is_never_rounded_up(whole: int) -> None:
    """Rounded up it would make the scale too small; it is less than 2^-60 below."""
    root = noise._root_down(whole)
    assert root**2 <= whole
    assert (root * (1 + Fraction(1, 2**60))) ** 2 > whole


@pytest.mark.parametrize(("quorum", "size"), SETS)
def test_the_whole_is_inflated_by_the_set_over_its_honest(quorum: int, size: int) -> None:
    shares = Shares(1_000, 12, 1, quorum)
    honest = honest_of(size, quorum)
    assert inflation(size, quorum) == Fraction(size, honest)
    alone = Fraction(12) / (2 * rho(1_000))
    expected = alone * inflation(size, quorum)
    assert expected <= shares.sigma(size) ** 2 <= expected * (1 + Fraction(1, 10**8))
    assert shares.sigma(size) ** 2 >= size * Fraction(shares.scale(size)) ** 2


@given(st.integers(1, MAX_COST), st.integers(1, 2**40), st.sampled_from(SETS))
def test_the_bound_is_the_room_in_scales_rounded_up(
    cost: int, squared: int, sets: tuple[int, int]
) -> None:
    shares = Shares(cost, squared, 1, sets[0])
    bound, scale = shares.bound(sets[1]), Fraction(shares.scale(sets[1]))
    assert bound - 1 < ROOM * scale <= bound


def test_what_is_clamped_is_less_than_documented() -> None:
    """P[|X| > 12 s] of a discrete Gaussian, at the least scale, where it is largest."""
    support = np.arange(ROOM * 3 + 1, 400)
    weights = np.exp(-(support**2) / (2 * LEAST_SCALE**2))
    assert 2 * weights.sum() / (LEAST_SCALE * math.sqrt(2 * math.pi)) < 2.0**-105


# --- what is drawn


@pytest.mark.parametrize(("quorum", "size"), [(1, 1), (2, 3), (3, 5), (4, 5)])
def test_whoever_of_a_quorum_less_one_colludes_the_rest_adds_enough(quorum: int, size: int) -> None:
    """Every set of k - 1 that knows its own noise: the sum of the others' has variance sigma^2 or more."""
    shares = Shares(200_000_000, 9, 1, quorum)
    sigma_squared = 9 / (2 * 0.2)
    drawn = np.array([gaussian(shares.scale(size), DRAWS) for _ in range(size)])
    colluding = list(combinations(range(size), quorum - 1))
    low, high = variance_limits(DRAWS, len(colluding) + 1)
    scale_squared = shares.scale(size) ** 2
    for known in colluding:
        honest = np.delete(drawn, list(known), axis=0).sum(axis=0)
        found = float(np.mean(honest.astype(float) ** 2))
        expected = honest_of(size, quorum) * scale_squared
        print(f"no seed, level {ERROR_RATE}: without {known} {found:.2f} of {sigma_squared:.2f}")
        assert expected >= sigma_squared
        assert low * expected < found < high * expected
        assert shape_p_value(honest, expected) > SHAPE / len(colluding)
    whole = float(np.mean(drawn.sum(axis=0).astype(float) ** 2))
    inflated = float(shares.sigma(size) ** 2)
    assert low * inflated < whole < high * inflated


def test_the_variance_test_sees_noise_split_as_though_nobody_colluded() -> None:
    """sigma^2 / m for each, of whom two of five collude: 3/5 of what is needed."""
    shares = Shares(200_000_000, 9, 1, 3)
    scale = shares.scale(5) * math.sqrt(3 / 5)
    drawn = np.array([gaussian(scale, DRAWS) for _ in range(3)]).sum(axis=0)
    low, _ = variance_limits(DRAWS, 11)
    assert float(np.mean(drawn.astype(float) ** 2)) < low * 9 / (2 * 0.2)
    assert shape_p_value(drawn, 9 / (2 * 0.2)) < SHAPE


@pytest.mark.parametrize("scale", [3.0, 17.5, 2.0**40 + 0.25])
@pytest.mark.parametrize("distance", [1.0, 3.0, 2.0**20])
def test_the_mechanism_says_of_itself_what_its_scale_spends(scale: float, distance: float) -> None:
    """rho = D^2 / (2 s^2), by OpenDP's own map, never below it."""
    exact = Fraction(distance) ** 2 / (2 * Fraction(scale) ** 2)
    spent = Fraction(gaussian_mechanism(scale).map(distance))
    assert exact <= spent <= exact * (1 + Fraction(1, 2**40))


def test_noise_of_contributors_and_of_sums_is_unrelated() -> None:
    one, other = (np.array(gaussian(20.0, DRAWS)) / 20 for _ in range(2))
    limit = stats.norm.isf(ERROR_RATE / 2) * 1.05 / math.sqrt(DRAWS)
    assert abs(np.mean(one * other)) < limit
    assert abs(np.mean(one[1:] * one[:-1])) < limit
    assert abs(np.mean(one)) < limit


@pytest.mark.parametrize("honest", [1, 2, 4])
@pytest.mark.parametrize("order", [1.0001, 1.5, 2, 8])
def test_renyi_divergence_of_what_the_honest_add_is_within_the_cost(
    honest: int, order: float
) -> None:
    """Of the sum's exact distribution, moved by the sensitivity: not only of its variance."""
    distance = 9
    shares = Shares(MAX_COST, distance**2, 1, 1)
    scale = shares.scale(honest)
    reach = math.ceil(36 * scale)
    support = np.arange(-reach, reach + 1)
    one = np.exp(-(support**2) / (2 * scale**2))
    whole = one / one.sum()
    for _ in range(honest - 1):
        whole = np.convolve(whole, one / one.sum())
    middle = len(whole) // 2
    far = math.ceil(8 * scale * math.sqrt(honest) + order * distance)
    p, q = (whole[middle - far - by : middle + far - by + 1] for by in (0, distance))
    inside = (p > 1e-290) & (q > 1e-290)
    logs = order * np.log(p[inside]) + (1 - order) * np.log(q[inside])
    divergence = (logs.max() + math.log(np.exp(logs - logs.max()).sum())) / (order - 1)
    assert divergence <= order * (1 + 1e-6) + 1e-9 / (order - 1)


# --- contributions


def of(values: list[int]) -> Sampler:
    """Instead of noise, these."""

    def sampler(scale: float, count: int) -> list[int]:
        assert count == len(values)
        return list(values)

    return sampler


BY = Contributor(hashlib.sha256(b"request 9 of the market").digest(), 2)


def hold(given: Contribution, shares: Shares, size: int) -> None:
    verify_contribution(given, shares, size, PUBLIC, BY)


def values_in(given: Contribution, bound: int) -> list[int]:
    points = [decrypted(each) for each in sums_from_bytes(given.columns)]
    return TABLE.find(points, -bound, bound)


@pytest.mark.parametrize(("quorum", "size"), [(1, 1), (2, 2), (2, 4), (3, 5)])
def test_a_contribution_is_proved_and_holds_noise_within_its_bound(quorum: int, size: int) -> None:
    shares = Shares(100_000_000, 50, 3, quorum)
    given = contribute(shares, size, PUBLIC, BY)
    hold(given, shares, size)
    assert len(values_in(given, shares.bound(size))) == 3
    again = contribute(shares, size, PUBLIC, BY)
    assert given.columns != again.columns


@given(st.lists(st.lists(st.integers(-36, 36), min_size=2, max_size=2), min_size=1, max_size=4))
@settings(max_examples=20)
def test_what_contributors_drew_adds_up(drawn: list[list[int]]) -> None:
    shares = Shares(MAX_COST, 1, 2, 1)
    size = len(drawn)
    assert shares.bound(size) == 36
    sums = [Sum.from_bytes(bytes(66))] * 2
    for values in drawn:
        given = contribute(shares, size, PUBLIC, BY, of(values))
        hold(given, shares, size)
        assert values_in(given, 36) == values
        added = sums_from_bytes(given.columns)
        sums = [one + other for one, other in zip(sums, added, strict=True)]
    found = TABLE.find([decrypted(each) for each in sums], -36 * size, 36 * size)
    assert found == [sum(column) for column in zip(*drawn, strict=True)]


def test_a_sampler_is_asked_for_the_scale_of_its_set_and_one_number_a_sum() -> None:
    asked: list[tuple[float, int]] = []

    def sampler(scale: float, count: int) -> list[int]:
        asked.append((scale, count))
        return [0] * count

    shares = Shares(1_000_000, 7, 3, 2)
    contribute(shares, 4, PUBLIC, BY, sampler)
    assert asked == [(shares.scale(4), 3)]
    assert len(gaussian(3.0, 7)) == 7
    assert {type(each) for each in gaussian(3.0, 7)} == {int}


@pytest.mark.parametrize("far", [1, 5, 10**9, 10**30])
def test_what_lies_beyond_the_bound_is_clamped_and_still_proved(far: int) -> None:
    shares = Shares(MAX_COST, 1, 4, 2)
    bound = shares.bound(2)
    drawn = [bound + far, -bound - far, bound, -bound]
    given = contribute(shares, 2, PUBLIC, BY, of(drawn))
    hold(given, shares, 2)
    assert values_in(given, bound) == [bound, -bound, bound, -bound]


@pytest.mark.parametrize("bound", [1, 2, 36, 37, 100, 127, 128])
def test_a_contribution_may_be_anything_up_to_its_bound_and_nothing_beyond(bound: int) -> None:
    for value in (-bound, 1 - bound, 0, bound - 1, bound):
        stated = noise._stated(bound, [value])
        assert stated.relation().values(stated.vector) == [value % ORDER]
        assert stated.relation().holds(stated.vector)
    for value in (-bound - 1, bound + 1, 5 * bound + 5):
        with pytest.raises(ValueError, match="outside its range"):
            noise._stated(bound, [value])


def test_the_relation_of_a_set_is_what_its_contributors_prove() -> None:
    shares = Shares(1_000_000, 7, 3, 2)
    for size in (2, 3, 7):
        builder = Builder()
        for _ in range(3):
            value = builder.number(2 * shares.bound(size))
            builder.encrypt([combined((1, value), (-shares.bound(size), {-1: 1}))])
        assert shares.relation(size).digest == builder.relation().digest


CHEATS: dict[str, Callable[[list[int], int], list[int]]] = {
    "a bit too many": lambda vector, bound: [2, *vector[1:]],
    "bits of -1": lambda vector, bound: [ORDER - 1] * len(vector),
    "all of it in one bit": lambda vector, bound: [10**6, *vector[1:]],
}


@pytest.mark.parametrize("cheat", CHEATS.values(), ids=CHEATS)
def test_a_contribution_beyond_its_bound_is_not_proved(
    cheat: Callable[[list[int], int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a liar who runs every step of the proof: so that an answer moves by the bound at most."""
    shares = Shares(MAX_COST, 1, 1, 1)
    bound = shares.bound(1)
    vector = cheat(noise._stated(bound, [bound]).vector, bound)
    relation, randomness = shares.relation(1), draw_randomness(1)
    columns = encrypt(relation.values(vector), randomness, PUBLIC)
    assert abs((relation.values(vector)[0] + bound) % ORDER - bound) > bound
    false = Statement(CONTEXT, PUBLIC, relation, columns)
    monkeypatch.setattr(validity, "_require_true", lambda *_: None)
    with pytest.raises(ProofInvalid, match="product does not hold"):
        verify(false, prove(false, vector, randomness))


@pytest.mark.parametrize("value", [37, -37, 1000])
def test_columns_beyond_the_bound_have_no_proof_of_another_value(
    value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = Shares(MAX_COST, 1, 1, 1)
    stated, randomness = noise._stated(shares.bound(1), [36]), draw_randomness(1)
    columns = encrypt([value], randomness, PUBLIC)
    false = Statement(CONTEXT, PUBLIC, shares.relation(1), columns)
    monkeypatch.setattr(validity, "_require_true", lambda *_: None)
    with pytest.raises(ProofInvalid, match="column does not encrypt"):
        verify(false, prove(false, stated.vector, randomness))


def test_a_contribution_is_bound_to_its_contributor_request_key_and_set() -> None:
    shares = Shares(1_000_000, 7, 2, 2)
    given = contribute(shares, 3, PUBLIC, BY)
    hold(given, shares, 3)
    other = contribute(shares, 3, PUBLIC, BY)
    columns, swapped = given.columns, given.columns[66:] + given.columns[:66]
    for bad in (
        Contribution(other.columns, given.proof),
        Contribution(columns, other.proof),
        Contribution(swapped, given.proof),
        Contribution(columns[:66], given.proof),
    ):
        with pytest.raises(ProofInvalid):
            hold(bad, shares, 3)
    for verified in (
        lambda: verify_contribution(given, shares, 3, PUBLIC, replace(BY, place=3)),
        lambda: verify_contribution(given, shares, 3, PUBLIC, replace(BY, session=bytes(32))),
        lambda: verify_contribution(given, shares, 3, times_base(77), BY),
        lambda: verify_contribution(given, shares, 4, PUBLIC, BY),
        lambda: verify_contribution(given, replace(shares, quorum=1), 3, PUBLIC, BY),
        lambda: verify_contribution(given, replace(shares, quorum=3), 3, PUBLIC, BY),
        lambda: verify_contribution(given, replace(shares, cost=999_000), 3, PUBLIC, BY),
        lambda: verify_contribution(given, replace(shares, sums=1), 3, PUBLIC, BY),
    ):
        with pytest.raises(ProofInvalid):
            verified()


def test_no_noise_is_larger_than_what_the_sampler_can_draw() -> None:
    """64 bits would cut it off, unnoticed, and then it would hide too little."""
    largest = Shares(1, 2**72, 1, 1)
    assert largest.bound(1) <= LARGEST_BOUND < 2**62
    for shares in (Shares(1, 2**90, 1, 1), Shares(1, 2**140, 1, 1)):
        with pytest.raises(ValueError, match="too large to be opened"):
            contribute(shares, 1, PUBLIC, BY)
        with pytest.raises(ValueError, match="too large to be opened"):
            shares.relation(1)


# --- what is put on chain before anything is revealed

DIGESTS = {size: hashlib.sha256(bytes([size])).digest() for size in (2, 3, 4)}


def test_a_commitment_is_to_every_contribution_and_to_who_makes_it() -> None:
    """Nobody can commit to another's noise as its own, nor reveal another than it committed to."""
    commitment = BY.commitment(DIGESTS, 2)
    assert commitment == BY.commitment(dict(reversed(DIGESTS.items())), 2)
    others = [
        replace(BY, place=3).commitment(DIGESTS, 2),
        replace(BY, session=bytes(32)).commitment(DIGESTS, 2),
        BY.commitment(DIGESTS, 3),
        BY.commitment({}, 2),
        *(BY.commitment({**DIGESTS, size: bytes(32)}, 2) for size in DIGESTS),
        *(BY.commitment({k: v for k, v in DIGESTS.items() if k != size}, 2) for size in DIGESTS),
        BY.commitment({2: DIGESTS[3], 3: DIGESTS[2], 4: DIGESTS[4]}, 2),
        BY.commitment({1: DIGESTS[2], 3: DIGESTS[3], 4: DIGESTS[4]}, 2),
        BY.commitment({2: DIGESTS[2], 3: DIGESTS[3], 5: DIGESTS[4]}, 2),
    ]
    assert len({commitment, *others}) == 1 + len(others)
    assert {len(each) for each in (commitment, *others)} == {32}


def test_a_proof_and_a_commitment_have_contexts_of_their_own() -> None:
    contexts = [
        by.context(size, quorum)
        for by in (BY, replace(BY, place=1), replace(BY, session=bytes(32)))
        for size in (2, 3, 4)
        for quorum in (1, 2)
    ]
    contexts += [BY.commitment({}, quorum) for quorum in (1, 2)]
    assert len(set(contexts)) == len(contexts)


@pytest.mark.parametrize("session", [b"", bytes(31), bytes(33)])
def test_a_session_is_named_by_32_bytes(session: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Contributor(session, 1).context(2, 2)
    with pytest.raises(ValueError, match="32 bytes"):
        Contributor(session, 1).commitment({}, 2)


def test_a_digest_covers_columns_and_proof_and_where_one_ends() -> None:
    every = [
        Contribution(columns, proof).digest
        for columns, proof in (
            (b"ab", b"c"),
            (b"a", b"bc"),
            (b"abc", b""),
            (b"", b"abc"),
            (b"", b""),
        )
    ]
    assert len(set(every)) == len(every)
