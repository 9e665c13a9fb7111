"""The life of a request as the operator sees it: one transition table, and one type per stage.

Transitions are data: `pipeline` moves a request only along `NEXT`, the README's diagram is generated from
it, and the kill test walks it. The stage types are how the code keeps its promise: what is not `Cleared`
cannot be settled, and what is not `Settled` cannot be serialised to a researcher.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from marketplace.vocabulary import Lane

__all__ = [
    "LIVE",
    "NEXT",
    "TERMINAL",
    "WAYS",
    "Cleared",
    "Computed",
    "Sealed",
    "Settled",
    "Stage",
    "diagram",
    "route",
]


class Stage(StrEnum):
    """Where a request stands. The name is what pages and the API show."""

    SUBMITTED = "submitted"  # parameters known to the operator; nothing on chain yet
    FUNDED = "funded"  # opened on chain, escrow held
    FROZEN = "frozen"  # its shards' words only lose members
    SEALED = "sealed"  # cohort root on chain: the cut-off
    KEYED = "keyed"  # vault lane: the drawn gate's key is on chain
    NOISED = "noised"  # homomorphic lane: the custodians' noise is fixed on chain
    COMPUTED = "computed"  # the noised answer is persisted here
    CLEARED = "cleared"  # release checks passed and a quorum signed
    SETTLED = "settled"
    REFUSED = "refused"  # not on chain, or still cancellable there
    CANCELLED = "cancelled"
    RECLAIMED = "reclaimed"
    DEFAULTED = "defaulted"


NEXT: Final[dict[Stage, frozenset[Stage]]] = {
    Stage.SUBMITTED: frozenset({Stage.FUNDED, Stage.REFUSED}),
    Stage.FUNDED: frozenset({Stage.FROZEN, Stage.REFUSED, Stage.CANCELLED, Stage.RECLAIMED}),
    Stage.FROZEN: frozenset({Stage.SEALED, Stage.RECLAIMED}),
    Stage.SEALED: frozenset({Stage.KEYED, Stage.NOISED, Stage.DEFAULTED}),
    Stage.KEYED: frozenset({Stage.COMPUTED, Stage.DEFAULTED}),
    Stage.NOISED: frozenset({Stage.COMPUTED, Stage.DEFAULTED}),
    Stage.COMPUTED: frozenset({Stage.CLEARED, Stage.DEFAULTED}),
    Stage.CLEARED: frozenset({Stage.SETTLED, Stage.DEFAULTED}),
    Stage.REFUSED: frozenset({Stage.CANCELLED, Stage.RECLAIMED}),
    Stage.SETTLED: frozenset(),
    Stage.CANCELLED: frozenset(),
    Stage.RECLAIMED: frozenset(),
    Stage.DEFAULTED: frozenset(),
}

TERMINAL: Final[frozenset[Stage]] = frozenset(
    {Stage.SETTLED, Stage.CANCELLED, Stage.RECLAIMED, Stage.DEFAULTED, Stage.REFUSED}
)
"""Nothing is done for a request in one of these, except to notice that a refused one got its money back."""

LIVE: Final[tuple[Stage, ...]] = (
    Stage.SUBMITTED,
    Stage.FUNDED,
    Stage.FROZEN,
    Stage.SEALED,
    Stage.KEYED,
    Stage.NOISED,
    Stage.COMPUTED,
    Stage.CLEARED,
)
"""The stages of a request at work, in order. `NEXT` leads forward only; when a reorganisation takes away what
a stage stood on, or a wallet its signature, the request falls back to an earlier one of these, and the log
says why."""


WAYS: Final[Mapping[Lane, tuple[Stage, ...]]] = {
    Lane.VAULT: tuple(each for each in (*LIVE, Stage.SETTLED) if each is not Stage.NOISED),
    Lane.HOMOMORPHIC: tuple(each for each in (*LIVE, Stage.SETTLED) if each is not Stage.KEYED),
}
"""What a request that is answered passes in its lane, in order."""


def route(before: Stage, after: Stage) -> list[Stage]:
    """The stages to pass, in order, from one to another that the chain is found to have reached.

    Never through `REFUSED`, which the operator alone decides. Empty where the table leads there by
    no way, or where `before` is `after`.
    """
    ways: list[list[Stage]] = [[before]]
    for way in ways:  # grows while it is walked: breadth first, and the table has no cycle
        if way[-1] is after:
            return way[1:]
        ways += [[*way, each] for each in sorted(NEXT[way[-1]]) if each is not Stage.REFUSED]
    return []


@dataclass(frozen=True, slots=True)
class Sealed:
    """A request whose cohort the chain fixed, in a final block."""

    request: bytes
    root: bytes
    members: int
    epoch: int
    gate: str


@dataclass(frozen=True, slots=True)
class Computed:
    """The answer to a sealed request, noised and sealed to the researcher: a gate's, signed by it, or what a
    quorum of custodians decrypted, with the `evidence` that its receipt is made of (and no gate's signature).

    Holds nothing that could be opened here: `sealed_result` opens with the researcher's key only.
    `stated` is what the gate says of it in public numbers: cost and noise. `noted` is what custodians signed
    when they noted it, (place, signature), by the gate's word: `release.clear` verifies each. `refused` are
    places whose signature passed that and was refused by the market.
    """

    sealed: Sealed
    settlement: dict[str, object]
    sealed_result: bytes = field(repr=False)
    gate_signature: bytes = field(repr=False)
    stated: dict[str, object]
    noted: tuple[tuple[int, bytes], ...] = ()
    refused: frozenset[int] = frozenset()
    evidence: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Cleared:
    """A computed answer that `release.clear` let through, with the signatures of a quorum: the only type
    that `settlement.settle` takes."""

    computed: Computed
    signatures: tuple[tuple[int, bytes], ...]  # (custodian's place, signature), places ascending


@dataclass(frozen=True, slots=True)
class Settled:
    """A request settled in a final block, made by `settlement.conclude`: the only type that the store keeps
    a receipt of, and that serialises to a researcher (the receipt carries the sealed result)."""

    request: str
    block: int
    receipt: dict[str, object] = field(repr=False)


def diagram() -> str:
    """The transition table as a Mermaid state diagram, for the README."""
    lines = ["stateDiagram-v2", "    [*] --> submitted"]
    for stage, following in NEXT.items():
        lines += [f"    {stage} --> {after}" for after in sorted(following)]
        if not following:
            lines.append(f"    {stage} --> [*]")
    return "\n".join(lines)
