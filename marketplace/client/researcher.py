"""A researcher's side: quote, open with a permit, wait, open the sealed answer."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marketplace.chain.adapter import ContractRefusal
from marketplace.chain.sender import Sender
from marketplace.client.defaults import Defaulted, default
from marketplace.client.marketplace import Marketplace
from marketplace.client.messages import account_of
from marketplace.client.payment import Told, open_request, require_gas
from marketplace.client.quotes import held_quote
from marketplace.client.results import noised_of, open_answer, require_answer
from marketplace.client.waiting import ENDED, PATIENCE, Seen, wait
from marketplace.errors import Refusal
from marketplace.rehearsal import require_openable
from marketplace.wire import hpke
from marketplace.wire.auth import Voice
from marketplace.wire.eip712 import SigningKey
from marketplace.wire.http import to_hex
from marketplace.wire.structs import VAULT
from marketplace.wire.terms import Purpose, RequestTerms, class_id

__all__ = ["ENDED", "Answer", "Ask"]

Keep = Callable[[Mapping[str, Any]], None]

SEAL_WITHIN = 1_200
"""Seconds after the notice window within which the operator must seal; twice a freeze, if that is longer."""


@dataclass(frozen=True)
class Answer:
    """A settled request: the opened result and the receipt it came with."""

    request: str
    result: dict[str, Any]
    receipt: dict[str, Any]


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

    def quote(
        self,
        dataset: bytes,
        classes: Sequence[int],
        analysis: str,
        parameters: Mapping[str, Any],
        *,
        cost: int | None = None,
        target_error: str | None = None,
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
        }
        asked |= {"cost": cost} if cost is not None else {"target_error": target_error}
        return held_quote(self.market.api, self.market.chain, self.market.variables, asked)

    def terms(
        self, dataset: bytes, classes: Sequence[int], quote: Mapping[str, Any], purpose: Purpose
    ) -> RequestTerms:
        """Terms that take a quote as it is. Deadlines count from the chain's own time.

        Raises:
            Refusal: `malformed_message`, for a purpose that names too many diseases.
        """
        purpose.require_short()
        policy = self.market.chain.policy()
        within = max(SEAL_WITHIN, 2 * policy.freeze_window)
        seal = self.market.chain.nudge().timestamp + policy.notice_window + within
        return RequestTerms(
            dataset=dataset,
            classes=tuple(classes),
            lane=VAULT,
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
            delivery_key=self.delivery.public,
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

    def answer(self, request: str, keep: Keep | None = None) -> Answer:
        """The opened result of a settled request, proved against hash, question and cohort on chain.

        `keep` is given the receipt before anything is held against it: what fails is evidence.

        Raises:
            Refusal: `not_settled`, `result_mismatch`, `another_receipt`, `another_answer`,
                `malformed_answer`; ReceiptInvalid; EnvelopeUnreadable for another key.
        """
        receipt = self.market.api.get(f"/api/v1/requests/{request}/receipt")
        if keep is not None:
            keep(receipt)
        identity = bytes.fromhex(request[2:])
        opened = open_answer(receipt, self.delivery, identity)
        require_answer(self.market.chain, identity, opened)
        noised_of(opened.document)
        return Answer(request, dict(opened.document), receipt)
