"""The answer of one request: partial decryptions of a quorum that agrees on what it decrypted, combined."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from marketplace.chain.counted import FixedNoise
from marketplace.chain.sender import Sender
from marketplace.errors import Refusal
from marketplace.tallying.noise import FOR_NOISE, NoiseRounds, Revealed
from marketplace.tallying.rounds import DIFFERS, at_fault, never
from marketplace.wire.delivery import delivery_hash
from marketplace.wire.http import binary_field, hash_field, to_base64, to_hex
from marketplace.wire.solidity import ZERO_ADDRESS
from marketplace.wire.structs import HOMOMORPHIC, SETTLEMENT_SCHEMA, Settlement
from marketplace.wire.tallying import Reveal, encode_sealed, result_hash
from ml.homomorphic.curve import NotAPoint
from ml.homomorphic.threshold import (
    PAIR_BYTES,
    PROOF_BYTES,
    Partial,
    PartialInvalid,
    Sum,
    combine,
    share_key,
    sums_from_bytes,
    verify_partial,
)

LACKS_NOISE: Final = "noise_missing"
NOT_ANCHORED: Final = "not_anchored"


@dataclass(frozen=True)
class Part:
    """One custodian's verified partial decryption, and its journal's signed head, unread."""

    place: int
    ciphertext_root: bytes
    noised: bytes  # 66 bytes a sum
    partial: bytes
    journal: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Decrypted:
    """An answer that the researcher alone can open, and all that it follows from.

    parts: of one quorum, by place ascending, all about the same sums. faults: who did not do its part, and
    why, by place.
    """

    settlement: Settlement
    sealed_result: bytes
    parts: tuple[Part, ...]
    reveals: Mapping[int, Reveal]
    faults: Mapping[int, str]


class Tallying(NoiseRounds):
    """Carries one request's messages, from noise to an answer."""

    def decrypt(
        self, fixed: FixedNoise, parameters: Mapping[str, Any], sender: Sender | None = None
    ) -> Decrypted:
        """The answer, from the partial decryptions of a quorum that agrees on what it decrypted.

        Args:
            sender: by which a journal is anchored that never was, where a quorum fails for it: others may
                have fixed the set, and brought no anchor. It counts once that is final.

        Raises:
            TallyMissing: naming each custodian that did not do its part.
        """
        committed = self._chain.noise_commitments(self._request)
        reveals = self._fixed_reveals(fixed, committed)
        self._bare.clear()
        said = self.ask(
            "for partial decryptions",
            lambda place: self._part(place, fixed, committed, reveals, parameters),
            self._agree_enough,
        )
        counts = Counter(_about(part) for part in said.values())
        parts = []
        if counts and counts.most_common(1)[0][1] >= self._committee.quorum:
            agreed = counts.most_common(1)[0][0]
            parts = [said[place] for place in sorted(said) if _about(said[place]) == agreed]
            others = [place for place, part in said.items() if _about(part) != agreed]
            self.faults |= dict.fromkeys(others, DIFFERS)
        elif len(counts) > 1:  # who of them is wrong, nobody can tell
            self.faults |= dict.fromkeys(said, DIFFERS)
        if len(parts) < self._committee.quorum:
            short = self.missing("decrypted the same sums", len(parts))
            if sender is not None and self._bare:
                self._anchor_first(sender, committed)
            raise short
        chosen = tuple(parts[: self._committee.quorum])
        return self._decrypted(fixed, chosen, reveals)

    def _fixed_reveals(
        self, fixed: FixedNoise, committed: Mapping[int, bytes]
    ) -> dict[int, Revealed]:
        """Every one of the set, from its maker or from whoever holds it."""
        size, found = len(fixed.places), dict[int, Revealed]()
        for holder in [None, *range(len(self._custodians))]:
            wanted = [place for place in fixed.places if place not in found]
            if wanted:
                ask = functools.partial(self.reveal_of, size, committed, holder=holder)
                found |= self.ask(FOR_NOISE, ask, never, wanted, is_quick=True)
        if len(found) < size:
            lost = [place for place in fixed.places if place not in found]
            self.faults = dict.fromkeys(lost, "Nobody gives the noise that it committed to.")
            raise self.missing("hold all of the noise that counts", 0)
        return found

    def _part(
        self,
        place: int,
        fixed: FixedNoise,
        committed: Mapping[int, bytes],
        reveals: Mapping[int, Revealed],
        parameters: Mapping[str, Any],
    ) -> Part:
        body = {"request": to_hex(self._request)}
        try:
            answer = self.say(place, "/partials", body)
        except Refusal as refusal:
            if refusal.code == NOT_ANCHORED:
                self._bare.add(place)
            if refusal.code not in (LACKS_NOISE, "not_committed"):
                raise
            self.begin(place, parameters)
            own = self.reveal_of(len(fixed.places), committed, place).word.digest
            for maker in (each for each in fixed.places if each != place):
                self._hand_over_with_word(place, maker, own, committed, reveals[maker])
            answer = self.say(place, "/partials", body)
        return self._verified(place, fixed, answer)

    def _hand_over_with_word(
        self,
        place: int,
        maker: int,
        digest: bytes,
        committed: Mapping[int, bytes],
        given: Revealed,
    ) -> None:
        """With the maker's word on what this custodian added up, from whoever was given that.

        A maker may say another thing to each: one who says it to the carrier alone must stop nobody.
        """
        known = range(len(self._custodians))
        holders = (
            (at for at in known if at not in (place, maker)) if given.word.digest != digest else ()
        )
        for holder in holders:
            with suppress(Refusal):
                found = self.reveal_of(given.reveal.size, committed, maker, holder)
                if found.word.digest == digest:
                    given = found
                    break
        self.hand_over(place, maker, given)

    def _verified(self, place: int, fixed: FixedNoise, answer: Mapping[str, Any]) -> Part:
        count = self._question.shares.sums
        root = hash_field(answer.get("ciphertext_root"), "ciphertext_root")
        raw = binary_field(answer.get("noised"), "noised", PAIR_BYTES * count)
        partial = binary_field(answer.get("partial"), "partial", PROOF_BYTES + PAIR_BYTES * count)
        journal = answer.get("journal")
        if not isinstance(journal, dict):
            raise at_fault(place, "it has no journal's head")
        try:
            sums = _counted(sums_from_bytes(raw), count)
            aggregate = self._question.session.aggregate(root, fixed.noise, sums)
            context = self._question.session.partial(place, aggregate)
            read = Partial.from_bytes(partial, count)
            verify_partial(
                read, share_key(self._points, place + 1), sums, self._question.recipient, context
            )
        except (PartialInvalid, NotAPoint, ValueError) as fault:
            raise at_fault(place, str(fault)) from None
        return Part(place, root, raw, partial, journal)

    def _agree_enough(self, good: Mapping[int, Part]) -> bool:
        counts = Counter(_about(part) for part in good.values())
        return bool(counts) and counts.most_common(1)[0][1] >= self._committee.quorum

    def _decrypted(
        self, fixed: FixedNoise, parts: tuple[Part, ...], reveals: Mapping[int, Revealed]
    ) -> Decrypted:
        root, raw = parts[0].ciphertext_root, parts[0].noised
        sums, count = sums_from_bytes(raw), self._question.shares.sums
        read = {part.place + 1: Partial.from_bytes(part.partial, count) for part in parts}
        sealed = encode_sealed(combine(read, sums, self._committee.quorum))
        aggregate = self._question.session.aggregate(root, fixed.noise, sums)
        settlement = Settlement(
            request=self._request,
            root=self._view.root,
            epoch=self._view.epoch,
            lane=HOMOMORPHIC,
            schema=SETTLEMENT_SCHEMA,
            ciphertext_root=root,
            noise=fixed.noise,
            result_hash=result_hash(aggregate),
            delivery_hash=delivery_hash(sealed),
            gate=ZERO_ADDRESS,
        )
        made = {place: each.reveal for place, each in reveals.items()}
        return Decrypted(settlement, sealed, parts, made, dict(self.faults))


def settlement_body(decrypted: Decrypted) -> dict[str, Any]:
    """What custodians are shown for their signature of the settlement."""
    return {
        "settlement": decrypted.settlement.to_json(),
        "sealed_result": to_base64(decrypted.sealed_result),
        "partials": [
            {"place": part.place, "partial": to_base64(part.partial)} for part in decrypted.parts
        ],
    }


def _about(part: Part) -> tuple[bytes, bytes]:
    return part.ciphertext_root, part.noised


def _counted(sums: list[Sum], count: int) -> list[Sum]:
    if len(sums) != count:
        raise ValueError("it is about another number of sums")
    return sums
