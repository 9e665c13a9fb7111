"""What patients can always do: their signed revocations and erasures, put on chain at a custodian's cost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.chain.allowance import (
    REVOCATIONS_WITHOUT_CONSENT,
    SENT_NOTHING,
    Key,
    UnderWay,
    day_now,
    enough_revoked,
    failed_on_chain,
    failure_kind,
    under_way,
    wallet_failed,
)
from marketplace.chain.consents import nothing_to_erase, nothing_to_revoke, stands
from marketplace.chain.outcome import Receipt
from marketplace.chain.rpc import BlockName
from marketplace.chain.sender import Sender
from marketplace.chain.views import ConsentState, Record
from marketplace.chain.wallets import Signers, signed_by_key
from marketplace.custodian.failures import Failures
from marketplace.errors import Refusal
from marketplace.wire.http import to_hex
from marketplace.wire.structs import Erasure, Revocation

REGISTRY = "ConsentRegistry"


@dataclass
class Tally:
    """How many were carried today. Safe for threads.

    In memory, not in the journal: a restart, which nobody outside can cause, gives each patient a few more.
    It holds a day's entries, each of which this account paid a transaction for, so its gas bounds its size.
    """

    _day: int = 0
    _counts: dict[Key, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, day: int, key: Key, most: int) -> bool:
        """Counts one more, or returns False where there were so many."""
        with self._lock:
            if day != self._day:
                self._day, self._counts = day, {}
            if self._counts.get(key, 0) >= most:
                return False
            self._counts[key] = self._counts.get(key, 0) + 1
            return True

    def give_back(self, day: int, key: Key) -> None:
        """Takes one back: nothing was sent for it."""
        with self._lock:
            if day == self._day and key in self._counts:
                self._counts[key] -= 1


@dataclass(frozen=True)
class Carried:
    """A message, who is said to have signed it, and the call that it becomes."""

    struct: Revocation | Erasure
    signer: str
    signature: bytes

    @property
    def call(self) -> tuple[Any, ...]:
        """Contract, function, arguments."""
        if isinstance(self.struct, Erasure):
            return REGISTRY, "eraseBySig", self.struct, self.signature
        return REGISTRY, "revokeBySig", self.struct, self.signer, self.signature

    @property
    def failing(self) -> Key:
        """What a failure on chain counts for: the patient's own wallet, or a guardian's."""
        kind = failure_kind(self.signer, self.struct.patient)
        return kind, to_hex(self.struct.dataset), self.struct.patient


@dataclass
class Relaying:
    """Carries revocations and erasures. `sender` makes one for the account that pays.

    Nothing is held for a message before a rehearsal has judged its signature: else anybody could keep out a
    wallet's, whose signatures only the chain can judge, or a key's with an old one of its own.
    """

    chain: Chain
    sender: Callable[[], Sender]
    failures: Failures
    _tally: Tally = field(default_factory=Tally)
    _under_way: UnderWay = field(default_factory=UnderWay)

    def revocation(self, revocation: Revocation, signer: str, signature: bytes) -> dict[str, Any]:
        """Always carried where it ends a consent that stands; otherwise a few times a day.

        Raises:
            BadSignature, ContractRefusal, NodeUnreachable; Refusal (nothing_to_revoke, moved, under_way,
            enough_revoked, wallet_failed, insufficient_funds).
        """
        message = Carried(revocation, signer, signature)
        self._require_signed(message)
        _require(nothing_to_revoke(self.chain, revocation))
        _require(self._moved(revocation))
        self._require_taken(message)
        said, patient = (revocation, signer), (revocation.dataset, revocation.patient)
        with self._under_way.entering({said, patient}) as mine:
            if said not in mine:
                raise under_way()
            if patient in mine and stands(self.chain.consent_of(*patient).state):
                return self._sent(message)
            return self._counted(message)

    def _moved(self, revocation: Revocation) -> Refusal | None:
        """The contract takes it and changes nothing: carried, it would look like a consent that ended."""
        consent = self.chain.consent_of(revocation.dataset, revocation.patient)
        if consent.state is not ConsentState.MOVED:
            return None
        return Refusal(
            code="moved",
            message="This address was left for another: record and consent moved there and go on. "
            "To end the consent, stop it at the new address.",
            remedy="Sign with the key of the new address. Here nothing is left to end.",
            field="revocation.patient",
        )

    def _counted(self, message: Carried) -> dict[str, Any]:
        """It only ends grants that may be held back. Counted once the chain is known to take it, so that
        nobody else's messages use up a patient's number."""
        self.sender().rehearse(*message.call)  # again: another one may just have been carried
        struct = message.struct
        kind = "revocation" if message.signer == struct.patient else "guardian_revocation"
        day, key = day_now(), (kind, to_hex(struct.dataset), struct.patient)
        if not self._tally.take(day, key, REVOCATIONS_WITHOUT_CONSENT):
            raise enough_revoked()
        try:
            return self._sent(message)
        except Refusal as refusal:
            if refusal.code in SENT_NOTHING:
                self._tally.give_back(day, key)
            raise

    def erasure(self, erasure: Erasure, signature: bytes) -> dict[str, Any]:
        """Carried where there is something to erase: its signature stays good, and anybody can read it.

        Raises:
            BadSignature, ContractRefusal, NodeUnreachable; Refusal (nothing_to_erase, already_erased,
            erased_for_good, under_way, wallet_failed, insufficient_funds).
        """
        message = Carried(erasure, erasure.patient, signature)
        self._require_signed(message)
        _require(self._not_to_erase(erasure))
        self._require_taken(message)
        with self._under_way.entering({erasure}) as mine:
            if erasure not in mine:
                raise under_way()
            _require(self._not_to_erase(erasure))  # again: it may just have been carried
            return self._sent(message)

    def _not_to_erase(self, erasure: Erasure) -> Refusal | None:
        """Where the registry itself has it as erased, that is said: a patient counts on no less.

        A node that is behind has nothing to erase either, for it has not seen the record yet.
        """
        nothing = nothing_to_erase(self.chain, erasure)
        if nothing is None or not self._is_erased(erasure, "latest"):
            return nothing
        return _erased(is_final=self._is_erased(erasure, self.chain.finalized()))

    def _is_erased(self, erasure: Erasure, block: BlockName) -> bool:
        record = self.chain.record_of(erasure.dataset, erasure.patient, block)
        return _has_nothing(record) and record.erased and record.version >= erasure.version

    def _require_signed(self, message: Carried) -> None:
        domain, signers = self.chain.domain(REGISTRY), Signers(self.chain.node)
        _require(signers.forged(message.struct, domain, message.signature, message.signer))

    def _require_taken(self, message: Carried) -> None:
        """The chain would take it, and it is not of a wallet whose yes proved worthless today."""
        if self.failures.are_enough(message.failing) and self._is_a_wallets(message):
            raise wallet_failed()
        self.sender().rehearse(*message.call)

    def _is_a_wallets(self, message: Carried) -> bool:
        domain = self.chain.domain(REGISTRY)
        return not signed_by_key(message.struct, domain, message.signature, message.signer)

    def _sent(self, message: Carried) -> dict[str, Any]:
        try:
            return _told(self.sender().send(*message.call))
        except Refusal as refusal:
            if failed_on_chain(refusal) and self._is_a_wallets(message):
                self.failures.add(message.failing)
            raise


def _require(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise refusal


def _has_nothing(record: Record) -> bool:
    return not any(record.commitment) and not any(record.pending)


def _erased(*, is_final: bool) -> Refusal:
    """The code says whether a later block may still take it back: pages read it."""
    until = "for good" if is_final else "in a block that is not final yet"
    then = "has been destroyed or is next" if is_final else "is destroyed as soon as it is final"
    return Refusal(
        code="erased_for_good" if is_final else "already_erased",
        message=f"By this custodian's own view of the chain this record is erased, {until}.",
        remedy=f"Nothing is left to send. This custodian's share {then}.",
        field="erasure.patient",
    )


def _told(receipt: Receipt) -> dict[str, Any]:
    return {"transaction": to_hex(receipt.transaction), "block": receipt.block}
