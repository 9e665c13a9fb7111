"""What a gate does when asked: give its key for a request, and compute the one answer to it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketplace.chain.adapter import Chain, RequestStage, RequestView
from marketplace.chain.cohort import require_sealed
from marketplace.errors import Refusal
from marketplace.gate.answers import Turned, answer_document, new_answer, signatures_text
from marketplace.gate.asked import Asked, require_asked
from marketplace.gate.checks import (
    OpenRequest,
    drawn_request,
    drawn_view,
    open_request,
    require_operator,
)
from marketplace.gate.delivery import require_delivered
from marketplace.gate.journal import Journal
from marketplace.gate.keys import Keys
from marketplace.gate.models import ComputationRow
from marketplace.gate.opening import Ciphertext, Opened, Opener, table_of
from marketplace.gate.quorum import Fault, Question, Turn, ask_all, missing
from marketplace.gate.registration import register
from marketplace.gate.staging import Staging
from marketplace.vocabulary import Address, CustodianIndex, DatasetId, RequestId
from marketplace.wire.canonical import JSON_LIMIT, parse
from marketplace.wire.http import busy, to_hex
from marketplace.wire.outcomes import Act, Outcomes
from marketplace.wire.settings import Endpoint
from marketplace.wire.structs import GateKey, Settlement, sign
from marketplace.wire.turn import TurnContext

LOCKS = 64
"""Requests are computed one at a time by lock, and so at most 64 at once; strangers' ids cost nothing."""
MOST_DERIVED = 1_024
"""Seals that a gate remembers to have derived a cohort of: about 100 bytes each."""


@dataclass(frozen=True)
class Patience:
    """How long custodians are waited for, seconds, and the gate's own smallest cohort."""

    turn_timeout: float
    turn_grace: float
    minimum_cohort: int


