"""Wallets that say yes in a rehearsal and no on chain: counted by the day, and then refused."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from marketplace.chain.adapter import Chain
from marketplace.chain.allowance import (
    FAILED,
    GUARDIANS_FAILED,
    WALLET_FAILURES,
    Key,
    day_now,
    failed_on_chain,
    failure_kind,
    wallet_failed,
)
from marketplace.chain.wallets import signed_by_key
from marketplace.errors import Refusal
from marketplace.relay.worth import ENDING, PAYING_OUT, patient_of
from marketplace.store import Database
from marketplace.wire.messages import Message

NEVER_COUNTED: Final = ENDING | PAYING_OUT | {"erasure"}
"""Kinds of which a relay carries any number; each has one signer."""


@dataclass(frozen=True)
class Failures:
    """How often the wallets of patients failed on chain today, as the operator's database has it.

    Made anew for each upload: it looks once. A database that does not answer holds nothing back.
    """

    chain: Chain
    database: Database

    def refusal(self, message: Message) -> Refusal | None:
        """Why a message is not carried: a wallet signed it, and too many of its failed today."""
        if message.kind not in NEVER_COUNTED or _key(message) not in self._spent:
            return None
        return wallet_failed() if self._is_a_wallets(message) else None

    @functools.cached_property
    def _spent(self) -> set[Key]:
        with contextlib.suppress(Refusal):
            return self.database.reached(day_now(), (FAILED, GUARDIANS_FAILED), WALLET_FAILURES)
        return set()

    def _is_a_wallets(self, message: Message) -> bool:
        signer, signature = message.signatures()[0]
        domain = self.chain.domain(message.contract)
        return not signed_by_key(message.struct, domain, signature, signer)

    def note(self, messages: Sequence[Message], refused: Sequence[Refusal | None]) -> None:
        """Counts those that failed on chain. What became of the messages is told, counted or not."""
        failed = Counter(
            _key(message)
            for message, refusal in zip(messages, refused, strict=True)
            if message.kind in NEVER_COUNTED
            and failed_on_chain(refusal)
            and self._is_a_wallets(message)
        )

        def more(counts: dict[Key, int]) -> None:
            for key, number in failed.items():
                counts[key] += number

        if failed:
            with contextlib.suppress(Refusal):
                self.database.count(day_now(), failed, more)


def _key(message: Message) -> Key:
    kind = failure_kind(message.signatures()[0][0], message.subject)
    return (kind, *patient_of(message))
