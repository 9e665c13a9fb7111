"""What a gate does when asked: give its key for a request, and compute the one answer to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketplace.chain.adapter import Chain, RequestStage
from marketplace.errors import Refusal
from marketplace.gate.asked import Asked, require_asked
from marketplace.gate.checks import (
    OpenRequest,
    drawn_request,
    not_drawn,
    open_request,
    require_operator,
)
from marketplace.gate.config import Endpoint
from marketplace.gate.delivery import require_delivered
from marketplace.gate.journal import Journal
from marketplace.gate.keys import Keys
from marketplace.gate.models import ComputationRow
from marketplace.gate.opening import Ciphertext, Opened, Opener, table_of
from marketplace.gate.quorum import Fault, Question, Turn, ask_all, missing
from marketplace.gate.registration import register
from marketplace.gate.staging import Staging
from marketplace.vocabulary import Address, CustodianIndex, DatasetId, RequestId
from marketplace.wire.canonical import JSON_LIMIT, canonical, parse
from marketplace.wire.delivery import (
    DeliveryContext,
    delivery_hash,
    encode_result,
    new_salt,
    result_hash,
    seal_result,
)
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.stated import Stated
from marketplace.wire.structs import SETTLEMENT_SCHEMA, VAULT, GateKey, Settlement, sign
from marketplace.wire.turn import TurnContext
from ml.dp.noised import Noised

LOCKS = 64
"""Requests are computed one at a time by lock, and so at most 64 at once; strangers' ids cost nothing."""


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
        self._computing = [threading.Lock() for _ in range(LOCKS)]

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
        asker: Address,
        parameters: Mapping[str, Any],
        dictionary: Mapping[str, Any],
    ) -> dict[str, Any]:
        """This gate's X25519 key for a sealed request, and its signature for the chain.

        Without that key on chain no custodian turns, so what could never be answered is refused here:
        the operator's bond is then not forfeit.

        Raises:
            NotSealed, NotYetFinal, GateRefused, ...: see `drawn_request`, `require_asked`.
        """
        view, cohort = drawn_request(self.chain, request, self.keys.signer.address)
        require_operator(view, asker)
        require_asked(
            self.chain.request_terms(request),
            self.chain.dictionary_of(cohort.dataset),
            len(cohort.members),
            parameters,
            dictionary,
        )
        public = self.keys.for_request(request, view.root).public
        struct = GateKey(request, view.root, public)
        market = self.chain.domain("ResearchMarket")
        signature = sign(struct, market, self.keys.signer.secret)
        return {"key": to_hex(public), "signature": to_hex(signature)}

    def stage(self, request: bytes, asker: Address, records: Mapping[str, Ciphertext]) -> int:
        """Takes a page of ciphertexts ahead of `compute`. Returns how many members are held.

        Raises:
            GateRefused (not_drawn, not_the_operator): so that strangers neither fill the memory nor
                choose who is counted. Refusal (staging_full).
        """
        for held in (*self.staging.requests(), request):
            view = self.chain.request(held)
            if view.stage is not RequestStage.SEALED or view.gate != self.keys.signer.address:
                self.staging.drop(held)
                if held == request:
                    raise not_drawn()
        require_operator(self.chain.request(request), asker)
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
        with self._computing[request[-1] % LOCKS]:
            kept = self.journal.find(request)
            if kept is not None:
                require_operator(self.chain.request(request), asker)
            else:
                kept = self.journal.keep_first(
                    self._compute_first(request, asker, parameters, dictionary, records)
                )
            if not kept.registered:
                self._register(kept)
            self.staging.drop(request)
            return _answer(kept)

    def _register(self, kept: ComputationRow) -> None:
        settlement = Settlement.from_json(parse(kept.settlement.encode(), limit=JSON_LIMIT))
        register(
            settlement,
            kept.gate_signature,
            self.chain.committee(settlement.epoch),
            self.custodians,
            self.chain.domain("ResearchMarket"),
            timeout=self.patience.turn_timeout,
        )
        self.journal.mark_registered(kept.request)

    def _compute_first(
        self,
        request: bytes,
        asker: Address,
        parameters: Mapping[str, Any],
        dictionary: Mapping[str, Any],
        records: Mapping[str, Ciphertext],
    ) -> ComputationRow:
        view, _ = drawn_request(self.chain, request, self.keys.signer.address)
        require_operator(view, asker)
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
        require_delivered(self.chain, opener, opened.stored, ciphertexts)
        turns, faults = self._turns(request, opened)
        table, turns, faults = self._open(opened, asked, ciphertexts, turns, faults)
        noised = asked.analysis.run(asked.parameters, table, opened.terms.cost)
        return self._settlement(request, opened, asked, noised, turns, faults)

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

    def _settlement(
        self,
        request: bytes,
        opened: OpenRequest,
        asked: Asked,
        noised: Noised,
        turns: list[Turn],
        faults: list[Fault],
    ) -> ComputationRow:
        context = DeliveryContext(
            self.chain.chain_id, self.chain.manifest.market, RequestId(request)
        )
        size = len(opened.cohort.members)
        answer = json.loads(noised.to_json())
        result = encode_result(RequestId(request), asked.analysis.id, asked.document, size, answer)
        salt = new_salt()
        sealed = seal_result(salt, result, opened.terms.delivery_key, context)
        settlement = Settlement(
            request=request,
            root=opened.view.root,
            epoch=opened.view.epoch,
            lane=VAULT,
            schema=SETTLEMENT_SCHEMA,
            ciphertext_root=opened.ciphertext_root,
            noise=bytes(32),
            result_hash=result_hash(salt, result),
            delivery_hash=delivery_hash(sealed),
            gate=self.keys.signer.address,
        )
        market = self.chain.domain("ResearchMarket")
        notes = {
            "turns": [turn.public for turn in turns],
            "faults": [{"place": fault.place, "code": fault.code} for fault in faults],
            "stated": Stated(noised.cost_nano_rho, noised.noise).to_json(),
        }
        return ComputationRow(
            request=request,
            settlement=canonical(settlement.to_json()).decode(),
            sealed_result=sealed,
            gate_signature=sign(settlement, market, self.keys.signer.secret),
            turns=canonical(notes).decode(),
        )


def _answer(row: ComputationRow) -> dict[str, Any]:
    notes = parse(row.turns.encode(), limit=JSON_LIMIT)
    return {
        "settlement": parse(row.settlement.encode(), limit=JSON_LIMIT),
        "sealed_result": to_base64(row.sealed_result),
        "gate_signature": to_hex(row.gate_signature),
        "turns": notes["turns"],
        "faults": notes["faults"],
        "stated": notes.get("stated"),
    }
