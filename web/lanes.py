"""The two lanes on pages: who sees what in each, which a dataset can be asked in, and their analyses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from marketplace import words
from marketplace.vocabulary import Lane
from web.site import site

OF_SUMS: Final = frozenset(
    {"count.v1", "sum.v1", "mean.v1", "variance.v1", "histogram.v1", "cross_table.v1"}
)
"""What pages ask and open in the homomorphic lane. A browser makes the answer of sums by itself, and has the
arithmetic of these (`web/static/js/tally/answers.js`); the command line has that of all.
"""
NOT_ENCODED: Final = (
    "This dataset's records are not encoded for it: its dictionary lists no encoding."
)
NO_JOINT_KEY: Final = "The custodians have no joint key yet; their operator has one generated."


@dataclass(frozen=True)
class LaneWords:
    """What a lane is called, who sees what in it, and in one line what becomes of the records."""

    label: str
    means: str
    in_words: str


WORDS: Final[Mapping[Lane, LaneWords]] = {
    Lane.VAULT: LaneWords(
        "Vault lane",
        "A gate that is drawn for the request opens these patients' records in memory, computes, adds the "
        "noise, and seals the answer to you. Its host sees the records and is trusted with them, with the "
        "noise and with the arithmetic. Neither the operator nor a custodian sees a record or the answer; a "
        "quorum of custodians that colluded with the operator could read records.",
        words.LANES[Lane.VAULT],
    ),
    Lane.HOMOMORPHIC: LaneWords(
        "Homomorphic lane",
        "Nobody opens a record. Custodians add up encrypted values, each adds noise of its own, and a "
        "quorum decrypts the noised sums for you alone: neither the operator nor a custodian sees a record, "
        "a sum or the answer; a quorum of custodians that colluded could read records. The noise is larger "
        "for the same privacy cost, since custodians below the quorum may collude: the quote says by how "
        "much. Only what sums over encoded values can tell is possible.",
        words.LANES[Lane.HOMOMORPHIC],
    ),
}


@dataclass(frozen=True)
class Offer:
    """A lane of a dataset. why_not: what keeps it from being asked in; empty where nothing does."""

    lane: Lane
    label: str
    means: str
    in_words: str
    why_not: str


def words_of(lane: int) -> LaneWords:
    """Of the lane that a request's terms name; the market opens none of another."""
    return WORDS[Lane(lane)]


def offers(dataset: Mapping[str, Any]) -> list[Offer]:
    """Of both lanes, for a dataset as `reads.dataset` gives it. Raises as `reads.committee` does."""
    return [
        Offer(lane, said.label, said.means, said.in_words, _why_not(lane, dataset))
        for lane, said in WORDS.items()
    ]


def _why_not(lane: Lane, dataset: Mapping[str, Any]) -> str:
    if lane is Lane.VAULT:
        return ""
    if "encoding" not in (dataset["dictionary"] or {}):
        return NOT_ENCODED
    return "" if site().operator.reads.committee()["joint_key"] else NO_JOINT_KEY


def analyses() -> list[dict[str, Any]]:
    """What can be asked, once each, vault lane first, each with the `lanes` in which these pages ask it.

    As `reads.catalogue` has them; `lanes` is empty for what only the command line asks.
    """
    found: dict[str, dict[str, Any]] = {}
    for lane in Lane:
        for each in site().operator.reads.catalogue(lane):
            kept = found.setdefault(each["id"], {**each, "lanes": []})
            if lane is Lane.VAULT or each["id"] in OF_SUMS:
                kept["lanes"].append(int(lane))
    return list(found.values())


def meanings(lane: Lane) -> dict[str, str]:
    """What the parameters of a lane's analyses mean, by name."""
    catalogue = site().operator.reads.catalogue(lane)
    return {named["name"]: named["means"] for each in catalogue for named in each["parameters"]}


def titles(by: str) -> dict[str, str]:
    """What analyses of either lane are called, by their `id`, or by the `hash` that the chain has."""
    return {each[by]: each["title"] for each in analyses()}
