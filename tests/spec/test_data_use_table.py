"""The Data Use Ontology's rules as a table: consent, use, and every reason against it.

Each row is read as "may a use like this be made of data consented like that?" and is held against
the contract and against the oracle. Then these two are held against each other.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.spec.data_use_oracle import (
    BREAST_CANCER,
    CANCER,
    DIABETES,
    DUTIES,
    LUNG_CANCER,
    MODIFIERS,
    ORGANISATIONS,
    PERMISSIONS,
    USES,
    Consent,
    Use,
    judge,
)
from tests.spec.matcher import Matcher, new_matcher
from tests.support.daily import daily


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return new_matcher()


def some(words: str) -> frozenset[str]:
    return frozenset(words.split())


def gru(modifier: str, **lists: Any) -> Consent:
    return Consent("GRU", some(modifier), **lists)


ANY, RESEARCH, MEDICAL = Consent("NRES"), Consent("GRU"), Consent("HMB")
ON_CANCER, ON_ANCESTRY = Consent("DS", disease=CANCER), Consent("POA")
GENERAL, ANCESTRY, METHODS = Use(), Use(some("ancestry")), Use(some("methods"))
BIOMEDICAL = Use(some("biomedical"))
CARE = Use(care=True)


def on(*diseases: int) -> Use:
    return Use(some("disease"), diseases=diseases)


# (rule, consent, use, reasons)
TABLE: list[tuple[str, Consent, Use, str]] = [
    # The five on which a widely used matcher fails open.
    ("general purpose against disease-specific consent", ON_CANCER, GENERAL, "disease"),
    ("general purpose against ancestry only", ON_ANCESTRY, GENERAL, "not ancestry"),
    ("methods development against no methods", gru("NMDS"), METHODS, "NMDS"),
    ("biomedical against approval required, none given", gru("IRB"), BIOMEDICAL, "IRB"),
    # (The fifth, consent that says only what it is not, cannot be published: test_data_use.py.)
    # NRES
    ("anything under no restriction", ANY, GENERAL, ""),
    ("ancestry under no restriction", ANY, ANCESTRY, ""),
    ("commerce under no restriction", ANY, Use(commercial=True, organisation="company"), ""),
    # GRU
    ("general research", RESEARCH, GENERAL, ""),
    ("ancestry as general research", RESEARCH, ANCESTRY, ""),
    # HMB
    ("biomedical research", MEDICAL, BIOMEDICAL, ""),
    ("genetic research is biomedical", MEDICAL, Use(some("genetic")), ""),
    ("drug development is biomedical", MEDICAL, Use(some("drug")), ""),
    ("disease research is biomedical", MEDICAL, on(DIABETES), ""),
    ("general use is not biomedical", MEDICAL, GENERAL, "not biomedical"),
    ("ancestry is not biomedical", MEDICAL, ANCESTRY, "not biomedical"),
    ("ancestry beside biomedical", MEDICAL, Use(some("ancestry drug")), "not biomedical"),
    ("methods alone are not biomedical", MEDICAL, METHODS, "not biomedical"),
    ("methods for biomedical research", MEDICAL, Use(some("methods biomedical")), ""),
    ("control sets alone are not biomedical", MEDICAL, Use(some("control")), "not biomedical"),
    # DS
    ("the consented disease", ON_CANCER, on(CANCER), ""),
    ("what descends from it", ON_CANCER, on(BREAST_CANCER, LUNG_CANCER), ""),
    ("another disease", ON_CANCER, on(DIABETES), "disease"),
    ("one of two is another disease", ON_CANCER, on(BREAST_CANCER, DIABETES), "disease"),
    ("an ancestor is too wide", Consent("DS", disease=LUNG_CANCER), on(CANCER), "disease"),
    ("a sibling", Consent("DS", disease=LUNG_CANCER), on(BREAST_CANCER), "disease"),
    ("no disease named", ON_CANCER, BIOMEDICAL, "disease"),
    ("general use on the disease", ON_CANCER, Use(diseases=(CANCER,)), "disease"),
    # POA
    ("ancestry only", ON_ANCESTRY, ANCESTRY, ""),
    ("ancestry and more", ON_ANCESTRY, Use(some("ancestry genetic")), "not ancestry"),
    ("biomedical under ancestry only", ON_ANCESTRY, BIOMEDICAL, "not ancestry"),
    # RS
    ("a listed type", gru("RS", types=some("drug age")), Use(some("drug")), ""),
    ("all of them listed", gru("RS", types=some("drug age")), Use(some("drug age")), ""),
    ("one type not listed", gru("RS", types=some("drug")), Use(some("drug age")), "RS"),
    ("no type named", gru("RS", types=some("drug")), GENERAL, "RS"),
    # NMDS, NPOA, GSO
    ("biomedical where methods are excluded", gru("NMDS"), BIOMEDICAL, ""),
    ("methods beside biomedical", gru("NMDS"), Use(some("methods biomedical")), "NMDS"),
    ("general use may be methods", gru("NMDS"), GENERAL, "NMDS"),
    ("ancestry excluded", gru("NPOA"), ANCESTRY, "NPOA"),
    ("general use may be ancestry", gru("NPOA"), GENERAL, "NPOA"),
    ("biomedical where ancestry is excluded", gru("NPOA"), BIOMEDICAL, ""),
    ("genetic only", gru("GSO"), Use(some("genetic")), ""),
    ("not genetic", gru("GSO"), BIOMEDICAL, "GSO"),
    # NPU, NCU, NPUNCU
    ("non-profit organisation", gru("NPU"), BIOMEDICAL, ""),
    ("a public body makes no profit", gru("NPU"), Use(organisation="public body"), ""),
    ("a company", gru("NPU"), Use(organisation="company"), "NPU"),
    ("a non-profit's commercial use, organisation only", gru("NPU"), Use(commercial=True), ""),
    ("a company's non-commercial use", gru("NCU"), Use(organisation="company"), ""),
    ("commercial use", gru("NCU"), Use(commercial=True), "NCU"),
    ("both hold", gru("NPUNCU"), BIOMEDICAL, ""),
    ("non-profit but commercial", gru("NPUNCU"), Use(commercial=True), "NPUNCU"),
    ("non-commercial but a company", gru("NPUNCU"), Use(organisation="company"), "NPUNCU"),
    # GS, TS, US, PS, IS
    ("a listed country", gru("GS", countries=some("NL DE")), Use(country="DE"), ""),
    ("another country", gru("GS", countries=some("NL DE")), Use(country="US"), "GS"),
    ("within the months", gru("TS", months=12), Use(months=12), ""),
    ("too many months", gru("TS", months=12), Use(months=13), "TS"),
    ("an open end", gru("TS", months=12), Use(), "TS"),
    ("a listed user", gru("US", users=some("ada eve")), Use(user="eve"), ""),
    ("another user", gru("US", users=some("ada")), Use(user="eve"), "US"),
    ("a listed project", gru("PS", projects=some("p")), Use(project="p"), ""),
    ("another project", gru("PS", projects=some("p")), Use(project="q"), "PS"),
    ("no project", gru("PS", projects=some("p")), Use(), "PS"),
    ("a listed institution", gru("IS", institutions=some("i")), Use(institution="i"), ""),
    ("another institution", gru("IS", institutions=some("i")), Use(institution="j"), "IS"),
    # Duties
    ("approval given", gru("IRB"), Use(approved=True), ""),
    ("all duties accepted", gru("COL PUB MOR RTN"), Use(duties=some("COL PUB MOR RTN")), ""),
    ("no duty accepted", gru("COL PUB MOR RTN"), Use(), "COL PUB MOR RTN"),
    ("three of four accepted", gru("COL PUB MOR RTN"), Use(duties=some("COL PUB MOR")), "RTN"),
    ("duties nobody asks for", RESEARCH, Use(duties=some("COL PUB MOR RTN")), ""),
    # CC
    ("care where only research is permitted", RESEARCH, CARE, "clinical care"),
    ("care without any restriction", ANY, CARE, "clinical care"),
    ("care that was added", Consent("HMB", some("CC")), CARE, ""),
    ("added care changes no research", Consent("HMB", some("CC")), GENERAL, "not biomedical"),
    ("care and covered research", Consent("HMB", some("CC")), Use(some("drug"), care=True), ""),
    (
        "care and research that is not covered",
        Consent("DS", some("CC"), disease=CANCER),
        Use(some("disease"), (DIABETES,), care=True),
        "disease",
    ),
    ("care is neither methods nor ancestry", gru("CC NMDS NPOA"), CARE, ""),
    ("a company's care", gru("CC NPU"), Use(care=True, organisation="company"), "NPU"),
    # Every reason at once.
    (
        "all that is wrong is said",
        Consent("HMB", some("NMDS GSO NPUNCU NCU NPU IRB PUB")),
        Use(some("methods"), commercial=True, organisation="company", care=True),
        "not_biomedical clinical_care NMDS GSO NPUNCU NCU NPU IRB PUB",
    ),
]


def expected(reasons: str) -> set[str]:
    whole = {"not biomedical", "not ancestry", "clinical care"}
    return {reasons} if reasons in whole else {word.replace("_", " ") for word in reasons.split()}


@pytest.mark.parametrize(
    ("consent", "use", "reasons"), [r[1:] for r in TABLE], ids=[r[0] for r in TABLE]
)
def test_the_contract_says_what_the_table_says(
    matcher: Matcher, consent: Consent, use: Use, reasons: str
) -> None:
    verdict = judge(consent, use)
    assert verdict.reasons == expected(reasons)
    assert matcher.reasons(consent, use) == verdict.encode()


def test_every_rule_has_a_row_that_refuses_and_one_that_permits() -> None:
    """So that no modifier or permission can be forgotten here."""
    refused = {(row[1].permission, reason) for row in TABLE for reason in expected(row[3])}
    assert set(MODIFIERS) - {"CC"} <= {reason for _, reason in refused}
    # And each permission by itself: NRES and GRU permit all research, so what they refuse is clinical care.
    research = {("DS", "disease"), ("HMB", "not biomedical"), ("POA", "not ancestry")}
    assert research | {("NRES", "clinical care"), ("GRU", "clinical care")} <= refused
    permitted = [row[1] for row in TABLE if not row[3]]
    assert set(PERMISSIONS) == {consent.permission for consent in permitted}
    assert set(MODIFIERS) == {name for consent in permitted for name in consent.modifiers}


# ---- The contract against the oracle ----

TYPES = st.frozensets(st.sampled_from(USES), max_size=4)
NAMES = st.frozensets(st.sampled_from(["a", "b", "c"]), min_size=1)


@st.composite
def consents(draw: st.DrawFn) -> Consent:
    permission = draw(st.sampled_from(PERMISSIONS))
    modifiers = draw(st.frozensets(st.sampled_from(MODIFIERS), max_size=6))

    def only(modifier: str, value: st.SearchStrategy[Any], empty: Any) -> Any:
        return draw(value) if modifier in modifiers else empty

    return Consent(
        permission,
        modifiers,
        disease=draw(st.sampled_from([CANCER, LUNG_CANCER])) if permission == "DS" else 0,
        types=only("RS", TYPES.filter(bool), frozenset()),
        countries=only("GS", st.frozensets(st.sampled_from(["NL", "DE"]), min_size=1), frozenset()),
        months=only("TS", st.integers(1, 3), 0),
        users=only("US", NAMES, frozenset()),
        projects=only("PS", NAMES, frozenset()),
        institutions=only("IS", NAMES, frozenset()),
    )


USE = st.builds(
    Use,
    uses=TYPES,
    diseases=st.lists(
        st.sampled_from([CANCER, BREAST_CANCER, LUNG_CANCER, DIABETES]), max_size=3
    ).map(tuple),
    commercial=st.booleans(),
    care=st.booleans(),
    months=st.integers(0, 4),
    project=st.sampled_from(["", "a", "b", "d"]),
    approved=st.booleans(),
    duties=st.frozensets(st.sampled_from(sorted(DUTIES))),
    organisation=st.sampled_from(ORGANISATIONS),
    country=st.sampled_from(["NL", "DE", "US"]),
    user=st.sampled_from(["a", "b", "d"]),
    institution=st.sampled_from(["a", "b", "d"]),
)


@pytest.mark.parametrize("examples", daily([60, 600], [60]))
def test_the_contract_agrees_with_the_oracle(matcher: Matcher, examples: int) -> None:
    @given(consent=consents(), uses=st.lists(USE, min_size=1, max_size=4))
    @settings(max_examples=examples)
    def agrees(consent: Consent, uses: list[Use]) -> None:
        for use in uses:
            assert matcher.reasons(consent, use) == judge(consent, use).encode()

    agrees()
