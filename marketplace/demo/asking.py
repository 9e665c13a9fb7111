"""How the story asks: a quote, a paid request, its answer held against what the story knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from marketplace.demo.setting import MEAN, Person, mean_of, purpose
from marketplace.demo.telling import Telling
from marketplace.local import EUR
from marketplace.wire.canonical import canonical


@dataclass
class Asking(Telling):
    """A researcher's part of the story."""

    people: list[Person] = field(default_factory=list)
    dataset: bytes = b""

    def request_mean(self, name: str, members: list[Person], **asked: Any) -> dict[str, Any]:
        """A mean of systolic blood pressure, from quote to opened answer."""
        before = self.balances()
        quote = self.ask.quote(self.dataset, [1], "mean.v1", MEAN, **asked)
        self.tell_quote(name, quote)
        terms = self.ask.terms(self.dataset, [1], quote, purpose())
        request = self.ask.submit(terms, MEAN)
        self.expect(self.ask.open(terms) == request, "the request's id is not its terms' hash")
        ended = self.ask.wait(request, seen=self.note)
        self.expect(ended["stage"] == "settled", f"{name}: {ended['stage']} {ended['reason']}")
        answer = self.ask.answer(request)
        noised = answer.result["noised"]
        estimate = noised["estimates"][0]
        truth = mean_of(members)
        interval = [estimate["low"], estimate["high"]]
        size = answer.result["cohort_size"]
        self.expect(size == len(members), f"{name}: {size} members, not {len(members)}")
        sealed = self.market.chain.sealed_cohort(bytes.fromhex(request[2:]))
        used = {member.patient for member in sealed.members}
        self.expect(
            used == {person.address for person in members}, f"{name}: other patients were used"
        )
        receipt = self.local.folder / "receipts" / f"{request}.json"
        receipt.parent.mkdir(exist_ok=True)
        receipt.write_bytes(canonical(answer.receipt))
        return self.tell(
            name,
            "settled",
            request=request,
            cohort_size=size,
            blocks=answer.receipt["blocks"],
            cost_nano_rho=quote["cost_nano_rho"],
            quoted_half_width=quote["expected_error"]["half_width"],
            result=estimate["value"],
            interval=interval,
            truth=truth,
            balances_before=before,
            balances_after=self.balances(),
            receipt=str(receipt),
        )

    def tell_quote(self, name: str, quote: Mapping[str, Any]) -> None:
        """What a researcher sees before paying anything."""
        error, odds = quote["expected_error"], quote["odds"]
        self.tell(
            f"quote for {name}",
            "quoted",
            price_per_member=quote["price_per_member"],
            price=f"{euros(quote['price_per_member'])} a patient",
            escrow=quote["escrow"],
            held=f"at most {euros(quote['escrow'])}",
            cost_nano_rho=quote["cost_nano_rho"],
            expected_error=f"+-{error['half_width']} {error['unit']} ({error['holds']})",
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


def euros(units: str | int) -> str:
    """Units of the test euro as an amount."""
    return f"{Decimal(units) / EUR:.2f} EUR"
