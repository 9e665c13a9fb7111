"""One analysis request, one way through the code.

    submit -> fund -> freeze, tidy, seal -> key -> compute -> clear -> settle

Each step is idempotent by request id: it looks at the chain first, does what is missing, and moves the
stage in the log. Whatever a crash left, `advance` (and so `usufruct resume`) finishes. A refusal is
terminal and explained; a fault of the world (a node, a custodian, a disk) leaves the request where it is.
What a reorganisation took away is done again: the request falls back to the stage that the chain shows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from eth_utils.crypto import keccak

from marketplace import consent, settlement
from marketplace.analyses import analysis_by_hash, analysis_by_id
from marketplace.analyses.answerable import require_answerable
from marketplace.bonds import require_bond
from marketplace.chain.adapter import (
    Chain,
    ContractRefusal,
    NotYetFinal,
    Reorganised,
    RequestStage,
    RequestView,
)
from marketplace.chain.sender import Sender
from marketplace.dictionaries import Dictionaries
from marketplace.errors import Refusal
from marketplace.lanes.vault import Vault
from marketplace.peers import Peer
from marketplace.receipts.build import build_receipt
from marketplace.rehearsal import fields_as_sent, require_openable
from marketplace.stages import NEXT, Cleared, Computed, Sealed, Stage, route
from marketplace.store import ComputedRow, Database, ReceiptRow, RequestRow
from marketplace.upkeep import Upkeep
from marketplace.waits import Waits
from marketplace.wire import hpke
from marketplace.wire.terms import RequestTerms

log = structlog.get_logger()


class NeverOpened(Refusal):
    """A request that was handed in and not paid for in time."""

    CODE = "never_opened"


RETRY: Final = frozenset(
    {
        "node_unreachable",
        "node_fault",
        "unknown_block",
        "outcome_unknown",
        "nonce_taken",
        "insufficient_funds",
        "out_of_gas",
        "reverted_without_reason",
        "stale_head",
        "wrong_chain",
        "wrong_code",
        "reorganised",
        "partial_logs",
        "forged_logs",
        "not_yet_final",
        "peer_unreachable",
        "quorum_missing",
        "storage_full",
        "storage_unavailable",
        "notice_still_running",
        "shard_is_frozen",
        "draw_too_early",
        "gate_unknown",
        "bond_too_small",
        "enforced_pause",
        "access_control_unauthorized_account",
    }
)
"""Codes that time, or somebody's repair, may cure: the request stays where it is."""

REFUSING: Final = (ContractRefusal, NeverOpened)
"""Only these end a request, and only with a code outside `RETRY`: anything else is a fault of the world,
which must not end what may be paid already."""

DRAW_BLOCKS: Final = 2
"""The gate is drawn by the block after the seal, once that has a successor."""

CHAIN_REACHED: Final = {
    RequestStage.NONE: Stage.SUBMITTED,
    RequestStage.OPENED: Stage.FUNDED,
    RequestStage.FROZEN: Stage.FROZEN,
}
"""The furthest that a request may stand here when this is what the chain shows."""

