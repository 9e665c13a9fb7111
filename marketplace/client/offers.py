"""What a question costs and brings, judged for one researcher, and whether it is within a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketplace.errors import Refusal
from marketplace.vocabulary import Lane
from marketplace.wire.amounts import Token
from marketplace.wire.terms import Purpose


@dataclass(frozen=True)
class Question:
    """What is asked of whom, what for, and in which lane."""

    dataset: bytes
    classes: tuple[int, ...]
    analysis: str
    parameters: Mapping[str, Any]
    purpose: Purpose
    lane: Lane = Lane.VAULT


@dataclass(frozen=True)
class Offer:
    """A question with its quote; `quote["refusal"]` is why this researcher cannot buy it, or None."""

    question: Question
    quote: Mapping[str, Any]

    @property
    def escrow(self) -> int:
        """The most that is paid, token units; what the cohort does not need becomes credit."""
        return int(self.quote["escrow"])

    @property
    def escrow_in_words(self) -> str:
        """The same as an amount."""
        return Token.told(self.quote).amount(self.escrow)

    @property
    def in_words(self) -> tuple[str, ...]:
        """Price, privacy cost with its odds, expected error, and what fails or may fail."""
        return tuple(self.quote["in_words"])

    def require_buyable(self) -> None:
        """Raises Refusal, before anything is handed in or paid, as the market would (`cost_above_class`)."""
        declined = self.quote["refusal"]
        if declined is None:
            return
        raise Refusal(
            code=declined["code"],
            message=declined["message"],
            remedy=f"Nothing was paid. {declined['remedy']}",
            field=declined["field"],
        )

    def require_within(self, at_most: int) -> None:
        """Raises Refusal (`escrow_above_limit`), before anything is handed in or paid."""
        require_within(self.escrow, self.escrow_in_words, at_most)


def require_within(escrow: int, shown: str, at_most: int) -> None:
    """Raises Refusal (`escrow_above_limit`) for more token units than somebody agreed to."""
    if escrow > at_most:
        raise Refusal(
            code="escrow_above_limit",
            message=f"The escrow is {escrow} token units ({shown}); you pay at most {at_most}.",
            remedy="Nothing was paid. Raise --at-most, or ask for less: a lower privacy cost, or fewer "
            "classes.",
            field="at_most",
        )
