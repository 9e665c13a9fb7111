"""Wallets that say yes in a rehearsal and no on chain: counted by the day, and then refused."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from marketplace.chain.allowance import (
    DAY_SECONDS,
    FAILED,
    GUARDIANS_FAILED,
    WALLET_FAILURES,
    Key,
    failed_on_chain,
    wallet_failed,
)
from marketplace.chain.wallets import Signers
from marketplace.errors import Refusal
from marketplace.relay.worth import ENDING, PAYING_OUT, patient_of
from marketplace.store import Database
from marketplace.wire.messages import Message

NEVER_COUNTED: Final = ENDING | PAYING_OUT | {"erasure"}
"""Kinds of which a relay carries any number; each has one signer."""


@dataclass(frozen=True)
class Failures:
    """How often the wallets of a patient failed on chain today, as the operator's database has it."""

    database: Database

    def refusals(self, messages: Sequence[Message], signers: Signers) -> list[Refusal | None]:
        """Why a message is not carried: its signer is a contract, of which too many failed today.

        A database that does not answer holds nothing back.

        Raises:
            NodeUnreachable, NodeFault.
        """
        spent = self._spent() if any(each.kind in NEVER_COUNTED for each in messages) else set()
        return [self._refusal(each, spent, signers) for each in messages]

    def _spent(self) -> set[Key]:
        with contextlib.suppress(Refusal):
            return self.database.reached(_today(), (FAILED, GUARDIANS_FAILED), WALLET_FAILURES)
        return set()

    def _refusal(self, message: Message, spent: set[Key], signers: Signers) -> Refusal | None:
        if message.kind not in NEVER_COUNTED or _key(message) not in spent:
            return None
        return wallet_failed() if signers.is_contract(_signer(message)) else None

    def note(self, messages: Sequence[Message], refused: Sequence[Refusal | None]) -> None:
        """Counts those that failed on chain. What became of the messages is told, counted or not."""
        failed = Counter(
            _key(message)
            for message, refusal in zip(messages, refused, strict=True)
            if message.kind in NEVER_COUNTED and failed_on_chain(refusal)
        )

        def more(counts: dict[Key, int]) -> None:
            for key, number in failed.items():
                counts[key] += number

        if failed:
            with contextlib.suppress(Refusal):
                self.database.count(_today(), failed, more)


def _key(message: Message) -> Key:
    own = _signer(message) == message.subject
    return (FAILED if own else GUARDIANS_FAILED, *patient_of(message))


def _signer(message: Message) -> str:
    return message.signatures()[0][0]


def _today() -> int:
    return int(time.time()) // DAY_SECONDS
