"""What a custodian does when asked: keep a share, turn, sign a settlement, relay a patient's stop."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from marketplace.chain.adapter import Chain, NotSealed
from marketplace.chain.sender import Sender
from marketplace.custodian.checks import (
    Rules,
    SealedRequest,
    sealed_request,
    still_sealed,
    turnable,
)
from marketplace.custodian.cohort_shares import cohort_shares
from marketplace.custodian.decrypting import Decrypting
from marketplace.custodian.deposits import Deposits
from marketplace.custodian.failures import Failures
from marketplace.custodian.finality import FinalityWatch
from marketplace.custodian.joint_shares import JointShares
from marketplace.custodian.journal import Head, Journal
from marketplace.custodian.keygen import Keygen
from marketplace.custodian.keys import Keys
from marketplace.custodian.means import Means
from marketplace.custodian.models import TurnRow
from marketplace.custodian.noises import Noises
from marketplace.custodian.refusals import Refusals
from marketplace.custodian.relaying import Relaying
from marketplace.custodian.restoring import Restoring
from marketplace.custodian.settling import mismatch, require_answer, sign_first
from marketplace.custodian.signing import Signing
from marketplace.custodian.succession import Succession
from marketplace.custodian.tallies import Tallies
from marketplace.custodian.tally_lane import TallyLane
from marketplace.custodian.turns import Equivocation, require_same, seal_of, turn_document
from marketplace.custodian.vault import Deposit, Vault
from marketplace.custodian.watch import Watch
from marketplace.errors import Refusal
from marketplace.vocabulary import CohortRoot, CustodianIndex, Epoch, RequestId
from marketplace.wire.custody import Handover
from marketplace.wire.delivery import delivery_hash
from marketplace.wire.feldman import Share
from marketplace.wire.http import to_hex
from marketplace.wire.outcomes import Act, Outcomes
from marketplace.wire.structs import (
    Erasure,
    JournalHead,
    Revocation,
    Settlement,
    TurnCertificate,
    sign,
)
from marketplace.wire.turn import TurnContext, seal_turn

LOCKS = 64
"""One turn at a time for a request; a fixed number, so that strangers' ids cost no memory."""


