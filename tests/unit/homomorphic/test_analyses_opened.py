"""Without noise, what a researcher opens of any analysis is what its rows in the clear say, exactly.

By the parts that custodians and researchers use themselves: columns on disk, the weights of a question, noise
(of zeros), partial decryptions of any quorum, and the ranges in which the answer is looked for.
"""

from __future__ import annotations

import functools
import secrets
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.analyses.tallies import TALLIES
from marketplace.custodian.tallies import _weighed
from ml.dp.accounting import MAX_COST
from ml.homomorphic import columns
from ml.homomorphic.columns import ColumnStore
from ml.homomorphic.curve import ORDER, Point, times_base
from ml.homomorphic.elgamal import draw_randomness, encrypt
from ml.homomorphic.logarithm import Table
from ml.homomorphic.noise import Contributor, Shares, contribute
from ml.homomorphic.threshold import (
    Sum,
    combine,
    decrypt_partially,
    open_sums,
    share_key,
    sums_from_bytes,
    verify_partial,
)
from tests.support.campaign import in_parts, of_part
from tests.support.tallied_study import COST, PLACE, PLAIN, QUESTIONS, Asked, Row, asked
from tests.support.tallying import CONTEXT, value_at

RESEARCHER = 0xCAFE
RECIPIENT = times_base(RESEARCHER)
SEGMENT_ROWS = 2  # so that a few rows lie in several segments


@functools.cache
def table() -> Table:
    return Table.build(1 << 16)


@functools.cache
def ask(question: str) -> Asked:
    return asked(*QUESTIONS[question])


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "SEGMENT_ROWS", SEGMENT_ROWS)


# --- a case


@dataclass(frozen=True)
class Holders:
    """Who holds the key, whose noise counts, and who decrypts."""

    coefficients: list[int]
    contributors: int
    chosen: list[int]

    @property
    def key(self) -> Point:
        return times_base(self.coefficients[0])

    @property
    def quorum(self) -> int:
        return len(self.coefficients)


@st.composite
def holders(draw: st.DrawFn, most: int = 3) -> Holders:
    count = draw(st.integers(1, most))
    quorum = draw(st.integers(1, count))
    contributors = draw(st.integers(quorum, count))
    chosen = draw(st.permutations(range(1, count + 1)))[:quorum]
    coefficients = [1 + secrets.randbelow(ORDER - 1) for _ in range(quorum)]
    return Holders(coefficients, contributors, chosen)


def values(domain: Sequence[int]) -> st.SearchStrategy[int | None]:
    """None for about one in four."""
    within = st.sampled_from(domain)
    return within | st.none() | st.sampled_from([domain[0], domain[-1]]) | within


PATIENTS = st.lists(st.tuples(*(values(each.domain) for each in PLAIN.variables)), max_size=5)


# --- from rows to an answer


def added_up(one: Asked, rows: Sequence[Row], cohort: Sequence[int], key: Point) -> list[Sum]:
    """What a custodian decrypts, but for noise."""
    forms = one.tallied.forms(one.encoding)
    used = sorted({column for form in forms for column in form})
    with tempfile.TemporaryDirectory() as folder:
        store = ColumnStore(Path(folder), len(one.encoding.columns))
        for at, row in enumerate(rows):
            held = one.encoding.values(row)
            store.write(at, encrypt(held, draw_randomness(len(held)), key))
        found = dict(zip(used, store.sum(used, cohort), strict=True))
        store.close()
    return [_weighed(form, found) for form in forms]


def silent(scale: float, count: int) -> list[int]:
    """Noise that is off."""
    return [0] * count


def noised(sums: list[Sum], shares: Shares, by: Holders) -> list[Sum]:
    for place in range(by.contributors):
        whose = Contributor(CONTEXT, place)
        given = contribute(shares, by.contributors, by.key, whose, silent)
        added = sums_from_bytes(given.columns)
        sums = [one + other for one, other in zip(sums, added, strict=True)]
    return sums


def opened(sums: list[Sum], by: Holders) -> list[Point]:
    commitments = [times_base(c) for c in by.coefficients]
    partials = {}
    for index in by.chosen:
        share = value_at(by.coefficients, index)
        partials[index] = decrypt_partially(share, sums, RECIPIENT, CONTEXT)
        verify_partial(partials[index], share_key(commitments, index), sums, RECIPIENT, CONTEXT)
    return open_sums(combine(partials, sums, by.quorum), RESEARCHER)


