"""Lifetime budgets as odds: between which limits a patient chooses, and what each of them lets others guess.

The one formula is `marketplace.words`; a limit is found by asking it, so that no page has a second one.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final

from marketplace import words

RIGHT: Final = ("51", "52", "54", "57", "60", "65", "70", "80", "90")
"""Right guesses in 100, at most, that a patient can choose between: finer where less is given away."""
LARGEST_CAP: Final = 2**48 - 1
"""Nano-rho: the contract takes no more (ConsentRegistry.LARGEST_CAP)."""
EVERYTHING: Final = "all results once the whole budget is spent"
SPENT: Final = "all results so far"


@dataclass(frozen=True)
class Step:
    """One limit for life: nano-rho, right guesses in 100, how many of the dearest requests it pays for."""

    cap: int
    right: str
    requests: int


def steps(spent: int, dearest: int, members: int) -> list[Step]:
    """The limits to choose between, the smallest that the class takes first.

    Args:
        spent: nano-rho of this record so far; a limit is for life, so it counts.
        dearest: nano-rho that one request of the class spends at most.
        members: how many the odds' delta is for.
    """
    least = spent + dearest
    caps = [least, *(cap for each in RIGHT if (cap := cap_within(each, members)) > least)]
    found = {words.right_at_most(cap, members): cap for cap in reversed(caps)}
    return [Step(cap, right, (cap - spent) // dearest) for right, cap in reversed(found.items())]


@lru_cache(maxsize=256)
def cap_within(right: str, members: int) -> int:
    """The largest limit (nano-rho) with which at most `right` guesses in 100 are right; 0 for none."""
    wanted, low, high = Decimal(right), 0, LARGEST_CAP
    while low < high:
        middle = (low + high + 1) // 2
        if Decimal(words.right_at_most(middle, members)) <= wanted:
            low = middle
        else:
            high = middle - 1
    return low


def odds(cap: int, members: int, what: str = EVERYTHING) -> dict[str, str]:
    """What a limit lets others guess once all of it is spent: figures as text, and a sentence."""
    return words.odds_of(cap, members, what)
