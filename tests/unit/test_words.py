"""Odds as people read them: upper bounds, rounded up, rising with what is spent."""

import math
import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.demo.setting import class_terms
from marketplace.wire import units
from marketplace.wire.amounts import MOST_SYMBOL, UNNAMED, Token, symbol
from marketplace.words import (
    class_words,
    epsilon_of,
    grant_words,
    odds_of,
    right_at_most,
    tally_words,
)
from ml.dp.accounting import odds, rho, zcdp_to_eps
from tools.readme import ROOT

UNITS = st.integers(0, 2**96 - 1)
COSTS = st.integers(0, 2**56 - 1)
MEMBERS = st.none() | st.integers(1, 10**8)


def test_nothing_spent_is_pure_chance() -> None:
    assert right_at_most(0) == "50.00"


@given(COSTS, MEMBERS)
def test_the_figure_is_never_below_the_bound_and_hardly_above(
    cost: int, members: int | None
) -> None:
    told = Decimal(right_at_most(cost, members))
    bound = odds(epsilon_of(cost, members)[0])
    assert Decimal(bound) <= told <= 100
    assert told - Decimal(bound) < Decimal("0.01")


@given(COSTS, COSTS)
def test_whoever_spends_more_is_told_no_less(one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert Decimal(right_at_most(less)) <= Decimal(right_at_most(more))


def test_delta_is_a_millionth_or_a_tenth_of_a_persons_share() -> None:
    assert epsilon_of(10**7)[1] == epsilon_of(10**7, 100)[1] == 1e-6
    assert math.isclose(epsilon_of(10**7, 10**6)[1], 1e-7)
    assert epsilon_of(10**7)[0] == zcdp_to_eps(rho(10**7), 1e-6)


@pytest.mark.parametrize("cost", [1_000_000, 300_000_000])
def test_the_sentence_says_the_figures(cost: int) -> None:
    told = odds_of(cost, what="all results so far")
    sentence = told["in_words"]
    assert "guessed from all results so far" in sentence
    assert "50 times in 100 by chance" in sentence
    assert f"at most {told['right_at_most']} times in 100" in sentence
    assert not {"anonymous", "safe"} & set(sentence.lower().split())


# --- amounts


@given(UNITS, st.integers(0, 18))
def test_an_amount_is_told_to_the_last_unit_and_never_with_less_than_cents(
    units: int, decimals: int
) -> None:
    number, currency = Token(decimals).amount(units).split(" ")
    assert currency == "EUR"
    assert Fraction(number.replace(",", "")) * 10**decimals == units
    cents = number.partition(".")[2]
    assert 2 <= len(cents) <= max(2, decimals)
    assert len(cents) == 2 or cents[-1] != "0"


@given(UNITS)
def test_text_and_number_of_the_same_units_are_told_alike(units: int) -> None:
    assert Token().amount(units) == Token().amount(str(units))


@given(st.text() | st.none() | st.integers())
def test_a_tokens_own_word_is_written_only_where_nobody_can_mistake_it(told: object) -> None:
    written = symbol(told)
    assert written in (told, UNNAMED, "EUR")
    assert len(written) <= MOST_SYMBOL
    assert written.isascii()
    assert written.replace(".", "").isalnum()
    assert written[0].isalpha()


@pytest.mark.parametrize(
    ("told", "written"),
    [
        ("USDC", "USDC"),
        ("tEUR", "EUR"),
        ("000 EUR", UNNAMED),
        ("\u202eRUE", UNNAMED),
        ("<b>", UNNAMED),
        ("A" * 12, UNNAMED),
        ("", UNNAMED),
    ],
)
def test_a_symbol_is_short_and_plain_or_not_shown(told: str, written: str) -> None:
    assert symbol(told) == written
    assert Token(6, symbol(told)).amount(600_000) == f"0.60 {written}"


# --- what a patient is about to sign


def test_a_grant_says_what_it_permits_and_pays_and_the_odds_at_its_cap() -> None:
    terms = class_terms()
    words = grant_words(terms, 1, 300_000_000, Token(), live=200, spent=5)
    assert words[0] == "You consent to class 1."
    assert words[1 : 1 + len(class_words(terms, Token()))] == class_words(terms, Token())
    assert any("at most 60,000,000 nano-rho of your lifetime budget" in each for each in words)
    assert any("0.50 EUR" in each and "0.02 EUR" in each for each in words)
    assert "at most 300,000,000 nano-rho of yours, for life; 5 are spent." in words[-2]
    assert f"at most {right_at_most(300_000_000, 200)} times in 100" in words[-1]


def test_odds_at_a_cap_below_what_is_spent_are_those_of_what_is_spent() -> None:
    (*_, lower) = grant_words(class_terms(), 1, 1, Token(), live=200, spent=300_000_000)
    (*_, same) = grant_words(class_terms(), 1, 300_000_000, Token(), live=200)
    assert lower == same


@pytest.mark.parametrize(
    ("code", "shown"),
    [("mm[Hg]", "mmHg"), ("a", "years"), ("(kg/m2)^2", "(kg/m²)²"), ("mmol/L", "mmol/L"), ("", "")],
)
def test_a_unit_is_written_as_people_write_it(code: str, shown: str) -> None:
    assert units.written(code) == shown


def test_pages_write_the_same_units_as_servers() -> None:
    module = (ROOT / "web/static/js/values.js").read_text(encoding="utf-8")
    table = re.search(r"^const UNITS = \{ (.*) \};$", module, re.MULTILINE)
    assert table is not None
    assert dict(re.findall(r'"?([^",: ]+)"?: "([^"]+)"', table[1])) == units.WRITTEN


@pytest.mark.parametrize(
    ("quorum", "custodians", "who", "both"),
    [
        (1, 1, "nobody else can know", False),
        (2, 3, "none of them alone can know", True),
        (3, 3, "no 2 of them together can know", False),
        (4, 7, "no 3 of them together can know", True),
    ],
)
def test_the_noise_of_custodians_is_told_with_whom_it_withstands(
    quorum: int, custodians: int, who: str, both: bool
) -> None:
    tally = {
        "sums": 1,
        "custodians": custodians,
        "quorum": quorum,
        "inflation": "1.50",
        "inflation_of_quorum": "2.00",
        "expected_error_of_quorum": {"in_words": "So and so."},
    }
    opened, noise, possible = tally_words(tally)
    assert f"decrypt 1 sum with noise in them, any {quorum} of {custodians} together" in opened
    assert who in noise
    assert ("2.00 times if only" in noise) is both
    assert noise.endswith("So and so." if both else "for the same privacy cost.")
    assert "usufruct catalogue --lane homomorphic" in possible
