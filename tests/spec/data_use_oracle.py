"""The Data Use Ontology's matching rules in plain words and sets: the oracle of `DataUse.sol`.

Written from the ontology's definitions (DUO, CC-BY-4.0), not from the contract: no masks here, but
for the one table that says which bit stands for which word, which both sides must share.
"""

from dataclasses import dataclass, field
from typing import Any

from eth_utils.crypto import keccak

PERMISSIONS = ("NRES", "GRU", "HMB", "DS", "POA")
# Bits 0, 1, 2...
# fmt: off
MODIFIERS = (
    "RS", "NMDS", "GSO", "NPUNCU", "NPU", "NCU", "NPOA", "GS", "TS",
    "US", "PS", "IS", "IRB", "COL", "PUB", "MOR", "RTN", "CC",
)
# DUO:0000031 to 0000040, in order.
USES = (
    "methods", "population", "ancestry", "age", "gender",
    "control", "biomedical", "genetic", "drug", "disease",
)
# fmt: on
DUTIES = {"COL", "PUB", "MOR", "RTN"}
ORGANISATIONS = ("non-profit", "public body", "company")
REASONS = {name: 1 << bit for bit, name in enumerate(MODIFIERS) if name != "CC"} | {
    "not biomedical": 1 << 37,
    "disease": 1 << 38,
    "not ancestry": 1 << 39,
    "clinical care": 1 << 40,
}
# MONDO, a few: cancer 4992, breast cancer 7254, lung cancer 8903, diabetes 5015.
CANCER, BREAST_CANCER, LUNG_CANCER, DIABETES = 4992, 7254, 8903, 5015
DESCENT = {(BREAST_CANCER, CANCER), (LUNG_CANCER, CANCER)}


@dataclass(frozen=True)
class Consent:
    """What a class of patients permits."""

    permission: str
    modifiers: frozenset[str] = frozenset()
    disease: int = 0
    types: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()
    months: int = 0
    users: frozenset[str] = frozenset()
    projects: frozenset[str] = frozenset()
    institutions: frozenset[str] = frozenset()

    def encode(self) -> dict[str, Any]:
        """As the contract's ClassTerms."""
        return {
            "permission": PERMISSIONS.index(self.permission) + 1,
            "disease": self.disease,
            "modifiers": mask(MODIFIERS, self.modifiers),
            "researchTypes": mask(USES, self.types),
            "countries": [country.encode() for country in sorted(self.countries)],
            "months": self.months,
            "users": hashes(self.users),
            "projects": hashes(self.projects),
            "institutions": hashes(self.institutions),
            "releaseKinds": 1,
            "maxCost": 1_000_000,
            "floorPerRecord": 0,
            "floorPerMilliRho": 0,
            "termsHash": keccak(text="terms"),
        }


@dataclass(frozen=True)
class Use:
    """What a request wants, and who asks."""

    uses: frozenset[str] = frozenset()
    diseases: tuple[int, ...] = ()
    commercial: bool = False
    care: bool = False
    months: int = 0
    project: str = ""
    approved: bool = False
    duties: frozenset[str] = frozenset()
    organisation: str = "non-profit"
    country: str = "NL"
    user: str = "ada"
    institution: str = "institute"

    def encode_purpose(self) -> dict[str, Any]:
        return {
            "uses": mask(USES, self.uses),
            "diseases": list(self.diseases),
            "commercial": self.commercial,
            "clinicalCare": self.care,
            "months": self.months,
            "project": keccak(text=self.project) if self.project else bytes(32),
            "ethicsApproval": keccak(text="approval") if self.approved else bytes(32),
            "duties": mask(MODIFIERS, self.duties),
        }

    def encode_credential(self) -> dict[str, Any]:
        return {
            "kind": ORGANISATIONS.index(self.organisation) + 1,
            "country": self.country.encode(),
            "expiry": 2**40 - 1,
            "withdrawn": False,
            "user": keccak(text=self.user),
            "institution": keccak(text=self.institution),
            "evidence": keccak(text="evidence"),
        }


def mask(words: tuple[str, ...], chosen: frozenset[str]) -> int:
    return sum(1 << words.index(word) for word in chosen)


def hashes(names: frozenset[str]) -> list[bytes]:
    return [keccak(text=name) for name in sorted(names)]


@dataclass
class Verdict:
    """Every reason against a use, by name; none means that it is permitted."""

    reasons: set[str] = field(default_factory=set)

    def encode(self) -> int:
        return sum(REASONS[reason] for reason in self.reasons)


def judge(consent: Consent, use: Use) -> Verdict:
    """What a careful data access committee would say."""
    only_care = use.care and not use.uses and not use.diseases
    reasons = {name for name in consent.modifiers if not _holds(name, consent, use, only_care)}
    if use.care and "CC" not in consent.modifiers:
        reasons.add("clinical care")
    if not only_care:
        reasons |= _research_reasons(consent, use)
    return Verdict(reasons)


def _research_reasons(consent: Consent, use: Use) -> set[str]:
    biomedical = bool(use.uses & {"biomedical", "genetic", "drug", "disease"})
    if consent.permission == "HMB" and (not biomedical or "ancestry" in use.uses):
        return {"not biomedical"}
    if consent.permission == "POA" and use.uses != {"ancestry"}:
        return {"not ancestry"}
    if consent.permission == "DS":
        covered = [d == consent.disease or (d, consent.disease) in DESCENT for d in use.diseases]
        if not use.uses or not covered or not all(covered):
            return {"disease"}
    return set()


def _holds(name: str, consent: Consent, use: Use, only_care: bool) -> bool:
    # General use may turn out to be anything, so it promises nothing; care alone is no research.
    says_what = bool(use.uses) or only_care
    non_profit = use.organisation != "company"
    rules = {
        "RS": bool(use.uses) and use.uses <= consent.types,
        "NMDS": says_what and "methods" not in use.uses,
        "GSO": "genetic" in use.uses,
        "NPUNCU": non_profit and not use.commercial,
        "NPU": non_profit,
        "NCU": not use.commercial,
        "NPOA": says_what and "ancestry" not in use.uses,
        "GS": use.country in consent.countries,
        "TS": 0 < use.months <= consent.months,
        "US": use.user in consent.users,
        "PS": use.project in consent.projects,
        "IS": use.institution in consent.institutions,
        "IRB": use.approved,
        "CC": True,
    }
    return rules.get(name, name in use.duties)
