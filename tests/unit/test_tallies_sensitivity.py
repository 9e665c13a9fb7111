"""Replacing any one record, by any other or none, moves no answer's sums beyond what its noise is for."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.analyses.variables import variables_of
from ml.tallied.moments import Design, joint, pairwise
from tests.support.tallied_study import (
    VARIABLES,
    asked,
    category,
    dictionary,
    number,
)
from tests.support.tallied_study import grid as gridded
from tests.unit.test_tallies_sums import DOMAINS, ask, questions, rows


def farthest(vectors: np.ndarray) -> int:
    """The largest squared distance of two of these, exactly: every sum of squares here is below 2^53."""
    distinct = np.unique(vectors.astype(np.float64), axis=0)
    squares = (distinct**2).sum(axis=1)
    worst = squares[:, None] + squares[None, :] - 2 * distinct @ distinct.T
    return round(float(worst.max()))


def every_end() -> list[tuple[int | None, ...]]:
    """Both ends and the middle of each number, every category: not all at once, but in any two variables."""
    draw = np.random.default_rng(11)
    ends: list[list[int | None]] = [[d[0], d[-1], d[len(d) // 2], None] for d in DOMAINS]
    some = [tuple(each[int(draw.integers(4))] for each in ends) for _ in range(1500)]
    corners = [tuple(each[int(draw.integers(2))] for each in ends) for _ in range(1500)]
    return [*some, *corners, (None,) * len(DOMAINS)]


REACHED = {
    "covariance": 0.93,
    "covariance pairwise": 0.55,
    "correlation": 0.9,
    "correlation pairwise": 0.75,
    "linear": 0.93,
    "linear of the middle": 0.8,
    "ridge": 0.93,
    "logistic": 0.93,
    "poisson": 0.88,
}
"""How much of the stated length two records come to at least; all of it where nothing is said."""


@questions
def test_no_two_records_are_further_apart_than_is_stated_nor_is_much_more_stated(
    question: str,
) -> None:
    one = ask(question)
    found, stated = farthest(one.vectors(every_end())), one.tallied.squared_sensitivity
    assert found <= stated
    assert math.sqrt(found / stated) >= REACHED.get(question, 1.0) - 1e-9


@questions
@settings(max_examples=25, deadline=None)
@given(first=rows, second=rows)
def test_any_replacement_stays_within_the_sensitivity(
    question: str, first: Any, second: Any
) -> None:
    one = ask(question)
    vectors = one.vectors([first, second, [None] * len(VARIABLES)]).tolist()
    for a, b in itertools.combinations(vectors, 2):
        moved = sum((int(x) - int(y)) ** 2 for x, y in zip(a, b, strict=True))
        assert moved <= one.tallied.squared_sensitivity


# --- the designs alone, where every record can be tried

SMALL = [(1,), (2,), (5,), (1, 1), (2, 3), (4, 4), (1, 6), (2, 2, 2), (1, 2, 3)]
WIDE = [(80, 100), (1, 255, 40), (1, 1, 1, 1), (100, 7, 1, 1), (9, 9, 9, 9, 9), (3,) * 8]


def exact(design: Design, records: np.ndarray, known: np.ndarray) -> np.ndarray:
    pairs = zip(records, known, strict=True)
    return np.array([design.exact(r[None, :], k[None, :]) for r, k in pairs], dtype=np.float64)


def all_records(widths: tuple[int, ...], partly: bool) -> tuple[np.ndarray, np.ndarray]:
    """Every u = 2 q - R of every number, with every pattern of what is known, or all or nothing."""
    values = np.array(list(itertools.product(*(range(-w, w + 1, 2) for w in widths))))
    patterns = list(itertools.product([False, True], repeat=len(widths)))
    if not partly:
        patterns = [patterns[0], patterns[-1]]
    records = np.concatenate([values * np.array(known) for known in patterns])
    return records, np.repeat(np.array(patterns), len(values), axis=0)


@pytest.mark.parametrize("widths", SMALL)
def test_every_pair_of_records_with_all_numbers_or_none_is_within_the_bound(
    widths: tuple[int, ...],
) -> None:
    design = joint(widths)
    found = farthest(exact(design, *all_records(widths, partly=False)))
    assert 0.8 * design.squared_sensitivity <= found <= design.squared_sensitivity


@pytest.mark.parametrize("widths", SMALL)
def test_every_pair_of_records_with_some_numbers_is_within_the_bound(
    widths: tuple[int, ...],
) -> None:
    design = pairwise(widths)
    found = farthest(exact(design, *all_records(widths, partly=True)))
    assert 0.5 * design.squared_sensitivity <= found <= design.squared_sensitivity


@pytest.mark.parametrize("build", [joint, pairwise])
@pytest.mark.parametrize("widths", WIDE)
def test_wide_designs_are_within_their_bounds_wherever_it_is_tried(
    build: Any, widths: tuple[int, ...]
) -> None:
    """Corners, where distances are largest, and anywhere between; absent numbers count 0."""
    draw = np.random.default_rng(5)
    width, size = np.array(widths), (500, len(widths))
    between = 2 * draw.integers(0, width + 1, size) - width
    corners = width * draw.choice([-1, 1], size)
    records = np.concatenate([between, corners, np.zeros((1, len(widths)), dtype=int)])
    known = draw.random(records.shape) < 0.8 if build is pairwise else np.ones(records.shape, bool)
    known[-1] = False
    design = build(widths)
    found = farthest(exact(design, records * known, known))
    assert 0.35 * design.squared_sensitivity <= found <= design.squared_sensitivity


@pytest.mark.parametrize("build", [joint, pairwise])
@given(widths=st.lists(st.integers(1, 1000), min_size=1, max_size=8))
def test_weights_are_whole_and_never_beyond_those_of_the_proofs(
    build: Any, widths: list[int]
) -> None:
    design, k = build(widths), len(widths)
    unit = 8 * max(widths) ** 2
    for entry in design.entries:
        most = design.bounds(entry)[1]
        assert entry.weight >= 1
        if build is joint:
            limits = {0: (10 * k * k + 3 * k) / 4, 1: k, 2: 2}
        else:
            limits = {0: 5, 1: 1 if len(entry.cases) == 2 else 2, 2: 1}
        square = len(set(entry.factors)) < len(entry.factors)
        limit = (0.25 if build is joint else 1) if square else limits[len(entry.factors)]
        assert most**2 <= limit * unit**2


def test_the_search_sees_a_design_whose_bound_is_too_small() -> None:
    for build in (joint, pairwise):
        design = build((4, 4))
        mean = Design(design.widths, design.entries, design.squared_sensitivity * 3 // 4)
        found = farthest(exact(mean, *all_records((4, 4), partly=build is pairwise)))
        assert found > mean.squared_sensitivity


def test_a_sum_has_the_largest_whole_unit_and_so_the_least_noise() -> None:
    """lower 60, step 2: sums of halves of mm[Hg], at most 130 of them apart."""
    assert ask("sum").tallied.squared_sensitivity == 130**2
    below = dictionary(
        [number("x", "-5.0", "10.0", 1), category("c", "a", "b")],
        [gridded("x", "1.5"), {"name": "c"}],
    )
    one = asked("sum.v1", {"variable": "x"}, below, variables_of(below))
    assert one.tallied.squared_sensitivity == 30**2
    assert [v[0] for v in one.vectors([[-50, 0], [100, 0], [None, 0], [-35, 1]])] == [
        -10,
        20,
        0,
        -7,
    ]
