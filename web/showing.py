"""Values as pages show them: one spelling for money, times, hashes and counts, and the way around the pages.

Templates reach these as filters and globals (see `install`), so that no page has a spelling of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import flask

from marketplace.errors import Refusal
from marketplace.wire.amounts import Token
from marketplace.wire.plain import counted, plain
from marketplace.words import one_in
from web import sessions
from web.site import site

LINKS: Final = (
    ("/datasets", "Datasets"),
    ("/requests", "Requests"),
    ("/trust", "Trust"),
    ("/contracts", "Contracts"),
)
"""In the head of every page: path and label."""
OWN_LINKS: Final = (*LINKS[:3], ("/me", "My data"))
"""The same for somebody signed in: four fit beside each other on a phone, and the foot has the rest."""
ENDS: Final = 6
"""Characters of a hash that are shown at either end, after 0x."""
LATEST: Final = 253_402_300_799
"""The last second of the year 9999. The contracts take later ones (40 bits) for what never ends, and such a
guardian or consent must not keep anybody from the page that stops it."""


@dataclass(frozen=True)
class Link:
    """One entry of the navigation; `current` is `page` for this very page, `true` for what lies below it."""

    url: str
    label: str
    current: str


def install(app: flask.Flask) -> None:
    """Gives the templates their filters and globals."""
    app.jinja_env.globals |= {
        "navigation": navigation,
        "signed_in_as": signed_in_as,
        "token": token,
    }
    app.jinja_env.filters |= {
        "amount": amount,
        "grouped": grouped,
        "short": short,
        "iso": iso,
        "moment": moment,
        "duration": duration,
        "one_in": one_in,
    }


def token() -> Token:
    """How amounts of this market's token are written."""
    return site().operator.reads.token


def amount(units: int | str) -> str:
    """Token units, to the last one: `1,234.50 EUR`."""
    return token().amount(units)


def signed_in_as() -> str | None:
    """The account of the session, which the head of a page shows; None where that cannot be told."""
    try:
        current = sessions.current()
    except Refusal:
        return None
    return None if current is None else current.account


def navigation() -> list[Link]:
    """Of the page at hand."""
    here, links = flask.request.path, OWN_LINKS if signed_in_as() else LINKS
    return [Link(url, label, _current(here, url)) for url, label in links]


def _current(here: str, url: str) -> str:
    if here == url:
        return "page"
    return "true" if here.startswith(f"{url}/") else ""


def grouped(number: int | str) -> str:
    """Thousands apart: `30,000,000`."""
    return f"{int(number):,}"


def short(value: str) -> str:
    """Both ends of a hash or address; anything that is not longer than that as it is."""
    text = plain(str(value))
    head = 2 + ENDS if text.startswith("0x") else ENDS
    return text if len(text) <= head + ENDS + 1 else f"{text[:head]}…{text[-ENDS:]}"


def iso(at: int | str) -> str:
    """For the `datetime` attribute: ISO 8601 with Z, in whole seconds."""
    return f"{_utc(at):%Y-%m-%dT%H:%M:%S}Z"


def moment(at: int | str) -> str:
    """For people: `21 Nov 2026, 20:50 UTC`."""
    found = _utc(at)
    return f"{found.day} {found:%b %Y, %H:%M} UTC"


def duration(seconds: int) -> str:
    """In the largest unit that divides it: `24 hours`, `10 minutes`, `1 second`."""
    for unit, size in (("hour", 3600), ("minute", 60)):
        if seconds and seconds % size == 0:
            return counted(seconds // size, unit)
    return counted(seconds, "second")


def _utc(at: int | str) -> datetime:
    if isinstance(at, int):
        return datetime.fromtimestamp(min(at, LATEST), UTC)
    return datetime.fromisoformat(at).astimezone(UTC)