def read(one: Asked, points: Sequence[Point], members: int, shares: Shares, size: int) -> list[int]:
    ranges = one.tallied.ranges(members, size, shares)
    found = zip(points, ranges, strict=True)
    return [table().find([point], low, high)[0] for point, (low, high) in found]


def require_exact(
    question: str, rows: Sequence[Row], cohort: Sequence[int], by: Holders, cost: int
) -> None:
    one, members = ask(question), [rows[at] for at in cohort]
    shares = one.tallied.shares(cost, by.quorum)
    sums = noised(added_up(one, rows, cohort, by.key), shares, by)
    found = read(one, opened(sums, by), len(members), shares, by.contributors)
    assert found == one.exact(members)
    if members:  # an answer is of somebody: of an empty cohort nothing is ever answered
        noise = one.tallied.noise(cost, by.contributors, shares)
        exact = one.tallied.finish(one.exact(members), noise, len(members), cost)
        assert one.tallied.finish(found, noise, len(members), cost).to_json() == exact.to_json()
    if question in SAID:
        estimates = one.answer(members, noised=found).estimates
        assert [each.value for each in estimates] == [str(n) for n in SAID[question](members)]


# --- what some of them say, by looking at rows and at nothing else


def value(row: Row, name: str) -> int:
    """Out of every range where it is absent."""
    stored = row[PLACE[name]]
    return -(10**9) if stored is None else stored


def men(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if value(row, "sex") == 1]


def cells(rows: Sequence[Row], name: str, starts: Sequence[int]) -> list[int]:
    """How many from each start up to the next."""
    ends = [*starts[1:], 10**9]
    return [
        sum(low <= value(row, name) < high for row in rows)
        for low, high in zip(starts, ends, strict=True)
    ]


def there(rows: Sequence[Row], name: str) -> int:
    return sum(row[PLACE[name]] is not None for row in rows)


SAID: dict[str, Callable[[Sequence[Row]], list[int]]] = {
    "count": lambda rows: [sum(value(row, "age") >= 50 for row in men(rows))],
    "count of all but": lambda rows: [sum(0 <= value(row, "age") < 65 for row in rows)],
    "sum": lambda rows: [
        sum(
            60 + (value(row, "sbp") - 60 + 1) // 2 * 2 for row in men(rows) if value(row, "sbp") > 0
        )
    ],
    "histogram": lambda rows: cells(rows, "age", [18, 50, 65]),
    "cross table": lambda rows: [
        count
        for sex in range(3)
        for count in cells([r for r in rows if value(r, "sex") == sex], "age", [18, 65])
    ],
    "score": lambda rows: [there(rows, name) for name in ("bmi", "sex", "age", "status")],
}


# --- the rules


@pytest.mark.parametrize(("examples", "part"), in_parts(daily=40))
def test_every_analysis_opens_to_the_oracles_answer(examples: int, part: int | None) -> None:
    @of_part(part)
    @settings(max_examples=examples)
    @given(
        st.sampled_from(sorted(QUESTIONS)),
        PATIENTS,
        st.sets(st.integers(0, 4)),
        holders(),
        st.sampled_from([MAX_COST, COST]),
    )
    def exact(question: str, rows: list[Row], cohort: set[int], by: Holders, cost: int) -> None:
        require_exact(question, rows, sorted(at for at in cohort if at < len(rows)), by, cost)

    exact()


def test_every_analysis_is_opened() -> None:
    assert {name for name, _ in QUESTIONS.values()} == set(TALLIES)


THREE = Holders([1 + secrets.randbelow(ORDER - 1) for _ in range(2)], 3, [3, 1])


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_opens_to_the_oracles_answer(question: str) -> None:
    """Each of them once a day, of everybody with all that is asked and of some who lack something."""
    ends = [[each.domain[0], each.domain[-1]] for each in PLAIN.variables]
    low, high = ([pair[at] for pair in ends] for at in (0, 1))
    rows: list[Row] = [low, high, [*low[:3], *high[3:]], [None, *high[1:]]]
    require_exact(question, rows, [0, 1, 3], THREE, MAX_COST)
