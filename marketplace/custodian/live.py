"""Requests of the homomorphic lane that this custodian committed noise to, as they stand now."""

from __future__ import annotations

from dataclasses import dataclass

from marketplace.chain.adapter import Chain, NotYetFinal, RequestView
from marketplace.chain.counted import CommittedNoise, committed_noise
from marketplace.custodian.checks import Rules, TurnRefused, still_sealed
from marketplace.custodian.models import NoisedRow
from marketplace.custodian.noises import Noises
from marketplace.custodian.tallies import Tallies
from marketplace.custodian.turns import Equivocation
from marketplace.questions import Asked, asked
from marketplace.vocabulary import Lane
from marketplace.wire.tallying import Question


@dataclass(frozen=True)
class Live:
    """A sealed request that noise was committed to here, as it stands now."""

    row: NoisedRow
    view: RequestView
    asked: Asked

    @property
    def question(self) -> Question:
        """What was asked, as everybody knows it."""
        return self.asked.question


class LiveRequests:
    """Looks requests up, in the journal and on chain."""

    def __init__(self, chain: Chain, noises: Noises, rules: Rules, tallies: Tallies) -> None:
        self._chain = chain
        self._noises = noises
        self._rules = rules
        self._tallies = tallies

    def find(self, request: bytes) -> Live:
        """A request that noise was committed to, if it may still be answered.

        Raises:
            TurnRefused (not_committed, request_ended, and what `still_sealed` raises); Equivocation: another
            root or epoch.
        """
        row = self._noises.of(request)
        if row is not None and row.ended:
            raise TurnRefused(
                code="request_ended",
                message="This custodian has forgotten the noise of this request, since it ended.",
                remedy="Ask the others; if the request has not ended, look at this custodian's node.",
            )
        if row is None:
            raise TurnRefused(
                code="not_committed",
                message="This custodian has not committed to noise for this request.",
                remedy="Ask for its commitment first.",
            )
        seal = row.seal_block, row.seal_block_hash
        view = still_sealed(self._chain, request, self._rules, seal, Lane.HOMOMORPHIC)
        if (row.root, row.epoch) != (view.root, view.epoch):
            raise Equivocation(
                message="Noise was drawn for another root or epoch of this request.",
                remedy="It is drawn once a request; look for a reorganisation or a lying node.",
            )
        return Live(row, view, self.asked(view, request, row.parameters))

    def asked(self, view: RequestView, request: bytes, parameters: bytes) -> Asked:
        """What was asked, by this custodian's own dictionary; see `questions.asked`, which raises.

        Raises:
            TallyRefused: dictionary_missing.
        """
        dictionary = self._tallies.dictionary(self._chain.dictionary_of(view.dataset))
        return asked(self._chain, dictionary, view, request, parameters)

    def committed(self, live: Live) -> CommittedNoise:
        """Everybody's commitments, in a final block. Raises NotYetFinal."""
        found = committed_noise(self._chain, live.row.request, live.row.seal_block)
        if found is None or found.block > self._chain.finalized():
            raise NotYetFinal(
                message="The custodians' noise commitments are not in a final block yet.",
                remedy="Bring them on chain, wait until that is final, then ask again.",
            )
        return found
