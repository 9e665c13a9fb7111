"""What the chain would refuse, found before it is sent: what reverts is paid for all the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from marketplace.chain.patience import Patience, not_looked_at
from marketplace.chain.reverts import ContractRefusal
from marketplace.chain.sender import ENTRY_GAS, Sender, call_data, chunks
from marketplace.errors import Refusal

BAD_SIGNATURE: Final = "bad_signature"


@dataclass(frozen=True)
class Planned:
    """One call that would go into a batch.

    `about` is whom it is about, where it may rest on an earlier call about the same; else None.
    """

    function: str
    arguments: Sequence[Any]
    about: str | None = None


@dataclass
class DryRun:
    """The calls of one upload to one contract, tried as of now; see `refusals`."""

    sender: Sender
    contract: str
    planned: Sequence[Planned]
    patience: Patience = field(default_factory=Patience)
    _good: set[str] = field(default_factory=set)  # whom a call is about that goes through

    def refusals(self) -> list[Refusal | None]:
        """For each call, why it need not be sent, in order. One refused call sinks none before it.

        A call that the chain refuses as of now, about somebody of whom an earlier one is good, may rest on
        that one, and is let pass; but never with a signature that is not one.

        Raises:
            NodeUnreachable, NodeFault.
        """
        found: list[Refusal | None] = [None] * len(self.planned)
        calls = [call_data(self.contract, each.function, *each.arguments) for each in self.planned]
        for places in chunks(calls, ENTRY_GAS):
            whole = not self.patience.is_over and self._are_all_taken([calls[i] for i in places])
            for place in places:
                found[place] = None if whole else self._judge(self.planned[place])
                if found[place] is None:
                    self._good.add(self.planned[place].about or "")
        return found

    def _are_all_taken(self, calls: Sequence[bytes]) -> bool:
        try:
            return self.sender.rehearse(self.contract, "batch", calls) == 0
        except (
            ContractRefusal
        ):  # together they need more gas than a question may: a wallet burns it
            return False

    def _judge(self, call: Planned) -> Refusal | None:
        if self.patience.is_over:
            return not_looked_at()
        try:
            self.sender.rehearse(self.contract, call.function, *call.arguments)
        except ContractRefusal as refusal:
            if call.about in self._good and refusal.code != BAD_SIGNATURE:
                return None
            self.patience.lose()
            return refusal
        return None
