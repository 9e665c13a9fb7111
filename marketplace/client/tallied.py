"""Opening an answer of the homomorphic lane: from sums that only the researcher's key decrypts to numbers.

The answer is the same document as in the vault lane, so that whatever shows one shows the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from marketplace.analyses.catalogue import known_in
from marketplace.analyses.tallied import Tallied
from marketplace.analyses.tallies import Tally
from marketplace.analyses.variables import variables_of
from marketplace.chain.adapter import Chain, RequestView
from marketplace.client.logarithms import Logarithms, Range
from marketplace.errors import BadParameter, EnvelopeUnreadable, Refusal
from marketplace.questions import Counted
from marketplace.vocabulary import Lane
from marketplace.wire import hpke
from marketplace.wire.analysis import parameters_hash
from marketplace.wire.canonical import parse_canonical
from marketplace.wire.delivery import Opened
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.structs import RequestTerms
from marketplace.wire.tally import encoding_of
from marketplace.wire.tally_delivery import TallyKey
from marketplace.wire.tallying import decode_sealed
from ml.homomorphic.logarithm import OutOfRange
from ml.homomorphic.threshold import open_sums

NO_SALT: Final = b""
"""The settlement's hash is of ciphertexts, which nobody can guess."""


class SumOutOfRange(Refusal):
    """An opened sum that no cohort, together with all the noise there can be, adds up to."""

    CODE = "sum_out_of_range"


@dataclass(frozen=True)
class Delivered:
    """What a settlement of the homomorphic lane delivered, and what its noise follows from.

    members: of the cohort. cost: nano-rho. contributors: how many custodians' noise counts. quorum: of the
    request's epoch.
    """

    request: bytes
    terms: RequestTerms
    cost: int
    members: int
    contributors: int
    quorum: int
    sealed_result: bytes = field(repr=False)

    @classmethod
    def of(cls, chain: Chain, request: bytes, view: RequestView, sealed_result: bytes) -> Delivered:
        """By the chain's word. Raises NodeUnreachable, NodeFault."""
        places, _ = chain.noise_set(request)
        quorum = chain.committee(view.epoch).quorum
        terms = chain.request_terms(request)
        counts = (view.cost, view.members, len(places), quorum)
        return cls(request, terms, *counts, sealed_result)

    @property
    def counted(self) -> Counted:
        """What the numbers follow from, beside the question."""
        return Counted(self.cost, self.members, self.contributors, self.quorum)


@dataclass(frozen=True)
class OpenedTally(Opened):
    """An answer with the noised sums that it was made of, in the analysis' order, and as they were sealed."""

    sums: tuple[int, ...] = field(repr=False)
    sealed: bytes = field(repr=False)


def open_tally(
    delivered: Delivered,
    dictionary: Dictionary,
    parameters: Mapping[str, Any],
    delivery: hpke.SecretKey,
    logarithms: Logarithms | None = None,
) -> OpenedTally:
    """The answer: the same for the same sums, whoever opens it.

    Args:
        dictionary: of the request's dataset, held against the chain by the caller.
        parameters: as they were asked; held against their hash in the terms.
        logarithms: without any, tables are kept in the user's cache folder.

    Raises:
        EnvelopeUnreadable: for another key, or a sealed result of another question. SumOutOfRange: naming who
        must have lied. BadParameter: `wrong_analysis`, `wrong_parameters`. RecordUnreadable: no encoding.
    """
    key = TallyKey.of(delivery)
    if key.public != delivered.terms.delivery_key:
        raise _unreadable("The answer was not made for this delivery key.")
    tally, parsed = _question(delivered.terms, dictionary, parameters)
    tallied = tally.tallied(parsed, encoding_of(dictionary))
    values = _values(delivered, tallied, key, logarithms or Logarithms())
    asked = (delivered.request, tally.id, tally.canonical(parsed), tallied)
    result = delivered.counted.answer(*asked, values)
    document = parse_canonical(result)
    shown = document if isinstance(document, dict) else {}
    return OpenedTally(NO_SALT, result, shown, tuple(values), delivered.sealed_result)


def _question(
    terms: RequestTerms, dictionary: Dictionary, parameters: Mapping[str, Any]
) -> tuple[Tally[Any], Any]:
    tally = known_in(Lane.HOMOMORPHIC).get(terms.analysis)
    if not isinstance(tally, Tally):
        raise _wrong("analysis", "The homomorphic lane does not have this request's analysis.")
    parsed = tally.parse(parameters, variables_of(dictionary))
    if parameters_hash(tally.canonical(parsed)) != terms.parameters:
        raise _wrong("parameters", "The parameters are not those that the request names.")
    return tally, parsed


def _values(
    delivered: Delivered, tallied: Tallied, key: TallyKey, logarithms: Logarithms
) -> list[int]:
    ranges = delivered.counted.ranges(tallied)
    sums = decode_sealed(delivered.sealed_result)
    if len(sums) != len(ranges):
        raise _unreadable(
            f"The sealed result is of {len(sums)} sums; this question has {len(ranges)}."
        )
    try:
        return logarithms.find(open_sums(sums, key.secret), ranges)
    except OutOfRange as fault:
        raise _out_of_range(fault.position, ranges[fault.position], delivered.quorum) from None


def _out_of_range(position: int, within: Range, quorum: int) -> SumOutOfRange:
    low, high = within
    return SumOutOfRange(
        message=f"Sum {position + 1} of the answer is not between {low} and {high}. All records and all "
        "noise are proven to lie within their bounds, so no true sum of this cohort is anywhere else: what "
        f"was delivered is not what was settled, or {quorum} custodians signed another sum than the chain's.",
        remedy="Do not use the answer; keep its receipt. `usufruct verify-receipt` tells which of the two it "
        "is, and names the custodians that signed.",
        field="sealed_result",
        facts={"sum": position, "low": low, "high": high},
    )


def _wrong(field_: str, message: str) -> BadParameter:
    return BadParameter(
        code=f"wrong_{field_}",
        message=message,
        remedy=f"Give the {field_} of this very request, unchanged.",
        field=field_,
    )


def _unreadable(message: str) -> EnvelopeUnreadable:
    return EnvelopeUnreadable(
        message=message,
        remedy="Take the sealed result from the settlement on chain, and the delivery key of the request.",
        field="sealed_result",
    )
