"""Carrying the answer of one request between custodians: any machine can, and none is trusted with more.

Noise: commitments of all on chain, then reveals, verified here and by every custodian, then the set that
counts on chain. Answer: partial decryptions, verified against the noised sums that a quorum of custodians
agrees on, combined to what the researcher alone can open, and signed by a quorum. Whoever is silent, wrong or
says something else than before is left out and named; a quorum of the others goes on.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from marketplace.chain.adapter import Chain, CommitteeView, NotYetFinal
from marketplace.chain.counted import FixedNoise, fixed_noise
from marketplace.chain.sender import Sender
from marketplace.errors import BadParameter, Refusal
from marketplace.peers import Peer, ask_all
from marketplace.wire.delivery import delivery_hash
from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.http import binary_field, hash_field, hex_field, to_base64, to_hex
from marketplace.wire.http_client import SMALL_ANSWER
from marketplace.wire.solidity import ZERO_ADDRESS
from marketplace.wire.structs import (
    HOMOMORPHIC,
    SETTLEMENT_SCHEMA,
    NoiseCommitment,
    NoiseSet,
    Settlement,
    require_signed,
)
from marketplace.wire.tallying import Question, Reveal, encode_sealed, result_hash
from ml.homomorphic.curve import NotAPoint, Point, points_from_bytes
from ml.homomorphic.elgamal import COLUMN_BYTES
from ml.homomorphic.noise import verify_contribution
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
from ml.homomorphic.validity import ProofInvalid

GRACE_SECONDS: Final = 20.0
"""Once a quorum has answered, the other custodians have this long: more contributors, less noise each."""
LACKS_NOISE: Final = "noise_missing"
T = TypeVar("T")


class TallyMissing(Refusal):
    """Fewer custodians did their part than the epoch's quorum."""

    CODE = "quorum_missing"


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


