"""Is there time left? Asked before a request is paid, and again before its freeze.

A freeze that no seal follows costs its operator part of the bond, and the researcher takes it. Who asks
chooses the seal deadline, the classes and the price that the bond is made of, so nothing is frozen unless
tidying and sealing fit, by figures that err towards too slow, into what is left.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from marketplace import consent
from marketplace.chain.adapter import Chain
from marketplace.errors import Refusal
from marketplace.wire.terms import RequestTerms

SEAL_SECONDS: Final = 150
"""For a freeze, one tidying and one seal, each awaited, with blocks of 12 seconds: two blocks each, and one
of the three passed by until its fee is raised (three blocks, a look every 15 seconds), make 135."""
PAY_SECONDS: Final = 60
"""More than that before payment: to open the request, and for the operator to see it."""
SLOWEST_BLOCK: Final = 12
"""Seconds; Ethereum's. An idle embedded chain looks slower and is not: it mines when asked to."""
PACE_BLOCKS: Final = 32
"""Over which the time between two blocks is averaged."""
BLOCKS_A_SEAL: Final = 2
"""Of each further seal, awaited before the next is sent. Tidying is not, but may fill a block each."""

FIELD: Final = "terms.sealDeadline"


class NeverOpened(Refusal):
    """A request that was handed in and not paid for in time."""

    CODE = "never_opened"


class SealDeadlineTooNear(Refusal):
    """A request that could be frozen, and not safely sealed before its deadline."""

    CODE = "seal_deadline_too_near"


class TooMuchToTidy(Refusal):
    """A request whose cohort takes longer to tidy and seal than any freeze lasts here."""

    CODE = "too_much_to_tidy"


@dataclass(frozen=True)
class Deadlines:
    """Holds a request's seal deadline against the clock and the work that is left."""

    chain: Chain

    def require_not_over(self, terms: RequestTerms) -> None:
        """Raises `NeverOpened` once the market can no longer open the request."""
        if self.chain.now() > terms.seal_deadline:
            raise NeverOpened(
                message=f"It was not opened before its seal deadline, {terms.seal_deadline}.",
                remedy="Nothing was paid. Ask again, with deadlines that lie ahead.",
                field=FIELD,
            )

    def require_left(self, terms: RequestTerms) -> None:
        """Raises `SealDeadlineTooNear` unless the least that any request needs is left; reads no words."""
        self._require(terms, min(self.chain.policy().freeze_window, SEAL_SECONDS), 0)

    def require_payable(self, terms: RequestTerms) -> None:
        """Paid within `PAY_SECONDS`, it could be sealed after its notice window; as `require_sealable`."""
        self.require_sealable(terms, self.chain.policy().notice_window + PAY_SECONDS)

    def require_sealable(self, terms: RequestTerms, ahead: int = 0) -> None:
        """Frozen in `ahead` seconds, the request could be tidied and sealed in time.

        Raises:
            TooMuchToTidy: not within any freeze. SealDeadlineTooNear: not before its deadline.
        """
        window = self.chain.policy().freeze_window
        until = min(terms.seal_deadline, self._now() + ahead + window + SEAL_SECONDS)
        more = self._further_seconds(consent.work_ahead(self.chain, terms, until))
        if more + min(SEAL_SECONDS, window // 2) > window:
            raise TooMuchToTidy(
                message=f"Tidying and sealing this cohort takes up to {more + SEAL_SECONDS} seconds; "
                f"a freeze lasts {window} here.",
                remedy="Name fewer classes, or ask for less privacy cost, which more consents can afford.",
                field="terms.classes",
                facts={"needed": more + SEAL_SECONDS, "freeze_window": window},
            )
        self._require(terms, min(window, SEAL_SECONDS + more), ahead)

    def _require(self, terms: RequestTerms, needed: int, ahead: int) -> None:
        left = terms.seal_deadline - self._now()
        if left < needed + ahead:
            paid = (
                "" if ahead else " What was paid for this one comes back whole (`usufruct cancel`)."
            )
            raise SealDeadlineTooNear(
                message=f"The seal deadline is {max(0, left)} seconds away. Freezing and sealing may take "
                f"{needed}" + (f", after {ahead} for payment and notice." if ahead else "."),
                remedy=f"Set a seal deadline at least {needed + ahead} seconds ahead.{paid}",
                field=FIELD,
                facts={"left": left, "needed": needed + ahead},
            )

    def _now(self) -> int:
        """Seconds. The head may be as old as the operator allows; the clock on the wall goes on."""
        return max(self.chain.now(), int(time.time()))

    def _further_seconds(self, work: consent.Work) -> int:
        """What the work takes beyond one tidying and one seal."""
        blocks = max(0, work.tidying - 1) + BLOCKS_A_SEAL * max(0, work.sealing - 1)
        return blocks * self._pace() if blocks else 0

    def _pace(self) -> int:
        """Seconds a block, rounded up: as of late, and never above `SLOWEST_BLOCK`."""
        head = self.chain.head()
        back = min(PACE_BLOCKS, head.number)
        if back == 0:
            return SLOWEST_BLOCK
        passed = head.timestamp - self.chain.node.header(head.number - back).timestamp
        return max(1, min(SLOWEST_BLOCK, -(-passed // back)))
