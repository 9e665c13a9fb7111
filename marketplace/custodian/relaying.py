"""What patients can always do: their signed revocations and erasures, put on chain at a custodian's cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.chain.allowance import (
    DAY_SECONDS,
    REVOCATIONS_WITHOUT_CONSENT,
    SENT_NOTHING,
    Key,
    UnderWay,
    enough_revoked,
    under_way,
)
from marketplace.chain.consents import nothing_to_erase, nothing_to_revoke, stands
from marketplace.chain.outcome import Receipt
from marketplace.chain.sender import Sender
from marketplace.chain.wallets import Signers
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


@dataclass
class Relaying:
    """Carries revocations and erasures. `sender` makes one for the account that pays."""

    chain: Chain
    sender: Callable[[], Sender]
    _tally: Tally = field(default_factory=Tally)
    _under_way: UnderWay = field(default_factory=UnderWay)

    def revocation(self, revocation: Revocation, signer: str, signature: bytes) -> dict[str, Any]:
        """Always carried where it ends a consent that stands; otherwise a few times a day.

        Raises:
            BadSignature, ContractRefusal, NodeUnreachable; Refusal (nothing_to_revoke, under_way,
            enough_revoked, insufficient_funds).
        """
        self._require_signed(revocation, signer, signature)
        _require(nothing_to_revoke(self.chain, revocation))
        said, patient = (revocation, signer), (revocation.dataset, revocation.patient)
        with self._under_way.entering({said, patient}) as mine:
            if said not in mine:
                raise under_way()
            if patient in mine and stands(self.chain.consent_of(*patient).state):
                return _told(
                    self.sender().send(REGISTRY, "revokeBySig", revocation, signer, signature)
                )
            return self._counted(revocation, signer, signature)

    def _counted(self, revocation: Revocation, signer: str, signature: bytes) -> dict[str, Any]:
        """It only ends grants that may be held back. Counted once the chain is known to take it, so that
        nobody else's messages use up a patient's number."""
        sender, call = self.sender(), (REGISTRY, "revokeBySig", revocation, signer, signature)
        sender.rehearse(*call)
        kind = "revocation" if signer == revocation.patient else "guardian_revocation"
        day, key = (
            int(time.time()) // DAY_SECONDS,
            (kind, to_hex(revocation.dataset), revocation.patient),
        )
        if not self._tally.take(day, key, REVOCATIONS_WITHOUT_CONSENT):
            raise enough_revoked()
        try:
            return _told(sender.send(*call))
        except Refusal as refusal:
            if refusal.code in SENT_NOTHING:
                self._tally.give_back(day, key)
            raise

    def erasure(self, erasure: Erasure, signature: bytes) -> dict[str, Any]:
        """Carried where there is something to erase: its signature stays good, and anybody can read it.

        Raises:
            BadSignature, ContractRefusal, NodeUnreachable; Refusal (nothing_to_erase, under_way,
            insufficient_funds).
        """
        self._require_signed(erasure, erasure.patient, signature)
        with self._under_way.entering({erasure}) as mine:
            if erasure not in mine:
                raise under_way()
            _require(nothing_to_erase(self.chain, erasure))
            return _told(self.sender().send(REGISTRY, "eraseBySig", erasure, signature))

    def _require_signed(self, struct: Revocation | Erasure, signer: str, signature: bytes) -> None:
        domain = self.chain.domain(REGISTRY)
        _require(Signers(self.chain.node).forged(struct, domain, signature, signer))


def _require(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise refusal


def _told(receipt: Receipt) -> dict[str, Any]:
    return {"transaction": to_hex(receipt.transaction), "block": receipt.block}