class Tallying:
    """Carries one request's messages. Custodian i of `custodians` sits at place i."""

    def __init__(
        self, chain: Chain, custodians: Sequence[Peer], request: bytes, question: Question
    ) -> None:
        self._chain = chain
        self._view = chain.request(request)
        self._committee: CommitteeView = chain.committee(self._view.epoch)
        self._custodians = custodians[: len(self._committee.members)]
        self._request = request
        self._question = question
        self._points = points_from_bytes(chain.joint_key(self._view.epoch)[0])
        self.faults: dict[int, str] = {}
        """Why a custodian's part is missing, by place; of the last step that asked all."""

    # --- noise

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
            raise _wait("noise commitments")
        if not self._chain.noise_set(self._request)[0]:
            self._fix(sender, parameters, committed)
        found = self.fixed()
        if found is None:
            raise _wait("fixed noise")
        return found

    def _commit(self, sender: Sender, parameters: Mapping[str, Any]) -> None:
        body = {"request": to_hex(self._request), "parameters": dict(parameters)}
        said = self._ask(lambda place: self._commitment(place, body), self._are_quorum)
        if len(said) < self._committee.quorum:
            raise self._missing("committed to noise", len(said))
        listed = [[place, *said[place]] for place in sorted(said)]
        sender.send("NoiseRegistry", "commitNoise", self._request, listed)

    def _commitment(self, place: int, body: Mapping[str, Any]) -> tuple[bytes, bytes]:
        answer = self._custodians[place].post("/noise-commitments", body, most=SMALL_ANSWER)
        commitment = hash_field(answer.get("commitment"), "commitment")
        signature = hex_field(answer.get("signature"), "signature", MOST_SIGNATURE)
        root, epoch = self._view.root, self._view.epoch
        if not any(commitment):
            raise _at_fault(place, "its commitment is empty")
        struct = NoiseCommitment(self._request, root, epoch, place, commitment)
        domain = self._chain.domain("NoiseRegistry")
        require_signed(struct, domain, signature, self._committee.members[place].signer)
        return commitment, signature

    def _fix(
        self, sender: Sender, parameters: Mapping[str, Any], committed: Mapping[int, bytes]
    ) -> None:
        reveals = self.reveals(committed)
        self._spread(reveals, parameters)
        places = sum(1 << place for place in reveals)
        chosen = {place: committed[place] for place in reveals}
        struct = self._noise_set(chosen)
        said = self._ask(lambda place: self._agreement(place, struct, sorted(reveals)), _never)
        if len(said) < self._committee.quorum:
            raise self._missing("agreed to the noise", len(said))
        signatures = [[place, said[place]] for place in sorted(said)][: self._committee.quorum]
        sender.send("NoiseRegistry", "fixNoise", self._request, places, signatures)

    def _noise_set(self, chosen: Mapping[int, bytes]) -> NoiseSet:
        root, epoch = self._view.root, self._view.epoch
        sealed = NoiseCommitment(self._request, root, epoch, 0, bytes(32))
        return NoiseSet.of(self._chain.domain("ResearchMarket"), sealed, chosen)

    def _agreement(self, place: int, struct: NoiseSet, places: Sequence[int]) -> bytes:
        body = {"request": to_hex(self._request), "places": list(places)}
        answer = self._custodians[place].post("/noise-sets", body, most=SMALL_ANSWER)
        signature = hex_field(answer.get("signature"), "signature", MOST_SIGNATURE)
        domain = self._chain.domain("NoiseRegistry")
        require_signed(struct, domain, signature, self._committee.members[place].signer)
        return signature

    def reveals(self, committed: Mapping[int, bytes]) -> dict[int, Reveal]:
        """Verified contributions of the largest set whose every member reveals, by place.

        Raises TallyMissing.
        """
        places = sorted(committed)
        while len(places) >= self._committee.quorum:
            size = len(places)
            said = self._ask(
                functools.partial(self._reveal, size, committed),
                _never,
                places,
            )
            if len(said) == size:
                return said
            places = sorted(said)
        raise self._missing("revealed noise", len(places))

    def _reveal(
        self, size: int, committed: Mapping[int, bytes], place: int, holder: int | None = None
    ) -> Reveal:
        """What the custodian at `place` made, from itself or from another holder of it."""
        body = {"request": to_hex(self._request), "size": size, "place": place}
        answer = self._custodians[place if holder is None else holder].post("/noise-reveals", body)
        found = Reveal.from_json(answer.get("reveal") or {})
        by, shares = self._question.session.contributor(place), self._question.shares
        whole = len(found.contribution.columns) == COLUMN_BYTES * shares.sums
        if found.size != size or not whole or len(found.digests) != len(self._question.sizes):
            raise _at_fault(place, "it is of another size")
        if found.commitment(by, shares.quorum) != committed[place]:
            raise _at_fault(place, "it is not what was committed to on chain")
        try:
            verify_contribution(found.contribution, shares, size, self._joint_key, by)
        except ProofInvalid as fault:
            raise _at_fault(place, str(fault)) from None
        return found

    def _spread(self, reveals: Mapping[int, Reveal], parameters: Mapping[str, Any]) -> None:
        """Brings every custodian every reveal; who cannot be reached is named by the step after."""
        self._ask(lambda place: self._bring(place, reveals, parameters), _never)

    def _bring(
        self, place: int, reveals: Mapping[int, Reveal], parameters: Mapping[str, Any]
    ) -> None:
        peer = self._custodians[place]
        begun = {"request": to_hex(self._request), "parameters": dict(parameters)}
        peer.post("/noise-commitments", begun, most=SMALL_ANSWER)  # of one that was silent before
        for maker, reveal in reveals.items():
            if maker != place:
                body = {
                    "request": to_hex(self._request),
                    "place": maker,
                    "reveal": reveal.to_json(),
                }
                peer.post("/noise-contributions", body, most=SMALL_ANSWER)

    # --- the answer

    def decrypt(self, fixed: FixedNoise, parameters: Mapping[str, Any]) -> Decrypted:
        """The answer, from the partial decryptions of a quorum that agrees on what it decrypted.

        Raises:
            TallyMissing: naming each custodian that did not do its part.
        """
        committed = self._chain.noise_commitments(self._request)
        reveals = self._fixed_reveals(fixed, committed)
        said = self._ask(
            lambda place: self._part(place, fixed, reveals, parameters), self._agree_enough
        )
        counts = Counter(_about(part) for part in said.values())
        parts = []
        if counts and counts.most_common(1)[0][1] >= self._committee.quorum:
            agreed = counts.most_common(1)[0][0]
            parts = [said[place] for place in sorted(said) if _about(said[place]) == agreed]
            others = [place for place, part in said.items() if _about(part) != agreed]
            self.faults |= dict.fromkeys(others, "its sums are not those of the others")
        if len(parts) < self._committee.quorum:
            raise self._missing("decrypted the same sums", len(parts))
        chosen = tuple(parts[: self._committee.quorum])
        return self._decrypted(fixed, chosen, reveals)

    def _fixed_reveals(
        self, fixed: FixedNoise, committed: Mapping[int, bytes]
    ) -> dict[int, Reveal]:
        """Every one of the set, from its maker or from whoever holds it."""
        size, found = len(fixed.places), dict[int, Reveal]()
        for holder in [None, *range(len(self._custodians))]:
            wanted = [place for place in fixed.places if place not in found]
            if wanted:
                ask = functools.partial(self._reveal, size, committed, holder=holder)
                found |= self._ask(ask, _never, wanted)
        if len(found) < size:
            raise self._missing("hold all of the noise that counts", 0)
        return found

    def _part(
        self,
        place: int,
        fixed: FixedNoise,
        reveals: Mapping[int, Reveal],
        parameters: Mapping[str, Any],
    ) -> Part:
        body = {"request": to_hex(self._request)}
        try:
            answer = self._custodians[place].post("/partials", body)
        except Refusal as refusal:
            if refusal.code not in (LACKS_NOISE, "not_committed"):
                raise
            self._bring(place, reveals, parameters)
            answer = self._custodians[place].post("/partials", body)
        return self._verified(place, fixed, answer)

    def _verified(self, place: int, fixed: FixedNoise, answer: Mapping[str, Any]) -> Part:
        count = self._question.shares.sums
        root = hash_field(answer.get("ciphertext_root"), "ciphertext_root")
        raw = binary_field(answer.get("noised"), "noised", PAIR_BYTES * count)
        partial = binary_field(answer.get("partial"), "partial", PROOF_BYTES + PAIR_BYTES * count)
        journal = answer.get("journal")
        if not isinstance(journal, dict):
            raise _at_fault(place, "it has no journal's head")
        try:
            sums = _counted(sums_from_bytes(raw), count)
            aggregate = self._question.session.aggregate(root, fixed.noise, sums)
            context = self._question.session.partial(place, aggregate)
            read = Partial.from_bytes(partial, count)
            verify_partial(read, self._share_key(place), sums, self._question.recipient, context)
        except (PartialInvalid, NotAPoint, ValueError) as fault:
            raise _at_fault(place, str(fault)) from None
        return Part(place, root, raw, partial, journal)

    def _agree_enough(self, good: Mapping[int, Part]) -> bool:
        counts = Counter(_about(part) for part in good.values())
        return bool(counts) and counts.most_common(1)[0][1] >= self._committee.quorum

    def _decrypted(
        self, fixed: FixedNoise, parts: tuple[Part, ...], reveals: Mapping[int, Reveal]
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
        return Decrypted(settlement, sealed, parts, dict(reveals), dict(self.faults))

    # --- what every step does

    def _ask(
        self,
        ask: Callable[[int], T],
        enough: Callable[[Mapping[int, T]], bool],
        places: Sequence[int] | None = None,
    ) -> dict[int, T]:
        """The good answers by place; why there is none of the others is in `faults`."""
        wanted = list(range(len(self._custodians))) if places is None else list(places)
        known = [place for place in wanted if place < len(self._custodians)]
        said = ask_all(
            len(known),
            lambda at: ask(known[at]),
            lambda good: enough({known[at]: each for at, each in good.items()}),
            grace=GRACE_SECONDS,
        )
        by_place = {known[at]: each for at, each in said.items()}
        self.faults = {
            place: each.message for place, each in by_place.items() if isinstance(each, Refusal)
        } | {place: "It did not answer in time." for place in wanted if place not in by_place}
        return {place: each for place, each in by_place.items() if not isinstance(each, Refusal)}

    def _are_quorum(self, good: Mapping[int, object]) -> bool:
        return len(good) >= self._committee.quorum

    @property
    def _joint_key(self) -> Point:
        return self._points[0]

    def _share_key(self, place: int) -> Point:
        return share_key(self._points, place + 1)

    def _missing(self, did: str, number: int) -> TallyMissing:
        named = " ".join(
            f"{self._name(place)}: {why}" for place, why in sorted(self.faults.items())
        )
        return TallyMissing(
            message=f"{number} of the {self._committee.quorum} custodians needed {did}. {named}".strip(),
            remedy="Start or repair the missing custodians; the step is tried again.",
            field="custodians",
            facts={"faults": {str(place): why for place, why in self.faults.items()}},
        )

    def _name(self, place: int) -> str:
        known = place < len(self._custodians)
        return self._custodians[place].name if known else f"custodian {place + 1}"


def settlement_body(decrypted: Decrypted) -> dict[str, Any]:
    """What custodians are shown for their signature of the settlement."""
    return {
        "settlement": decrypted.settlement.to_json(),
        "sealed_result": to_base64(decrypted.sealed_result),
        "partials": [
            {"place": part.place, "partial": to_base64(part.partial)} for part in decrypted.parts
        ],
    }


def _never(_: Mapping[int, object]) -> bool:
    """Everybody is waited for, as long as a call to a peer takes."""
    return False


def _about(part: Part) -> tuple[bytes, bytes]:
    return part.ciphertext_root, part.noised


def _counted(sums: list[Sum], count: int) -> list[Sum]:
    if len(sums) != count:
        raise ValueError("it is about another number of sums")
    return sums


def _wait(what: str) -> NotYetFinal:
    return NotYetFinal(
        message=f"The {what} of this request are not in a final block yet.",
        remedy="Wait until the chain has finalised that; the step is tried again.",
    )


def _at_fault(place: int, why: str) -> BadParameter:
    return BadParameter(
        code="custodian_at_fault",
        message=f"What the custodian at place {place} sent does not count: {why}.",
        remedy="Go on without it: a quorum of the others is enough.",
        facts={"place": place},
    )
