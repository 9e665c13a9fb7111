"""The data use rules where they must not fail open, and the terms that are never published."""

from typing import Any

import pytest

from tests.contracts.support import refusing, word
from tests.spec.data_use_oracle import CANCER, REASONS, Consent, Use
from tests.spec.matcher import Matcher, new_matcher

ANY, RESEARCH = Consent("NRES"), Consent("GRU")
GENERAL = Use()
BIOMEDICAL = Use(frozenset({"biomedical"}))
METHODS = Use(frozenset({"methods"}))


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return new_matcher()


# ---- The five cases in which a widely used matcher permits what it should refuse ----


def test_general_purpose_is_refused_under_cancer_only_consent(matcher: Matcher) -> None:
    assert matcher.reasons(Consent("DS", disease=CANCER), GENERAL) == REASONS["disease"]


def test_general_purpose_is_refused_under_ancestry_only_consent(matcher: Matcher) -> None:
    assert matcher.reasons(Consent("POA"), GENERAL) == REASONS["not ancestry"]


def test_consent_that_only_says_not_for_general_use_permits_nothing(matcher: Matcher) -> None:
    """Its permission is unset, so no class of it can exist, and nothing can ask for its data."""
    with refusing("ClassTermsInvalid", "permission"):
        matcher.publish(RESEARCH.encode() | {"permission": 0})


def test_methods_development_is_refused_where_methods_are_excluded(matcher: Matcher) -> None:
    assert matcher.reasons(Consent("GRU", frozenset({"NMDS"})), METHODS) == REASONS["NMDS"]


def test_biomedical_use_is_refused_without_the_required_approval(matcher: Matcher) -> None:
    assert matcher.reasons(Consent("HMB", frozenset({"IRB"})), BIOMEDICAL) == REASONS["IRB"]


@pytest.mark.parametrize(
    ("field", "value", "bit"), [("uses", 1 << 10, 34), ("uses", 1 << 31, 34), ("duties", 1, 35)]
)
def test_an_unknown_code_of_a_purpose_is_a_refusal(
    matcher: Matcher, field: str, value: int, bit: int
) -> None:
    use = BIOMEDICAL
    purpose = use.encode_purpose()
    purpose[field] |= value
    class_ = matcher.publish(ANY.encode())
    assert matcher.reasons_for(class_, ANY.encode(), purpose, use) == 1 << bit


HASH = word("somebody")
INVALID: list[tuple[str, dict[str, Any]]] = [
    # No permission at all: "not for general use", and nothing else.
    ("permission", {"permission": 0}),
    ("permission", {"permission": 0, "modifiers": 1 << 1}),
    ("permission", {"permission": 6}),
    ("disease", {"permission": 4}),
    ("disease", {"permission": 3, "disease": CANCER}),
    ("modifiers", {"modifiers": 1 << 18}),
    ("modifiers", {"modifiers": 1 << 31}),
    ("researchTypes", {"modifiers": 1 << 0}),
    ("researchTypes", {"researchTypes": 1}),
    ("researchTypes", {"modifiers": 1 << 0, "researchTypes": 1 << 10}),
    ("countries", {"modifiers": 1 << 7}),
    ("countries", {"countries": [b"NL"]}),
    ("countries", {"modifiers": 1 << 7, "countries": [b"NL", b"nl"]}),
    ("countries", {"modifiers": 1 << 7, "countries": [b"N\0"]}),
    ("countries", {"modifiers": 1 << 7, "countries": [b"NL"] * 33}),
    ("months", {"modifiers": 1 << 8}),
    ("months", {"months": 1}),
    ("users", {"modifiers": 1 << 9}),
    ("users", {"users": [HASH]}),
    ("users", {"modifiers": 1 << 9, "users": [HASH, bytes(32)]}),
    ("users", {"modifiers": 1 << 9, "users": [HASH] * 33}),
    ("projects", {"modifiers": 1 << 10}),
    ("projects", {"projects": [HASH]}),
    ("institutions", {"modifiers": 1 << 11}),
    ("institutions", {"institutions": [HASH]}),
    ("releaseKinds", {"releaseKinds": 0}),
    ("maxCost", {"maxCost": 0}),
    ("maxCost", {"maxCost": 2**44 + 1}),
    ("termsHash", {"termsHash": bytes(32)}),
]


@pytest.mark.parametrize(("field", "changes"), INVALID)
def test_terms_that_permit_nothing_or_speak_in_vain_are_never_published(
    matcher: Matcher, field: str, changes: dict[str, Any]
) -> None:
    with refusing("ClassTermsInvalid", field):
        matcher.publish(RESEARCH.encode() | changes)


def test_lists_and_costs_at_their_limits_are_published(matcher: Matcher) -> None:
    full = {"modifiers": 1 << 9, "users": [HASH] * 32, "maxCost": 2**44}
    matcher.publish(RESEARCH.encode() | full)
