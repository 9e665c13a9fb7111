"""Noise for a request of the homomorphic lane: drawn once, committed to, revealed, verified, agreed on.

What keeps anybody from choosing noise by what it sees:
- a contribution is drawn once a request, and answered twice with the same bytes;
- it is revealed only once the commitments of all are in a final block, and what others reveal is held against
  those;
- it is revealed with its maker's word on the sums, and held only if that is this custodian's, too
  (`counting`);
- nothing is decrypted before the set whose noise counts is in a final block (`decrypting`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.custodian.checks import TurnRefused, sealed_request
from marketplace.custodian.counting import Counting
from marketplace.custodian.live import Live
from marketplace.custodian.means import Means
from marketplace.custodian.models import NoisedRow
from marketplace.custodian.turns import Equivocation
from marketplace.errors import BadParameter
from marketplace.vocabulary import Lane
from marketplace.wire.http import to_hex
from marketplace.wire.outcomes import Act
from marketplace.wire.structs import NoiseCommitment, NoiseSet, sign
from marketplace.wire.tallying import Reveal, SumsWord
from ml.homomorphic.elgamal import COLUMN_BYTES
from ml.homomorphic.noise import contribute, verify_contribution
from ml.homomorphic.validity import ProofInvalid


class Noising:
    """One custodian's part in making noise. Callers see to it that one thread works on a request."""

    def __init__(self, means: Means, counting: Counting) -> None:
        self._chain = means.chain
        self._noises = means.noises
        self._keys = means.keys
        self._rules = means.rules
        self._joint_shares = means.joint_shares
        self._counting = counting
        self._requests = counting.requests

    def commit(self, request: bytes, parameters: bytes, act: Act) -> dict[str, Any]:
        """Draws this custodian's noise, once, and answers with its hash, signed for the chain.

        Raises:
            As `sealed_request` and `asked`; NoJointShare. Nothing was drawn then.
        """
        row = self._noises.of(request)
        if row is None:
            row = self._drawn(request, parameters)
            act.done("committed")
        else:
            row = self._requests.find(request).row
        struct = NoiseCommitment(request, row.root, row.epoch, self._rules.place, row.commitment)
        signature = sign(struct, self._chain.domain("NoiseRegistry"), self._keys.signer.secret)
        return {
            "place": self._rules.place,
            "commitment": to_hex(row.commitment),
            "signature": to_hex(signature),
        }

    def _drawn(self, request: bytes, parameters: bytes) -> NoisedRow:
        # First what costs next to nothing: anybody may ask, with any parameters.
        self._requests.asked(self._chain.request(request), request, parameters)
        sealed = sealed_request(self._chain, request, self._rules, Lane.HOMOMORPHIC)
        found = self._requests.asked(sealed.view, request, parameters)
        key = self._joint_shares.of(sealed.view.epoch).public_key
        question = found.question
        by = question.session.contributor(self._rules.place)
        drawn = {size: contribute(question.shares, size, key, by) for size in question.sizes}
        digests = {size: each.digest for size, each in drawn.items()}
        row = NoisedRow(
            request=request,
            root=sealed.view.root,
            epoch=sealed.view.epoch,
            seal_block=sealed.cohort.seal_block,
            seal_block_hash=sealed.cohort.seal_block_hash,
            parameters=found.parameters,
            commitment=by.commitment(digests, question.shares.quorum),
            ended=False,
        )
        listed = tuple(digests.values())
        reveals = [Reveal(size, each, listed) for size, each in drawn.items()]
        self._noises.begin(row, self._rules.place, reveals)
        return row

    def reveal(self, request: bytes, size: int, place: int | None = None) -> dict[str, Any]:
        """This custodian's contribution to a set of `size`, and its word on the sums, once all commitments
        are final on chain; or those of another place, where they have been brought here: whoever revealed
        and is silent now is not needed.

        Raises:
            NotYetFinal; TurnRefused: not_committed, not_in_set, noise_missing, records_missing. Equivocation:
            the chain has another hash at this place, or this custodian said something else before.
        """
        live = self._requests.find(request)
        committed = self._requests.committed(live).commitments
        if size not in live.question.sizes:
            sizes = live.question.sizes
            raise _not_in_set(f"A set has {sizes[0]} to {sizes[-1]} members.")
        maker = self._rules.place if place is None else place
        if maker == self._rules.place:
            self._require_mine(live, committed)
        found = self._noises.reveal(request, maker, size)
        if found is None or (maker != self._rules.place and found[1] is None):
            raise _missing([maker])
        if found[1] is None:
            word = self._counting.word(live)
        else:  # another's: held only with its word on the very same sums
            word = SumsWord(self._counting.own(live).digest, found[1])
        return {"place": maker, "reveal": found[0].to_json(), "sums": word.to_json()}

    def _require_mine(self, live: Live, committed: Mapping[int, bytes]) -> None:
        mine = committed.get(self._rules.place)
        if mine is None:
            raise _not_in_set("This custodian's noise is not among what was committed to on chain.")
        if mine != live.row.commitment:
            raise Equivocation(
                message="The chain has another noise commitment at this custodian's place.",
                remedy="Its journal may be an old copy; the others answer without it.",
            )

    def hold(
        self, request: bytes, place: int, reveal: Reveal, word: SumsWord, act: Act
    ) -> dict[str, Any]:
        """Verifies and keeps what another custodian revealed, if it added up what this one did.

        Raises:
            NotYetFinal; TurnRefused: not_committed, not_in_set, records_missing; sums_differ, word_invalid,
            noise_invalid naming the place.
        """
        live = self._requests.find(request)
        committed = self._requests.committed(live).commitments.get(place)
        if committed is None:
            raise _not_in_set(f"The custodian at place {place} has not committed to noise.")
        fixed, _ = self._chain.noise_set(request)
        if fixed and (place not in fixed or reveal.size != len(fixed)):
            raise _not_in_set("Whose noise counts is fixed, and this is none of it.")
        known = self._noises.held(request, [place], reveal.size, self._rules.place)
        if place not in known:
            self._counting.require_same(live, place, word)
            self._require_valid(live, place, reveal, committed)
            self._noises.keep(request, place, reveal, word.signature)
            act.done("held")
        return {"place": place, "size": reveal.size}

    def _require_valid(self, live: Live, place: int, reveal: Reveal, committed: bytes) -> None:
        by, shares = live.question.session.contributor(place), live.question.shares
        if len(reveal.digests) != len(live.question.sizes):
            raise _invalid(place, "it is not for every size of the set")
        try:
            given = reveal.commitment(by, shares.quorum)
        except BadParameter:
            raise _invalid(place, "it does not list its own contribution") from None
        if given != committed:
            raise _invalid(place, "it is not what that custodian committed to on chain")
        if len(reveal.contribution.columns) != COLUMN_BYTES * shares.sums:
            raise _invalid(place, f"it is not for {shares.sums} sums")
        key = self._joint_shares.of(live.view.epoch).public_key
        try:
            verify_contribution(reveal.contribution, shares, reveal.size, key, by)
        except ProofInvalid as fault:
            raise _invalid(place, str(fault)) from None

    def agree(self, request: bytes, places: Sequence[int]) -> dict[str, Any]:
        """Signs that this custodian holds and has verified the noise of these places, every one of which
        added up what it did, for the chain.

        It may agree to several sets: only the one that the chain fixes is ever decrypted.

        Raises:
            NotYetFinal; TurnRefused: not_committed, not_in_set, records_missing, noise_missing naming the
            places.
        """
        live = self._requests.find(request)
        committed = self._requests.committed(live).commitments
        chosen = {place: committed[place] for place in sorted(set(places)) if place in committed}
        if len(chosen) != len(places) or len(chosen) not in live.question.sizes:
            raise _not_in_set("A set is of a quorum or more, every one of which committed.")
        self.require_held(request, sorted(chosen))  # first: it costs nothing to see
        self._counting.own(live)
        struct = noise_set(self._chain, live, chosen)
        signature = sign(struct, self._chain.domain("NoiseRegistry"), self._keys.signer.secret)
        return {"place": self._rules.place, "signature": to_hex(signature)}

    def require_held(self, request: bytes, places: Sequence[int]) -> None:
        """Raises TurnRefused (noise_missing) unless all contributions to the set of these places are here,
        with their makers' words on the very sums that this custodian adds up.
        """
        held = self._noises.held(request, places, len(places), self._rules.place)
        missing = [place for place in places if place not in held]
        if missing:
            raise _missing(missing)


def noise_set(chain: Chain, live: Live, commitments: Mapping[int, bytes]) -> NoiseSet:
    """What is signed for a set of places with these commitments."""
    sealed = NoiseCommitment(live.row.request, live.row.root, live.row.epoch, 0, bytes(32))
    return NoiseSet.of(chain.domain("ResearchMarket"), sealed, commitments)


def _not_in_set(message: str) -> TurnRefused:
    return TurnRefused(
        code="not_in_set",
        message=message,
        remedy="Look up the commitments on chain, and name custodians that are among them.",
        field="places",
    )


def _missing(places: Sequence[int]) -> TurnRefused:
    named = ", ".join(map(str, places))
    return TurnRefused(
        code="noise_missing",
        message=f"This custodian lacks the noise of the custodians at places {named}.",
        remedy="Bring it what they revealed, then ask again.",
        facts={"places": list(places)},
    )


def _invalid(place: int, why: str) -> TurnRefused:
    return TurnRefused(
        code="noise_invalid",
        message=f"The noise of the custodian at place {place} does not count: {why}.",
        remedy="Go on without that custodian: a quorum of the others is enough.",
        field="reveal",
        facts={"place": place},
    )
