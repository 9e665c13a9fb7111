"""What a request's records add up to: worked out once by this custodian, said to the others, and held against
what they say.

Noise hides one answer. Custodians that decrypted different sums with the same noise would show their
difference without any. So each signs what it added up, once a request, before whose noise counts is fixed;
and none of them agrees to a set of contributors, or decrypts, unless every other of the set signed the same.
Any two honest custodians of a set then decrypt one and the same aggregate, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from marketplace.chain.adapter import Cohort, Stored
from marketplace.chain.cohort import require_same_seal
from marketplace.chain.counted import CommittedNoise, committed_noise, counted
from marketplace.custodian.checks import TurnRefused
from marketplace.custodian.live import Live, LiveRequests
from marketplace.custodian.means import Means
from marketplace.custodian.models import NoisedRow
from marketplace.custodian.turns import Equivocation
from marketplace.errors import Refusal
from marketplace.vocabulary import Commitment
from marketplace.wire.delivery import ciphertext_root
from marketplace.wire.eip712 import BadSignature, require_signed
from marketplace.wire.http import to_hex
from marketplace.wire.structs import CountedSums, sign
from marketplace.wire.tallying import SumsWord
from ml.homomorphic.threshold import Sum, sums_from_bytes, sums_to_bytes

MOST_LACKING: Final = 1_000
"""Commitments that are named at once: 68 KB. Whoever brings these asks again for the rest."""
MOST_LOOKED_UP: Final = 64
"""Requests of which it is remembered what is lacking, until chain or journal move: anybody may ask."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Counted:
    """This custodian's sums of a request, for ever the same.

    ciphertext_root: over the commitments that counted. digest: `TallySession.sums` of both.
    """

    sums: tuple[Sum, ...]
    ciphertext_root: bytes
    digest: bytes


