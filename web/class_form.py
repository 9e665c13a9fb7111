"""The form of a consent class: what was typed as terms and page, every fault at its field, nothing lost.

The rules are those of contracts/src/DataUse.sol (`requireValid`), said before anything is signed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, TypeVar

from werkzeug.datastructures import MultiDict

from marketplace.errors import BadClassPage, BadParameter, Refusal
from marketplace.wire import class_page, countries
from marketplace.wire.class_page import SCHEMA, ClassPage
from marketplace.wire.data_use import DUTIES, FIRST_USE, MODIFIERS, PERMISSIONS, RELEASES, USES
from marketplace.wire.http import hash_field
from marketplace.wire.plain import counted
from marketplace.wire.terms import ClassTerms
from web.pages.datasets import HEADINGS

T = TypeVar("T")

ON_DISEASE: Final = 4
"""The permission that names a disease."""
MOST_COST: Final = 1 << 44  # nano-rho, DataUse.MAX_COST
MOST_LIST: Final = 32  # DataUse.MAX_LIST
MOST_MONTHS: Final = (1 << 16) - 1
MOST_UNITS: Final = (1 << 56) - 1
ASKED_BY: Final[Mapping[str, int]] = {
    "research_types": 0,
    "countries": 7,
    "months": 8,
    "users": 9,
    "projects": 10,
    "institutions": 11,
}
"""Fields that belong to a condition, by the bit of that condition."""
LABELS: Final[Mapping[str, str]] = {"language": "Language", "title": "Title", **HEADINGS}
"""Of the fields that the page is written in."""
SHORT: Final = 20
"""Characters below which a paragraph can hardly tell anybody anything."""
PROMISES: Final = re.compile(
    r"100 ?%|\banonym\w*|\b(?:no|without(?: any)?) risks?\b|\brisk-free\b|\bguarantee\w*"
    r"|\b(?:completely|absolutely|totally|perfectly|entirely) (?:safe|secure|private)\b",
    re.IGNORECASE,
)
"""What no page may promise: every result gives a little away, and membership is public on chain."""
_DISEASE: Final = re.compile(r"(?:MONDO:)?0*([1-9][0-9]{0,6})", re.IGNORECASE)
_WHOLE: Final = re.compile(r"[0-9]{1,15}|[0-9]{1,3}(,[0-9]{3}){1,4}")
"""In digits alone, or with its thousands apart, as every page writes it; any other comma is a decimal one."""
_AMOUNT: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,18})?")
"""Without commas: half of the world writes 0,50 for a half."""


@dataclass(frozen=True)
class Draft:
    """A form as it was sent. `terms` and `page` are there when `errors` (by field) is empty.

    Args:
        typed: the last value of each field; `chosen`: every value of it, for boxes.
    """

    typed: Mapping[str, str] = field(default_factory=dict)
    chosen: Mapping[str, list[str]] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    terms: ClassTerms | None = None
    page: ClassPage | None = None

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Names and values to send the same form again."""
        return [(name, each) for name, values in self.chosen.items() for each in values]


def read(form: MultiDict[str, str], decimals: int) -> Draft:
    """The terms and the page that a form describes.

    Args:
        decimals: of the market's token, in which amounts are kept.
    """
    reader = _Reader(form)
    terms, page = reader.terms(decimals), reader.page()
    known = {name: values for name, values in form.lists() if name in FIELDS}
    typed = {name: values[-1] for name, values in known.items()}
    if reader.errors or page is None:
        return Draft(typed, known, reader.errors)
    return Draft(typed, known, {}, ClassTerms(**terms, terms_hash=page.hash()), page)


FIELDS: Final = frozenset(
    {
        *("permission", "disease", "modifiers", "duties", "release_kinds", "max_cost"),
        *("floor_per_record", "floor_per_milli_rho"),
        *ASKED_BY,
        *LABELS,
    }
)


