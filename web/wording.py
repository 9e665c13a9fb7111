"""What the stages of a request are called on pages, what each means to the people in it, and its tone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from marketplace.stages import WAYS, Stage
from marketplace.vocabulary import Lane


@dataclass(frozen=True)
class Wording:
    """A label, one sentence, and a badge's tone (good, active, care, bad or still)."""

    label: str
    means: str
    tone: str


STAGES: Final[Mapping[str, Wording]] = {
    "submitted": Wording(
        "Submitted", "The operator has the question; nothing is paid yet.", "still"
    ),
    "funded": Wording(
        "Paid",
        "The money is held by the contract. Patients have the notice window to rest their consent.",
        "active",
    ),
    "frozen": Wording(
        "Frozen",
        "Until the seal, patients can only leave this group; nobody can join it.",
        "active",
    ),
    "sealed": Wording(
        "Sealed",
        "The group is fixed for ever. This is the cut-off: budget is spent and patients are paid now.",
        "active",
    ),
    "keyed": Wording(
        "Gate named", "The gate that was drawn has recorded a key for this request alone.", "active"
    ),
    "noised": Wording(
        "Noise agreed",
        "The custodians have each added noise that nobody knows, and fixed whose counts.",
        "active",
    ),
    "computed": Wording(
        "Computed",
        "The answer is computed, with noise, and sealed to the researcher.",
        "active",
    ),
    "cleared": Wording(
        "Checked", "The release checks passed, and a quorum of custodians signed.", "active"
    ),
    "settled": Wording("Settled", "The receipt is on chain and the answer is delivered.", "good"),
    "refused": Wording("Declined", "The operator cannot answer this; the money comes back.", "bad"),
    "cancelled": Wording("Cancelled", "Its researcher took it back before it was frozen.", "still"),
    "reclaimed": Wording("Reclaimed", "It was not sealed in time; the money went back.", "care"),
    "defaulted": Wording(
        "Defaulted",
        "It was sealed and not settled in time; patients keep what they were paid.",
        "bad",
    ),
    # What the chain alone says of a request.
    "opened": Wording(
        "Paid",
        "The money is held by the contract. Patients have the notice window to rest their consent.",
        "active",
    ),
    "none": Wording("Unknown to the chain", "It was never opened on chain.", "still"),
}
"""By `marketplace.stages.Stage`, and by the names that the chain has for them."""
NAMES_ON_CHAIN: Final = {"opened": "funded"}
"""Where the chain's name for a stage is not the operator's."""


def wording(stage: str) -> Wording:
    """Of a stage by its name. Raises KeyError for a name that neither the operator nor the chain has."""
    return STAGES[stage]


def steps(stage: str, log: Sequence[Mapping[str, Any]], lane: int) -> list[dict[str, Any]]:
    """The way of one request, for the macro `stages`: what is done (and when), what is now, what is ahead.

    Args:
        stage: where it stands, by the operator's name or the chain's.
        log: entries with `after` and `at`, oldest first; empty for what another operator works on.
        lane: of its terms.
    """
    way = WAYS[Lane(lane)]
    here = NAMES_ON_CHAIN.get(stage, stage)
    times = {entry["after"]: entry["at"] for entry in log}
    if here in way:
        at = way.index(Stage(here))
        return [_step(each, _state(position, at, way), times) for position, each in enumerate(way)]
    passed = [each for each in way if each in times]
    return [*(_step(each, "done", times) for each in passed), _step(here, "ended", times)]


def _state(position: int, here: int, way: Sequence[Stage]) -> str:
    if position == here:
        return "done" if way[here] is Stage.SETTLED else "now"
    return "done" if position < here else "ahead"


def _step(stage: str, state: str, times: Mapping[str, str]) -> dict[str, Any]:
    words = STAGES[stage]
    at = None if state == "ahead" else times.get(stage)
    return {"label": words.label, "means": words.means, "state": state, "at": at}