class Counting:
    """One custodian's sums. Callers see to it that one thread works on a request."""

    def __init__(self, means: Means) -> None:
        self._chain = means.chain
        self._journal = means.journal
        self._noises = means.noises
        self._keys = means.keys
        self._rules = means.rules
        self._tallies = means.tallies
        self._joint_shares = means.joint_shares
        self._succession = means.succession
        self._lacked: dict[bytes, tuple[tuple[bytes, int], list[bytes]]] = {}
        self.requests = LiveRequests(means.chain, means.noises, means.rules, means.tallies)

    # --- words

    def own(self, live: Live) -> Counted:
        """What counts, as this custodian says it to others: from the first time on, it stays.

        Raises:
            NotYetFinal; TurnRefused (records_missing); NoJointShare. Equivocation: it was said of another
            block than the chain has now.
        """
        committed = self.requests.committed(live)
        row = live.row
        if row.aggregate is not None and row.sums_digest is None:
            raise Equivocation(
                message="This custodian decrypted for this request before custodians said what they add up.",
                remedy="The others answer without it; if they cannot, ask again with a new request.",
            )
        if row.noise_block_hash != committed.block_hash or row.sums is None:
            if row.sums_digest is not None:
                raise Equivocation(
                    message="This custodian has said what it adds up as of another block.",
                    remedy="It says so once; look for a reorganisation or a lying node.",
                )
            row = self._add_up(row, committed)
        if row.sums is None or row.ciphertext_root is None:
            raise TypeError("sums are kept with the root over what was added")
        sums = sums_from_bytes(row.sums)
        digest = live.question.session.sums(row.ciphertext_root, sums)
        if (row.sums_digest or self._noises.say_sums(row, digest)) != digest:
            raise Equivocation(
                message="This custodian has said that it adds up other sums.",
                remedy="Its journal may have been changed; the others answer without it.",
            )
        return Counted(tuple(sums), row.ciphertext_root, digest)

    def word(self, live: Live) -> SumsWord:
        """What this custodian says of its sums, signed. Raises as `own`."""
        digest = self.own(live).digest
        domain = self._chain.domain("NoiseRegistry")
        struct = self._struct(live, self._rules.place, digest)
        return SumsWord(digest, sign(struct, domain, self._keys.signer.secret))

    def require_same(self, live: Live, place: int, word: SumsWord) -> None:
        """The custodian at this place signed what this one added up.

        Raises:
            TurnRefused (sums_differ, word_invalid) naming the place; as `own`.
        """
        self._require_signed(live, place, word)  # first: nothing is added up for a stranger's word
        if word.digest != self.own(live).digest:
            raise TurnRefused(
                code="sums_differ",
                message=f"The custodian at place {place} added up other sums than this one.",
                remedy="Have a quorum that agrees answer; look for a lying node, or an old copy of records.",
                field="sums",
                facts={"place": place},
            )

    def _require_signed(self, live: Live, place: int, word: SumsWord) -> None:
        signer = self._chain.committee(live.view.epoch).members[place].signer
        domain = self._chain.domain("NoiseRegistry")
        try:
            require_signed(self._struct(live, place, word.digest), domain, word.signature, signer)
        except BadSignature:
            raise TurnRefused(
                code="word_invalid",
                message=f"The custodian at place {place} did not sign what it is said to have added up.",
                remedy="Bring what that custodian itself answered.",
                field="sums",
                facts={"place": place},
            ) from None

    def _struct(self, live: Live, place: int, digest: bytes) -> CountedSums:
        return CountedSums(live.row.request, live.row.root, live.row.epoch, place, digest)

    def lacking(self, live: Live) -> list[bytes]:
        """Records that count for a request and are not here, by their commitments: the first `MOST_LACKING`.

        Raises:
            NotYetFinal, NoJointShare; PartialLogs, ForgedLogs, Reorganised.
        """
        request, committed = live.row.request, self.requests.committed(live)
        if live.row.sums is not None and live.row.noise_block_hash == committed.block_hash:
            return []
        state = self._chain.head().hash, self._journal.head().height
        known = self._lacked.get(request)
        if known is not None and known[0] == state:
            return known[1]
        cohort = self._chain.sealed_cohort(request)
        require_same_seal(live.view, cohort)
        used = self._used(cohort, committed)
        key = self._joint_shares.of(live.view.epoch).public_key.to_bytes()
        lacking = self._missing(used, key)[:MOST_LACKING]
        if len(self._lacked) >= MOST_LOOKED_UP:
            self._lacked.clear()
        self._lacked[request] = state, lacking
        return lacking

    # --- sums

    def keep(self) -> None:
        """Adds up what live requests count, before anything erased since is destroyed here. Never raises.

        An erasure after the block with everybody's noise commitments comes too late for that answer; before
        it, the record is not counted. Either way every custodian has the same sums, however late it looks.
        Commitments count once they are final: what is erased for good lies before any that are not.
        """
        try:
            for request in self._noises.unsaid():
                self._keep_of(request)
        except Exception as fault:  # nothing may hold an erasure back
            log.warning("sums_not_kept", kind=type(fault).__name__)

    def _keep_of(self, request: bytes) -> None:
        try:
            row = self._noises.of(request)
            if row is None:
                return
            committed = committed_noise(self._chain, request, row.seal_block)
            if committed is None or committed.block > self._chain.finalized():
                return
            if row.sums is None or row.noise_block_hash != committed.block_hash:
                self._add_up(row, committed)
        except Refusal as refusal:
            log.warning("sums_not_kept", request=to_hex(request), code=refusal.code)
        except Exception as fault:  # nor the sums of the next request
            log.warning("sums_not_kept", request=to_hex(request), kind=type(fault).__name__)

    def _add_up(self, row: NoisedRow, committed: CommittedNoise) -> NoisedRow:
        """The sums as of the block with everybody's commitments, and the root over what counted."""
        request = row.request
        cohort, view = self._chain.sealed_cohort(request), self._chain.request(request)
        require_same_seal(view, cohort)
        found = self.requests.asked(view, request, row.parameters)
        used = self._used(cohort, committed)
        commitments = [each.commitment for each in used if each.usable]
        key = self._joint_shares.of(view.epoch).public_key.to_bytes()
        self._require_held(view.epoch, used, key)
        sums = self._tallies.sums(cohort.dataset, key, commitments, found.forms)
        # Again: what was erased meanwhile never comes back, so that none was missing in between.
        self._require_held(view.epoch, used, key)
        root = ciphertext_root([Commitment(each.commitment) for each in used])
        self._require_known(cohort, committed)
        return self._noises.keep_sums(
            request, committed.block, committed.block_hash, root, sums_to_bytes(sums)
        )

    def _used(self, cohort: Cohort, committed: CommittedNoise) -> Sequence[Stored]:
        with self._chain.pinned(committed.block):
            return counted(self._chain, cohort, committed.block)

    def _missing(self, used: Sequence[Stored], key: bytes) -> list[bytes]:
        return self._tallies.missing([each.commitment for each in used if each.usable], key)

    def _require_known(self, cohort: Cohort, committed: CommittedNoise) -> None:
        self._chain.require_same_block(cohort.seal_block, cohort.seal_block_hash)
        self._chain.require_same_block(committed.block, committed.block_hash)

    def _require_held(self, epoch: int, used: Sequence[Stored], key: bytes) -> None:
        """Every record that counts is here: a sum without one would be another than the others'."""
        missing = self._missing(used, key)
        if not missing:
            return
        self._succession.require_finished(epoch)
        raise TurnRefused(
            code="records_missing",
            message=f"This custodian lacks {len(missing)} of the records that count.",
            remedy="Bring it their parts, then ask again; the others answer without it.",
            facts={"commitments": [to_hex(each) for each in missing]},
        )
