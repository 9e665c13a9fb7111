"""What a consent's states are called, what each means to its patient, and what can be done about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from web.wording import Wording

STATES: Final[Mapping[str, Wording]] = {
    "none": Wording("No consent", "You are counted in no study.", "still"),
    "live": Wording("Live", "You are counted in studies that your class permits.", "good"),
    "resting": Wording(
        "Waiting",
        "You are counted in no study for now: a group was being counted when it was to begin, or what is "
        "left of your budget does not pay for a study of your class that spends the most it may.",
        "care",
    ),
    "rested_by_patient": Wording(
        "Resting",
        "You are counted in no study until you wake it. Nobody else can, unless your guardian may.",
        "care",
    ),
    "moved": Wording(
        "Moved", "Record, consent and earnings are at another address of yours.", "still"
    ),
}
"""By `marketplace.chain.views.ConsentState`, as documents name it."""
EXPIRED: Final = Wording("Expired", "Its time is over: you are counted in no study.", "care")
STANDS: Final = frozenset({"live", "resting", "rested_by_patient"})
RECORDS: Final[Mapping[str, Wording]] = {
    "none": Wording("No record", "Nothing of yours is stored under this address.", "still"),
    "pending": Wording(
        "On its way", "Custodians have not all confirmed their parts yet.", "active"
    ),
    "stored": Wording("Stored", "Custodians hold the parts of its key.", "good"),
    "suspended": Wording(
        "Suspended", "Its clinic has withdrawn what it vouched for; it is in no study.", "care"
    ),
    "erased": Wording("Erased", "The custodians destroyed the parts of its key.", "still"),
}


def wording_of(consent: Mapping[str, Any], now: int) -> Wording:
    """Of a consent document, at `now` (unix seconds, chain time)."""
    return EXPIRED if has_expired(consent, now) else STATES[consent["state"]]


def stands(consent: Mapping[str, Any]) -> bool:
    """Whether there is something that a revocation ends."""
    return consent["state"] in STANDS


def has_expired(consent: Mapping[str, Any], now: int) -> bool:
    """Whether its time is over, although nobody has cleared it away yet."""
    return stands(consent) and consent["expiry"] <= now


def counts(consent: Mapping[str, Any], now: int) -> bool:
    """Whether a study that is sealed now would count this patient, as far as time and rest go."""
    return consent["state"] == "live" and not has_expired(consent, now)


def may_rest(consent: Mapping[str, Any]) -> bool:
    """Whether the contract takes a rest."""
    return consent["state"] in ("live", "resting")


def may_wake(consent: Mapping[str, Any], now: int) -> bool:
    """Whether there is something to wake whose time is not over."""
    is_resting = consent["state"] in ("resting", "rested_by_patient")
    return is_resting and not has_expired(consent, now)


def record_state(consent: Mapping[str, Any]) -> str:
    """Which of `RECORDS`: the contract takes a grant only from `stored`."""
    record = consent["record"]
    if record["erased"]:
        return "erased"
    if record["suspended"]:
        return "suspended"
    if record["version"]:
        return "stored"
    return "pending" if record["pending_version"] else "none"
