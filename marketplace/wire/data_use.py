"""The Data Use Ontology's terms in words: what a class permits, what a request is for.

Numbers and bits are those of contracts/src/DataUse.sol (a test compares); DUO is CC-BY-4.0, and a disease is
a number of MONDO. Whoever reads these words decides by them, so what this version does not know is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from marketplace.wire.countries import named
from marketplace.wire.terms import ClassTerms, Purpose

PERMISSIONS: Final[Mapping[int, tuple[int, str]]] = {
    1: (4, "any use, without restriction"),
    2: (42, "any research"),
    3: (6, "health, medical or biomedical research; no general and no ancestry research"),
    4: (7, "research on {disease}, and on its kinds, alone"),
    5: (11, "research into population origins or ancestry alone"),
}
"""By the number of a class's `permission`: DUO's number, and what it allows."""
USES: Final[Mapping[int, str]] = {
    31: "method development",
    32: "population research",
    33: "population origins or ancestry research",
    34: "age category research",
    35: "gender category research",
    36: "research control",
    37: "biomedical research",
    38: "genetic research",
    39: "drug development research",
    40: "disease category research",
}
"""By number in DUO: what a request's `uses` (and a class's research types) are bits of, the first bit 31."""
FIRST_USE: Final = min(USES)
KINDS: Final[Mapping[int, str]] = {
    1: "a non-profit organisation",
    2: "a public body",
    3: "a commercial organisation",
}
"""By the number of a credential's `kind`."""
MODIFIERS: Final[Mapping[int, tuple[int, str]]] = {
    0: (12, "only {types}"),
    1: (15, "no general methods research"),
    2: (16, "genetic studies only"),
    3: (18, "only by non-profit organisations or public bodies, and not for commercial ends"),
    4: (45, "only by non-profit organisations or public bodies"),
    5: (46, "not for commercial ends"),
    6: (44, "no research into population origins or ancestry"),
    7: (22, "only by researchers in {countries}"),
    8: (25, "use ends within {months} months"),
    9: (26, "only by users that the class lists"),
    10: (27, "only for projects that the class lists"),
    11: (28, "only by institutions that the class lists"),
    12: (21, "only with an approval by an ethics committee"),
    13: (20, "researchers have to collaborate with the study's own investigators"),
    14: (19, "researchers have to publish what they find"),
    15: (24, "researchers have to hold publication back until a date"),
    16: (29, "researchers have to return what they derive"),
    17: (43, "clinical care is allowed as well"),
}
"""By bit of a class's `modifiers`: DUO's number, and what it adds. Bits 13 to 16 are duties, too."""
DUTIES: Final[Mapping[int, str]] = {
    13: "to collaborate with the study's own investigators",
    14: "to publish",
    15: "to hold publication back until a date",
    16: "to return derived data",
}
RELEASES: Final[Mapping[int, str]] = {0: "numbers", 1: "tables", 2: "personal scores"}
"""By bit of `releaseKinds`."""
PERSONAL_SCORE: Final = 1 << 2
PERSONAL_SCORES: Final = (
    "Published models may be run on patients' encrypted records, for personal scores: only you can open your "
    "own score, and a researcher gets only how many patients have each value that the model reads, noised."
)
"""What the bit of personal scores allows, for whoever consents."""
UNKNOWN: Final = "something that this version has no words for ({what}): do not rely on the rest"
GENERAL: Final = "general research use"
WIDTH: Final = 32


def permission_words(terms: ClassTerms) -> list[str]:
    """What a class permits: the permission, one sentence for each condition, and what may leave."""
    number, allowed = PERMISSIONS.get(terms.permission, (0, ""))
    if not number:
        allowed = UNKNOWN.format(what=f"permission {terms.permission}")
    allowed = allowed.format(disease=disease_name(terms.disease))
    return [
        f"It permits {allowed}{_duo(number)}.",
        *(f"{each[0].upper()}{each[1:]}." for each in _conditions(terms)),
        *_leaving(terms.release_kinds),
    ]


def purpose_words(purpose: Purpose) -> str:
    """What a request is for, in one sentence without its end: uses, diseases, ends, care, time, duties."""
    uses = _named(purpose.uses, {code - FIRST_USE: means for code, means in USES.items()})
    parts = [_and(uses) if purpose.uses else GENERAL]
    if purpose.diseases:
        parts.append("on " + _and([disease_name(each) for each in purpose.diseases]))
    parts.append("for commercial ends" if purpose.commercial else "not for commercial ends")
    if purpose.clinical_care:
        parts.append("with clinical care")
    if purpose.months:
        parts.append(f"for {purpose.months} months")
    approved = any(purpose.ethics_approval)
    parts.append("with an ethics approval" if approved else "without an ethics approval")
    if purpose.duties:
        parts.append("ready " + _and(_named(purpose.duties, DUTIES)))
    return ", ".join(parts)


def disease_name(number: int) -> str:
    """A disease as MONDO writes it."""
    return f"MONDO:{number:07}"


def _conditions(terms: ClassTerms) -> Iterator[str]:
    types = _named(terms.research_types, {code - FIRST_USE: means for code, means in USES.items()})
    facts = {
        "types": _and(types),
        "countries": _and([_country(each) for each in terms.countries]),
        "months": terms.months,
    }
    for bit in _bits(terms.modifiers):
        number, means = MODIFIERS.get(bit, (0, UNKNOWN.format(what=f"modifier {bit}")))
        yield f"{means.format(**facts)}{_duo(number)}"


def _leaving(kinds: int) -> Iterator[str]:
    """What may leave: about the whole group, then to each patient alone."""
    if others := kinds & ~PERSONAL_SCORE:
        yield f"What leaves are noised {_and(_named(others, RELEASES))} about the whole group."
    if kinds & PERSONAL_SCORE:
        yield PERSONAL_SCORES


def _named(mask: int, names: Mapping[int, str]) -> list[str]:
    """The names of a mask's bits; which have none is said, once."""
    unknown = [str(bit) for bit in _bits(mask) if bit not in names]
    known = [names[bit] for bit in _bits(mask) if bit in names]
    return [*known, *([UNKNOWN.format(what=f"bits {', '.join(unknown)}")] if unknown else [])]


def _bits(mask: int) -> list[int]:
    return [bit for bit in range(WIDTH) if mask >> bit & 1]


def _duo(number: int) -> str:
    return f" (DUO:{number:07})" if number else ""


def _country(code: bytes) -> str:
    """Two letters and whose they are; anything else that a steward wrote, as bytes."""
    letters = code.decode("latin-1")
    return named(letters) if letters.isascii() and letters.isalpha() else "0x" + code.hex()


def _and(names: list[str]) -> str:
    """`a, b and c`; `nothing` where there is none."""
    if len(names) < 2:
        return names[0] if names else "nothing"
    return f"{', '.join(names[:-1])} and {names[-1]}"
