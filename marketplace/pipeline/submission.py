"""A request handed in: everything that could never be answered is refused before it is paid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from eth_utils.crypto import keccak

from marketplace.analyses import analysis_by_hash
from marketplace.analyses.answerable import require_answerable
from marketplace.bonds import require_bond
from marketplace.chain.adapter import Chain, RequestStage
from marketplace.dictionaries import Dictionaries
from marketplace.errors import Refusal
from marketplace.pipeline.standing import id_of
from marketplace.rehearsal import fields_as_sent, require_openable
from marketplace.stages import Stage
from marketplace.store import Database, RequestRow
from marketplace.wire import hpke
from marketplace.wire.terms import RequestTerms


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
                below this operator's, a bond that does not cover it, terms that the market would not open.
                Nothing is stored then.
        """
        analysis = analysis_by_hash(terms.analysis)
        with fields_as_sent():
            variables = self.dictionaries.variables(terms.dataset)
        parsed = analysis.parse(parameters, variables)
        if keccak(analysis.canonical(parsed)) != terms.parameters:
            raise Refusal(
                code="parameters_mismatch",
                message="The terms name other parameters than the ones sent.",
                remedy="Set terms.parameters to the hash that POST /api/v1/quotes returns.",
                field="terms.parameters",
            )
        _require_release_kind(terms, int(analysis.release_kind))
        hpke.seal(b"", terms.delivery_key, b"")  # refuses a key that nothing can be sealed to
        self._require_fee(terms)
        require_openable(self.chain, researcher, terms)
        least = self.chain.policy().minimum_cohort
        with fields_as_sent():  # a seal spends the bond too, whether or not an answer is possible
            sizes = (least, max(least, terms.max_patients))
            require_answerable(analysis, parsed, variables, sizes, terms.cost)
        request = "0x" + terms.request_id(self.chain.chain_id, self.chain.market, researcher).hex()
        self._require_bond(request, terms)
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

    def _require_bond(self, request: str, terms: RequestTerms) -> None:
        if (
            self.chain.request(id_of(request)).stage is RequestStage.NONE
        ):  # else it may be locked by now
            live = sum(
                shard.live for each in terms.class_ids() for shard in self.chain.shards(each)
            )
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
