"""A custodian's partial decryption of one request's noised sums.

The sums are this custodian's own: of the sealed cohort as its own node derives it, over columns that it has
verified itself. What it decrypts carries all of the noise that the chain fixed, and nothing else is ever
decrypted for the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import structlog

from marketplace.chain.adapter import Chain, Cohort, NotYetFinal, RequestStage, Stored
from marketplace.chain.cohort import require_same_seal
from marketplace.chain.counted import FixedNoise, counted, fixed_noise
from marketplace.custodian.checks import Rules, TurnRefused
from marketplace.custodian.joint_shares import JointShares
from marketplace.custodian.journal import Head, Journal
from marketplace.custodian.keys import Keys
from marketplace.custodian.models import NoisedRow, TurnRow
from marketplace.custodian.noises import Noises
from marketplace.custodian.noising import Live, Noising, noise_set
from marketplace.custodian.succession import Succession
from marketplace.custodian.tallies import Tallies
from marketplace.custodian.turns import Equivocation
from marketplace.errors import Refusal
from marketplace.vocabulary import Commitment
from marketplace.wire.delivery import ciphertext_root, delivery_hash
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.outcomes import Act
from marketplace.wire.structs import JournalHead, TurnCertificate, sign
from marketplace.wire.tallying import noised
from ml.homomorphic.threshold import Sum, decrypt_partially, sums_from_bytes, sums_to_bytes

ENDED: Final = frozenset({RequestStage.SETTLED, RequestStage.DEFAULTED})
"""What a sealed request can become."""

log = structlog.get_logger()


class Decrypting:
    """One custodian's turns in the homomorphic lane. Callers see to it that one thread works on a request."""

    def __init__(
        self,
        chain: Chain,
        journal: Journal,
        keys: Keys,
        rules: Rules,
        tallies: Tallies,
        joint_shares: JointShares,
        succession: Succession,
    ) -> None:
        self._chain = chain
        self._journal = journal
        self._keys = keys
        self._rules = rules
        self._tallies = tallies
        self._joint_shares = joint_shares
        self._succession = succession
        self._noises = Noises(journal)
        self.noising = Noising(chain, self._noises, keys, rules, tallies, joint_shares)

    # --- sums

    def keep_sums(self) -> None:
        """Adds up what live requests count, before anything erased since is destroyed here. Never raises.

        An erasure after the block that fixed a request's noise comes too late for that answer; before it,
        the record is not counted. Either way every custodian has the same sums, however late it looks.
        """
        try:
            for request in self._noises.unsummed():
                self._keep_sums_of(request)
        except Exception as fault:  # nothing may hold an erasure back
            log.warning("sums_not_kept", kind=type(fault).__name__)

    def _keep_sums_of(self, request: bytes) -> None:
        try:
            row = self._noises.of(request)
            fixed = None if row is None else fixed_noise(self._chain, request, row.seal_block)
            if row is not None and fixed is not None:
                self._add_up(row, fixed)
        except Refusal as refusal:
            log.warning("sums_not_kept", request=to_hex(request), code=refusal.code)

    def _add_up(self, row: NoisedRow, fixed: FixedNoise) -> tuple[list[Sum], bytes]:
        """The sums as of the block that fixed the noise, and the root over the commitments that counted."""
        request = row.request
        cohort, view = self._chain.sealed_cohort(request), self._chain.request(request)
        require_same_seal(view, cohort)
        found = self.noising.asked(view, request, row.parameters)
        with self._chain.pinned(fixed.block):
            used = counted(self._chain, cohort, fixed.block)
        commitments = [each.commitment for each in used if each.usable]
        key = self._joint_shares.of(view.epoch).public_key.to_bytes()
        self._require_held(view.epoch, used, key)
        sums = self._tallies.sums(cohort.dataset, key, commitments, found.forms)
        # Again: what was erased meanwhile never comes back, so that none was missing in between.
        self._require_held(view.epoch, used, key)
        root = ciphertext_root([Commitment(each.commitment) for each in used])
        self._require_known(cohort, fixed)
        kept = self._noises.keep_sums(
            request, fixed.block, fixed.block_hash, root, sums_to_bytes(sums)
        )
        return sums_from_bytes(kept.sums or b""), kept.ciphertext_root or b""

    def _require_known(self, cohort: Cohort, fixed: FixedNoise) -> None:
        self._chain.require_same_block(cohort.seal_block, cohort.seal_block_hash)
        self._chain.require_same_block(fixed.block, fixed.block_hash)

    def _require_held(self, epoch: int, used: Sequence[Stored], key: bytes) -> None:
        """Every record that counts is here: a sum without one would be another than the others'."""
        missing = self._tallies.missing([each.commitment for each in used if each.usable], key)
        if not missing:
            return
        self._succession.require_finished(epoch)
        raise TurnRefused(
            code="records_missing",
            message=f"This custodian lacks {len(missing)} of the records that count.",
            remedy="Bring it their parts, then ask again; the others answer without it.",
            facts={"commitments": [to_hex(each) for each in missing]},
        )

    # --- partial decryptions

    def partial(self, request: bytes, act: Act) -> dict[str, Any]:
        """This custodian's part of the answer, once a request, and for ever the same bytes.

        Raises:
            NotYetFinal: the noise is not fixed in a final block. Equivocation: noise at this place is not its
            own. TurnRefused: not_committed, noise_missing, records_missing; NoJointShare.
        """
        live = self.noising.live(request)
        fixed = self.final_noise(live)
        if live.row.partial is None:
            self._decrypt(live, fixed)
            act.done("turned")
            live = self.noising.live(request)
        return self._document(live, fixed)

    def _decrypt(self, live: Live, fixed: FixedNoise) -> None:
        self._require_own(live, fixed)
        self.noising.require_held(live.row.request, fixed.places)
        sums, root = self._sums(live, fixed)
        whole = self.noised(live, fixed, sums)
        aggregate = live.question.session.aggregate(root, fixed.noise, whole)
        share = self._joint_shares.of(live.view.epoch)
        context = live.question.session.partial(self._rules.place, aggregate)
        made = decrypt_partially(share.value, whole, live.question.recipient, context)
        self._keep(live, aggregate, made.to_bytes())

    def noised(self, live: Live, fixed: FixedNoise, sums: Sequence[Sum]) -> list[Sum]:
        """The sums with all of the noise that counts, every contribution of which is held here."""
        request, places = live.row.request, fixed.places
        everyones = self._noises.contributions(request, places, len(places))
        return noised(sums, [everyones[place] for place in places])

    def final_noise(self, live: Live) -> FixedNoise:
        """The noise that counts. Raises NotYetFinal."""
        fixed = fixed_noise(self._chain, live.row.request, live.row.seal_block)
        if fixed is None or fixed.block > self._chain.finalized():
            raise NotYetFinal(
                message="Whose noise counts for this request is not fixed in a final block yet.",
                remedy="Have a quorum agree and bring that on chain; then ask again.",
            )
        return fixed

    def _require_own(self, live: Live, fixed: FixedNoise) -> None:
        """The fixed set is of the commitments on chain, and what is at this place is what was drawn here."""
        commitments = self._chain.noise_commitments(live.row.request, self._chain.finalized())
        if self._rules.place not in fixed.places:
            # With its own noise in them, no sums are ever opened bare, whatever a lying node shows.
            raise TurnRefused(
                code="not_in_set",
                message="This custodian's own noise does not count for this request.",
                remedy="Ask those whose noise does: they are a quorum.",
            )
        chosen = {place: commitments.get(place, bytes(32)) for place in fixed.places}
        if noise_set(self._chain, live, chosen).noise != fixed.noise:
            raise Equivocation(
                message="The noise that the chain fixed is not made of the commitments on chain.",
                remedy="Look for a reorganisation or a lying node; nothing was decrypted.",
            )
        if chosen.get(self._rules.place, live.row.commitment) != live.row.commitment:
            raise Equivocation(
                message="The chain has another noise commitment at this custodian's place.",
                remedy="Its journal may be an old copy; the others answer without it.",
            )

    def _sums(self, live: Live, fixed: FixedNoise) -> tuple[list[Sum], bytes]:
        row = live.row
        if row.sums is not None and row.noise_block_hash == fixed.block_hash:
            if row.ciphertext_root is None:
                raise TypeError("sums are kept with the root over what was added")
            return sums_from_bytes(row.sums), row.ciphertext_root
        return self._add_up(row, fixed)

    def _keep(self, live: Live, aggregate: bytes, partial: bytes) -> None:
        """Partial, certificate and journal entry, in one transaction."""
        row = live.row
        certificate = TurnCertificate(row.request, row.root, row.epoch)
        market = self._chain.domain("ResearchMarket")
        with self._journal.writing() as session:
            body = {
                "request": to_hex(row.request),
                "root": to_hex(row.root),
                "aggregate": to_hex(aggregate),
                "partial": to_hex(delivery_hash(partial)),
                "seal_block_hash": to_hex(row.seal_block_hash),
            }
            head = self._journal.append(session, "tallied", body)
            kept = session.get_one(NoisedRow, row.request)
            kept.aggregate, kept.partial = aggregate, partial
            session.add(
                TurnRow(
                    request=row.request,
                    root=row.root,
                    epoch=row.epoch,
                    gate_key=bytes(32),
                    envelope=None,
                    signature=sign(certificate, market, self._keys.signer.secret),
                    journal_height=head.height,
                    journal_head=head.hash,
                    journal_signature=self._sign_head(row.epoch, head),
                    seal_block=row.seal_block,
                    seal_block_hash=row.seal_block_hash,
                )
            )

    def _sign_head(self, epoch: int, head: Head) -> bytes:
        struct = JournalHead(epoch, self._rules.place, head.height, head.hash)
        return sign(struct, self._chain.domain("CustodianCommittee"), self._keys.signer.secret)

    def _document(self, live: Live, fixed: FixedNoise) -> dict[str, Any]:
        row, turn = live.row, self._journal.turn(live.row.request)
        if turn is None or row.sums is None or row.partial is None or row.ciphertext_root is None:
            raise TypeError("a partial is kept with its sums and certificate")
        whole = self.noised(live, fixed, sums_from_bytes(row.sums))
        return {
            "place": self._rules.place,
            "epoch": row.epoch,
            "ciphertext_root": to_hex(row.ciphertext_root),
            "noised": to_base64(sums_to_bytes(whole)),
            "partial": to_base64(row.partial),
            "signature": to_hex(turn.signature),
            "journal": {
                "height": turn.journal_height,
                "head": to_hex(turn.journal_head),
                "signature": to_hex(turn.journal_signature),
            },
        }

    # --- afterwards

    def drop_ended(self) -> None:
        """Forgets noise, sums and partials of requests that ended, in a final block.

        A node that lags, and shows a request as it was before its seal, ends nothing.
        """
        for request in self._noises.live():
            view = self._chain.request(request, self._chain.finalized())
            late = view.stage is RequestStage.SEALED and self._chain.now() > view.settle_deadline
            if late or view.stage in ENDED:
                self._noises.end(request)
