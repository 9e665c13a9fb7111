"""A request handed in: everything that could never be answered is refused before it is paid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from eth_utils.crypto import keccak

from marketplace.analyses import Analysis
from marketplace.analyses.analysis import unknown_analysis
from marketplace.analyses.answerable import require_answerable, require_tallied
from marketplace.analyses.catalogue import known_in
from marketplace.analyses.tallies import Tally
from marketplace.bonds import require_bond
from marketplace.chain.adapter import Chain, RequestStage
from marketplace.chain.joint_keys import joint_key_of
from marketplace.dictionaries import Dictionaries
from marketplace.errors import BadParameter, Refusal
from marketplace.pipeline.deadlines import Deadlines
from marketplace.pipeline.standing import id_of
from marketplace.rehearsal import fields_as_sent, require_openable
from marketplace.scoring import Models
from marketplace.stages import Stage
from marketplace.store import Database, RequestRow
from marketplace.vocabulary import Lane
from marketplace.wire import hpke
from marketplace.wire.structs import HOMOMORPHIC
from marketplace.wire.tally import encoding_of
from marketplace.wire.tallying import recipient
from marketplace.wire.terms import RequestTerms

UNPAID_AT_ONCE: Final = 32
"""Of one researcher: as many questions as a study prepares together. Handing one in costs nothing, and each
is looked at until it is paid or its deadline has passed, which may be a month."""
UNPAID_FOR: Final = timedelta(hours=1)
"""Not paid by then, one no longer counts, and is looked at seldom. Paid late, it is found all the same."""


@dataclass(frozen=True)
class Submission:
    """What takes requests in."""

    chain: Chain
    database: Database
    dictionaries: Dictionaries
    operator: str  # the account whose bond covers requests
    least_fee: int  # token units

    def take(self, researcher: str, terms: RequestTerms, parameters: Mapping[str, Any]) -> str:
        """Takes a request's terms and parameters before it is opened and paid; returns its id (hex).

        Raises:
            Refusal: unknown analysis, a parameter out of range, terms that name other parameters or
                another kind of release than these, a delivery key that nothing can be sealed to, a fee
                below this operator's, terms that the market would not open; and, unless it is paid already,
                too many that this researcher has not paid, too little time to seal, too small a bond.
                Nothing is stored then.
        """
        analysis = _analysis(terms)
        with fields_as_sent():
            variables = self.dictionaries.variables(terms.dataset)
        self._require_served(terms)
        parsed = analysis.parse(parameters, variables)
        if keccak(analysis.canonical(parsed)) != terms.parameters:
            raise Refusal(
                code="parameters_mismatch",
                message="The terms name other parameters than the ones sent.",
                remedy="Set terms.parameters to the hash that POST /api/v1/quotes returns.",
                field="terms.parameters",
            )
        _require_release_kind(terms, int(analysis.release_kind))
        models = Models(self.chain, self.database)
        models.require_scorable(analysis.id, parsed, self.dictionaries.of(terms.dataset))
        self._require_deliverable(terms)
        self._require_fee(terms)
        require_openable(self.chain, researcher, terms)
        least = self.chain.policy().minimum_cohort
        with fields_as_sent():  # a seal spends the bond too, whether or not an answer is possible
            sizes = (least, max(least, terms.max_patients))
            if isinstance(analysis, Tally):
                self._require_tallied(analysis, parsed, terms, sizes)
            else:
                require_answerable(analysis, parsed, variables, sizes, terms.cost)
        request = "0x" + terms.request_id(self.chain.chain_id, self.chain.market, researcher).hex()
        if self.chain.request(id_of(request)).stage is RequestStage.NONE:  # else it is paid already
            self._require_few_unpaid(request, researcher)
            self._require_worth_paying(terms)
        row = RequestRow(
            id=request,
            researcher=researcher,
            stage=Stage.SUBMITTED,
            terms=terms.to_json(),
            analysis=analysis.id,
            parameters=dict(parameters),
            submitted_at=datetime.now(UTC),
        )
        self.database.submit(row, "submitted by its researcher")
        return request

    def _require_served(self, terms: RequestTerms) -> None:
        """In the homomorphic lane: the dataset is encoded, and the current custodians have a joint key."""
        if terms.lane != HOMOMORPHIC:
            return
        if self.dictionaries.of(terms.dataset).encoding is None:
            raise Refusal(
                code="not_encoded",
                message="This dataset's records are not encoded for the homomorphic lane.",
                remedy="Ask in the vault lane, or another dataset.",
                field="terms.lane",
            )
        if joint_key_of(self.chain, int(self.chain.current_epoch())) is None:
            raise Refusal(
                code="no_joint_key",
                message="The current custodians have no joint key: nothing can be asked in this lane.",
                remedy="Ask in the vault lane, or wait until the market has had one generated.",
                field="terms.lane",
            )

    def _require_deliverable(self, terms: RequestTerms) -> None:
        """The answer can be sealed to the delivery key. Raises BadParameter."""
        if terms.lane == HOMOMORPHIC:
            recipient(terms.delivery_key)
        else:
            hpke.seal(b"", terms.delivery_key, b"")

    def _require_tallied(
        self, tally: Tally[Any], parsed: Any, terms: RequestTerms, sizes: tuple[int, ...]
    ) -> None:
        """The current committee could open it: every sum lies within reach."""
        committee = self.chain.committee()
        encoding = encoding_of(self.dictionaries.of(terms.dataset))
        numbers = committee.quorum, len(committee.members)
        require_tallied(tally, parsed, encoding, sizes, terms.cost, *numbers)

    def _require_few_unpaid(self, request: str, researcher: str) -> None:
        since = datetime.now(UTC) - UNPAID_FOR
        others = self.database.unpaid_of(researcher, since) - {request}
        if len(others) >= UNPAID_AT_ONCE:
            raise Refusal(
                code="too_many_unpaid",
                message=f"{len(others)} requests that this account handed in lately are not paid yet.",
                remedy="Open and pay one of them on chain, or hand in the next one in an hour.",
                field="Usufruct-Auth.address",
                facts={"unpaid": len(others), "allowed": UNPAID_AT_ONCE},
            )

    def _require_worth_paying(self, terms: RequestTerms) -> None:
        """Paid soon, it could be frozen and sealed: there is time for it, and bond."""
        Deadlines(self.chain).require_payable(terms)
        live = sum(shard.live for each in terms.class_ids() for shard in self.chain.shards(each))
        require_bond(self.chain, self.operator, live, terms.price)

    def _require_fee(self, terms: RequestTerms) -> None:
        if terms.fee < self.least_fee:
            raise Refusal(
                code="fee_too_small",
                message=f"The terms offer a fee of {terms.fee}; this operator asks for {self.least_fee}.",
                remedy="Take the fee that POST /api/v1/quotes returns, or ask another operator.",
                field="terms.fee",
            )


def _require_release_kind(terms: RequestTerms, kind: int) -> None:
    """The market holds the stated kind against what patients allow, and cannot know the analysis's own."""
    if terms.release_kind != kind:
        raise Refusal(
            code="release_kind_mismatch",
            message=f"The terms state release kind {terms.release_kind}; this analysis releases kind {kind}.",
            remedy="Set terms.releaseKind to what POST /api/v1/quotes returns.",
            field="terms.releaseKind",
        )


def _analysis(terms: RequestTerms) -> Analysis[Any] | Tally[Any]:
    """Of the lane that the terms name. Raises BadParameter."""
    if terms.lane not in set(Lane):
        raise BadParameter(
            message=f"There is no lane {terms.lane}.",
            remedy="Set terms.lane to 1 (vault) or 2 (homomorphic).",
            field="terms.lane",
        )
    known = known_in(Lane(terms.lane))
    if terms.analysis not in known:
        raise unknown_analysis({each.id: each for each in known.values()})
    return known[terms.analysis]
