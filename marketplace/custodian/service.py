"""What a custodian does when asked: keep a share, turn, sign a settlement, relay a patient's stop."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.chain.sender import Sender
from marketplace.custodian.checks import (
    Rules,
    SealedRequest,
    TurnRefused,
    sealed_request,
    still_usable,
)
from marketplace.custodian.journal import Head, Journal
from marketplace.custodian.keys import Keys
from marketplace.custodian.models import SettlementRow, TurnRow
from marketplace.custodian.vault import Deposit, Seat, Vault, receipt_of
from marketplace.custodian.watch import Watch
from marketplace.errors import Refusal
from marketplace.vocabulary import CohortRoot, CustodianIndex, Epoch, RequestId
from marketplace.wire.delivery import delivery_hash
from marketplace.wire.feldman import Share
from marketplace.wire.http import problem_document, to_base64, to_hex
from marketplace.wire.structs import (
    SETTLEMENT_SCHEMA,
    VAULT,
    Erasure,
    JournalHead,
    Revocation,
    Settlement,
    TurnCertificate,
    require_signed,
    sign,
)
from marketplace.wire.turn import TurnContext, seal_turn

LOCKS = 64
"""One turn at a time for a request; a fixed number, so that strangers' ids cost no memory."""


class Equivocation(Refusal):
    """A second, different turn or settlement for one request."""

    CODE = "equivocation"


