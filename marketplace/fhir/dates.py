"""FHIR R4's date, dateTime and instant, by the regular expressions of the specification and no others.

Source: https://hl7.org/fhir/R4/datatypes.html (primitive types). Python's own readers take more: weeks,
digits of other scripts, the basic format, times without a zone. A browser must read the very same.
"""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple

_YEAR = "(?P<year>[0-9](?:[0-9](?:[0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)"
_MONTH = "(?P<month>0[1-9]|1[0-2])"
_DAY = "(?P<day>0[1-9]|[1-2][0-9]|3[0-1])"
_CLOCK = "(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
_ZONE = r"(?P<zone>Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_TIME = rf"T{_CLOCK}(?:\.(?P<fraction>[0-9]+))?{_ZONE}"

DATE = re.compile(f"{_YEAR}(?:-{_MONTH}(?:-{_DAY})?)?")
DATE_TIME = re.compile(f"{_YEAR}(?:-{_MONTH}(?:-{_DAY}(?:{_TIME})?)?)?")
INSTANT = re.compile(f"{_YEAR}-{_MONTH}-{_DAY}{_TIME}")


class Moment(NamedTuple):
    """A point in time that compares exactly: whole seconds (UTC), and the digits of their fraction."""

    seconds: int  # since the first day of year 1, as `date.toordinal` counts
    fraction: str  # without zeros at its end, so that text order is number order


def full_date(text: str) -> date | None:
    """A FHIR date that names its day; None for anything else, a day that its month lacks too."""
    found = DATE.fullmatch(text)
    return None if found is None or found["day"] is None else _day(found)


def date_time(text: str) -> Moment | None:
    """A FHIR dateTime. What it leaves out counts from its first moment, a day without a time in UTC."""
    return _moment(DATE_TIME.fullmatch(text))


def instant(text: str) -> Moment | None:
    """A FHIR instant: a full date, a time to the second at least, and a zone."""
    return _moment(INSTANT.fullmatch(text))


def _moment(found: re.Match[str] | None) -> Moment | None:
    day = None if found is None else _day(found)
    if found is None or day is None:
        return None
    seconds = day.toordinal() * 86_400
    if found["hour"] is None:
        return Moment(seconds, "")
    # A leap second (60) counts as the first of the next minute.
    seconds += int(found["hour"]) * 3600 + int(found["minute"]) * 60 + int(found["second"])
    return Moment(seconds - _offset(found["zone"]), (found["fraction"] or "").rstrip("0"))


def _offset(zone: str) -> int:
    """Seconds east of UTC."""
    if zone == "Z":
        return 0
    ahead = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return ahead if zone[0] == "+" else -ahead


def _day(found: re.Match[str]) -> date | None:
    try:
        return date(int(found["year"]), int(found["month"] or 1), int(found["day"] or 1))
    except ValueError:
        return None  # 30 February: the expressions let it pass, the calendar does not
