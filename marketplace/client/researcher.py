"""A researcher's side: quote, open with a permit, wait, open the sealed answer."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marketplace.chain.sender import Sender
from marketplace.client.marketplace import Marketplace, account_of
from marketplace.errors import Refusal
from marketplace.vocabulary import RequestId
from marketplace.wire import hpke
from marketplace.wire.delivery import DeliveryContext, Opened, open_result, result_hash
from marketplace.wire.eip712 import Domain, SigningKey, sign
from marketplace.wire.http import to_hex
from marketplace.wire.structs import VAULT
from marketplace.wire.structs import Permit as TokenPermit
from marketplace.wire.terms import Purpose, RequestTerms, class_id

SEAL_WITHIN = 1_200
"""Seconds after the notice window within which the operator must seal."""
ENDED = ("settled", "refused", "cancelled", "reclaimed", "defaulted")


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
        """Price, privacy cost and expected error, before anything is paid."""
        asked: dict[str, Any] = {
            "dataset": to_hex(dataset),
            "classes": list(classes),
            "analysis": analysis,
            "parameters": dict(parameters),
        }
        asked |= {"cost": cost} if cost is not None else {"target_error": target_error}
        return self.market.api.post("/api/v1/quotes", asked)

    def terms(
        self, dataset: bytes, classes: Sequence[int], quote: Mapping[str, Any], purpose: Purpose
    ) -> RequestTerms:
        """Terms that take a quote as it is. Deadlines count from the chain's own time."""
        policy = self.market.chain.policy()
        seal = self.market.chain.nudge().timestamp + policy.notice_window + SEAL_WITHIN
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

    def submit(self, terms: RequestTerms, parameters: Mapping[str, Any]) -> str:
        """Hands terms and parameters to the operator, who checks them before anything is paid."""
        body = {"terms": terms.to_json(), "parameters": dict(parameters)}
        domain = self.market.manifest.api_domain
        path = "/api/v1/requests"
        answer = self.market.api.post_signed(path, body, domain, self.key, self.researcher)
        return str(answer["request"])

    def open(self, terms: RequestTerms) -> str:
        """Opens and pays on chain, from the researcher's own account, with a permit.

        Returns the request's id. Raises ContractRefusal as the market refuses; nothing is paid then.
        """
        chain = self.market.chain
        classes = [
            chain.class_terms(class_id(terms.dataset, index)).abi_tuple() for index in terms.classes
        ]
        sender = Sender(chain, self.key)
        sender.send(
            "ResearchMarket", "openWithPermit", terms.abi_tuple(), classes, self._permit(terms)
        )
        return to_hex(terms.request_id(chain.chain_id, chain.market, self.researcher))

    def _permit(self, terms: RequestTerms) -> tuple[int, int, int, bytes, bytes]:
        chain = self.market.chain
        nonce = chain.call("TestEuro", "nonces", self.researcher)
        until = int(time.time()) + 86_400
        permit = TokenPermit(self.researcher, chain.market, terms.escrow, nonce, until)
        domain = Domain("Usufruct Test Euro", "1", chain.chain_id, chain.manifest.token)
        signature = sign(permit, domain, self.key)
        return terms.escrow, until, signature[64], signature[:32], signature[32:64]

    def wait(
        self, request: str, timeout: float = 600.0, seen: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """Follows a request until it ends; `seen` is called with each new stage.

        Raises:
            Refusal: `still_running` after `timeout` seconds.
        """
        until, last = time.monotonic() + timeout, ""
        while time.monotonic() < until:
            found = self.market.api.get(f"/api/v1/requests/{request}")
            if found["stage"] != last:
                last = found["stage"]
                if seen is not None:
                    seen(last)
            if last in ENDED:
                return found
            time.sleep(0.2)
        raise Refusal(
            code="still_running",
            message=f"The request is {last} after {timeout:.0f} seconds.",
            remedy="Wait longer; nothing is lost. After its deadlines it can be reclaimed or defaulted.",
        )

    def cancel(self, request: str) -> None:
        """Cancels before the freeze; everything comes back as credit."""
        Sender(self.market.chain, self.key).send(
            "ResearchMarket", "cancel", bytes.fromhex(request[2:])
        )

    def answer(self, request: str) -> Answer:
        """The opened result of a settled request, proved against the hash on chain.

        Raises:
            Refusal: `not_settled`, `result_mismatch`; EnvelopeUnreadable for another key.
        """
        receipt = self.market.api.get(f"/api/v1/requests/{request}/receipt")
        opened = open_answer(receipt, self.delivery)
        view = self.market.chain.request(bytes.fromhex(request[2:]))
        if result_hash(opened.salt, opened.result) != view.result_hash:
            raise Refusal(
                code="result_mismatch",
                message="The delivered result is not the one that custodians signed.",
                remedy="Do not use it; keep the receipt and ask the operator and the custodians.",
            )
        return Answer(request, dict(opened.document), receipt)


def open_answer(receipt: Mapping[str, Any], delivery: hpke.SecretKey) -> Opened:
    """Opens the sealed result in a receipt with the researcher's key."""

    context = DeliveryContext(
        receipt["chain_id"],
        receipt["contracts"]["ResearchMarket"]["address"],
        RequestId(bytes.fromhex(receipt["request"][2:])),
    )
    return open_result(base64.b64decode(receipt["sealed_result"]), delivery, context)
