"""A question in its lane: what it asks, and the error to expect of it before anything is paid.

In the vault lane one gate adds noise; in the homomorphic lane each custodian adds its own, so that the error
depends on how many of them take part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Final

from marketplace.analyses import Forecast, Parameters
from marketplace.analyses.answerable import require_tallied
from marketplace.analyses.catalogue import Asked, analysis_in
from marketplace.analyses.tallies import Tally
from marketplace.analyses.variables import variables_of
from marketplace.chain.adapter import Chain
from marketplace.chain.joint_keys import joint_key_of
from marketplace.errors import BadParameter, Refusal
from marketplace.vocabulary import Lane
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.encoding import Encoding
from marketplace.words import quorum_words
from ml.dp.noised import decimal_text
from ml.homomorphic.noise import inflation

INFLATION_DIGITS: Final = 2
"""Behind the point, rounded up."""


def lane_of(asked: Mapping[str, Any]) -> Lane:
    """Of a question or a quote: the vault lane where none is named. Raises BadParameter."""
    given = asked.get("lane", int(Lane.VAULT))
    if isinstance(given, bool) or not isinstance(given, int) or given not in set(Lane):
        raise BadParameter(
            message="lane is none of this market's.",
            remedy=f"Give {int(Lane.VAULT)} for the vault lane, {int(Lane.HOMOMORPHIC)} for the "
            "homomorphic lane.",
            field="lane",
        )
    return Lane(given)


@dataclass(frozen=True)
class Summed:
    """A question of the homomorphic lane: its noise is that of `custodians`, of whom `quorum` suffice."""

    analysis: Tally[Any]
    parameters: Parameters
    encoding: Encoding
    quorum: int
    custodians: int

    def error(self, contributors: int, members: int, cost: int) -> Forecast:
        """With the noise of so many. Raises BadParameter."""
        return self.analysis.foretell(
            self.parameters, self.encoding, members, cost, self.quorum, contributors
        )

    def least_cost(self, members: int, target: Fraction) -> int:
        """Nano-rho at which all custodians' noise is small enough. Raises BadParameter."""
        return self.analysis.cost_for_error(
            self.parameters,
            self.encoding,
            members,
            target,
            "half_width",
            self.quorum,
            self.custodians,
        )

    def shown(self, members: int, most: int, cost: int) -> dict[str, Any]:
        """Whose noise it has, once it is sure that cohorts of `members` to `most` could be answered.

        Raises BadParameter, as the operator and each custodian would.
        """
        tallied, _, _ = require_tallied(
            self.analysis,
            self.parameters,
            self.encoding,
            (members, most),
            cost,
            self.quorum,
            self.custodians,
        )
        return {
            "sums": len(tallied.wanted),
            "custodians": self.custodians,
            "quorum": self.quorum,
            "inflation": self._inflation(self.custodians),
            "inflation_of_quorum": self._inflation(self.quorum),
            "expected_error_of_quorum": self._of_quorum(members, cost),
        }

    def _inflation(self, contributors: int) -> str:
        return decimal_text(inflation(contributors, self.quorum), INFLATION_DIGITS, "up")

    def _of_quorum(self, members: int, cost: int) -> dict[str, Any]:
        texts = self.error(self.quorum, members, cost).texts()
        return {**texts, "in_words": quorum_words(texts, self.quorum, self.custodians)}


@dataclass(frozen=True)
class Posed:
    """A question, in whichever lane.

    error: of (members, cost). least_cost: of (members, target). Both raise BadParameter. tally: None in the
    vault lane.
    """

    lane: Lane
    analysis: Asked
    parameters: Parameters
    error: Callable[[int, int], Forecast]
    least_cost: Callable[[int, Fraction], int]
    tally: Summed | None = None

    @property
    def canonical(self) -> bytes:
        """The parameters with every default written out, as terms name them by their hash."""
        return self.analysis.canonical(self.parameters)


def parsed_of(
    lane: Lane, dictionary: Dictionary, asked: Mapping[str, Any]
) -> tuple[Asked, Parameters]:
    """The analysis of that id in that lane, and its checked parameters. Raises BadParameter."""
    analysis = analysis_in(lane, asked["analysis"])
    parameters: Parameters = analysis.parse(asked["parameters"], variables_of(dictionary))
    return analysis, parameters


def posed(chain: Chain, dictionary: Dictionary, asked: Mapping[str, Any]) -> Posed:
    """The question that somebody asks, in its lane.

    Args:
        asked: analysis (id), parameters, lane (1 if left out).

    Raises:
        BadParameter: naming the field. Refusal: `not_encoded`, `no_joint_key`.
    """
    lane = lane_of(asked)
    analysis, parsed = parsed_of(lane, dictionary, asked)
    if not isinstance(analysis, Tally):
        error, least = analysis.expected_error, analysis.cost_for_error
        return Posed(lane, analysis, parsed, partial(error, parsed), partial(least, parsed))
    committee, encoding = chain.committee(), dictionary.encoding
    if encoding is None:
        raise _not_served("not_encoded", "This dataset's records are not encoded for the lane.")
    if joint_key_of(chain, int(committee.epoch)) is None:
        raise _not_served("no_joint_key", "The current custodians have no joint key yet.")
    holders = len(committee.members)
    summed = Summed(analysis, parsed, encoding, committee.quorum, holders)
    error = partial(summed.error, holders)
    return Posed(lane, analysis, parsed, error, summed.least_cost, summed)


def _not_served(code: str, why: str) -> Refusal:
    return Refusal(
        code=code,
        message=f"Nothing can be asked of this dataset in the homomorphic lane. {why}",
        remedy="Ask in the vault lane, or another dataset.",
        field="lane",
    )