class _Reader:
    """Takes one field after the other, and notes each fault instead of stopping at the first."""

    def __init__(self, form: MultiDict[str, str]) -> None:
        self.form = form
        self.errors: dict[str, str] = {}

    def terms(self, decimals: int) -> dict[str, Any]:
        """All but the hash of the page."""
        conditions = {bit: means for bit, means in MODIFIERS.items() if bit not in DUTIES}
        modifiers = self._bits("modifiers", conditions) | self._bits("duties", DUTIES)
        nothing: tuple[bytes, ...] = ()
        uses = {code - FIRST_USE: means for code, means in USES.items()}
        found = {
            "permission": self._take("permission", _permission, 0),
            "disease": self._take("disease", _disease, 0),
            "modifiers": modifiers,
            "research_types": self._bits("research_types", uses),
            "countries": self._take("countries", _countries, nothing),
            "months": self._take("months", lambda text: _whole(text, 0, MOST_MONTHS), 0),
            "users": self._take("users", _hashes, nothing),
            "projects": self._take("projects", _hashes, nothing),
            "institutions": self._take("institutions", _hashes, nothing),
            "release_kinds": self._bits("release_kinds", RELEASES),
            "max_cost": self._take("max_cost", lambda text: _whole(text, 1, MOST_COST), 1),
            "floor_per_record": self._take("floor_per_record", _amount(decimals), 0),
            "floor_per_milli_rho": self._take("floor_per_milli_rho", _amount(decimals), 0),
        }
        self._require_consistent(found)
        return found

    def page(self) -> ClassPage | None:
        """The page; every field that breaks a rule of its format is noted."""
        document = {name: one_line(self.form.get(name, "")) for name in LABELS}
        document["schema"] = SCHEMA
        while True:
            try:
                page = class_page.from_json(document)
            except BadClassPage as refusal:
                at = str(refusal.field)
                self._note(at, _at_label(refusal, at, document[at]))
                document[at] = "en" if at == "language" else "x"  # so that the next is looked at
            else:
                return None if self.errors else page

    def _require_consistent(self, found: Mapping[str, Any]) -> None:
        """A condition has its list, and a list its condition; the contract takes nothing else."""
        for name, bit in ASKED_BY.items():
            if "modifiers" not in self.errors:
                self._require_both(name, bool(found["modifiers"] >> bit & 1), bool(found[name]))
        if "permission" not in self.errors:
            self._require_both("disease", found["permission"] == ON_DISEASE, bool(found["disease"]))
        if not found["release_kinds"]:
            self._note("release_kinds", _bad("Nothing may leave.", "Choose at least one."))

    def _require_both(self, name: str, asked: bool, filled: bool) -> None:
        if asked and not filled:
            self._note(name, _bad("What you chose needs this.", "Fill it in."))
        if filled and not asked:
            self._note(
                name, _bad("Nothing that you chose uses this.", "Choose it, or leave this empty.")
            )

    def _bits(self, name: str, known: Mapping[int, Any]) -> int:
        def mask(values: list[str]) -> int:
            names = {str(bit): bit for bit in known}
            if not set(values) <= set(names):
                raise _bad("That is none of the choices.", "Choose from the list.")
            return sum(1 << names[each] for each in set(values))

        return self._noting(name, lambda: mask(self.form.getlist(name)), 0)

    def _take(self, name: str, reading: Callable[[str], T], otherwise: T) -> T:
        return self._noting(name, lambda: reading(self.form.get(name, "").strip()), otherwise)

    def _noting(self, name: str, reading: Callable[[], T], otherwise: T) -> T:
        try:
            return reading()
        except Refusal as refusal:
            self._note(name, refusal)
            return otherwise

    def _note(self, name: str, refusal: Refusal) -> None:
        self.errors.setdefault(name, f"{refusal.message} {refusal.remedy}")


def one_line(text: str) -> str:
    """What a box of several lines holds as the one line that a page is: the preview shows it so."""
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def _at_label(refusal: Refusal, name: str, text: str) -> Refusal:
    """In the words of the form: its programs call the field by a name that no steward knows."""
    label = f"“{LABELS[name]}”"
    if not text:
        return _bad(f"{label} is empty.", "Write it.")
    return _bad(refusal.message.replace(name, label, 1), refusal.remedy)


def _bad(message: str, remedy: str) -> BadParameter:
    return BadParameter(message=message, remedy=remedy)


def _permission(text: str) -> int:
    if text not in {str(each) for each in PERMISSIONS}:
        raise _bad("No use is chosen.", "Choose what patients permit.")
    return int(text)


def _disease(text: str) -> int:
    if not text:
        return 0
    found = _DISEASE.fullmatch(text)
    if found is None:
        raise _bad("That is no disease of MONDO.", "Write it like MONDO:0005148.")
    return int(found[1])


def doubts(page: ClassPage, headings: Mapping[str, str]) -> list[str]:
    """What its steward should look at again before publishing, in sentences. Knows English promises."""
    found = []
    for name, text in page.paragraphs:
        if len(text) < SHORT:
            found.append(f"“{headings[name]}” has {counted(len(text), 'character')}: is all said?")
        promised = PROMISES.search(text)
        if promised:
            found.append(
                f"“{headings[name]}” says “{promised[0]}”. Nothing here holds to that: each result gives a "
                "little away, and the figures beside your words say how much."
            )
    return found


def _whole(text: str, least: int, most: int) -> int:
    if not text and least == 0:
        return 0
    digits = text.replace(",", "")
    if _WHOLE.fullmatch(text) is None or not text.isascii() or not least <= int(digits) <= most:
        raise _bad(
            f"That is no whole number from {least:,} to {most:,}.",
            "Write digits alone, such as 30000000.",
        )
    return int(digits)


def _amount(decimals: int) -> Callable[[str], int]:
    """Reads an amount as token units."""

    def reading(text: str) -> int:
        if _AMOUNT.fullmatch(text) is None or not text.isascii():
            raise _bad(
                "That is no amount of money that could be read in one way alone.",
                "Write it with a point and no commas, like 0.50.",
            )
        units = Decimal(text).scaleb(decimals)
        if units != units.to_integral_value() or units > MOST_UNITS:
            raise _bad(
                f"The token has {decimals} decimals, and no such amount.", "Round it, or lower it."
            )
        return int(units)

    return reading


def _countries(text: str) -> tuple[bytes, ...]:
    found = list(_parts(text))
    if len(found) > MOST_LIST:
        raise _bad(f"These are more than {MOST_LIST} countries.", "Leave some out.")
    codes = [countries.code_of(each, "countries") for each in found]
    return tuple(each.encode() for each in dict.fromkeys(codes))


def _hashes(text: str) -> tuple[bytes, ...]:
    found = [hash_field(each, f"entry {place}") for place, each in enumerate(_parts(text), 1)]
    if len(found) > MOST_LIST or not all(any(each) for each in found):
        raise _bad(
            f"That is no list of at most {MOST_LIST} hashes.",
            "Write 0x and 64 digits for each, as they stand in credentials; none is zero.",
        )
    return tuple(dict.fromkeys(found))


def _parts(text: str) -> Iterator[str]:
    return (each for each in re.split(r"[\s,;]+", text) if each)
