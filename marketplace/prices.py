"""What a question costs: computed by operators that quote it, and by clients that do not take their word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from eth_utils.crypto import keccak

from marketplace.analyses import ErrorOutOfReach, Forecast
from marketplace.analyses.fields import exact_number
from marketplace.chain.adapter import Chain
from marketplace.errors import BadParameter
from marketplace.posed import Posed, posed
from marketplace.releases import ReleaseNotAllowed, require_release_allowed
from marketplace.vocabulary import unsigned
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.terms import MOST_CLASSES, ClassTerms, class_id
from marketplace.words import epsilon_of, error_words, half_width_words, odds_of, tenth_words

COST_BITS = 56
"""A privacy cost is a uint56 in request terms."""
TENTH = 10
"""Filters may leave out most of a cohort, and how many is known to nobody: what to expect is told for one in
ten, too."""
PERCENT_HEADROOM = 10
"""By how much `max_patients` is suggested above the live consents, since more may be granted."""


def figures(
    chain: Chain, dictionary_of: Callable[[bytes], Dictionary], asked: Mapping[str, Any]
) -> dict[str, Any]:
    """All of a quote that follows from the question and the chain: everything but the operator's fee.

    Args:
        dictionary_of: of a dataset.
        asked: dataset (hex), classes (indices), analysis (id), parameters, lane (1 if left out), and exactly
            one of cost (nano-rho) and target_error (half-width of the 95% interval, in the variable's unit).

    Returns them with, under `refusal`, what the market would refuse such a request for (`code`, `message`,
    `remedy`, `field`): what costs too much can be quoted, and not bought. In the homomorphic lane `tally`
    says whose noise it would have: that of all custodians of the current epoch, or of a quorum of them.

    Raises:
        BadParameter: naming the field. Refusal: for what chain or catalogue do not have; in the homomorphic
            lane `not_encoded`, `no_joint_key`.
    """
    dataset, indices = bytes.fromhex(str(asked["dataset"])[2:]), _class_indices(asked["classes"])
    chain.require_dataset(dataset)  # first: else a wrong one looks like a class that is not there
    classes = [class_id(dataset, index) for index in indices]
    terms = [chain.class_terms(each) for each in classes]
    question = posed(chain, dictionary_of(dataset), asked)
    live = sum(shard.live for each in classes for shard in chain.shards(each))
    minimum = chain.policy().minimum_cohort
    members = max(live, minimum)
    highest, strictest = min((each.max_cost, i) for each, i in zip(terms, indices, strict=True))

    most = Most(highest, strictest, partial(question.error, members))
    cost = _cost(asked, question, members, most)
    held_back = _held_back(chain, dataset, indices, question)
    max_patients = members + -(-members * PERCENT_HEADROOM // 100)
    return {
        "lane": int(question.lane),
        "analysis_hash": "0x" + question.analysis.analysis_hash().hex(),
        "parameters_hash": "0x" + keccak(question.canonical).hex(),
        "release_kind": int(question.analysis.release_kind),
        "live": live,
        "members_assumed": members,
        "cost_nano_rho": cost,
        "highest_cost_nano_rho": highest,
        "refusal": held_back or most.refusal(cost),
        "epsilon": _epsilon(cost, members),
        "odds": odds_of(cost, members),
        "minimum_cohort": minimum,
        "expected_error": _expected(question.error(members, cost), members),
        "expected_error_of_a_tenth": _of_a_tenth(question, members, cost),
        "tally": question.tally and question.tally.shown(members, max_patients, cost),
        "price_per_member": max(price_floor(each, cost) for each in terms),
        "max_patients": max_patients,
        "token_decimals": chain.token.decimals,
        "token_symbol": chain.token.symbol,
    }


def escrow(quote: Mapping[str, Any]) -> int:
    """Token units that opening a request at these figures and this fee takes in, as the market does."""
    return int(quote["max_patients"] * quote["price_per_member"] + quote["fee"])


def price_floor(terms: ClassTerms, cost: int) -> int:
    """The least price per member that a class accepts for a request of this cost, token units."""
    by_cost = -(-terms.floor_per_milli_rho * cost // 1_000_000)
    return max(terms.floor_per_record, by_cost)


@dataclass(frozen=True)
class Most:
    """What the strictest of a request's classes allows: `cost` nano-rho at most for one request."""

    cost: int
    index: int  # of that class
    error_at: Callable[[int], Forecast]  # of a cost in nano-rho; raises BadParameter

    def refusal(self, cost: int) -> dict[str, str] | None:
        """What the market refuses a request of this cost for; None if nothing."""
        if cost <= self.cost:
            return None
        return {
            "code": "cost_above_class",
            "message": f"The privacy cost of {cost:,} nano-rho is above the most that class {self.index} "
            f"allows for one request, {self.cost:,} nano-rho.",
            "remedy": f"Ask for at most {self.cost:,} nano-rho{self._brings()}, or of another class.",
            "field": "cost",
        }

    def too_exact(self, refused: ErrorOutOfReach) -> BadParameter:
        """The refusal of an error that no cost reaches, with the one that can be bought."""
        return BadParameter(
            message=refused.message,
            remedy=f"Class {self.index} allows at most {self.cost:,} nano-rho for one request"
            f"{self._brings()}. Accept that error, ask for more participants, or narrow the clipping range.",
            field="target_error",
            facts=refused.facts,
        )

    def _brings(self) -> str:
        """The error that can be bought, in words; nothing where that much noise does not fit."""
        try:
            error = self.error_at(self.cost).texts()
        except BadParameter:
            return ""
        return f" (a {half_width_words(error)})"


def _cost(asked: Mapping[str, Any], question: Posed, members: int, most: Most) -> int:
    """As asked, or the least that reaches the error asked for with so many members."""
    if ("cost" in asked) == ("target_error" in asked):
        raise BadParameter(
            message="Ask for accuracy or for privacy: exactly one of cost and target_error.",
            remedy="Give cost in nano-rho, or target_error in the variable's unit.",
            field="cost",
        )
    if "cost" in asked:
        return _in_nano_rho(asked["cost"], most)
    target = exact_number(asked["target_error"], "target_error")
    try:
        return question.least_cost(members, target)
    except ErrorOutOfReach as refused:
        raise most.too_exact(refused) from None


def _held_back(
    chain: Chain, dataset: bytes, indices: list[int], question: Posed
) -> dict[str, str | None] | None:
    """Why a class does not let out what is asked for; None if each does."""
    kind, name = int(question.analysis.release_kind), question.analysis.id
    try:
        require_release_allowed(chain, dataset, indices, kind, name)
    except ReleaseNotAllowed as refusal:
        return refusal.reason()
    return None


def _in_nano_rho(given: object, most: Most) -> int:
    try:
        return unsigned(given, COST_BITS, "cost")
    except BadParameter:
        raise BadParameter(
            message="cost is no whole number of nano-rho.",
            remedy=f"Write digits alone, such as 30000000; class {most.index} allows at most {most.cost:,}.",
            field="cost",
        ) from None


def _expected(forecast: Forecast, members: int) -> dict[str, Any]:
    texts = forecast.texts()
    return {**texts, "in_words": error_words(texts, members)}


def _of_a_tenth(question: Posed, members: int, cost: int) -> dict[str, Any] | None:
    """The error if a tenth of the members pass the filters; None where there are none that thin a cohort."""
    if not question.parameters.thins:
        return None
    passing = max(1, members // TENTH)
    texts = question.error(passing, cost).texts()
    return {**texts, "members": passing, "in_words": tenth_words(texts, passing)}


def _epsilon(cost: int, members: int) -> dict[str, str]:
    epsilon, delta = epsilon_of(cost, members)
    return {"epsilon": f"{epsilon:.4f}", "delta": f"{delta:.3g}"}


def _class_indices(given: object) -> list[int]:
    """Indices of classes, strictly ascending, as terms must name them. Raises BadParameter."""
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_CLASSES:
        raise _bad_classes(f"is not a list of 1 to {MOST_CLASSES} class indices")
    indices = [unsigned(each, 16, f"classes[{i}]") for i, each in enumerate(given)]
    if indices != sorted(set(indices)):
        raise _bad_classes("does not rise strictly")
    return indices


def _bad_classes(fault: str) -> BadParameter:
    return BadParameter(
        message=f"classes {fault}.",
        remedy="Give the dataset's class indices (1, 2, ...), each once, in ascending order.",
        field="classes",
    )
