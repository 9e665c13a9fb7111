"""How much a relay carries for one patient, and that it carries nothing twice at the same moment.

A relay pays the gas of others' messages. What ends or rests a consent that stands, erases, or pays out is
always carried, unless a wallet contract signed it that says yes in rehearsals and no on chain. What somebody
could repeat without end, each time at the relay's cost, is counted by the day.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from marketplace.chain.reverts import ContractRefusal
from marketplace.errors import Refusal

REVOCATIONS_WITHOUT_CONSENT: Final = 4
"""A day, of one patient in one dataset. Such a revocation ends nothing that stands; all that it can do is
kill grants that were signed and held back, and one does: clients sign it far above the current sequence."""
MESSAGES: Final = 24
"""A day, of one patient in one dataset: grants, wakes, guardians, moves, and rests of what rests already.
Nobody changes a consent every hour; and a day's gas for one patient stays below one full transaction's."""
DAY_SECONDS: Final = 86_400

WALLET_FAILURES: Final = 4
"""A day, of one patient in one dataset, the patient's own wallet and guardians' apart. A wallet contract
judges its own signatures (ERC-1271), and can tell a rehearsal from a transaction (by its gas price, say):
each such yes costs a relay a transaction, or two. A key's own signature cannot, and is neither counted here
nor refused, also where its account carries code (EIP-7702)."""
FAILED, GUARDIANS_FAILED = "failed", "guardian_failed"
"""Kinds of that count."""
OVERTAKEN: Final = frozenset(
    {
        "superseded_revocation",
        "wrong_sequence",
        "nothing_to_rest",
        "not_authorised",
        "address_moved",
        "nonce_used",
        "deadline_passed",
        "wrong_record_version",
        "nothing_owed",
    }
)
"""Why the contracts refuse what something else came before: another relay, the patient, the clock. That may
happen to anybody, and is nobody's lie."""

Key = tuple[str, str, str]
"""What is counted: a kind of message, a dataset (0x and hex), an address."""

TOO_BIG: Final = frozenset({"transaction_too_large", "too_much_gas"})
"""What no transaction can carry: where one entry is alone in it, that is its own fault and nobody else's."""
SENT_NOTHING: Final = frozenset({"fee_above_ceiling", "insufficient_funds"}) | TOO_BIG
"""Refusals of a sender that cost nothing, so that nothing is counted for them."""


def day_now() -> int:
    """The day that is counted: whole days since 1970, UTC."""
    return int(time.time()) // DAY_SECONDS


def failure_kind(signer: str, patient: str) -> str:
    """Of a failed message: the patient's own wallet and guardians' are counted apart."""
    return FAILED if signer == patient else GUARDIANS_FAILED


def enough_revoked() -> Refusal:
    """Of a revocation that ends no consent, after several on the same day."""
    return Refusal(
        code="enough_revoked",
        message=f"There is no consent to end, and {REVOCATIONS_WITHOUT_CONSENT} such revocations were "
        "carried today.",
        remedy="No consent is in force. A grant that somebody may still hold back ends with any of those "
        "revocations that names a higher sequence. For one more: ask another custodian or the operator, send "
        "it directly from a wallet, or wait until tomorrow (UTC).",
    )


def enough_carried() -> Refusal:
    """Of any other message of which there were too many."""
    return Refusal(
        code="enough_carried",
        message=f"{MESSAGES} messages of this patient in this dataset were carried today.",
        remedy="Send it directly from a wallet that pays its own gas, or again tomorrow (UTC). Revocations "
        "of a consent, erasures and withdrawals are carried all the same.",
    )


def failed_on_chain(refusal: Refusal | None) -> bool:
    """Whether a message that was good in its rehearsal cost a transaction for nothing: its wallet's doing."""
    if not isinstance(refusal, ContractRefusal):
        return False
    return refusal.paid and refusal.code not in OVERTAKEN


def wallet_failed() -> Refusal:
    """Of what a wallet contract signed, after so many such failures on the same day."""
    return Refusal(
        code="wallet_failed",
        message=f"{WALLET_FAILURES} messages that the signing wallet took for its own in a rehearsal failed "
        "on chain today.",
        remedy="Send it directly from the wallet, which pays its own gas; ask another custodian or the "
        "operator; or wait until tomorrow (UTC). A wallet must answer isValidSignature (ERC-1271) in a "
        "transaction as it does in a call.",
        field="signature",
    )


def under_way() -> Refusal:
    """Of a message whose equal is being carried at this moment."""
    return Refusal(
        code="under_way",
        message="This very message is being carried to the chain at this moment.",
        remedy="Look at the consent in a minute; send it again if nothing has changed.",
    )


@dataclass
class UnderWay:
    """What is being carried at this moment, in this process. Safe for threads."""

    _now: set[object] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def entering(self, things: Collection[object]) -> Iterator[set[object]]:
        """Yields those that nobody else carries; they are held until the end."""
        with self._lock:
            mine = set(things) - self._now
            self._now |= mine
        try:
            yield mine
        finally:
            with self._lock:
                self._now -= mine
