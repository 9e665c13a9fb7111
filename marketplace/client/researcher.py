"""A researcher's side: quote, open with a permit, wait, open the sealed answer.

ask = Marketplace(url, node_url).researcher(key, delivery_key)
asked = (dataset, [1], "mean.v1", {"variable": "systolic"}, purpose)
answer = ask.run(*asked, cost=30_000_000, at_most=200_000_000)
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from marketplace.chain.adapter import ContractRefusal
from marketplace.chain.sender import Sender
from marketplace.client.answers import Answer
from marketplace.client.defaults import Defaulted, default
from marketplace.client.ended import require_settled
from marketplace.client.logarithms import Logarithms
from marketplace.client.messages import account_of
from marketplace.client.offers import Offer, Question
from marketplace.client.payment import Told, open_request, require_gas
from marketplace.client.quotes import held_quote
from marketplace.client.results import noised_of, open_proved, prove_on_chain
from marketplace.client.tallied import OpenedTally
from marketplace.client.waiting import ENDED, PATIENCE, Seen, wait
from marketplace.errors import Refusal
from marketplace.posed import lane_of
from marketplace.rehearsal import require_openable
from marketplace.vocabulary import Lane
from marketplace.wire import hpke
from marketplace.wire.auth import Voice
from marketplace.wire.eip712 import SigningKey
from marketplace.wire.http import to_hex
from marketplace.wire.tally_delivery import delivery_key
from marketplace.wire.terms import Purpose, RequestTerms, class_id
from marketplace.words import quote_words

if TYPE_CHECKING:
    from marketplace.client.marketplace import Marketplace

__all__ = ["ENDED", "Answer", "Ask"]

Keep = Callable[[Mapping[str, Any]], None]

PAID: Final = "paid: its escrow is held by the market"

SEAL_WITHIN = 1_200
"""Seconds after the notice window within which the operator must seal; twice a freeze, if that is longer."""


@dataclass(frozen=True)
class Ask:
    """One researcher asking one market. `delivery` is the key that answers are sealed to."""

    market: Marketplace
    key: SigningKey
    delivery: hpke.SecretKey

    @property
    def researcher(self) -> str:
        """The researcher's account."""
        return account_of(self.key)

    # --- the whole sequence

    def run(
        self,
        dataset: bytes,
        classes: Sequence[int],
        analysis: str,
        parameters: Mapping[str, Any],
        purpose: Purpose,
        *,
        cost: int | None = None,
        target_error: str | None = None,
        lane: Lane = Lane.VAULT,
        at_most: int,
        on_stage: Seen | None = None,
        patience: float = PATIENCE,
    ) -> Answer:
        """Quotes, pays, waits, and returns the opened answer, proved against the chain.

        Args:
            cost: nano-rho of every counted patient's lifetime budget; or else
            target_error: half-width of the 95% interval, in the unit that quotes name.
            lane: in which nobody opens a record (homomorphic), or one gate does, in memory (vault).
            at_most: token units; a larger escrow is refused before anything is handed in.
            on_stage: hears what happens meanwhile.
            patience: seconds to wait for the answer.

        Raises:
            BadParameter: naming the field. Refusal: `quote_differs`, `escrow_above_limit`,
                `cost_above_class`, `purpose_not_permitted`, ...: nothing was paid then. Afterwards as `buy`.
        """
        asked = (dataset, classes, analysis, parameters, purpose)
        offer = self.offer(*asked, cost=cost, target_error=target_error, lane=lane)
        return self.buy(offer, at_most=at_most, on_stage=on_stage, patience=patience)

    def offer(
        self,
        dataset: bytes,
        classes: Sequence[int],
        analysis: str,
        parameters: Mapping[str, Any],
        purpose: Purpose,
        *,
        cost: int | None = None,
        target_error: str | None = None,
        lane: Lane = Lane.VAULT,
    ) -> Offer:
        """What it would cost and bring, and whether the market would take it from this researcher.

        The very call that opens a request is rehearsed at the caller's own node, where the figures pass.
        Nothing is handed in, made or paid. Raises as `quote` and `unopenable`.
        """
        asked = (dataset, classes, analysis, parameters)
        quote = self.quote(*asked, cost=cost, target_error=target_error, lane=lane)
        refusal = None
        if quote["refusal"] is None:
            refusal = self.unopenable(self.terms(dataset, classes, quote, purpose))
        if refusal is not None:
            quote |= {"refusal": refusal.reason()}
            quote |= {"in_words": quote_words(quote)}
        question = Question(dataset, tuple(classes), analysis, dict(parameters), purpose, lane)
        return Offer(question, quote)

    def buy(
        self,
        offer: Offer,
        *,
        at_most: int,
        on_stage: Seen | None = None,
        on_request: Seen | None = None,
        keep: Keep | None = None,
        patience: float = PATIENCE,
    ) -> Answer:
        """Hands the question in, opens and pays, waits, and returns the opened answer.

        Args:
            at_most: token units; a larger escrow is refused before anything is handed in.
            on_stage: hears what happens, in words.
            on_request: hears the request's id before it is paid: with it and the delivery key the answer
                can be had whenever this ends (`answer`).
            keep: as of `answer`.
            patience: seconds to wait for the answer.

        Raises:
            Refusal: `escrow_above_limit`, `insufficient_funds`, `another_request`: nothing was paid.
                `still_running` after `patience`; `not_settled` or why it ended; as `answer`.
        """
        offer.require_buyable()
        offer.require_within(at_most)
        self.require_gas()
        asked = offer.question
        terms = self.terms(asked.dataset, asked.classes, offer.quote, asked.purpose)
        request = self.submit(terms, asked.parameters)
        tell = on_stage or _unheard
        tell(f"submitted {request}")
        (on_request or _unheard)(request)
        self.open(terms, told=tell)
        tell(PAID)
        require_settled(self.wait(request, patience, seen=tell), request)
        return self.answer(request, keep, told=tell)

    # --- its steps

    def quote(
        self,
        dataset: bytes,
        classes: Sequence[int],
        analysis: str,
        parameters: Mapping[str, Any],
        *,
        cost: int | None = None,
        target_error: str | None = None,
        lane: Lane = Lane.VAULT,
    ) -> dict[str, Any]:
        """Price, privacy cost and expected error, before anything is paid. The operator names the fee alone.

        Raises:
            BadParameter: naming the field. Refusal: `quote_differs`; see `quotes.held_quote`.
        """
        asked: dict[str, Any] = {
            "dataset": to_hex(dataset),
            "classes": list(classes),
            "analysis": analysis,
            "parameters": dict(parameters),
            "lane": int(lane_of({"lane": lane})),
        }
        asked |= {"cost": cost} if cost is not None else {"target_error": target_error}
        return held_quote(
            self.market.api, self.market.chain, self.market.dictionary_on_chain, asked
        )

    def terms(
        self, dataset: bytes, classes: Sequence[int], quote: Mapping[str, Any], purpose: Purpose
    ) -> RequestTerms:
        """Terms that take a quote as it is, in its lane. Deadlines count from the chain's own time.

        Raises:
            Refusal: `malformed_message`, for a purpose that names too many diseases.
        """
        purpose.require_short()
        lane = lane_of(quote)
        policy = self.market.chain.policy()
        within = max(SEAL_WITHIN, 2 * policy.freeze_window)
        seal = self.market.chain.nudge().timestamp + policy.notice_window + within
        return RequestTerms(
            dataset=dataset,
            classes=tuple(classes),
            lane=int(lane),
            release_kind=quote["release_kind"],
            analysis=bytes.fromhex(quote["analysis_hash"][2:]),
            parameters=bytes.fromhex(quote["parameters_hash"][2:]),
            purpose=purpose,
            cost=quote["cost_nano_rho"],
            price=quote["price_per_member"],
            fee=quote["fee"],
            max_patients=quote["max_patients"],
            seal_deadline=seal,
            settle_deadline=seal + policy.turn_window,
            delivery_key=delivery_key(self.delivery, lane),
            salt=secrets.token_bytes(32),
        )

    def unopenable(self, terms: RequestTerms) -> ContractRefusal | None:
        """What the market refuses these terms from this researcher for; None if it would take them.

        Asked at the caller's own node, before anything is handed in or paid: purpose, credential, price.

        Raises:
            Refusal: `unknown_class`, `terms_invalid`; NodeUnreachable, NodeFault, StaleHead, ...
        """
        try:
            require_openable(self.market.chain, self.researcher, terms)
        except ContractRefusal as refusal:
            return refusal
        return None

    def submit(self, terms: RequestTerms, parameters: Mapping[str, Any]) -> str:
        """Hands terms and parameters to the operator, who checks them before anything is paid.

        Returns the request's id, which is the terms' hash. Raises Refusal (`another_request`) where the
        operator took them for another: nothing is paid then.
        """
        body = {"terms": terms.to_json(), "parameters": dict(parameters)}
        voice = Voice(self.key, self.researcher, self.market.manifest.api_domain)
        answer = self.market.api.post_signed("/api/v1/requests", body, voice)
        request = self._id_of(terms)
        if answer.get("request") != request:
            raise Refusal(
                code="another_request",
                message="The operator took the request in under an id that is not the hash of its terms.",
                remedy="Pay nothing: it would answer something else. Ask another operator.",
                field="request",
            )
        return request

    def open(self, terms: RequestTerms, told: Told | None = None) -> str:
        """Opens and pays on chain, from the researcher's own account: by permit, or else by an approval.

        Returns the request's id. Raises ContractRefusal as the market refuses; nothing is paid then.
        `told` hears why an approval is needed.
        """
        chain = self.market.chain
        classes = [
            chain.class_terms(class_id(terms.dataset, index)).abi_tuple() for index in terms.classes
        ]
        open_request(chain, self.key, (terms.abi_tuple(), classes), terms.escrow, told)
        return self._id_of(terms)

    def _id_of(self, terms: RequestTerms) -> str:
        manifest = self.market.manifest
        return to_hex(terms.request_id(manifest.chain_id, manifest.market, self.researcher))

    def wait(
        self, request: str, patience: float = PATIENCE, seen: Seen | None = None
    ) -> dict[str, Any]:
        """Follows a request until it ends; see `waiting.wait`."""
        return wait(self.market.api, request, patience, seen)

    def require_gas(self) -> None:
        """Raises Refusal (`insufficient_funds`) where the account could not pay for opening a request."""
        require_gas(self.market.chain, self.researcher)

    def cancel(self, request: str) -> None:
        """Cancels before the freeze; everything comes back as credit."""
        Sender(self.market.chain, self.key).send(
            "ResearchMarket", "cancel", bytes.fromhex(request[2:])
        )

    def default(self, request: str, custodians: Sequence[str]) -> Defaulted:
        """Ends a request that was sealed and not answered in time; see `defaults.default`."""
        return default(self.market.chain, self.key, bytes.fromhex(request[2:]), custodians)

    def answer(self, request: str, keep: Keep | None = None, told: Told | None = None) -> Answer:
        """The opened result of a settled request, proved against hash, question and cohort on chain.

        `keep` is given the receipt before anything is held against it: what fails is evidence. `told` hears
        what takes long where it is sums that are opened.

        Raises:
            Refusal: `not_settled`, `result_mismatch`, `another_receipt`, `another_answer`,
                `malformed_answer`, `sum_out_of_range`; ReceiptInvalid; EnvelopeUnreadable for another key.
        """
        receipt = self.market.api.get(f"/api/v1/requests/{request}/receipt")
        if keep is not None:
            keep(receipt)
        identity = bytes.fromhex(request[2:])
        opened = open_proved(
            self.market.chain,
            receipt,
            self.delivery,
            identity,
            self.market.dictionary_on_chain,
            Logarithms(told=told or _unheard),
        )
        noised_of(opened.document)
        proves = isinstance(opened, OpenedTally)
        given = (self.market.chain, identity, opened, self.delivery)
        prove = functools.partial(prove_on_chain, *given) if proves else None
        return Answer(request, dict(opened.document), receipt, prove)

    def bundle(self, request: str, to: BinaryIO, *, proofs: bool = False) -> int:
        """Writes what the receipt of a request of the homomorphic lane is verified with; its bytes. With
        `proofs`, records are shown whole: about 40 KB each for 64 variables.

        Fetch it soon: what a patient has erased meanwhile cannot be shown, and without it there is none.

        Raises:
            Refusal: with the operator's code (not_settled, no_bundle, evidence_missing, ...).
        """
        voice = Voice(self.key, self.researcher, self.market.manifest.api_domain)
        body = {"proofs": True} if proofs else {}
        return self.market.api.download_signed(
            f"/api/v1/requests/{request}/bundle", body, voice, to
        )


def _unheard(_: str) -> None:
    """Where nobody listens."""
