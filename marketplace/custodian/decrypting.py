"""A custodian's partial decryption of one request's noised sums.

The sums are this custodian's own (`counting`): of the sealed cohort as its own node derives it, over columns
that it has verified itself, and every custodian whose noise counts has signed the same. What it decrypts
carries all of the noise that the chain fixed, and nothing else is ever decrypted for the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from marketplace.chain.adapter import NotYetFinal, RequestStage
from marketplace.chain.counted import FixedNoise, fixed_noise
from marketplace.custodian.checks import TurnRefused
from marketplace.custodian.counting import Counted, Counting
from marketplace.custodian.journal import Head
from marketplace.custodian.live import Live
from marketplace.custodian.means import Means
from marketplace.custodian.models import NoisedRow, TurnRow
from marketplace.custodian.noising import Noising, noise_set
from marketplace.custodian.turns import Equivocation
from marketplace.wire.delivery import delivery_hash
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.outcomes import Act
from marketplace.wire.structs import JournalHead, TurnCertificate, sign
from marketplace.wire.tallying import noised
from ml.homomorphic.threshold import Sum, decrypt_partially, sums_to_bytes

ENDED: Final = frozenset({RequestStage.SETTLED, RequestStage.DEFAULTED})
"""What a sealed request can become."""


class Decrypting:
    """One custodian's turns in the homomorphic lane. Callers see to it that one thread works on a request."""

    def __init__(self, means: Means) -> None:
        self._chain = means.chain
        self._journal = means.journal
        self._keys = means.keys
        self._rules = means.rules
        self._joint_shares = means.joint_shares
        self._noises = means.noises
        self.counting = Counting(means)
        self.requests = self.counting.requests
        self.noising = Noising(means, self.counting)

    # --- partial decryptions

    def partial(self, request: bytes, act: Act) -> dict[str, Any]:
        """This custodian's part of the answer, once a request, and for ever the same bytes.

        Raises:
            NotYetFinal: the noise is not fixed in a final block. Equivocation: noise at this place is not its
            own, or it said before that it adds up something else. TurnRefused: not_committed, not_in_set,
            noise_missing, not_anchored, records_missing; NoJointShare.
        """
        live = self.requests.find(request)
        fixed = self.final_noise(live)
        if live.row.partial is None:
            self._decrypt(live, fixed)
            act.done("turned")
            live = self.requests.find(request)
        return self._document(live, fixed, self.counting.own(live))

    def _decrypt(self, live: Live, fixed: FixedNoise) -> None:
        self._require_own(live, fixed)
        self.noising.require_held(live.row.request, fixed.places)
        self._require_anchored()
        counted = self.counting.own(live)  # last: nothing is added up for whoever cannot answer
        whole = self.noised(live, fixed, counted.sums)
        session = live.question.session
        aggregate = session.aggregate(counted.ciphertext_root, fixed.noise, whole)
        share = self._joint_shares.of(live.view.epoch)
        context = live.question.session.partial(self._rules.place, aggregate)
        made = decrypt_partially(share.value, whole, live.question.recipient, context)
        self._keep(live, aggregate, made.to_bytes())

    def noised(self, live: Live, fixed: FixedNoise, sums: Sequence[Sum]) -> list[Sum]:
        """The sums with all of the noise that counts, every contribution of which is held here."""
        request, places = live.row.request, fixed.places
        everyones = self._noises.held(request, places, len(places), self._rules.place)
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

    def _require_anchored(self) -> None:
        """Before its first partial, the journal is anchored in a final block: a copy of it from before cannot
        take the custodian's place unnoticed, and answer again as if it never had.
        """
        own = self._keys.signer.address
        height, _ = self._chain.journal_of(own, self._chain.finalized())
        if height == 0:
            raise TurnRefused(
                code="not_anchored",
                message="No final block has this custodian's journal anchored.",
                remedy="Bring its head on chain (POST /journal-heads, then anchorJournal), wait until that "
                "is final, then ask again.",
            )

    def head(self, request: bytes) -> dict[str, Any]:
        """This custodian's journal as it stands, signed: for its anchor.

        Raises:
            As `LiveRequests.find`.
        """
        epoch, head = self.requests.find(request).row.epoch, self._journal.head()
        return {
            "height": head.height,
            "head": to_hex(head.hash),
            "signature": to_hex(self._sign_head(epoch, head)),
        }

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

    def _document(self, live: Live, fixed: FixedNoise, counted: Counted) -> dict[str, Any]:
        row, turn = live.row, self._journal.turn(live.row.request)
        if turn is None or row.partial is None:
            raise TypeError("a partial is kept with its certificate")
        whole = self.noised(live, fixed, counted.sums)
        session = live.question.session
        if session.aggregate(counted.ciphertext_root, fixed.noise, whole) != row.aggregate:
            raise Equivocation(
                message="This custodian decrypted another aggregate than its journal has now.",
                remedy="Look for a reorganisation, or a journal that was changed; the others go on.",
            )
        return {
            "place": self._rules.place,
            "epoch": row.epoch,
            "ciphertext_root": to_hex(counted.ciphertext_root),
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

        Raises:
            StaleHead, WrongChain, ...: what the node shows, its clock too, is no word to forget anything on.
        """
        live = self._noises.live()
        if not live:
            return
        self._chain.require_healthy()
        for request in live:
            view = self._chain.request(request, self._chain.finalized())
            late = view.stage is RequestStage.SEALED and self._chain.now() > view.settle_deadline
            if late or view.stage in ENDED:
                self._noises.end(request)
