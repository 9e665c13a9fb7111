"""How the story asks: a quote, a paid request, its answer held against what the story knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from marketplace.demo.setting import MEAN, TALLIED_MEAN, Person, mean_of, purpose
from marketplace.demo.telling import Telling
from marketplace.vocabulary import Lane
from marketplace.wire.amounts import Token
from marketplace.wire.canonical import canonical

BUNDLE: Final = ".jsonl"
"""Of the file beside a receipt of the homomorphic lane."""


@dataclass
class Asking(Telling):
    """A researcher's part of the story."""

    people: list[Person] = field(default_factory=list)
    dataset: bytes = b""

    def request_mean(
        self, name: str, members: list[Person], lane: Lane = Lane.VAULT, **asked: Any
    ) -> dict[str, Any]:
        """A mean of systolic blood pressure, from quote to opened answer."""
        before = self.balances()
        parameters = MEAN if lane is Lane.VAULT else TALLIED_MEAN
        question = (self.dataset, [1], "mean.v1", parameters, purpose())
        offer = self.ask.offer(*question, lane=lane, **asked)
        quote = offer.quote
        self.tell_quote(name, quote)
        answer = self.ask.buy(offer, at_most=offer.escrow, on_stage=self.note)
        (cell,), request, size = answer.cells, answer.request, answer.cohort_size
        truth = mean_of(members, lane)
        self.expect(size == len(members), f"{name}: {size} members, not {len(members)}")
        sealed = self.market.chain.sealed_cohort(bytes.fromhex(request[2:]))
        used = {member.patient for member in sealed.members}
        self.expect(
            used == {person.address for person in members}, f"{name}: other patients were used"
        )
        receipt = self.local.folder / "receipts" / f"{request}.json"
        receipt.parent.mkdir(exist_ok=True)
        receipt.write_bytes(canonical(answer.receipt))
        if lane is Lane.HOMOMORPHIC:
            with receipt.with_suffix(BUNDLE).open("wb") as bundle:
                self.ask.bundle(request, bundle)
        return self.tell(
            name,
            "settled",
            request=request,
            cohort_size=size,
            blocks=answer.receipt["blocks"],
            cost_nano_rho=quote["cost_nano_rho"],
            quoted_half_width=quote["expected_error"]["half_width"],
            result=str(cell.estimate),
            interval=[str(cell.lower), str(cell.upper)],
            truth=truth,
            balances_before=before,
            balances_after=self.balances(),
            receipt=str(receipt),
        )

    def tell_quote(self, name: str, quote: Mapping[str, Any]) -> None:
        """What a researcher sees before paying anything."""
        error, odds, token = quote["expected_error"], quote["odds"], Token.told(quote)
        self.tell(
            f"quote for {name}",
            "quoted",
            price_per_member=quote["price_per_member"],
            price=f"{token.amount(quote['price_per_member'])} a patient",
            escrow=quote["escrow"],
            held=f"at most {token.amount(quote['escrow'])}",
            cost_nano_rho=quote["cost_nano_rho"],
            expected_error=f"+-{error['half_width']} {error['unit']} (95% half-width; {error['holds']})",
            odds=f"{odds['right_at_most']} in 100",
        )
        self.note(odds["in_words"])


def about_gap(result: str, truth: str) -> str:
    """What the difference between an answer and the truth is: what a visitor may take for a mistake."""
    gap = abs(Decimal(result) - Decimal(truth))
    return (
        f"The gap of {gap:.3f} between result and truth is the noise that protects patients: "
        "with it, nobody can be sure of any one record, as the odds above say."
    )
