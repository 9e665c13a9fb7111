"""What passes before payment can be opened, whoever takes part, and costs what the error asked for needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from marketplace.analyses.analysis import ErrorOutOfReach
from marketplace.analyses.answerable import require_tallied, sealed_bytes
from marketplace.analyses.tallied import MOST_SUMS
from marketplace.analyses.tallies import TALLIES
from marketplace.analyses.variables import variables_of
from marketplace.errors import BadParameter
from marketplace.wire.delivery import MOST_RESULT
from ml.dp.accounting import MAX_COST
from ml.dp.noised import Noised
from ml.homomorphic.curve import ORDER, times_base
from ml.homomorphic.elgamal import COLUMN_BYTES, draw_randomness, encrypt
from ml.homomorphic.logarithm import MOST_BITS, Table
from ml.homomorphic.noise import LEAST_SCALE, Contributor, contribute, gaussian
from ml.homomorphic.threshold import (
    Sum,
    combine,
    decrypt_partially,
    open_sums,
    sums_from_bytes,
)
from tests.support.tallied_study import (
    COST,
    DEATH,
    MEN,
    PLAIN,
    QUESTIONS,
    Asked,
    asked,
    dictionary,
    grid,
    needed,
    number,
)
from tests.unit.test_tallies_sums import ask, questions

QUORUM, CUSTODIANS = 3, 5
MEMBERS = (20, 3000)
WOMEN = {"variable": "sex", "op": "==", "value": "female"}


def required(one: Asked, **other: Any) -> Any:
    given = {
        "members": MEMBERS,
        "cost": COST,
        "quorum": QUORUM,
        "contributors": CUSTODIANS,
        **other,
    }
    return require_tallied(TALLIES[one.name], one.parameters, one.encoding, **given)


# --- before payment


@questions
def test_what_is_taken_can_be_opened_whoever_takes_part(question: str) -> None:
    one = ask(question)
    tallied, forms, shares = required(one)
    assert forms == tallied.forms(one.encoding)
    assert (shares.cost, shares.quorum, shares.sums) == (COST, QUORUM, len(forms))
    assert shares.squared_sensitivity == tallied.squared_sensitivity
    for members in MEMBERS:
        for taking_part in range(QUORUM, CUSTODIANS + 1):
            room = taking_part * shares.bound(taking_part)
            ranges = tallied.ranges(members, taking_part, shares)
            for (low, high), wanted in zip(ranges, tallied.wanted, strict=True):
                assert low <= members * wanted.low - room
                assert high >= members * wanted.high + room
                assert high - low < 1 << MOST_BITS


def pairs_of(count: int, finest: int) -> Asked:
    """Covariances of one number with so many steps, and of others with two."""
    called = [f"n{i}" for i in range(count)]
    tops = [str(finest), *["2"] * (count - 1)]
    wide = dictionary(
        [number(name, "0", top) for name, top in zip(called, tops, strict=True)],
        [grid(name, "1") for name in called],
    )
    given = {"variables": called, "cases": "pairwise"}
    return asked("covariance.v1", given, wide, variables_of(wide))


def opens(one: Asked, taking_part: int, quorum: int, cost: int, members: int = 20) -> bool:
    try:
        one.tallied.ranges(members, taking_part, one.tallied.shares(cost, quorum))
    except BadParameter:
        return False
    return True


def first(holds: Callable[[int], bool]) -> int:
    """The least whole number from 1 at which it holds, where it holds from then on."""
    low, high = 1, MAX_COST
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


@pytest.mark.parametrize(("quorum", "worst", "best"), [(3, 3, 5), (1, 5, 1)])
def test_what_the_unluckiest_set_of_custodians_could_not_open_is_refused(
    quorum: int, worst: int, best: int
) -> None:
    """Few have to make much noise each; of many, each may be far off."""
    one = pairs_of(2, 2000)
    enough = first(lambda cost: opens(one, worst, quorum, cost))
    assert first(lambda cost: opens(one, best, quorum, cost)) < enough
    required(one, members=(20,), quorum=quorum, cost=enough)
    with pytest.raises(BadParameter) as refused:
        required(one, members=(20,), quorum=quorum, cost=enough - 1)
    assert refused.value.field == "parameters"
    assert "too large to be opened" in refused.value.message


@pytest.mark.parametrize("turned", [False, True])
def test_the_largest_cohort_of_all_has_to_be_one_that_can_be_opened(turned: bool) -> None:
    one = ask("covariance")
    too_many = first(lambda members: not opens(one, QUORUM, QUORUM, COST, members))
    sizes = [20, too_many - 1]
    required(one, members=sizes[::-1] if turned else sizes)
    sizes = [20, too_many]
    with pytest.raises(BadParameter):
        required(one, members=sizes[::-1] if turned else sizes)


@pytest.mark.parametrize(("quorum", "contributors"), [(3, 2), (1, 0), (0, 3)])
def test_fewer_custodians_than_the_quorum_answer_nothing(quorum: int, contributors: int) -> None:
    one = ask("count")
    with pytest.raises(BadParameter) as refused:
        required(one, quorum=quorum, contributors=contributors)
    assert refused.value.field == "contributors"
    with pytest.raises(BadParameter):
        TALLIES[one.name].foretell(one.parameters, one.encoding, 500, COST, quorum, contributors)


@pytest.mark.parametrize("cost", [0, -1, MAX_COST + 1])
def test_a_cost_that_nobody_may_spend_is_refused_by_name(cost: int) -> None:
    with pytest.raises(BadParameter) as refused:
        required(ask("mean"), cost=cost)
    assert refused.value.field == "cost"


@pytest.mark.parametrize("members", [(0,), (20, 2**31 + 1)])
def test_a_cohort_that_cannot_be_is_refused_by_name(members: tuple[int, ...]) -> None:
    with pytest.raises(BadParameter) as refused:
        required(ask("mean"), members=members)
    assert refused.value.field == "n"


def test_a_product_that_the_encoding_lacks_is_refused() -> None:
    one = ask("covariance")
    bare = Asked(one.name, one.parameters, needed(PLAIN.encoding), one.tallied)
    with pytest.raises(BadParameter) as refused:
        required(bare)
    assert refused.value.field == "encoding"


def test_noise_beyond_what_is_ever_opened_is_refused_and_is_no_crash() -> None:
    """At the least cost there is, a contribution of more than 2^56."""
    one = pairs_of(4, 2**16)
    for members in ((20,), (1,)):
        with pytest.raises(BadParameter) as refused:
            required(one, cost=1, members=members)
        assert refused.value.field == "parameters"
    with pytest.raises(ValueError, match="too large"):
        one.tallied.shares(1, QUORUM).bound(QUORUM)


def test_all_sums_that_an_answer_may_have_fit_into_what_can_be_delivered() -> None:
    assert sealed_bytes(1) == COLUMN_BYTES + 1024
    assert sealed_bytes(MOST_SUMS) <= MOST_RESULT


def test_more_sums_than_can_be_delivered_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    one = ask("chi-square")
    most = sealed_bytes(len(one.tallied.wanted))
    monkeypatch.setattr("marketplace.analyses.answerable.MOST_RESULT", most)
    required(one)
    monkeypatch.setattr("marketplace.analyses.answerable.MOST_RESULT", most - 1)
    with pytest.raises(BadParameter) as refused:
        required(one)
    assert (refused.value.code, refused.value.field) == ("answer_too_large", "parameters")


def test_more_sums_than_an_answer_may_have_are_refused() -> None:
    edges = [str(18 + i) for i in range(64)]
    cut = dictionary(
        [number("a", "18", "98"), number("b", "18", "98")],
        [grid("a", "1", *edges[1:]), grid("b", "1", *edges[1:18])],
    )
    whole = [*edges, "98"]
    given = {
        "axes": [{"variable": "a", "edges": whole}, {"variable": "b", "edges": [*edges[:18], "98"]}]
    }
    tally, known = TALLIES["cross_table.v1"], variables_of(cut)
    with pytest.raises(BadParameter):
        tally.tallied(tally.parse(given, known), needed(cut.encoding)).shares(COST, QUORUM)


# --- accuracy before payment

CHEAP = ["count", "sum", "mean of some", "variance", "cross table", "covariance", "log-rank"]


@pytest.mark.parametrize("question", CHEAP)
@pytest.mark.parametrize("measure", ["half_width", "standard_error"])
def test_the_least_cost_reaches_the_error_and_one_less_does_not(
    question: str, measure: Any
) -> None:
    one = ask(question)
    tally = TALLIES[one.name]

    def error(cost: int) -> Fraction:
        where = (one.parameters, one.encoding, 3000, cost, QUORUM, CUSTODIANS)
        return Fraction(getattr(tally.foretell(*where).error, measure))

    target = error(3_000_000)
    where = (one.parameters, one.encoding, 3000, target, measure, QUORUM, CUSTODIANS)
    least = tally.cost_for_error(*where)
    assert least <= 3_000_000
    assert error(least) <= target < error(least - 1)


def test_a_target_may_be_written_out_and_a_larger_one_costs_the_least() -> None:
    one = ask("mean")
    tally = TALLIES[one.name]
    rest = ("half_width", QUORUM, CUSTODIANS)
    texts = [
        tally.cost_for_error(one.parameters, one.encoding, 3000, t, *rest) for t in ("1.5", "3")
    ]
    assert texts[0] > texts[1] > 1
    # At the least costs the noise is too large to be opened: those are passed over, not refused.
    found = tally.cost_for_error(one.parameters, one.encoding, 3000, 10**9, *rest)
    tally.foretell(one.parameters, one.encoding, 3000, found, QUORUM, CUSTODIANS)


@pytest.mark.parametrize("question", ["count", "mean", "linear", "logistic"])
def test_an_error_out_of_reach_is_refused_with_the_smallest(question: str) -> None:
    one = ask(question)
    tally = TALLIES[one.name]
    best = tally.foretell(one.parameters, one.encoding, 3000, MAX_COST, QUORUM, CUSTODIANS)
    with pytest.raises(ErrorOutOfReach) as refused:
        tally.cost_for_error(
            one.parameters, one.encoding, 3000, 0, "half_width", QUORUM, CUSTODIANS
        )
    assert refused.value.field == "target"
    assert refused.value.facts["smallest"] == best.texts()["half_width"]
    assert refused.value.facts["highest_cost"] == MAX_COST


def test_a_question_that_no_cost_makes_possible_is_refused_for_what_it_lacks() -> None:
    one = ask("covariance")
    tally = TALLIES[one.name]
    with pytest.raises(BadParameter) as refused:
        tally.cost_for_error(
            one.parameters, needed(PLAIN.encoding), 3000, 1, "half_width", QUORUM, CUSTODIANS
        )
    assert refused.value.field == "encoding"


# --- sums that no record can move

NOBODY = [MEN, WOMEN]
EMPTY = {
    name: (analysis, {**given, "filters": NOBODY})
    for name, (analysis, given) in QUESTIONS.items()
    if "filters" in TALLIES[analysis].keys
}


@pytest.mark.parametrize("question", EMPTY)
def test_a_question_about_nobody_is_answered_with_noise_alone(question: str) -> None:
    """That nobody meets its conditions must not show: an answer is due, paid and noised like any other."""
    one = asked(*EMPTY[question])
    tallied, forms, shares = required(one)
    assert forms == [{}] * len(forms)
    noise = tallied.noise(COST, CUSTODIANS, shares)
    draw = np.random.default_rng(6)
    scale = float(noise.sigma)
    for noised in ([0] * len(forms), *np.rint(scale * draw.standard_normal((3, len(forms))))):
        answer = tallied.finish([int(each) for each in noised], noise, 3000, COST)
        assert Noised.from_json(answer.to_json()) == answer
        for each in json.loads(answer.to_json())["estimates"]:
            assert Fraction(each["low"]) <= Fraction(each["value"]) <= Fraction(each["high"])
    assert one.exact([[50, 200, 120, 3, 12, sex, 0, 0] for sex in (0, 1, 2)]) == [0] * len(forms)
    full = ask(question)
    assert tallied.squared_sensitivity == full.tallied.squared_sensitivity


def test_an_empty_cell_is_opened_as_the_noise_that_was_drawn_for_it() -> None:
    """The whole way: columns, sums, noise of five, partial decryptions of three, logarithms, the answer."""
    one = asked("histogram.v1", {"variable": "sex", "filters": [MEN]})
    tallied, forms, shares = required(one)
    coefficients = [7, 11, 13]
    key, researcher = times_base(coefficients[0]), 99
    rows = [[50, 200, 120, 3, 12, sex, 0, 0] for sex in (0, 1, 1, 2, 1)]
    encrypted = []
    for row in rows:
        values = one.encoding.values(row)
        encrypted.append(sums_from_bytes(encrypt(values, draw_randomness(len(values)), key)))
    columns = [sum_of([each[at] for each in encrypted]) for at in range(len(encrypted[0]))]
    sums = [sum_of([columns[at] * c for at, c in form.items()]) for form in forms]
    assert sums[0].to_bytes() == bytes(COLUMN_BYTES)  # nothing, without any randomness

    drawn: list[list[int]] = []

    def kept(scale: float, count: int) -> list[int]:
        drawn.append(gaussian(scale, count))
        return drawn[-1]

    for place in range(CUSTODIANS):
        given = contribute(shares, CUSTODIANS, key, Contributor(bytes(32), place), kept)
        pairs = zip(sums, sums_from_bytes(given.columns), strict=True)
        sums = [mine + noise for mine, noise in pairs]
    recipient, context = times_base(researcher), bytes(32)
    partials = {
        index: decrypt_partially(value_at(coefficients, index), sums, recipient, context)
        for index in (1, 3, 5)
    }
    points = open_sums(combine(partials, sums, QUORUM), researcher)
    noise = np.array(drawn).sum(axis=0)
    ranges = tallied.ranges(len(rows), CUSTODIANS, shares)
    table = Table.build(1 << 12)
    opened = [table.find([p], *ends)[0] for p, ends in zip(points, ranges, strict=True)]
    assert opened == (np.array([0, 3, 0]) + noise).tolist()
    answer = tallied.finish(opened, tallied.noise(COST, CUSTODIANS, shares), len(rows), COST)
    assert [each.label for each in answer.estimates] == [("female",), ("male",), ("other",)]
    assert shares.scale(CUSTODIANS) >= LEAST_SCALE


def value_at(coefficients: list[int], index: int) -> int:
    return sum(each * index**power for power, each in enumerate(coefficients)) % ORDER


def sum_of(parts: list[Sum]) -> Sum:
    whole = Sum.zero()
    for part in parts:
        whole = whole + part
    return whole


def test_the_event_of_everybody_is_answered_too() -> None:
    """Of two categories the event is one: with a filter on the other, no cell of events can be filled."""
    alive = {"variable": "status", "op": "==", "value": "alive"}
    one = asked("kaplan_meier.v1", {"time": "months", "event": DEATH, "filters": [alive]})
    _, forms, _ = required(one)
    assert [bool(form) for form in forms] == [False] * 7 + [True] * 7
