"""Taking records in: the chain has each, its tally holds, its share fits; it is kept and acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from marketplace.custodian.tallies import Tallies
from marketplace.custodian.vault import Deposit, Vault, receipt_of
from marketplace.errors import Refusal
from marketplace.wire.http import problem_document, to_hex


class Deposits:
    """What is brought to one custodian."""

    def __init__(self, vault: Vault, tallies: Tallies) -> None:
        self._vault = vault
        self._tallies = tallies

    def take(self, offered: Deposit) -> dict[str, Any]:
        """Keeps one share, and the record's tally, and answers with the signed storage receipt.

        Raises:
            As `Vault.admitted` and `Vault.deposit`; TallyRefused, RecordUnreadable.
        """
        (outcome,) = self._outcomes([offered])
        if isinstance(outcome, Refusal):
            raise outcome
        return self._receipt(offered, outcome)

    def take_all(self, offered: Sequence[Deposit | Refusal]) -> list[dict[str, Any]]:
        """Each one's signed storage receipt, or why there is none, in order."""
        outcomes = zip(offered, self._outcomes(offered), strict=True)
        return [self._said(each, outcome) for each, outcome in outcomes]

    def _said(self, offered: Deposit | Refusal, outcome: bytes | Refusal) -> dict[str, Any]:
        if isinstance(offered, Refusal):
            return problem_document(offered)
        if isinstance(outcome, Refusal):
            return problem_document(outcome)
        return self._receipt(offered, outcome)

    def _outcomes(self, offered: Sequence[Deposit | Refusal]) -> list[bytes | Refusal]:
        """The receipt's signature of each, or why there is none.

        Tallies are verified together, and only of records that the chain has: anybody may send any.
        """
        seat = self._vault.seat()
        found = [_tried(each, lambda one: self._vault.admitted(one, seat)) for each in offered]
        waiting = {at: each for at, each in enumerate(offered) if found[at] is None}
        new = {at: each for at, each in waiting.items() if isinstance(each, Deposit)}
        faults = self._tallies.faults(list(new.values()))
        for (at, each), fault in zip(new.items(), faults, strict=True):
            found[at] = fault or _tried(each, lambda one: self._vault.deposit(one, seat))
        return [each for each in found if each is not None]

    def _receipt(self, offered: Deposit, signature: bytes) -> dict[str, Any]:
        return {
            "receipt": receipt_of(offered).to_json(),
            "place": self._vault.place,
            "signature": to_hex(signature),
        }


def _tried(
    offered: Deposit | Refusal, act: Callable[[Deposit], bytes | None]
) -> bytes | Refusal | None:
    if isinstance(offered, Refusal):
        return offered
    try:
        return act(offered)
    except Refusal as refusal:
        return refusal
