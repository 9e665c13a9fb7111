"""How much bad messages may cost: after so many of them, the rest of an upload is not looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from marketplace.errors import Refusal

MOST_REFUSED: Final = 32
"""Of one upload, at each look at it. Each costs a question to the node (about 75 ms on the embedded chain),
and whoever sends it needs no key. What is refused without a question does not count, nor does what is good:
an upload of wallets, each of which has to be asked about, is looked at to its end."""


@dataclass
class Patience:
    """How many more refusals, one question each, an upload is worth."""

    left: int = MOST_REFUSED

    def lose(self) -> None:
        """One more question was asked for nothing."""
        self.left -= 1

    @property
    def is_over(self) -> bool:
        """Whether nothing more is asked."""
        return self.left <= 0


def not_looked_at() -> Refusal:
    """Of what follows too many refused entries in an upload."""
    return Refusal(
        code="too_many_refused",
        message="Too many entries before this one were refused, so it was not looked at.",
        remedy="Send this one and those after it again, without the refused ones.",
    )
