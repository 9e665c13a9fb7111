"""Privacy costs, prices and errors as people read them, the same wherever they are shown.

Field-tested wording; never "anonymous", never "safe". The figures are upper bounds, so they round up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from marketplace.vocabulary import Lane
from marketplace.wire.amounts import Token
from marketplace.wire.data_use import PERSONAL_SCORE, permission_words
from marketplace.wire.plain import counted
from marketplace.wire.terms import ClassTerms
from marketplace.wire.units import written
from ml.dp.accounting import MAX_DELTA, display_delta, odds, rho, zcdp_to_eps

BY_CHANCE = "50"
"""Right guesses in 100 between two values, without any result."""
MILLI_RHO: Final = 1_000_000  # nano-rho
NO_SAMPLING: Final = (
    "The 95% interval is that of the noise around the answer for this very cohort. That other patients would "
    "have answered otherwise (sampling) is not in it."
)
WITH_SAMPLING: Final = (
    "The 95% interval is that of the noise and of chance in who takes part: it holds for people outside this "
    "cohort if the cohort is a fair sample of them."
)
TELLS_NOTHING: Final = "That is as wide as everything possible: such a result tells nothing"


LANES: Final[Mapping[Lane, str]] = {
    Lane.VAULT: "Vault lane: a gate opens the counted records in memory, for this one answer.",
    Lane.HOMOMORPHIC: "Homomorphic lane: nobody opens a record; encrypted values are added up.",
}
"""What becomes of the records that a request counts, by its lane."""
OF_SCORES: Final = (
    "Personal scores: each counted patient who handed in a record for it gets a score that only that patient "
    "can open. What you get is how many patients have each variable that the model reads: price, error and "
    "interval below are of these numbers, and no score is in them."
)
PERSONAL: Final = PERSONAL_SCORE.bit_length() - 1
"""The release kind whose bit that is."""


def epsilon_of(cost: int, members: int | None = None) -> tuple[float, float]:
    """Epsilon and delta that `cost` nano-rho of zCDP imply; delta for a population of `members`."""
    delta = MAX_DELTA if members is None else display_delta(members)
    return zcdp_to_eps(rho(cost), delta), delta


def right_at_most(cost: int, members: int | None = None) -> str:
    """Right guesses in 100, at most, from results that cost this much; two decimals, rounded up."""
    epsilon, _ = epsilon_of(cost, members)
    return f"{math.ceil(odds(epsilon) * 100) / 100:.2f}"


def one_in(chance: float | str) -> str:
    """`1 in 1,000,000`; the number is rounded down, since it bounds what may go wrong."""
    return f"1 in {int(1 / float(chance)):,}"


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


def half_width_words(error: Mapping[str, Any]) -> str:
    """An expected error as what it is: half of a 95% interval."""
    unit = f" {written(error['unit'])}" if error["unit"] else ""
    return f"95% half-width of {error['half_width']}{unit}"


def error_words(error: Mapping[str, Any], members: int) -> str:
    """What to expect if `members` patients are measured, in a sentence; and if that would say nothing."""
    words = f"{half_width_words(error)} either way, with {counted(members, 'patient')}: {error['holds']}."
    return f"{words} {TELLS_NOTHING}." if error["tells_nothing"] else words


def tenth_words(error: Mapping[str, Any], members: int) -> str:
    """The same where filters may leave out most of the cohort."""
    words = (
        f"If only a tenth of them ({counted(members, 'patient')}) pass the filters: "
        f"{half_width_words(error)}."
    )
    return f"{words} {TELLS_NOTHING}." if error["tells_nothing"] else words


def quorum_words(error: Mapping[str, Any], quorum: int, custodians: int) -> str:
    """The same where no more custodians add noise than have to."""
    return f"If only {quorum} of the {counted(custodians, 'custodian')} take part: {half_width_words(error)}."


def tally_words(tally: Mapping[str, Any]) -> list[str]:
    """What the homomorphic lane does otherwise than the vault lane, in sentences, from a quote's `tally`."""
    quorum, custodians = tally["quorum"], tally["custodians"]
    noise = f"Its variance is {tally['inflation']} times that of the vault lane's for the same privacy cost"
    if quorum < custodians:
        noise += f", and {tally['inflation_of_quorum']} times if only {quorum} of them take part. "
        noise += tally["expected_error_of_quorum"]["in_words"].removesuffix(".")
    return [
        "Homomorphic lane: nobody ever opens a record. Custodians add encrypted values up and decrypt "
        f"{counted(tally['sums'], 'sum')} with noise in them, any {quorum} of {custodians} together, to your "
        "delivery key alone.",
        f"Each custodian adds noise of its own, so that {_fewer(quorum)} can know or undo it. {noise}.",
        "Only what sums can tell is possible here, cut where the dataset's encoding cuts: no quantiles, no "
        "clipping (`usufruct catalogue --lane homomorphic`).",
    ]


