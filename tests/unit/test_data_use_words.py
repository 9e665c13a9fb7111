"""Rules of the Data Use Ontology's words: every number of the contracts has its own, none is passed over."""

import re
from dataclasses import replace
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.demo.setting import class_terms, purpose
from marketplace.errors import BadParameter
from marketplace.wire import countries
from marketplace.wire.data_use import (
    DUTIES,
    FIRST_USE,
    MODIFIERS,
    PERMISSIONS,
    PERSONAL_SCORES,
    RELEASES,
    USES,
    permission_words,
    purpose_words,
)
from marketplace.wire.plain import plain
from tools.readme import CONSTANT, DATA_USE

MASKS = st.integers(0, 2**32 - 1)
CONSENTS = CONSTANT.findall(DATA_USE.read_text().partition("// ---- Uses")[0])
CODE = re.compile(r"DUO:(\d{7})")


def contracts(width: str) -> dict[int, int]:
    """Number (or bit) -> number in DUO, as the contract's own comments have it."""
    found = {}
    for comment, size, _, number in CONSENTS:
        code = CODE.search(comment)
        if size == width and code is not None:
            found[int(number)] = int(code[1])
    return found


def test_permissions_and_modifiers_are_those_of_the_contract() -> None:
    assert contracts("8") == {number: duo for number, (duo, _) in PERMISSIONS.items()}
    assert contracts("32") == {bit: duo for bit, (duo, _) in MODIFIERS.items()}
    assert set(DUTIES) == {13, 14, 15, 16}


def said(number: int) -> str:
    return f"(DUO:{number:07})"


@pytest.mark.parametrize("number", PERMISSIONS)
def test_every_permission_is_told_first_with_its_number(number: int) -> None:
    first, *_ = permission_words(replace(class_terms(), permission=number, disease=4_994))
    assert said(PERMISSIONS[number][0]) in first
    assert ("MONDO:0004994" in first) is (number == 4)


@given(MASKS)
def test_no_condition_of_a_class_is_passed_over(mask: int) -> None:
    words = permission_words(replace(class_terms(), modifiers=mask, release_kinds=1))
    for bit in range(32):
        wanted = said(MODIFIERS[bit][0]) if bit in MODIFIERS else f"(modifier {bit})"
        assert sum(wanted in each for each in words[1:-1]) == mask >> bit & 1
    assert len(words) == mask.bit_count() + 2


@given(MASKS, MASKS)
def test_no_use_and_no_duty_of_a_purpose_is_passed_over(uses: int, duties: int) -> None:
    words = purpose_words(replace(purpose(), uses=uses, duties=duties))
    for code, means in USES.items():
        if uses >> (code - FIRST_USE) & 1:
            assert means in words
    for bit, means in DUTIES.items():
        assert (means in words) is bool(duties >> bit & 1)
    assert ("no words for" in words) is bool(uses >> 10 or duties & ~(0b1111 << 13))
    assert ("general research use" in words) is (uses == 0)


def test_a_permission_that_nobody_knows_is_no_permission() -> None:
    first, *_ = permission_words(replace(class_terms(), permission=9))
    assert "permission 9" in first
    assert "do not rely on the rest" in first


def test_what_limits_a_class_is_named() -> None:
    terms = replace(
        class_terms(),
        modifiers=1 << 0 | 1 << 7 | 1 << 8,
        research_types=1 << 6 | 1 << 7,
        countries=(b"DE", b"\x00\x1b"),
        months=12,
    )
    words = " ".join(permission_words(terms))
    assert "Only biomedical research and genetic research (DUO:0000012)." in words
    assert "Only by researchers in DE (Germany) and 0x001b (DUO:0000022)." in words
    assert "Use ends within 12 months (DUO:0000025)." in words


@pytest.mark.parametrize("kinds", range(1, 8))
def test_what_may_leave_is_told_last(kinds: int) -> None:
    told = permission_words(replace(class_terms(), release_kinds=kinds))
    before = permission_words(replace(class_terms(), release_kinds=1))[:-1]
    assert told[: len(before)] == before
    last = " ".join(told[len(before) :])
    for bit, name in RELEASES.items():
        assert (name in last) is bool(kinds >> bit & 1)
    assert ("about the whole group" in last) is bool(kinds & 3)


def test_personal_scores_are_told_in_full_and_never_as_something_about_the_group() -> None:
    *_, last = permission_words(replace(class_terms(), release_kinds=4))
    assert last == PERSONAL_SCORES
    for words in ("encrypted records", "only you can open your own", "only how many patients"):
        assert words in last
    (*_, group, scores) = permission_words(replace(class_terms(), release_kinds=7))
    assert "numbers and tables about" in group
    assert (scores, "score" in group) == (PERSONAL_SCORES, False)


def test_a_kind_of_release_that_nobody_knows_is_told_as_that() -> None:
    *_, last = permission_words(replace(class_terms(), release_kinds=9))
    assert "bits 3" in last
    assert "do not rely on the rest" in last


def test_a_purpose_says_its_ends_its_care_its_time_and_its_approval() -> None:
    asked = replace(
        purpose(),
        uses=1 << 6,
        diseases=(4_994, 5_010),
        commercial=True,
        clinical_care=True,
        months=6,
        ethics_approval=bytes(31) + b"\x01",
        duties=1 << 14,
    )
    assert purpose_words(asked) == (
        "biomedical research, on MONDO:0004994 and MONDO:0005010, for commercial ends, "
        "with clinical care, for 6 months, with an ethics approval, ready to publish"
    )
    plain = replace(asked, commercial=False, ethics_approval=bytes(32))
    assert "not for commercial ends" in purpose_words(plain)
    assert "without an ethics approval" in purpose_words(plain)


def test_every_country_of_today_has_its_code_and_no_other_has_one() -> None:
    table = resources.files("tzdata") / "zoneinfo" / "iso3166.tab"
    rows = (line for line in table.read_text("utf-8").splitlines() if not line.startswith("#"))
    assert list(countries.NAMES) == [row.split("\t")[0] for row in rows]
    assert all(name == plain(name) for name in countries.NAMES.values())


@pytest.mark.parametrize(("typed", "code"), [("NL", "NL"), (" nl ", "NL"), ("ax", "AX")])
def test_a_country_is_read_by_its_code(typed: str, code: str) -> None:
    assert countries.code_of(typed, "country") == code


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [("Netherlands", "NL"), ("niger", "NE"), ("ZZ", "one such as NL"), ("", "one such as NL")],
)
def test_what_is_no_countrys_code_is_refused_and_a_name_gets_its_code(
    typed: str, remedy: str
) -> None:
    with pytest.raises(BadParameter) as refused:
        countries.code_of(typed, "country")
    assert refused.value.remedy == f"Write {remedy} (ISO 3166-1)."
    assert refused.value.field == "country"
