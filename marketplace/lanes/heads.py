"""Custodians' journal heads that came along with an answer, to be anchored on chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketplace.errors import Refusal
from marketplace.vocabulary import unsigned
from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.feldman import MOST_CUSTODIANS
from marketplace.wire.http import hash_field, hex_field


@dataclass(frozen=True)
class Head:
    """A custodian's journal as it stood at its turn, signed by it."""

    place: int
    epoch: int
    height: int
    head: bytes
    signature: bytes


def heads_of(turns: Any, epoch: int) -> list[Head]:
    """Of `{place, journal: {height, head, signature}}` each. Raises Refusal (gate_answer_unreadable)."""
    try:
        given = [(turn["place"], turn["journal"]) for turn in turns[:MOST_CUSTODIANS]]
        return [_head(place, epoch, journal) for place, journal in given]
    except (KeyError, TypeError):
        raise unreadable("turns") from None


def _head(place: Any, epoch: int, journal: Mapping[str, Any]) -> Head:
    return Head(
        unsigned(place, 8, "place"),
        epoch,  # the seal's, whatever is said
        unsigned(journal["height"], 53, "height"),
        hash_field(journal["head"], "head"),
        hex_field(journal["signature"], "signature", MOST_SIGNATURE),
    )


def unreadable(field: str) -> Refusal:
    """The refusal of an answer whose `field` cannot be read."""
    return Refusal(
        code="gate_answer_unreadable",
        message=f"The gate's answer has no readable {field}.",
        remedy="Check that the gate runs this version; the step is tried again.",
        field=field,
    )