class Gate:
    """One gate over its own chain view, journal and keys. Safe for threads."""

    def __init__(
        self,
        chain: Chain,
        journal: Journal,
        keys: Keys,
        custodians: tuple[Endpoint, ...],
        patience: Patience,
    ) -> None:
        self.chain = chain
        self.journal = journal
        self.keys = keys
        self.custodians = custodians
        self.patience = patience
        self.staging = Staging()
        self._outcomes = Outcomes("marketplace.gate")
        self._computing = [threading.Lock() for _ in range(LOCKS)]
        self._deriving = threading.Lock()
        self._derived: dict[bytes, tuple[bytes, bytes]] = {}  # request -> root, seal's block hash

    def reasons(self) -> list[str]:
        """Codes of what keeps this gate from working; empty when ready."""
        try:
            self.chain.require_healthy()
            self.journal.find(bytes(32))
        except Refusal as refusal:
            return [refusal.code]
        return []

    def key(
        self,
        request: bytes,
        parameters: Mapping[str, Any],
        dictionary: Mapping[str, Any],
    ) -> dict[str, Any]:
        """This gate's X25519 key for a sealed request, and its signature for the chain; for anybody.

        Were it the operator's alone, an operator could keep it off the chain, and so no key would turn,
        nothing would certify a turn, and its bond would be safe however long it stays silent. Without that
        key on chain no custodian turns, so what could never be answered is refused here: the bond is then
        not forfeit.

        Raises:
            NotSealed, NotYetFinal, GateRefused, ...: see `drawn_request`, `require_asked`.
            Busy: while this gate derives another request's cohort.
        """
        view = drawn_view(self.chain, request, self.keys.signer.address)
        require_asked(
            self.chain.request_terms(request),
            self.chain.dictionary_of(view.dataset),
            view.members,
            parameters,
            dictionary,
        )
        self._require_derivable(request, view)
        public = self.keys.for_request(request, view.root).public
        struct = GateKey(request, view.root, public)
        market = self.chain.domain("ResearchMarket")
        signature = sign(struct, market, self.keys.signer.secret)
        return {"key": to_hex(public), "signature": to_hex(signature)}

    def _require_derivable(self, request: bytes, view: RequestView) -> None:
        """Once for each seal, and for one at a time: a cohort is many calls to the node, and anybody asks."""
        known = self._derived.get(request)
        if known == (view.root, self.chain.block_hash(view.seal_block)):
            return
        if not self._deriving.acquire(blocking=False):
            raise busy()
        try:
            _, cohort = drawn_request(self.chain, request, self.keys.signer.address)
            if len(self._derived) >= MOST_DERIVED:
                self._derived.clear()
            self._derived[request] = cohort.root, cohort.seal_block_hash
        finally:
            self._deriving.release()

    def require_staging(self, request: bytes, asker: Address) -> None:
        """That a page of ciphertexts is taken: asked before it is read.

        Raises:
            GateRefused (not_drawn, not_the_operator): so that strangers neither fill the memory nor
                choose who is counted.
        """
        view = drawn_view(self.chain, request, self.keys.signer.address)
        require_operator(view, asker)

    def stage(self, request: bytes, asker: Address, records: Mapping[str, Ciphertext]) -> int:
        """Takes a page of ciphertexts ahead of `compute`. Returns how many members are held.

        Raises:
            As `require_staging`. Refusal (staging_full).
        """
        self.require_staging(request, asker)
        for held in self.staging.requests():
            view = self.chain.request(held)
            if view.stage is not RequestStage.SEALED or view.gate != self.keys.signer.address:
                self.staging.drop(held)
        return self.staging.add(request, records)

    def compute(
        self,
        request: bytes,
        asker: Address,
        parameters: Mapping[str, Any],
        dictionary: Mapping[str, Any],
        records: Mapping[str, Ciphertext],
    ) -> dict[str, Any]:
        """The answer to a request: noised, sealed to the researcher, signed; for ever the same.

        On disk here, and noted by a quorum of custodians, before it is answered. Noise that was drawn
        and not kept, or not noted, was seen by nobody.

        Raises:
            GateRefused, CiphertextWithheld, QuorumMissing, AnsweredBefore, Refusal (storage_full) and
            what `open_request` raises.
        """
        with self._outcomes.of("answer", request) as act:
            return self._answered(request, asker, parameters, dictionary, records, act)

    def _answered(
        self,
        request: bytes,
        asker: Address,
        parameters: Mapping[str, Any],
        dictionary: Mapping[str, Any],
        records: Mapping[str, Ciphertext],
        act: Act,
    ) -> dict[str, Any]:
        self.require_served(request, asker)
        with self._computing[request[-1] % LOCKS]:
            kept = self.journal.find(request)
            if kept is None:
                kept = self.journal.keep_first(
                    self._compute_first(request, parameters, dictionary, records)
                )
            if not kept.registered:
                kept = self._register(kept)
                act.done("answered")
            self.staging.drop(request)
            return answer_document(kept)

    def require_served(self, request: bytes, asker: Address) -> None:
        """That this account is answered about this request: asked before anything dear, a lock's wait too.

        Raises:
            NotSealed, GateRefused (not_the_operator).
        """
        view = self.chain.request(request)
        require_sealed(request, view)
        require_operator(view, asker)

    def _register(self, kept: ComputationRow) -> ComputationRow:
        settlement = Settlement.from_json(parse(kept.settlement.encode(), limit=JSON_LIMIT))
        signatures = register(
            settlement,
            kept.gate_signature,
            self.chain.committee(settlement.epoch),
            self.custodians,
            self.chain.domain("ResearchMarket"),
            timeout=self.patience.turn_timeout,
        )
        return self.journal.mark_registered(kept.request, signatures_text(signatures))

    def _compute_first(
        self,
        request: bytes,
        parameters: Mapping[str, Any],
        dictionary: Mapping[str, Any],
        records: Mapping[str, Ciphertext],
    ) -> ComputationRow:
        view = drawn_view(self.chain, request, self.keys.signer.address)
        secret = self.keys.for_request(request, view.root)
        opened = open_request(
            self.chain,
            request,
            self.keys.signer.address,
            secret.public,
            self.patience.minimum_cohort,
        )
        members = len(opened.cohort.members)
        asked = require_asked(opened.terms, opened.dictionary_hash, members, parameters, dictionary)
        ciphertexts = {**self.staging.get(request), **records}
        opener = self._opener(opened, asked)
        sealed_in = opened.cohort.seal_block
        require_delivered(self.chain, opener, opened.stored, ciphertexts, sealed_in)
        turns, faults = self._turns(request, opened)
        table, turns, faults = self._open(opened, asked, ciphertexts, turns, faults)
        noised = asked.analysis.run(asked.parameters, table, opened.terms.cost)
        return new_answer(self.chain, self.keys, opened, asked, noised, Turned(turns, faults))

    def _turns(self, request: bytes, opened: OpenRequest) -> tuple[list[Turn], list[Fault]]:
        view, committee = opened.view, opened.committee
        contexts = {
            member.place: TurnContext(
                chain_id=self.chain.chain_id,
                market=self.chain.manifest.market,
                request=RequestId(request),
                root=opened.cohort.root,
                epoch=opened.cohort.epoch,
                index=CustodianIndex(member.place + 1),
                gate_key=view.gate_key,
            )
            for member in committee.members
        }
        question = Question(
            contexts=contexts,
            signers={member.place: member.signer for member in committee.members},
            market=self.chain.domain("ResearchMarket"),
            secret=self.keys.for_request(request, view.root),
            members=len(opened.cohort.members),
        )
        turns, faults = ask_all(
            question,
            self.custodians,
            committee.quorum,
            timeout=self.patience.turn_timeout,
            grace=self.patience.turn_grace,
        )
        if len(turns) < committee.quorum:
            raise missing(committee.quorum, len(turns), faults)
        return turns, faults

    def _opener(self, opened: OpenRequest, asked: Asked) -> Opener:
        return Opener(
            chain_id=self.chain.chain_id,
            registry=self.chain.manifest.address("DatasetRegistry"),
            dataset=DatasetId(opened.cohort.dataset),
            dictionary=asked.dictionary,
            quorum=opened.committee.quorum,
        )

    def _open(
        self,
        opened: OpenRequest,
        asked: Asked,
        ciphertexts: Mapping[str, Ciphertext],
        turns: list[Turn],
        faults: list[Fault],
    ) -> tuple[Any, list[Turn], list[Fault]]:
        quorum = opened.committee.quorum
        opener = self._opener(opened, asked)
        result: Opened = opener.open_all(opened.stored, ciphertexts, turns)
        good = [turn for turn in turns if turn.place not in result.wrong]
        faults = [*faults, *(Fault(place, "wrong_share") for place in sorted(result.wrong))]
        if len(good) < quorum:
            raise missing(quorum, len(good), faults)
        return table_of(asked.dictionary, result.rows), good, faults
