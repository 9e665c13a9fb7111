"""The page that a patient reads before consenting (usufruct-class-page/1).

Its keccak256 is `ClassTerms.termsHash`, so what was agreed to can never be said otherwise afterwards. It
holds what people write: everything that follows from the class's terms (permitted uses, prices, odds) is
generated beside it and stands on chain.

One document, one byte string: canonical JSON with exactly these keys, each of them one line of plain text.
Lengths count Unicode code points (JavaScript: `[...text].length`).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, fields
from typing import Any, Final, NoReturn

from eth_hash.auto import keccak

from marketplace.errors import BadClassPage, MalformedJson
from marketplace.wire.canonical import canonical, parse_canonical
from marketplace.wire.plain import plain

SCHEMA: Final = "usufruct-class-page/1"
PARAGRAPHS: Final = ("what", "who", "why", "how_long", "how_protected", "how_to_stop", "pay")
"""In the order in which they are read: pay comes after the risks."""
LONGEST_TITLE: Final = 200
LONGEST_PARAGRAPH: Final = 2_000
MOST_BYTES: Final = 1 << 16
"""Of a document: seven paragraphs of four-byte characters, the title and the keys fit."""
LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")
"""Language, perhaps script, perhaps country (RFC 5646, as HTML's `lang` takes it)."""


@dataclass(frozen=True)
class ClassPage:
    """A checked page. Build one with `load` or `from_json`."""

    language: str
    title: str
    what: str
    who: str
    why: str
    how_long: str
    how_protected: str
    how_to_stop: str
    pay: str

    @property
    def paragraphs(self) -> tuple[tuple[str, str], ...]:
        """Key and text of each, in the order of `PARAGRAPHS`."""
        return tuple((name, str(getattr(self, name))) for name in PARAGRAPHS)

    def to_json(self) -> dict[str, str]:
        """In the one form that `from_json` reads."""
        return {"schema": SCHEMA, **{name: getattr(self, name) for name in _KEYS}}

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical(self.to_json())

    def hash(self) -> bytes:
        """keccak256 of the canonical bytes, 32 bytes: what the class's terms carry as `termsHash`."""
        return keccak(self.to_bytes())


_KEYS: Final = tuple(field.name for field in fields(ClassPage))


def load(data: bytes) -> ClassPage:
    """A page from its canonical bytes, at most `MOST_BYTES`.

    Raises:
        BadClassPage: naming the key; also for bytes that are JSON in another than its canonical form.
    """
    try:
        document = parse_canonical(data, limit=MOST_BYTES)
    except MalformedJson as fault:
        raise BadClassPage(message=fault.message, remedy=fault.remedy, field="page") from None
    return from_json(document)


def from_json(document: Any) -> ClassPage:
    """A page from parsed JSON. Raises BadClassPage naming the key and the remedy."""
    _require_keys(document)
    if document["schema"] != SCHEMA:
        _refuse("schema", "is another", f"Set it to {SCHEMA}.")
    language = document["language"]
    if not isinstance(language, str) or LANGUAGE.fullmatch(language) is None:
        _refuse("language", "is no language tag", 'Write it like "en" or "pt-BR".')
    _require_text(document, "title", LONGEST_TITLE)
    for name in PARAGRAPHS:
        _require_text(document, name, LONGEST_PARAGRAPH)
    return ClassPage(**{name: document[name] for name in _KEYS})


def _require_keys(document: Any) -> None:
    if not isinstance(document, dict):
        _refuse("page", "is not an object", f"Give {', '.join(('schema', *_KEYS))}.")
    for name in ("schema", *_KEYS):
        if name not in document:
            _refuse(name, "is missing", "Write it: a page has all of its parts.")
    if set(document) - {"schema", *_KEYS}:
        _refuse("page", "has a key that no page has", f"Give exactly {', '.join(_KEYS)}.")


def _require_text(document: dict[str, Any], name: str, longest: int) -> None:
    text = document[name]
    if not isinstance(text, str) or not 1 <= len(text) <= longest:
        _refuse(name, f"is not text of 1 to {longest:,} characters", "Shorten or write it.")
    if plain(text) != text:
        _refuse(
            name,
            "has a character that is not shown as itself",
            "Write one line: no line breaks, controls or marks of direction.",
        )
    if "Zs" in (unicodedata.category(text[0]), unicodedata.category(text[-1])):
        _refuse(name, "begins or ends with a space", "Leave out the space.")


def _refuse(field: str, problem: str, remedy: str) -> NoReturn:
    raise BadClassPage(message=f"{field} {problem}.", remedy=remedy, field=field)
