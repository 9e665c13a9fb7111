"""The lines of a patient's timeline in words, one sentence each, and the same as cells of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from marketplace.timelines import Entry, Kind
from marketplace.wire.http import to_hex
from marketplace.wire.plain import counted
from marketplace.wire.solidity import ZERO_ADDRESS
from web import lanes
from web.showing import iso, moment
from web.wording import Wording

COLUMNS: Final = (
    "when",
    "what",
    "in words",
    "class",
    "request",
    "lane",
    "privacy spent (nano-rho)",
    "paid to you (token units)",
    "withdrawn (token units)",
    "transaction",
)
"""Of the file that a patient saves."""
USES: Final = (Kind.ANNOUNCED, Kind.COUNTED)
"""What a patient's record may be, or was, used for: there the line says whether anybody opens it."""
Words = Callable[[Entry], str]


def _granted(entry: Entry) -> str:
    until = "" if entry.expiry is None else f" until {moment(entry.expiry)}"
    limit = "" if entry.cap is None else f", with at most {entry.cap:,} nano-rho for life"
    waits = "" if entry.live else " A group was being counted, so it waits until that is done."
    return f"You consented to class {entry.class_index}{until}{limit}.{waits}"


def _rested(entry: Entry) -> str:
    if entry.by_patient:
        return "You took your consent out of every study, until you wake it."
    return "Your consent waits: a group was being counted, or its budget did not pay for the largest study."


def _guardian(entry: Entry) -> str:
    if entry.address in (None, ZERO_ADDRESS):
        return "You dismissed your guardian."
    until = "" if entry.expiry is None else f" until {moment(entry.expiry)}"
    return f"You appointed {entry.address} as your guardian{until}."


def _counted(entry: Entry) -> str:
    others = (entry.members or 1) - 1
    return (
        f"A study was sealed with you and {counted(others, 'other')}. At this moment its privacy cost was "
        "spent and you were paid."
    )


def _announced(entry: Entry) -> str:
    return f"A study was announced to class {entry.class_index}. It would spend {entry.cost or 0:,} nano-rho."


def _refused(entry: Entry) -> str:
    return f"The operator declined this study, so it counts nobody: {entry.because}"


def _says(words: str) -> Words:
    return lambda _: words


LINES: Final[Mapping[Kind, tuple[str, str, Words]]] = {
    Kind.ATTESTED: (
        "Record attested",
        "active",
        lambda entry: f"A clinic vouched for version {entry.version} of your record.",
    ),
    Kind.STORED: (
        "Record stored",
        "good",
        lambda entry: f"The custodians confirmed version {entry.version} of your record.",
    ),
    Kind.SUSPENDED: (
        "Record suspended",
        "care",
        _says("Its clinic withdrew what it had vouched for; it is in no study from here on."),
    ),
    Kind.ERASED: (
        "Record erased",
        "still",
        _says("You had your record erased, and with it your consent ended."),
    ),
    Kind.GRANTED: ("Consent given", "good", _granted),
    Kind.REVOKED: (
        "Consent revoked",
        "still",
        _says("You stopped. Every study that was not sealed before counts without you."),
    ),
    Kind.RESTED: ("Consent resting", "care", _rested),
    Kind.WOKEN: ("Consent woken", "good", _says("You can be counted in studies again.")),
    Kind.EXPIRED: (
        "Consent expired",
        "still",
        _says("Its time was over, so it was cleared away."),
    ),
    Kind.EXPELLED: (
        "Consent ended",
        "care",
        _says("Your record could no longer be used, so the consent ended."),
    ),
    Kind.GUARDIAN: ("Guardian", "active", _guardian),
    Kind.MOVED: (
        "Moved",
        "still",
        lambda entry: f"Record, consent and earnings moved to {entry.address}.",
    ),
    Kind.WITHDRAWN: (
        "Earnings withdrawn",
        "active",
        lambda entry: f"All your earnings were paid out to {entry.address}.",
    ),
    Kind.ANNOUNCED: ("Study announced", "active", _announced),
    Kind.COUNTED: ("You were counted", "good", _counted),
    Kind.REFUSED: ("Study declined", "bad", _refused),
    Kind.SETTLED: (
        "Study answered",
        "good",
        _says("Its noised result was delivered; the receipt is on chain."),
    ),
    Kind.DEFAULTED: (
        "Study not answered",
        "bad",
        _says("It was sealed and not settled in time. Whoever was counted keeps what was paid."),
    ),
    Kind.RECLAIMED: (
        "Study not sealed",
        "care",
        _says("It was not sealed in time, and the money went back."),
    ),
    Kind.CANCELLED: (
        "Study cancelled",
        "still",
        _says("Its researcher took it back before anybody was counted."),
    ),
}
"""By what an entry tells of: label, tone, and the sentence."""


def wording(entry: Entry) -> Wording:
    """Label, sentence and tone of one line."""
    label, tone, words = LINES[entry.kind]
    return Wording(label, words(entry), tone)


def shown(entry: Entry, lane: int | None = None) -> dict[str, Any]:
    """One line for a page: `spent`, `paid` and `withdrawn` only where that really happened.

    Args:
        lane: of the terms of its request; None where there is no request, or the chain shows none.
    """
    was_counted = entry.kind is Kind.COUNTED
    told = "" if lane is None or entry.kind not in USES else lanes.words_of(lane).in_words
    return {
        "at": entry.at,
        "wording": wording(entry),
        "request": None if entry.request is None else to_hex(entry.request),
        "class_index": entry.class_index,
        "lane": told,
        "spent": entry.cost if was_counted else None,
        "paid": entry.amount if was_counted else None,
        "offered": entry.amount if entry.kind is Kind.ANNOUNCED else None,
        "withdrawn": entry.amount if entry.kind is Kind.WITHDRAWN else None,
        "transaction": None if entry.transaction is None else to_hex(entry.transaction),
    }


def cells(lines: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A table of these lines with its heading: text alone, for a file."""
    names = ("class_index", "request", "lane", "spent", "paid", "withdrawn", "transaction")
    rows = [
        [iso(line["at"]), line["wording"].label, line["wording"].means]
        + ["" if line[name] is None else str(line[name]) for name in names]
        for line in lines
    ]
    return [list(COLUMNS), *rows]