class Custodian:
    """One custodian over its own chain view, journal and keys. Safe for threads."""

    def __init__(self, chain: Chain, journal: Journal, keys: Keys, rules: Rules) -> None:
        self.chain = chain
        self.journal = journal
        self.keys = keys
        self.rules = rules
        self.vault = Vault(chain, journal, keys, rules.place)
        self.watch = Watch(chain, journal)
        self._turning = [threading.Lock() for _ in range(LOCKS)]
        self._sending = threading.Lock()

    # --- readiness

    def require_current(self) -> None:
        """The node is healthy, the journal is not behind its anchor, every erasure is taken in.

        Raises:
            JournalBehind; NodeUnreachable, WrongChain, StaleHead, ...
        """
        self.chain.require_healthy()
        self.journal.require_reaches(*self.chain.journal_of(self.keys.signer.address))
        self.watch.catch_up()

    def reasons(self) -> list[str]:
        """Codes of what keeps this custodian from working; empty when ready."""
        try:
            self.require_current()
        except Refusal as refusal:
            return [refusal.code]
        return []

    # --- shares

    def take_share(self, offered: Deposit) -> dict[str, Any]:
        """Keeps one share and answers with the signed storage receipt; see `Vault.deposit`."""
        self.require_current()
        return self._keep(offered, self.vault.seat())

    def take_shares(self, offered: Sequence[Deposit | Refusal]) -> list[dict[str, Any]]:
        """Keeps shares; answers each with its signed storage receipt, or with why not, in order.

        Raises:
            As `require_current`; nothing was looked at then.
        """
        self.require_current()
        seat = self.vault.seat()
        return [self._take_one(each, seat) for each in offered]

    def _take_one(self, offered: Deposit | Refusal, seat: Seat) -> dict[str, Any]:
        try:
            if isinstance(offered, Refusal):
                raise offered
            return self._keep(offered, seat)
        except Refusal as refusal:
            return problem_document(refusal)

    def _keep(self, offered: Deposit, seat: Seat) -> dict[str, Any]:
        signature = self.vault.deposit(offered, seat)
        return {
            "receipt": receipt_of(offered).to_json(),
            "place": self.rules.place,
            "signature": to_hex(signature),
        }

    # --- turns

    def turn(self, request: bytes) -> dict[str, Any]:
        """Releases this custodian's shares for one sealed request, to the recorded gate key.

        On disk before it is answered; asked again, the same bytes.

        Raises:
            TurnRefused, Equivocation, JournalBehind, Refusal (storage_full) and what
            `sealed_request` raises. Nothing was released then.
        """
        with self._turning[request[-1] % LOCKS]:
            self.require_current()
            sealed = sealed_request(self.chain, request, self.rules)
            row = self.journal.turn(request)
            if row is None:
                row = self._turn_first(request, sealed)
            self._require_same(row, sealed)
            return self._turn_answer(row)

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
        with self.journal.writing() as session:
            body = {
                "request": to_hex(request),
                "root": to_hex(view.root),
                "gate_key": to_hex(view.gate_key),
                "envelope": to_hex(delivery_hash(envelope)),
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
            )
            session.add(row)
        return row

    def _shares(self, sealed: SealedRequest) -> list[Share | None]:
        """In cohort order; None for a record not held, erased or suspended."""
        rows = self.journal.shares(sealed.commitments)
        holders = [
            rows[each.commitment].holder if each.commitment in rows else each.patient
            for each in sealed.stored
        ]
        usable = still_usable(self.chain, sealed.cohort.dataset, sealed.stored, holders)
        return [
            self.vault.unlock(rows[each.commitment])
            if open_now and each.commitment in rows
            else None
            for each, open_now in zip(sealed.stored, usable, strict=True)
        ]

    def _require_same(self, row: TurnRow, sealed: SealedRequest) -> None:
        view = sealed.view
        if (row.root, row.gate_key, row.epoch) != (view.root, view.gate_key, view.epoch):
            raise Equivocation(
                message="This request was turned for another root or gate key.",
                remedy="A turn happens once per request; look for a reorganisation or a lying node.",
            )

    def _turn_answer(self, row: TurnRow) -> dict[str, Any]:
        if row.envelope is None:
            raise TurnRefused(
                code="request_ended",
                message="This request has ended, and its envelope was destroyed.",
                remedy="Nothing is left to turn.",
            )
        return {
            "place": self.rules.place,
            "epoch": row.epoch,
            "envelope": to_base64(row.envelope),
            "signature": to_hex(row.signature),
            "journal": {
                "height": row.journal_height,
                "head": to_hex(row.journal_head),
                "signature": to_hex(row.journal_signature),
            },
        }

    def _sign_head(self, epoch: int, head: Head) -> bytes:
        struct = JournalHead(epoch, self.rules.place, head.height, head.hash)
        return sign(struct, self.chain.domain("CustodianCommittee"), self.keys.signer.secret)

    # --- settlements

    def settle(
        self, settlement: Settlement, sealed_result: bytes, gate_signature: bytes
    ) -> dict[str, Any]:
        """Signs the one settlement of a request that this custodian turned for.

        Raises:
            TurnRefused (not-turned, settlement-mismatch with `field`), BadSignature (gate's),
            Equivocation: another settlement of this request was signed before.
        """
        request = settlement.request
        with self._turning[request[-1] % LOCKS]:
            self.require_current()
            digest = settlement.digest(self.chain.domain("ResearchMarket"))
            signed = self.journal.settlement(request)
            if signed is None:
                self._require_settlement(settlement, sealed_result, gate_signature)
                signed = self._sign_settlement(settlement, digest)
            if signed.digest != digest:
                raise Equivocation(
                    message="Another settlement of this request was signed before.",
                    remedy="Settle with that one: a gate has one answer for a request, for ever.",
                )
            return {"place": self.rules.place, "signature": to_hex(signed.signature)}

    def _require_settlement(
        self, settlement: Settlement, sealed_result: bytes, gate_signature: bytes
    ) -> None:
        if self.journal.turn(settlement.request) is None:
            raise TurnRefused(
                code="not_turned",
                message="This custodian did not turn its key for this request.",
                remedy="Ask it to turn first, or settle with those that did.",
            )
        sealed = sealed_request(self.chain, settlement.request, self.rules)
        expected = Settlement(
            request=settlement.request,
            root=sealed.view.root,
            epoch=sealed.view.epoch,
            lane=VAULT,
            schema=SETTLEMENT_SCHEMA,
            ciphertext_root=sealed.ciphertext_root,
            noise=bytes(32),
            result_hash=settlement.result_hash,
            delivery_hash=delivery_hash(sealed_result),
            gate=sealed.view.gate,
        )
        require_equal(settlement, expected)
        market = self.chain.domain("ResearchMarket")
        require_signed(settlement, market, gate_signature, sealed.view.gate)

    def _sign_settlement(self, settlement: Settlement, digest: bytes) -> SettlementRow:
        market = self.chain.domain("ResearchMarket")
        row = SettlementRow(
            request=settlement.request,
            digest=digest,
            signature=sign(settlement, market, self.keys.signer.secret),
        )
        with self.journal.writing() as session:
            session.add(row)
            body = {"request": to_hex(settlement.request), "digest": to_hex(digest)}
            self.journal.append(session, "settled", body)
        return row

    # --- what patients can always do

    def relay_revocation(
        self, revocation: Revocation, signer: str, signature: bytes
    ) -> dict[str, Any]:
        """Puts a signed revocation on chain, paid by this custodian; also when it is not ready.

        Raises:
            ContractRefusal, NodeUnreachable; Refusal (insufficient_funds).
        """
        return self._relay("revokeBySig", revocation, signer, signature)

    def relay_erasure(self, erasure: Erasure, signature: bytes) -> dict[str, Any]:
        """As `relay_revocation`, for a signed erasure."""
        return self._relay("eraseBySig", erasure, signature)

    def _relay(self, function: str, *arguments: Any) -> dict[str, Any]:
        receipt = self._sender().send("ConsentRegistry", function, *arguments)
        return {"transaction": to_hex(receipt.transaction), "block": receipt.block}

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
        return Sender(self.chain, self.keys.relay.secret)


def require_equal(given: Settlement, expected: Settlement) -> None:
    """Raises TurnRefused, naming the first field that is not what the chain and the bytes say."""
    mine = expected.to_json()
    for name, value in given.to_json().items():
        if mine[name] != value:
            raise TurnRefused(
                code="settlement_mismatch",
                message=f"The settlement's {name} is not what this custodian finds.",
                remedy="Settle what was computed for the sealed request, unchanged.",
                field=name,
            )