class Custodian:
    """One custodian over its own chain view, journal and keys. Safe for threads."""

    def __init__(
        self, chain: Chain, journal: Journal, keys: Keys, rules: Rules, data: Path
    ) -> None:
        self.chain = chain
        self.journal = journal
        self.keys = keys
        self.rules = rules
        self.data = data
        self.tallies = Tallies(chain, journal, data)
        self.vault = Vault(chain, journal, keys, rules.place, self.tallies)
        self.deposits = Deposits(self.vault, self.tallies)
        self.restoring = Restoring(journal, self.vault, self.tallies, self.require_current)
        self.finality = FinalityWatch(chain, journal)
        self.joint_shares = JointShares(chain, journal, keys, rules.place)
        self.keygen = Keygen(chain, journal, keys, self.joint_shares, rules.place, data)
        self.succession = Succession(chain, journal, rules.place, keys.signer.address)
        own = (chain, journal, keys, rules, self.tallies, self.joint_shares, self.succession)
        means = Means(*own, Noises(journal))
        self.decrypting = Decrypting(means)
        signing = Signing(means, self.decrypting)
        answering = (self.decrypting, signing, self.require_current, Refusals(chain, journal))
        self.tally_lane = TallyLane(chain, rules, self.finality, *answering)
        self.watch = Watch(chain, journal, self.tallies, self.decrypting, self.keygen)
        self._turning = [threading.Lock() for _ in range(LOCKS)]
        self._sending = threading.Lock()
        self._relaying = Relaying(chain, self._sender, Failures(journal))
        self._outcomes = Outcomes("marketplace.custodian")

    # --- readiness

    def require_current(self) -> None:
        """The node is healthy and kept what was final; the journal is not behind its anchor; every erasure is
        taken in.

        Raises:
            FinalityViolated, JournalBehind; NodeUnreachable, WrongChain, StaleHead, ...
        """
        self.chain.require_healthy()
        self.finality.require_kept()
        self.journal.require_reaches(*self.chain.journal_of(self.keys.signer.address))
        self.watch.catch_up()

    def reasons(self) -> list[str]:
        """Codes of what keeps this custodian from working; empty when ready."""
        try:
            self.require_current()
            self._require_taken_over()
        except Refusal as refusal:
            return [refusal.code]
        return []

    def _require_taken_over(self) -> None:
        """Where this custodian sits in the current epoch: its predecessor's shares are here."""
        epoch = int(self.chain.current_epoch())
        if self.chain.signer_of(epoch, self.rules.place) == self.keys.signer.address:
            self.succession.require_finished(epoch)

    # --- shares

    def take_share(self, offered: Deposit) -> dict[str, Any]:
        """Keeps one share, and the record's tally; see `Deposits.take`, which raises."""
        self.require_current()
        return self.deposits.take(offered)

    def take_shares(self, offered: Sequence[Deposit | Refusal]) -> list[dict[str, Any]]:
        """Keeps shares; answers each with its signed storage receipt, or with why not, in order.

        Raises:
            As `require_current`; nothing was looked at then.
        """
        self.require_current()
        return self.deposits.take_all(offered)

    def take_dictionary(self, raw: bytes) -> dict[str, Any]:
        """Keeps the dictionary of a dataset on chain, by whose encoding its records' tallies are verified.

        Raises:
            BadDictionary, MalformedJson; TallyRefused: no dataset has it.
        """
        self.require_current()
        return {"dictionary": to_hex(self.tallies.keep_dictionary(raw))}

    def take_handover(self, handover: Handover, signature: bytes) -> dict[str, Any]:
        """Takes the predecessor's word that all its shares came over; see `Succession.receive`."""
        self.require_current()
        return self.succession.receive(handover, signature)

    def take_keygen(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """This custodian's word in a round of a key generation; see `Keygen.answer`, which raises."""
        self.require_current()
        return self.keygen.answer(body)

    # --- turns

    def turn(self, request: bytes) -> dict[str, Any]:
        """Releases this custodian's shares for one sealed request, to the recorded gate key.

        On disk before it is answered; asked again, the same bytes, and no cohort is derived again.

        Raises:
            TurnRefused, Equivocation, JournalBehind, FinalityViolated, Refusal (storage_full) and what
            `sealed_request` raises. Nothing was released then.
        """
        with self._outcomes.of("turn", request) as act:
            return self._turned(request, act)

    def _turned(self, request: bytes, act: Act) -> dict[str, Any]:
        self._require_turnable(request)
        with self._turning[request[-1] % LOCKS]:
            self.require_current()
            row = self.journal.turn(request)
            seal = None if row is None else seal_of(row)
            if row is not None and seal is not None:
                require_same(row, still_sealed(self.chain, request, self.rules, seal))
                return turn_document(row, self.rules.place)
            sealed = sealed_request(self.chain, request, self.rules)
            if row is None:
                row = self._turn_first(request, sealed)
                act.done("turned")
            require_same(row, sealed.view)
            self._keep_seal(row, sealed)
            return turn_document(row, self.rules.place)

    def _require_turnable(self, request: bytes) -> None:
        """`turnable`: a few calls to the node, no lock, so that strangers' questions cost next to nothing."""
        self.finality.require_resolved()
        try:
            turnable(self.chain, request, self.rules)
        except NotSealed:
            if self.journal.turn(request) is not None:
                self.require_current()  # a seal that was final went away: that is to be noted
            raise

    def _turn_first(self, request: bytes, sealed: SealedRequest) -> TurnRow:
        view, signer = sealed.view, self.keys.signer.secret
        context = TurnContext(
            chain_id=self.chain.chain_id,
            market=self.chain.manifest.market,
            request=RequestId(request),
            root=CohortRoot(view.root),
            epoch=Epoch(view.epoch),
            index=CustodianIndex(self.vault.index),
            gate_key=view.gate_key,
        )
        envelope = seal_turn(self._shares(sealed), context)
        certificate = TurnCertificate(request, view.root, view.epoch)
        self.finality.require_kept()  # again: the node may have changed its chain meanwhile
        with self.journal.writing() as session:
            body = {
                "request": to_hex(request),
                "root": to_hex(view.root),
                "gate_key": to_hex(view.gate_key),
                "envelope": to_hex(delivery_hash(envelope)),
                "seal_block_hash": to_hex(sealed.cohort.seal_block_hash),
            }
            head = self.journal.append(session, "turned", body)
            row = TurnRow(
                request=request,
                root=view.root,
                epoch=view.epoch,
                gate_key=view.gate_key,
                envelope=envelope,
                signature=sign(certificate, self.chain.domain("ResearchMarket"), signer),
                journal_height=head.height,
                journal_head=head.hash,
                journal_signature=self._sign_head(view.epoch, head),
                seal_block=sealed.cohort.seal_block,
                seal_block_hash=sealed.cohort.seal_block_hash,
            )
            session.add(row)
        return row

    def _keep_seal(self, row: TurnRow, sealed: SealedRequest) -> None:
        """Of a turn whose seal's block went away and came back, or was never kept."""
        if row.seal_block_hash is None:
            cohort = sealed.cohort
            self.journal.keep_seal(row.request, cohort.seal_block, cohort.seal_block_hash)

    def _shares(self, sealed: SealedRequest) -> list[Share | None]:
        """In cohort order; see `cohort_shares`."""
        return cohort_shares(self.chain, self.journal, self.vault, self.succession, sealed)

    def _sign_head(self, epoch: int, head: Head) -> bytes:
        struct = JournalHead(epoch, self.rules.place, head.height, head.hash)
        return sign(struct, self.chain.domain("CustodianCommittee"), self.keys.signer.secret)

    # --- settlements

    def settle(
        self, settlement: Settlement, sealed_result: bytes, gate_signature: bytes
    ) -> dict[str, Any]:
        """Signs the one settlement of a request, for whoever shows the bytes that it delivers.

        Raises:
            TurnRefused (settlement_mismatch) for other bytes; else as `register`.
        """
        with self._outcomes.of("signature", settlement.request) as act:
            if delivery_hash(sealed_result) != settlement.delivery_hash:
                raise mismatch("deliveryHash")
            return self._registered(settlement, gate_signature, act)

    def register(self, settlement: Settlement, gate_signature: bytes) -> dict[str, Any]:
        """Notes and signs a gate's answer by its hashes: the first one is the only one, for ever.

        A gate lets its answer out only when a quorum has noted it. Two quorums share a custodian, so a
        gate that forgot its answer (restored from a backup) cannot let a second one out.

        Raises:
            TurnRefused (not_turned, settlement_mismatch with `field`), BadSignature (gate's),
            Equivocation: another answer to this request was noted before.
        """
        with self._outcomes.of("signature", settlement.request) as act:
            return self._registered(settlement, gate_signature, act)

    def _registered(
        self, settlement: Settlement, gate_signature: bytes, act: Act
    ) -> dict[str, Any]:
        request = settlement.request
        require_answer(self.chain, self.journal, settlement, gate_signature)
        with self._turning[request[-1] % LOCKS]:
            self.require_current()
            digest = settlement.digest(self.chain.domain("ResearchMarket"))
            signed = self.journal.settlement(request)
            if signed is None:
                signed = sign_first(
                    self.chain, self.journal, self.keys, self.rules, settlement, gate_signature
                )
                act.done("signed")
            if signed.digest != digest:
                raise Equivocation(
                    message="Another answer to this request was signed before.",
                    remedy="Settle with that one: a gate has one answer for a request, for ever.",
                )
            return {"place": self.rules.place, "signature": to_hex(signed.signature)}

    # --- what patients can always do

    def relay_revocation(
        self, revocation: Revocation, signer: str, signature: bytes
    ) -> dict[str, Any]:
        """Puts a signed revocation on chain, paid by this custodian; also when it is not ready.

        See `Relaying.revocation`, which raises.
        """
        return self._relaying.revocation(revocation, signer, signature)

    def relay_erasure(self, erasure: Erasure, signature: bytes) -> dict[str, Any]:
        """As `relay_revocation`, for a signed erasure."""
        return self._relaying.erasure(erasure, signature)

    # --- the journal on chain

    def anchor(self) -> bool:
        """Anchors the journal's head on chain, where it is above the anchored one."""
        head = self.journal.head()
        with self._sending:
            height, _ = self.chain.journal_of(self.keys.signer.address)
            if head.height <= height:
                return False
            epoch = self.chain.current_epoch()
            signature = self._sign_head(epoch, head)
            self._sender().send(
                "CustodianCommittee",
                "anchorJournal",
                epoch,
                self.rules.place,
                head.height,
                head.hash,
                signature,
            )
        return True

    def _sender(self) -> Sender:
        # At any fee: what a custodian relays ends consent, and nothing may hold that back.
        return Sender(self.chain, self.keys.relay.secret)
