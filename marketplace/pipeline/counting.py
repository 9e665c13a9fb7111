"""Counting a request's cohort: freeze, tidy and seal, or the end of a freeze that comes to nothing."""

from __future__ import annotations

from dataclasses import dataclass

from marketplace import consent, settlement
from marketplace.chain.adapter import Chain, ContractRefusal, RequestView
from marketplace.chain.sender import Sender
from marketplace.peers import Peer
from marketplace.pipeline.deadlines import Deadlines
from marketplace.upkeep import Upkeep
from marketplace.wire.terms import RequestTerms


@dataclass(frozen=True)
class Counting:
    """What sends the transactions that fix a cohort."""

    chain: Chain
    sender: Sender
    custodians: tuple[Peer, ...]
    upkeep: Upkeep
    deadlines: Deadlines

    def freeze(self, researcher: str, terms: RequestTerms) -> None:
        """Once nothing is seen that would keep the cohort from being sealed, or its answer from coming.

        Raises:
            SealDeadlineTooNear, TooMuchToTidy, QuorumMissing; ContractRefusal as the market refuses.
        """
        in_time = self.chain.now() <= terms.seal_deadline  # later, the market's own refusal ends it
        if in_time:
            self.deadlines.require_left(terms)
            settlement.require_serving(self.chain, self.custodians)
        self.upkeep.tend(terms.dataset)
        if in_time:  # again: custodians and wakes may have taken a while
            self.deadlines.require_sealable(terms)
        consent.freeze(self.chain, self.sender, researcher, terms)

    def seal(self, request: bytes, view: RequestView) -> None:
        """Tidies and seals. A cohort that fell under the minimum is dissolved; a lapsed freeze reclaimed."""
        if self.chain.now() > view.frozen_until:
            self._end_freeze("reclaim", request, view)
            return
        consent.tidy(self.chain, self.sender, request, view)
        try:
            consent.seal(self.chain, self.sender, request, view)
        except ContractRefusal as refusal:
            if refusal.code != "cohort_too_small":
                raise
            self._end_freeze("dissolve", request, view)

    def _end_freeze(self, function: str, request: bytes, view: RequestView) -> None:
        self.sender.send("ResearchMarket", function, request)
        self.upkeep.tend(view.dataset)