def _fewer(quorum: int) -> str:
    """Than could decrypt: who may collude."""
    if quorum == 1:
        return "nobody else"
    return "none of them alone" if quorum == 2 else f"no {quorum - 1} of them together"


def quote_words(quote: Mapping[str, Any]) -> list[str]:
    """A quote in sentences: price, privacy cost with its odds, expected error, and what fails or may fail."""
    privacy, odds_, error = quote["epsilon"], quote["odds"], quote["expected_error"]
    token = Token.told(quote)
    personal = quote.get("release_kind") == PERSONAL
    of = " of these numbers" if personal else ""
    price, fee, held = (token.amount(quote[each]) for each in ("price_per_member", "fee", "escrow"))
    words = [
        f"Price: {price} a patient and {fee} for the operator; {held} are held at most, and what is not "
        "needed becomes your credit (`usufruct withdraw-credit`).",
        f"Privacy cost: {quote['cost_nano_rho']:,} nano-rho of each patient's lifetime budget "
        f"(epsilon {privacy['epsilon']} at a delta of {one_in(privacy['delta'])}). {odds_['in_words']}",
        f"Expected error{of}: {error['in_words']}",
    ]
    if personal:
        words.insert(0, OF_SCORES)
    if quote["expected_error_of_a_tenth"] is not None:
        words.append(quote["expected_error_of_a_tenth"]["in_words"])
    if quote.get("tally"):
        words += tally_words(quote["tally"])
    if quote["live"] < quote["minimum_cohort"]:
        words.append(_too_few(quote["live"], quote["minimum_cohort"]))
    if quote["refusal"] is not None:
        refused = f"{quote['refusal']['message']} {quote['refusal']['remedy']}"
        words.insert(0, f"It cannot be bought like this. {refused}")
    return words


def _too_few(live: int, minimum: int) -> str:
    said = f"{counted(live, 'consent')} {'is' if live == 1 else 'are'} live"
    return (
        f"Only {said}; below {minimum} it is refused later, unless more patients consent "
        "before it is frozen."
    )


def class_words(terms: ClassTerms, token: Token) -> list[str]:
    """What a patient of a class consents to, in sentences: uses, the highest cost of a request, pay."""
    flat, by_cost = terms.floor_per_record, terms.floor_per_milli_rho
    return [
        *permission_words(terms),
        f"One request spends at most {terms.max_cost:,} nano-rho of your lifetime budget.",
        f"It pays you at least {token.amount(flat)}, and at least {token.amount(by_cost)} for each "
        f"{MILLI_RHO:,} nano-rho that it spends, whichever is more.",
    ]


def grant_words(
    terms: ClassTerms, index: int, cap: int, token: Token, *, live: int, spent: int = 0
) -> list[str]:
    """What somebody is about to sign: the class's terms, and the odds once the whole cap is spent.

    Args:
        cap, spent: nano-rho over the patient's lifetime; what is spent already counts, whatever the cap.
        live: consents of the class, which the delta of the odds is for.
    """
    worst = odds_of(max(cap, spent), max(1, live), "all results once the whole budget is spent")
    return [
        f"You consent to class {index}.",
        *class_words(terms, token),
        f"All requests together spend at most {cap:,} nano-rho of yours, for life; {spent:,} are spent.",
        worst["in_words"],
    ]
