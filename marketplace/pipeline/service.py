"""The operator's work on requests: one step per stage."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from marketplace import release, settlement
from marketplace.analyses.catalogue import analysis_in
from marketplace.chain.adapter import (
    Chain,
    ContractRefusal,
    NotYetFinal,
    RequestStage,
    RequestView,
)
from marketplace.chain.sender import Sender
from marketplace.dictionaries import Dictionaries
from marketplace.errors import Refusal
from marketplace.lanes.heads import Head
from marketplace.lanes.tally import TallyLane
from marketplace.lanes.vault import Vault
from marketplace.peers import Peer
from marketplace.pipeline.answers import Answers, noted_rows
from marketplace.pipeline.counting import Counting
from marketplace.pipeline.deadlines import Deadlines
from marketplace.pipeline.drawing import Drawing
from marketplace.pipeline.faults import REFUSING, RETRY, UNSENT
from marketplace.pipeline.pauses import Pauses
from marketplace.pipeline.standing import CHAIN_ENDS, Standing, id_of, sealed_of
from marketplace.pipeline.submission import Submission
from marketplace.receipts.build import build_receipt
from marketplace.stages import NEXT, Cleared, Computed, Stage
from marketplace.store import ComputedRow, Database
from marketplace.upkeep import Upkeep
from marketplace.vocabulary import Lane
from marketplace.waits import AtWork, Waits
from marketplace.wire.structs import HOMOMORPHIC
from marketplace.wire.terms import RequestTerms

log = structlog.get_logger()


@dataclass(frozen=True)
class Pipeline:
    """The operator's work on requests."""

    chain: Chain
    sender: Sender
    database: Database
    vault: Vault
    custodians: tuple[Peer, ...]
    dictionaries: Dictionaries
    fee: int = 0  # token units; the least that a request must offer
    waits: Waits = field(default_factory=Waits)

    @functools.cached_property
    def upkeep(self) -> Upkeep:
        """What is done for consents before, after and between requests."""
        return Upkeep(self.chain, self.sender)

    @functools.cached_property
    def tallies(self) -> TallyLane:
        """The homomorphic lane."""
        return TallyLane(self.chain, self.custodians, self.vault.records)

    @functools.cached_property
    def pauses(self) -> Pauses:
        """Between tries that were paid for in vain."""
        return Pauses(self.chain)

    @functools.cached_property
    def drawing(self) -> Drawing:
        """What has gates drawn."""
        return Drawing(self.chain, self.sender)

    @functools.cached_property
    def standing(self) -> Standing:
        """The stage log held against the chain."""
        return Standing(self.chain, self.database)

    @functools.cached_property
    def answers(self) -> Answers:
        """Answers as the database keeps them."""
        return Answers(self.database, self.dictionaries)

    @functools.cached_property
    def deadlines(self) -> Deadlines:
        """Whether there is time left for a request."""
        return Deadlines(self.chain)

    @functools.cached_property
    def counting(self) -> Counting:
        """What freezes and seals."""
        return Counting(self.chain, self.sender, self.custodians, self.upkeep, self.deadlines)

    def submit(self, researcher: str, terms: RequestTerms, parameters: Mapping[str, Any]) -> str:
        """Takes a request's terms and parameters before it is opened and paid; see `Submission.take`."""
        taken = (self.chain, self.database, self.dictionaries, self.sender.address, self.fee)
        return Submission(*taken).take(researcher, terms, parameters)

    # --- advance

    def advance(self, request: str) -> Stage:
        """Does whatever can be done for a request now; returns where it then stands.

        Faults are noted and, when they are news, logged; not raised: the request is looked at again later.
        """
        while True:
            before = Stage(self.database.request(request).stage)
            step = STEPS.get(before)
            if step is None:
                self.pauses.forget(request)
            if step is None or self.pauses.holds(request):
                return before
            try:
                step(self, request)
            except Refusal as refusal:
                if not self._refused(request, before, refusal):
                    return Stage(self.database.request(request).stage)
            finally:
                self.waits.work(request, None)
            self.waits.clear(request)
            after = Stage(self.database.request(request).stage)
            if after == before:
                return after

    def resume(self, followed: Callable[[Sequence[str]], Iterable[str]] = iter) -> dict[str, Stage]:
        """Advances every unfinished request; returns where each then stands.

        Args:
            followed: goes through them, to show how far it is.
        """
        return {request: self.advance(request) for request in followed(self.database.unfinished())}

    def follow(self, request: str) -> Stage:
        """Notices that a refused request got its money back on chain; returns where it stands."""
        self.standing.view(request)
        return Stage(self.database.request(request).stage)

    def _refused(self, request: str, stage: Stage, refusal: Refusal) -> bool:
        """Ends a request that cannot go on; returns False if it is only to be tried again."""
        facts = {"request": request, "stage": stage, "code": refusal.code}
        if isinstance(refusal, ContractRefusal) and refusal.paid:
            self.pauses.start(request, refusal)
        ends = isinstance(refusal, REFUSING) and refusal.code not in RETRY
        if not ends or Stage.REFUSED not in NEXT[stage] or self._goes_on(request, refusal):
            if self.waits.note(request, refusal):  # else it was said: steps are tried every second
                log.warning("step_waits", **facts, message=str(refusal))
            return False
        log.info("request_refused", **facts)
        self.database.move(request, Stage.REFUSED, refusal.message, refusal.reason())
        return True

    def _goes_on(self, request: str, refusal: Refusal) -> bool:
        """Whether the request may be past what refused here, or a freeze of it on the way to a block."""
        sent = isinstance(refusal, UNSENT) and self.standing.is_sending(self.sender.address)
        return sent or self.standing.went_on(request)

    # --- the steps, one per stage

    def _fund(self, request: str) -> None:
        view = self.standing.view(request)
        if view.stage is RequestStage.NONE:
            self.deadlines.require_not_over(self._terms(request))
        elif view.stage not in CHAIN_ENDS:
            self.database.move(request, Stage.FUNDED, "escrow held by the market")

    def _terms(self, request: str) -> RequestTerms:
        return RequestTerms.from_json(self.database.request(request).terms)

    def _freeze(self, request: str) -> None:
        view = self.standing.view(request)
        if view.stage is RequestStage.OPENED:
            self.counting.freeze(view.researcher, self._terms(request))
            view = self.standing.view(request)
        if view.stage in (RequestStage.FROZEN, RequestStage.SEALED, RequestStage.SETTLED):
            self.database.move(request, Stage.FROZEN, "every shard frozen")

    def _seal(self, request: str) -> None:
        view = self.standing.view(request)
        if view.stage is RequestStage.FROZEN:
            self.counting.seal(id_of(request), view)
            view = self.standing.view(request)
        if view.stage in (RequestStage.SEALED, RequestStage.SETTLED):
            self.chain.require_final(view.seal_block)
            because = f"cohort of {view.members} sealed, root 0x{view.root.hex()}"
            self.database.move(request, Stage.SEALED, because)

    def _prepare(self, request: str) -> None:
        view = self.standing.view(request)
        if view.lane == HOMOMORPHIC:
            self._noise(request, view)
        else:
            self._key(request, view)

    def _noise(self, request: str, view: RequestView) -> None:
        if view.stage is RequestStage.SEALED:
            parameters = self.database.request(request).parameters
            dictionary = self.dictionaries.of(view.dataset)
            sealed = sealed_of(request, view)
            tell = functools.partial(self.waits.work, request)
            self.tallies.see_to_noise(self.sender, sealed, parameters, dictionary, tell)
            self.upkeep.tend(view.dataset)
        if view.stage not in CHAIN_ENDS:
            self.database.move(request, Stage.NOISED, "the custodians' noise is fixed")

    def _key(self, request: str, view: RequestView) -> None:
        if view.stage is RequestStage.SEALED and not any(view.gate_key):
            view = self.drawing.drawn(request, view)
            sealed = sealed_of(request, view)
            parameters = self.database.request(request).parameters
            dictionary = self.dictionaries.of(view.dataset)
            self.waits.work(request, AtWork("The gate is asked for a key."))
            key, signature = self.vault.key(sealed, parameters, dictionary)
            self.sender.send("ResearchMarket", "recordGateKey", sealed.request, key, signature)
            view = self.standing.view(request)
            self.upkeep.tend(view.dataset)
        if any(view.gate_key) and view.stage not in CHAIN_ENDS:
            self.database.move(request, Stage.KEYED, f"gate {view.gate} recorded its key")

    def _compute(self, request: str) -> None:
        view = self.standing.view(request)
        if view.stage is RequestStage.SETTLED:  # this database is an old copy
            self.database.move(request, Stage.COMPUTED, "settled on chain already")
        if view.stage is not RequestStage.SEALED:
            return
        row = self.database.request(request)
        if self.database.computed(request) is None:
            computed, heads = self._answer(request, view, row.parameters)
            kept = ComputedRow(
                request=request,
                settlement=computed.settlement,
                sealed_result=computed.sealed_result,
                gate_signature=computed.gate_signature,
                stated=computed.stated,
                signatures=noted_rows(computed.noted),
                evidence=computed.evidence or None,
            )
            self.database.keep_computed(kept)
            self._anchor(heads)
        self.database.move(request, Stage.COMPUTED, "noised answer persisted")

    def _answer(
        self, request: str, view: RequestView, parameters: Mapping[str, Any]
    ) -> tuple[Computed, list[Head]]:
        dictionary, sealed = self.dictionaries.of(view.dataset), sealed_of(request, view)
        if view.lane == HOMOMORPHIC:
            tell = functools.partial(self.waits.work, request)
            return self.tallies.compute(self.sender, sealed, parameters, dictionary, tell)
        self._require_final_key(request, view)
        self.waits.work(request, AtWork("The gate is asked for the answer."))
        return self.vault.compute(sealed, parameters, dictionary)

    def _require_final_key(self, request: str, view: RequestView) -> None:
        """Nobody turns before that; until then the gate need not be sent the whole cohort."""
        if self.chain.request(id_of(request), self.chain.finalized()).gate_key != view.gate_key:
            raise NotYetFinal(
                message="The gate's key is not in a final block yet.",
                remedy="Wait until the chain has finalised it; the step is tried again.",
            )

    def _anchor(self, heads: Iterable[Head]) -> None:
        """Puts the custodians' journal heads on chain, so that a restored backup is noticed."""
        for head in heads:
            arguments = (head.epoch, head.place, head.height, head.head, head.signature)
            try:
                self.sender.send("CustodianCommittee", "anchorJournal", *arguments)
            except Refusal as refusal:  # the next turn's head covers this one's
                log.warning("journal_not_anchored", place=head.place, code=refusal.code)

    def _clear(self, request: str) -> None:
        view = self.standing.view(request)
        if view.stage is RequestStage.SETTLED:
            self.database.move(request, Stage.CLEARED, "settled on chain already")
        if view.stage is not RequestStage.SEALED:
            return
        computed, due = self.answers.computed(request, view), self.answers.due(request, view)
        self.waits.work(request, AtWork("Custodians are asked to sign the answer."))
        try:
            cleared = release.clear(self.chain, computed, view, due, self.custodians)
        except release.QuorumMissing:
            self.answers.ask_everybody(request)
            raise
        self.answers.keep(request, cleared)
        because = f"{len(cleared.signatures)} custodians signed"
        self.database.move(request, Stage.CLEARED, because)

    def _clear_again(self, request: str, cleared: Cleared, refusal: ContractRefusal) -> None:
        doubted = settlement.by_wallets(self.chain, cleared) if refusal.paid else frozenset()
        self.answers.clear_again(request, cleared, refusal, doubted)

    def _settle(self, request: str) -> None:
        view = self.standing.view(request)
        if view.stage is RequestStage.SEALED:
            cleared = self.answers.cleared(request, view)
            try:
                settlement.settle(self.sender, cleared)
            except ContractRefusal as refusal:
                with contextlib.suppress(Refusal):  # what was paid for in vain is to be told
                    self._clear_again(request, cleared, refusal)
                raise
            view = self.standing.view(request)
        if view.stage is RequestStage.SETTLED:
            row = self.database.request(request)
            analysis = analysis_in(Lane(view.lane), row.analysis)
            variables = self.dictionaries.variables(view.dataset)
            canonical = analysis.canonical(analysis.parse(row.parameters, variables))
            evidence = self.answers.evidence(request, view)
            receipt = build_receipt(self.chain, id_of(request), row.analysis, canonical, evidence)
            settled = settlement.conclude(self.chain, request, receipt)
            self.database.keep_receipt(settled)
            self.database.move(request, Stage.SETTLED, f"settled in block {settled.block}")


STEPS: Final[dict[Stage, Callable[[Pipeline, str], None]]] = {
    Stage.SUBMITTED: Pipeline._fund,
    Stage.FUNDED: Pipeline._freeze,
    Stage.FROZEN: Pipeline._seal,
    Stage.SEALED: Pipeline._prepare,
    Stage.KEYED: Pipeline._compute,
    Stage.NOISED: Pipeline._compute,
    Stage.COMPUTED: Pipeline._clear,
    Stage.CLEARED: Pipeline._settle,
}
"""One step per stage that has something left to do."""
