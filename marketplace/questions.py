"""What a request of the homomorphic lane asks for: everybody works it out alone.

Which sums, their sensitivity, the noise that its price in privacy needs, and to whom they are opened: all
of it follows from the chain and the dataset's dictionary. Parameters come from whoever asks, held against
their hash on chain. Custodians, operator, researcher and auditors come to one question, or somebody is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marketplace.analyses.answerable import require_tallied
from marketplace.analyses.catalogue import known_in
from marketplace.analyses.tallied import Tallied
from marketplace.analyses.tallies import Tally
from marketplace.analyses.variables import variables_of
from marketplace.chain.adapter import Chain, RequestView
from marketplace.errors import BadParameter
from marketplace.vocabulary import Address, Lane, RequestId
from marketplace.wire.analysis import parameters_hash
from marketplace.wire.canonical import JSON_LIMIT, parse
from marketplace.wire.delivery import encode_result
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.tally import encoding_of
from marketplace.wire.tallying import Question, TallySession, recipient

Form = Mapping[int, int]
"""Column -> coefficient."""


@dataclass(frozen=True)
class Asked:
    """A question with what it takes to add it up. `parameters` is their canonical JSON."""

    question: Question
    parameters: bytes
    tallied: Tallied
    forms: tuple[Form, ...]


@dataclass(frozen=True)
class Counted:
    """What an answer's numbers follow from, beside the question and the opened sums.

    cost: nano-rho. members: of the cohort. contributors: how many custodians' noise counts. quorum: of the
    request's epoch.
    """

    cost: int
    members: int
    contributors: int
    quorum: int

    def ranges(self, tallied: Tallied) -> list[tuple[int, int]]:
        """Where each opened sum can lie. Raises as `Tallied.ranges`."""
        shares = tallied.shares(self.cost, self.quorum)
        return tallied.ranges(self.members, self.contributors, shares)

    def answer(
        self,
        request: bytes,
        analysis: str,
        parameters: bytes,
        tallied: Tallied,
        opened: Sequence[int],
    ) -> bytes:
        """The answer's document (`encode_result`): the same for the same sums, whoever makes it.

        Args:
            parameters: their canonical JSON.
            opened: in the analysis' order, each in its range.
        """
        shares = tallied.shares(self.cost, self.quorum)
        noise = tallied.noise(self.cost, self.contributors, shares)
        noised = tallied.finish(opened, noise, self.members, self.cost)
        return encode_result(
            RequestId(request),
            analysis,
            json.loads(parameters),
            self.members,
            json.loads(noised.to_json()),
        )


def asked(
    chain: Chain, dictionary: Dictionary, view: RequestView, request: bytes, raw: bytes
) -> Asked:
    """The request with these parameters (JSON), if it can be answered for a cohort of its size.

    Args:
        dictionary: the dataset's, held against its hash on chain here.

    Raises:
        BadParameter: naming the field; `wrong_dictionary`, `wrong_parameters`; an analysis that the lane does
        not have, or that cannot be answered whatever the records are. RecordUnreadable: no encoding.
    """
    terms = chain.request_terms(request)
    if chain.dictionary_of(view.dataset) != dictionary.hash():
        raise _wrong("dictionary", "The data dictionary is not the published one.")
    encoding, tally = encoding_of(dictionary), _known(terms.analysis)
    parsed = tally.parse(_document(raw), variables_of(dictionary))
    written = tally.canonical(parsed)
    if parameters_hash(written) != terms.parameters:
        raise _wrong("parameters", "The parameters are not those that the request names.")
    committee = chain.committee(view.epoch)
    holders = len(committee.members)
    tallied, forms, shares = require_tallied(
        tally, parsed, encoding, (view.members,), view.cost, committee.quorum, holders
    )
    session = session_of(chain, view, request)
    question = Question(session, shares, recipient(terms.delivery_key), holders)
    return Asked(question, written, tallied, tuple(forms))


def session_of(chain: Chain, view: RequestView, request: bytes) -> TallySession:
    """What everything about a sealed request is bound to."""
    market = Address(chain.manifest.market)
    return TallySession(chain.chain_id, market, request, view.root, view.epoch)


def _known(digest: bytes) -> Tally[Any]:
    found = known_in(Lane.HOMOMORPHIC).get(digest)
    if not isinstance(found, Tally):
        raise _wrong("analysis", "The homomorphic lane does not have this analysis.")
    return found


def _document(raw: bytes) -> Mapping[str, Any]:
    document = parse(raw, limit=JSON_LIMIT)
    if not isinstance(document, dict):
        raise _wrong("parameters", "The parameters are no JSON object.")
    return document


def _wrong(field: str, message: str) -> BadParameter:
    return BadParameter(
        code=f"wrong_{field}",
        message=message,
        remedy=f"Send the {field} of this very request, unchanged.",
        field=field,
    )
