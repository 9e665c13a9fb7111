"""Privacy costs as people read them: how often a guess from results could be right.

Field-tested wording; never "anonymous", never "safe". The figures are upper bounds, so they round up.
"""

from __future__ import annotations

import math

from ml.dp.accounting import MAX_DELTA, display_delta, odds, rho, zcdp_to_eps

BY_CHANCE = "50"
"""Right guesses in 100 between two values, without any result."""


def epsilon_of(cost: int, members: int | None = None) -> tuple[float, float]:
    """Epsilon and delta that `cost` nano-rho of zCDP imply; delta for a population of `members`."""
    delta = MAX_DELTA if members is None else display_delta(members)
    return zcdp_to_eps(rho(cost), delta), delta


def right_at_most(cost: int, members: int | None = None) -> str:
    """Right guesses in 100, at most, from results that cost this much; two decimals, rounded up."""
    epsilon, _ = epsilon_of(cost, members)
    return f"{math.ceil(odds(epsilon) * 100) / 100:.2f}"


def odds_of(cost: int, members: int | None = None, what: str = "this result") -> dict[str, str]:
    """What `cost` nano-rho let somebody guess from `what`: figures as text, and one sentence.

    Each holds except with a chance of `delta`.
    """
    most, delta = right_at_most(cost, members), f"{epsilon_of(cost, members)[1]:.3g}"
    sentence = (
        f"Somebody who guessed from {what} which of two values a patient has would be right "
        f"{BY_CHANCE} times in 100 by chance, and at most {most} times in 100."
    )
    return {
        "by_chance": BY_CHANCE,
        "right_at_most": most,
        "delta": delta,
        "in_words": sentence,
    }
