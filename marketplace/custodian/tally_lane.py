"""What a custodian answers in the homomorphic lane: one message at a time for a request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.custodian.checks import Rules, require_seated, turnable
from marketplace.custodian.counting import Counting
from marketplace.custodian.decrypting import Decrypting
from marketplace.custodian.finality import FinalityWatch
from marketplace.custodian.refusals import Refusals
from marketplace.custodian.signing import Signing
from marketplace.vocabulary import Lane
from marketplace.wire.feldman import MOST_CUSTODIANS
from marketplace.wire.http import to_hex
from marketplace.wire.outcomes import Act, Outcomes
from marketplace.wire.structs import Settlement
from marketplace.wire.tallying import Reveal, SumsWord

LOCKS = 64
"""As for turns: a fixed number, so that strangers' ids cost no memory."""


class TallyLane:
    """Routes' way into `Noising` and `Decrypting`. Safe for threads."""

    def __init__(
        self,
        chain: Chain,
        rules: Rules,
        finality: FinalityWatch,
        decrypting: Decrypting,
        signing: Signing,
        require_current: Callable[[], None],
        refusals: Refusals,
    ) -> None:
        self._chain = chain
        self._rules = rules
        self._finality = finality
        self._decrypting = decrypting
        self._signing = signing
        self._require_current = require_current
        self._refusals = refusals
        self._working = [threading.Lock() for _ in range(LOCKS)]
        self._outcomes = Outcomes("marketplace.custodian")

    def commit(self, request: bytes, parameters: bytes) -> dict[str, Any]:
        """See `Noising.commit`."""
        noising = self._decrypting.noising
        return self._answer(
            "noise", request, lambda act: noising.commit(request, parameters, act), parameters
        )

    def reveal(self, request: bytes, size: int, place: int | None) -> dict[str, Any]:
        """See `Noising.reveal`."""
        noising = self._decrypting.noising
        asked = bytes([size, MOST_CUSTODIANS if place is None else place])
        return self._answer(
            "reveal", request, lambda _: noising.reveal(request, size, place), asked
        )

    def hold(self, request: bytes, place: int, reveal: Reveal, word: SumsWord) -> dict[str, Any]:
        """See `Noising.hold`."""
        noising, given = self._decrypting.noising, (request, place, reveal, word)
        brought = reveal.contribution
        asked = (
            bytes([place, reveal.size]),
            brought.columns,
            brought.proof,
            b"".join(reveal.digests),
            word.digest,
            word.signature,
        )
        return self._answer("hold", request, lambda act: noising.hold(*given, act), *asked)

    def agree(self, request: bytes, places: Sequence[int]) -> dict[str, Any]:
        """See `Noising.agree`."""
        noising = self._decrypting.noising
        return self._answer(
            "agreement", request, lambda _: noising.agree(request, places), bytes(places)
        )

    def lacking(self, request: bytes) -> dict[str, Any]:
        """See `Counting.lacking`."""
        counting = self._decrypting.counting
        return self._answer("lacking", request, lambda _: _named(counting, request))

    def head(self, request: bytes) -> dict[str, Any]:
        """See `Decrypting.head`."""
        return self._answer("head", request, lambda _: self._decrypting.head(request))

    def partial(self, request: bytes) -> dict[str, Any]:
        """See `Decrypting.partial`."""
        return self._answer("turn", request, lambda act: self._decrypting.partial(request, act))

    def settle(
        self, settlement: Settlement, sealed_result: bytes, partials: Mapping[int, bytes]
    ) -> dict[str, Any]:
        """See `Signing.settle`."""
        given = (settlement, sealed_result, partials)
        request = settlement.request
        market = self._chain.domain("ResearchMarket")
        brought = (bytes([place]) + partials[place] for place in sorted(partials))
        asked = (settlement.digest(market), sealed_result, *brought)
        return self._answer(
            "signature", request, lambda act: self._signing.settle(*given, act), *asked
        )

    def _answer(
        self, what: str, request: bytes, do: Callable[[Act], dict[str, Any]], *asked: bytes
    ) -> dict[str, Any]:
        """A few calls to the node and no lock for what cannot be answered, or was not a moment ago; then one
        at a time.

        Args:
            asked: all else that the answer depends on.
        """
        with self._outcomes.of(what, request) as act:
            self._finality.require_resolved()
            view = turnable(self._chain, request, self._rules, Lane.HOMOMORPHIC)
            require_seated(self._chain, view, self._rules)
            with (
                self._refusals.remembered(what.encode(), request, *asked),
                self._working[request[-1] % LOCKS],
            ):
                self._require_current()
                return do(act)


def _named(counting: Counting, request: bytes) -> dict[str, Any]:
    lacking = counting.lacking(counting.requests.find(request))
    return {"commitments": [to_hex(each) for each in lacking]}