CHAIN_ENDS: Final = {
    RequestStage.CANCELLED: Stage.CANCELLED,
    RequestStage.RECLAIMED: Stage.RECLAIMED,
    RequestStage.DEFAULTED: Stage.DEFAULTED,
}


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

    # --- submit

    def submit(self, researcher: str, terms: RequestTerms, parameters: Mapping[str, Any]) -> str:
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
            self.chain.request(_id(request)).stage is RequestStage.NONE
        ):  # else it may be locked by now
            live = sum(
                shard.live for each in terms.class_ids() for shard in self.chain.shards(each)
            )
            require_bond(self.chain, self.sender.address, live, terms.price)

    def _require_fee(self, terms: RequestTerms) -> None:
        if terms.fee < self.fee:
            raise Refusal(
                code="fee_too_small",
                message=f"The terms offer a fee of {terms.fee}; this operator asks for {self.fee}.",
                remedy="Take the fee that POST /api/v1/quotes returns, or ask another operator.",
                field="terms.fee",
            )

    # --- advance

    def advance(self, request: str) -> Stage:
        """Does whatever can be done for a request now; returns where it then stands.

        Faults are noted and, when they are news, logged; not raised: the request is looked at again later.
        """
        while True:
            before = Stage(self.database.request(request).stage)
            step = STEPS.get(before)
            if step is None:
                return before
            try:
                step(self, request)
            except Refusal as refusal:
                if not self._refused(request, before, refusal):
                    return Stage(self.database.request(request).stage)
            self.waits.clear(request)
            after = Stage(self.database.request(request).stage)
            if after == before:
                return after

    def resume(self) -> dict[str, Stage]:
        """Advances every unfinished request; returns where each then stands."""
        return {request: self.advance(request) for request in self.database.unfinished()}

    def follow(self, request: str) -> Stage:
        """Notices that a refused request got its money back on chain; returns where it stands."""
        self._view(request)
        return Stage(self.database.request(request).stage)

    def _refused(self, request: str, stage: Stage, refusal: Refusal) -> bool:
        """Ends a request that cannot go on; returns False if it is only to be tried again."""
        facts = {"request": request, "stage": stage, "code": refusal.code}
        ends = isinstance(refusal, REFUSING) and refusal.code not in RETRY
        if not ends or Stage.REFUSED not in NEXT[stage] or self._went_on(request):
            if self.waits.note(request, refusal):  # else it was said: steps are tried every second
                log.warning("step_waits", **facts, message=refusal.message)
            return False
        log.info("request_refused", **facts)
        reason = {
            "code": refusal.code,
            "message": refusal.message,
            "remedy": refusal.remedy,
            "field": refusal.field,
        }
        self.database.move(request, Stage.REFUSED, refusal.message, reason)
        return True

    def _went_on(self, request: str) -> bool:
        """Whether it may be past the freeze on chain: another worker's transaction came before ours."""
        try:
            found = self.chain.request(_id(request)).stage
        except Refusal:
            return True  # nobody knows: it must not end what may be going on
        return found not in (RequestStage.NONE, RequestStage.OPENED)

    def _view(self, request: str) -> RequestView:
        """The request as the chain has it now; an early end there is taken over.

        Raises:
            Reorganised: the chain lost what the request's stage stood on. It has fallen back.
        """
        self.chain.require_healthy()
        view = self.chain.request(_id(request))
        end = CHAIN_ENDS.get(view.stage)
        if end is not None:
            self._require_final_end(request, view)
            for stage in route(Stage(self.database.request(request).stage), end):
                self.database.move(request, stage, f"{end} on chain")
        elif self.database.fall_back(request, _reached(view), f"{view.stage.name} on chain"):
            raise Reorganised(
                message=f"On chain the request is {view.stage.name.lower()} again.",
                remedy="Nothing was released; what the chain lost is done again.",
            )
        return view

    def _require_final_end(self, request: str, view: RequestView) -> None:
        """An end that a reorganisation could undo is waited for: nobody looks at an ended request again."""
        if self.chain.request(_id(request), self.chain.finalized()).stage is not view.stage:
            raise NotYetFinal(
                message=f"That the request is {view.stage.name.lower()} is not in a final block yet.",
                remedy="Wait until the chain has finalised it; the step is tried again.",
            )

    # --- the steps, one per stage

    def _fund(self, request: str) -> None:
        view = self._view(request)
        if view.stage is RequestStage.NONE:
            self._require_time_left(request)
        elif view.stage not in CHAIN_ENDS:
            self.database.move(request, Stage.FUNDED, "escrow held by the market")

    def _require_time_left(self, request: str) -> None:
        terms = RequestTerms.from_json(self.database.request(request).terms)
        if self.chain.now() > terms.seal_deadline:
            raise NeverOpened(
                message=f"It was not opened before its seal deadline, {terms.seal_deadline}.",
                remedy="Nothing was paid. Ask again, with deadlines that lie ahead.",
                field="terms.seal_deadline",
            )

    def _freeze(self, request: str) -> None:
        view = self._view(request)
        if view.stage is RequestStage.OPENED:
            terms = RequestTerms.from_json(self.database.request(request).terms)
            if self.chain.now() <= terms.seal_deadline:  # later, the market's own refusal ends it
                settlement.require_serving(self.chain, self.custodians)
            self.upkeep.tend(terms.dataset)
            consent.freeze(self.chain, self.sender, view.researcher, terms)
            view = self._view(request)
        if view.stage in (RequestStage.FROZEN, RequestStage.SEALED, RequestStage.SETTLED):
            self.database.move(request, Stage.FROZEN, "every shard frozen")

    def _seal(self, request: str) -> None:
        view = self._view(request)
        if view.stage is RequestStage.FROZEN:
            self._seal_now(request, view)
            view = self._view(request)
        if view.stage in (RequestStage.SEALED, RequestStage.SETTLED):
            self.chain.require_final(view.seal_block)
            because = f"cohort of {view.members} sealed, root 0x{view.root.hex()}"
            self.database.move(request, Stage.SEALED, because)

    def _seal_now(self, request: str, view: RequestView) -> None:
        """Tidies and seals. A cohort that fell under the minimum is dissolved; a lapsed freeze reclaimed."""
        if self.chain.now() > view.frozen_until:
            self._end_freeze("reclaim", request, view)
            return
        consent.tidy(self.chain, self.sender, _id(request), view)
        try:
            consent.seal(self.chain, self.sender, _id(request), view)
        except ContractRefusal as refusal:
            if refusal.code != "cohort_too_small":
                raise
            self._end_freeze("dissolve", request, view)

    def _end_freeze(self, function: str, request: str, view: RequestView) -> None:
        self.sender.send("ResearchMarket", function, _id(request))
        self.upkeep.tend(view.dataset)

    def _key(self, request: str) -> None:
        view = self._view(request)
        if view.stage is RequestStage.SEALED and not any(view.gate_key):
            view = self._drawn(request, view)
            sealed = _sealed(request, view)
            parameters = self.database.request(request).parameters
            dictionary = self.dictionaries.of(view.dataset)
            key, signature = self.vault.key(sealed, parameters, dictionary)
            self.sender.send("ResearchMarket", "recordGateKey", sealed.request, key, signature)
            view = self._view(request)
            self.upkeep.tend(view.dataset)
        if any(view.gate_key) and view.stage not in CHAIN_ENDS:
            self.database.move(request, Stage.KEYED, f"gate {view.gate} recorded its key")

    def _drawn(self, request: str, view: RequestView) -> RequestView:
        """The request with a gate: drawn once the block that draws is there, redrawn if it stays silent."""
        if int(view.gate, 16) == 0:
            self._pass(view.draw_block)
            self.sender.send("ResearchMarket", "drawGate", _id(request))
        elif self.chain.now() > view.gate_drawn_at + self.chain.policy().gate_window:
            self.sender.send("ResearchMarket", "redrawGate", _id(request))
        else:
            return view
        view = self._view(request)
        self.chain.require_final(self.chain.head().number)
        return view

    def _pass(self, block: int) -> None:
        """Waits for the block that draws; an embedded chain has to be asked for it."""
        for _ in range(DRAW_BLOCKS):
            if self.chain.head().number > block:
                return
            self.chain.nudge()

    def _compute(self, request: str) -> None:
        view = self._view(request)
        if view.stage is RequestStage.SETTLED:  # this database is an old copy
            self.database.move(request, Stage.COMPUTED, "settled on chain already")
        if view.stage is not RequestStage.SEALED:
            return
        row = self.database.request(request)
        if self.database.computed(request) is None:
            self._require_final_key(request, view)
            dictionary = self.dictionaries.of(view.dataset)
            computed, heads = self.vault.compute(_sealed(request, view), row.parameters, dictionary)
            kept = ComputedRow(
                request=request,
                settlement=computed.settlement,
                sealed_result=computed.sealed_result,
                gate_signature=computed.gate_signature,
            )
            self.database.keep_computed(kept)
            self._anchor(heads)
        self.database.move(request, Stage.COMPUTED, "noised answer persisted")

    def _require_final_key(self, request: str, view: RequestView) -> None:
        """Nobody turns before that; until then the gate need not be sent the whole cohort."""
        if self.chain.request(_id(request), self.chain.finalized()).gate_key != view.gate_key:
            raise NotYetFinal(
                message="The gate's key is not in a final block yet.",
                remedy="Wait until the chain has finalised it; the step is tried again.",
            )

    def _anchor(self, heads: list[Any]) -> None:
        """Puts the custodians' journal heads on chain, so that a restored backup is noticed."""
        for head in heads:
            arguments = (
                head["epoch"],
                head["place"],
                int(head["height"]),
                bytes.fromhex(head["head"][2:]),
                bytes.fromhex(head["signature"][2:]),
            )
            try:
                self.sender.send("CustodianCommittee", "anchorJournal", *arguments)
            except Refusal as refusal:  # the next turn's head covers this one's
                log.warning("journal_not_anchored", place=head["place"], code=refusal.code)

    def _clear(self, request: str) -> None:
        view = self._view(request)
        if view.stage is RequestStage.SETTLED:
            self.database.move(request, Stage.CLEARED, "settled on chain already")
        if view.stage is not RequestStage.SEALED:
            return
        cleared = settlement.clear(self.chain, self._computed(request, view), view, self.custodians)
        signed = [{"place": place, "signature": "0x" + s.hex()} for place, s in cleared.signatures]
        self.database.keep_signatures(request, signed)
        self.database.move(request, Stage.CLEARED, f"{len(signed)} custodians signed")

    def _settle(self, request: str) -> None:
        view = self._view(request)
        if view.stage is RequestStage.SEALED:
            settlement.settle(self.sender, self._cleared(request, view))
            view = self._view(request)
        if view.stage is RequestStage.SETTLED:
            row = self.database.request(request)
            analysis = analysis_by_id(row.analysis)
            variables = self.dictionaries.variables(view.dataset)
            canonical = analysis.canonical(analysis.parse(row.parameters, variables))
            receipt = build_receipt(self.chain, _id(request), row.analysis, canonical)
            block = int(receipt["blocks"]["settled"])
            self.chain.require_final(block)
            self.database.keep_receipt(ReceiptRow(request=request, block=block, receipt=receipt))
            self.database.move(request, Stage.SETTLED, f"settled in block {block}")

    def _computed(self, request: str, view: RequestView) -> Computed:
        row = self.database.computed(request)
        if row is None:
            # A gate gives its one answer again, byte for byte; custodians sign no other.
            raise self._missing(request, Stage.KEYED, "answer")
        return Computed(
            _sealed(request, view), row.settlement, row.sealed_result, row.gate_signature
        )

    def _cleared(self, request: str, view: RequestView) -> Cleared:
        row = self.database.computed(request)
        signatures = row.signatures if row is not None else None
        if not signatures:
            raise self._missing(request, Stage.COMPUTED, "quorum")
        return Cleared(
            self._computed(request, view),
            tuple((each["place"], bytes.fromhex(each["signature"][2:])) for each in signatures),
        )

    def _missing(self, request: str, to: Stage, what: str) -> Refusal:
        """What a restored database lacks is fetched again."""
        self.database.fall_back(request, to, f"the {what} is not in this database")
        return Refusal(
            code="storage_unavailable",
            message=f"The request's {what} is not in this database, which may be an old copy.",
            remedy="It is asked for again; nothing is drawn or paid twice.",
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


def _reached(view: RequestView) -> Stage:
    if view.stage is RequestStage.SEALED and not any(view.gate_key):
        return Stage.SEALED
    return CHAIN_REACHED.get(view.stage, Stage.CLEARED)


def _id(request: str) -> bytes:
    return bytes.fromhex(request[2:])


def _sealed(request: str, view: RequestView) -> Sealed:
    return Sealed(_id(request), view.root, view.members, view.epoch, view.gate)


STEPS: Final[dict[Stage, Callable[[Pipeline, str], None]]] = {
    Stage.SUBMITTED: Pipeline._fund,
    Stage.FUNDED: Pipeline._freeze,
    Stage.FROZEN: Pipeline._seal,
    Stage.SEALED: Pipeline._key,
    Stage.KEYED: Pipeline._compute,
    Stage.COMPUTED: Pipeline._clear,
    Stage.CLEARED: Pipeline._settle,
}
"""One step per stage that has something left to do."""
