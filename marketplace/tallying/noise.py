"""Noise of one request: committed to, revealed with a word on the sums, verified, and fixed on chain."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from marketplace.chain.adapter import ContractRefusal
from marketplace.chain.counted import FixedNoise, fixed_noise
from marketplace.chain.sender import Sender
from marketplace.chain.views import CLOSING_SECONDS, GRACE_SECONDS
from marketplace.errors import Refusal
from marketplace.tallying.rounds import ALONE, DIFFERS, SILENT, Rounds, at_fault, never, wait
from marketplace.tallying.tardy import Tardy
from marketplace.vocabulary import unsigned
from marketplace.wire.eip712 import MOST_SIGNATURE, require_signed
from marketplace.wire.http import hash_field, hex_field, to_hex
from marketplace.wire.http_client import SMALL_ANSWER, PeerUnreachable
from marketplace.wire.structs import CountedSums, JournalHead, NoiseCommitment, NoiseSet
from marketplace.wire.tallying import Reveal, SumsWord
from ml.homomorphic.elgamal import COLUMN_BYTES
from ml.homomorphic.noise import verify_contribution
from ml.homomorphic.validity import ProofInvalid

FOR_NOISE: Final = "for noise"

log = structlog.get_logger()


@dataclass(frozen=True)
class Revealed:
    """What one custodian made, and what it said that it added up; both verified."""

    reveal: Reveal
    word: SumsWord


class NoiseRounds(Rounds):
    """Sees to the noise of one request."""

    _late: Collection[int] = ()
    """Who was not waited for until it had taken the others' noise, and may lack some of it for that."""
    tardy: Tardy | None = None
    """Whom nobody waits for long, where many requests are carried."""

    def fixed(self) -> FixedNoise | None:
        """The noise that counts, once the chain has fixed it in a final block."""
        found = fixed_noise(self._chain, self._request, self._view.seal_block)
        return found if found and found.block <= self._chain.finalized() else None

    def see_to_noise(self, sender: Sender, parameters: Mapping[str, Any]) -> FixedNoise:
        """Does the next thing that is left to do until the noise is fixed; repeated, it does nothing twice.

        Raises:
            NotYetFinal: what was brought on chain is not final yet. TallyMissing: naming each custodian that
            did not do its part. ContractRefusal.
        """
        if not self._chain.noise_commitments(self._request):
            self._commit(sender, parameters)
        committed = self._chain.noise_commitments(self._request, self._chain.finalized())
        if not committed:
            raise wait("noise commitments")
        self._anchor_first(sender, committed)
        if not self._chain.noise_set(self._request)[0]:
            self._fix(sender, parameters, committed)
        found = self.fixed()
        if found is None:
            raise wait("fixed noise")
        return found

    def _commit(self, sender: Sender, parameters: Mapping[str, Any]) -> None:
        body = {"request": to_hex(self._request), "parameters": dict(parameters)}
        said = self.ask(
            "to commit to noise", lambda place: self._commitment(place, body), self.are_quorum
        )
        if len(said) < self._committee.quorum:
            raise self.missing("committed to noise", len(said))
        self.leave_out(self.faults)
        listed = [[place, *said[place]] for place in sorted(said)]
        sender.send("NoiseRegistry", "commitNoise", self._request, listed)

    def _commitment(self, place: int, body: Mapping[str, Any]) -> tuple[bytes, bytes]:
        answer = self.say(place, "/noise-commitments", body, most=SMALL_ANSWER)
        commitment = hash_field(answer.get("commitment"), "commitment")
        signature = hex_field(answer.get("signature"), "signature", MOST_SIGNATURE)
        root, epoch = self._view.root, self._view.epoch
        if not any(commitment):
            raise at_fault(place, "its commitment is empty")
        struct = NoiseCommitment(self._request, root, epoch, place, commitment)
        self.require_signed_by(place, struct, signature)
        return commitment, signature

    def _anchor_first(self, sender: Sender, committed: Mapping[int, bytes]) -> None:
        """Has the journals of custodians anchored that never were: before that they decrypt nothing.

        It is sent before the set is fixed, so that nobody waits for another final block. Who committed to no
        noise is in no set; and once the set is fixed, nobody waits for one more than the quorum it takes.
        """
        members = self._committee.members[: len(self._custodians)]
        fixed, _ = self._chain.noise_set(self._request)
        seats = [each for each in members if each.place in (fixed or committed)]
        new = [each.place for each in seats if not self._chain.journal_of(each.signer)[0]]
        if not new or (fixed and len(seats) - len(new) >= self._committee.quorum):
            return
        heads = self.ask("for their journals' heads", self._head, never, new, is_quick=True)
        for place, (height, head, signature) in sorted(heads.items()):
            given = (self._view.epoch, place, height, head, signature)
            try:
                sender.send("CustodianCommittee", "anchorJournal", *given)
            except ContractRefusal as refusal:  # it was anchored meanwhile
                log.warning("journal_not_anchored", place=place, code=refusal.code)

    def _head(self, place: int) -> tuple[int, bytes, bytes]:
        body = {"request": to_hex(self._request)}
        answer = self.say(place, "/journal-heads", body, most=SMALL_ANSWER)
        height, head = (
            unsigned(answer.get("height"), 53, "height"),
            hash_field(answer.get("head"), "head"),
        )
        signature = hex_field(answer.get("signature"), "signature", MOST_SIGNATURE)
        struct = JournalHead(self._view.epoch, place, height, head)
        domain = self._chain.domain("CustodianCommittee")
        require_signed(struct, domain, signature, self._committee.members[place].signer)
        return height, head, signature

    def _fix(
        self, sender: Sender, parameters: Mapping[str, Any], committed: Mapping[int, bytes]
    ) -> None:
        reveals = self.reveals(committed)
        self._spread(reveals, parameters)
        places = sum(1 << place for place in reveals)
        chosen = {place: committed[place] for place in reveals}
        struct = self._noise_set(chosen)
        agree = functools.partial(self._agreement, struct=struct, places=sorted(reveals))
        said = self.ask("to agree to the noise", agree, self.are_quorum, grace=0.0)
        if len(said) < self._committee.quorum:
            raise self.missing("agreed to the noise", len(said))
        # Nobody waits for more than a quorum here, or in what was spread before: who is slower has done
        # nothing wrong.
        slower = {*self._late, *(place for place, why in self.faults.items() if why == SILENT)}
        self.leave_out({place: why for place, why in self.faults.items() if place not in slower})
        signatures = [[place, said[place]] for place in sorted(said)][: self._committee.quorum]
        sender.send("NoiseRegistry", "fixNoise", self._request, places, signatures)

    def _noise_set(self, chosen: Mapping[int, bytes]) -> NoiseSet:
        root, epoch = self._view.root, self._view.epoch
        sealed = NoiseCommitment(self._request, root, epoch, 0, bytes(32))
        return NoiseSet.of(self._chain.domain("ResearchMarket"), sealed, chosen)

    def _agreement(self, place: int, struct: NoiseSet, places: Sequence[int]) -> bytes:
        body = {"request": to_hex(self._request), "places": list(places)}
        answer = self.say(place, "/noise-sets", body, most=SMALL_ANSWER)
        signature = hex_field(answer.get("signature"), "signature", MOST_SIGNATURE)
        self.require_signed_by(place, struct, signature)
        return signature

    def reveals(self, committed: Mapping[int, bytes]) -> dict[int, Revealed]:
        """Verified contributions of a largest set whose members reveal, and add up the same, by place; those
        left out are in `faults` and `left_out`.

        Raises TallyMissing.
        """
        ask = functools.partial(self.reveal_of, len(committed), committed)
        said = self._revealing(ask, list(committed))
        silent = dict(self.faults)
        for group in _groups(said):
            found = self._of_group(group, said, committed)
            if found:
                others = set(said) - set(found)
                self.faults = silent | dict.fromkeys(others, DIFFERS) | self.faults
                self.leave_out(self.faults)
                return found
        self.faults = silent | dict.fromkeys(said, ALONE) | self.faults
        raise self.missing("revealed noise for the same sums", 0)

    def _revealing(
        self, ask: Callable[[int], Revealed], places: Sequence[int]
    ) -> dict[int, Revealed]:
        """By all that committed, each within its time."""
        tardy, patience = self.tardy or Tardy(), self._patience()

        def grace(left: Collection[int]) -> float:
            return min(patience, GRACE_SECONDS) if tardy.are_all(left) else patience

        said = self.ask(FOR_NOISE, ask, self.are_quorum, places, grace=grace)
        tardy.came(said)
        # Who refuses at once costs nothing.
        slow = [at for at in places if self.took.get(at, patience) > GRACE_SECONDS]
        tardy.kept_waiting(set(slow).difference(said))
        return said

    def _patience(self) -> float:
        """Seconds for whoever committed: `set_seconds`, or what the gate window leaves of it. After the
        window anybody may fix the noise of a bare quorum, and who is silent could wait for that.
        """
        end = self._view.gate_drawn_at + self._chain.policy().gate_window
        left = end - self._chain.now() - 2 * GRACE_SECONDS - CLOSING_SECONDS
        return min(self.set_seconds, max(GRACE_SECONDS, left))

    def _of_group(
        self, group: Sequence[int], said: Mapping[int, Revealed], committed: Mapping[int, bytes]
    ) -> dict[int, Revealed]:
        """Of custodians that said the same, those that reveal for a set of just them; none below a quorum."""
        places, self.faults = list(group), {}
        digest, faults = said[places[0]].word.digest, dict[int, str]()
        if len(places) == len(committed):
            return dict(said)
        while len(places) >= self._committee.quorum:
            ask = functools.partial(self.reveal_of, len(places), committed)
            again = self.ask(FOR_NOISE, ask, never, places, is_quick=True)
            same = {at: each for at, each in again.items() if each.word.digest == digest}
            faults |= self.faults
            if len(same) == len(places):
                self.faults = faults
                return same
            places = sorted(same)
        self.faults = faults
        return {}

    def reveal_of(
        self, size: int, committed: Mapping[int, bytes], place: int, holder: int | None = None
    ) -> Revealed:
        """What the custodian at `place` made, from itself or from another holder of it."""
        body = {"request": to_hex(self._request), "size": size, "place": place}
        answer = self.say(place if holder is None else holder, "/noise-reveals", body)
        found = Reveal.from_json(answer.get("reveal") or {})
        word = self._word(place, SumsWord.from_json(answer.get("sums") or {}))
        by, shares = self._question.session.contributor(place), self._question.shares
        whole = len(found.contribution.columns) == COLUMN_BYTES * shares.sums
        if found.size != size or not whole or len(found.digests) != len(self._question.sizes):
            raise at_fault(place, "it is of another size")
        if found.commitment(by, shares.quorum) != committed[place]:
            raise at_fault(place, "it is not what was committed to on chain")
        try:
            verify_contribution(found.contribution, shares, size, self._joint_key, by)
        except ProofInvalid as fault:
            raise at_fault(place, str(fault)) from None
        return Revealed(found, word)

    def _word(self, place: int, word: SumsWord) -> SumsWord:
        root, epoch = self._view.root, self._view.epoch
        struct = CountedSums(self._request, root, epoch, place, word.digest)
        self.require_signed_by(place, struct, word.signature)
        return word

    def _spread(self, reveals: Mapping[int, Revealed], parameters: Mapping[str, Any]) -> None:
        """Brings every custodian every reveal; who cannot be reached is named by the step after."""
        bring = functools.partial(self._bring, reveals=reveals, parameters=parameters)
        self.ask("to take the others' noise", bring, self.are_quorum)
        self._late = {place for place, why in self.faults.items() if why == SILENT}

    def _bring(
        self, place: int, reveals: Mapping[int, Revealed], parameters: Mapping[str, Any]
    ) -> None:
        """What a custodian refuses of one maker keeps it from none of the others'."""
        self.begin(place, parameters)
        for maker, each in reveals.items():
            if maker != place:
                self.hand_over(place, maker, each)

    def begin(self, place: int, parameters: Mapping[str, Any]) -> None:
        """Has a custodian that was silent before draw its noise, too: it then knows what is asked."""
        begun = {"request": to_hex(self._request), "parameters": dict(parameters)}
        self.say(place, "/noise-commitments", begun, most=SMALL_ANSWER)

    def hand_over(self, place: int, maker: int, made: Revealed) -> None:
        """Brings one custodian what another made. What it refuses of that, it names when it is asked next.

        Raises:
            PeerUnreachable.
        """
        body = {
            "request": to_hex(self._request),
            "place": maker,
            "reveal": made.reveal.to_json(),
            "sums": made.word.to_json(),
        }
        try:
            self.say(place, "/noise-contributions", body, most=SMALL_ANSWER)
        except PeerUnreachable:
            raise
        except Refusal as refusal:
            log.info("noise_not_taken", place=place, maker=maker, code=refusal.code)


def _groups(said: Mapping[int, Revealed]) -> list[list[int]]:
    """Places that said the same of the sums: largest groups first; of as many, that of the lowest place."""
    groups: dict[bytes, list[int]] = {}
    for place in sorted(said):
        groups.setdefault(said[place].word.digest, []).append(place)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0]))
