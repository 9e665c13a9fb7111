"""The gate of a sealed request: drawn by the chain once somebody asks for it, and anew if it stays silent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from marketplace.chain.adapter import Chain, RequestView
from marketplace.chain.sender import Sender
from marketplace.pipeline.standing import id_of

DRAW_BLOCKS: Final = 2
"""The gate is drawn by the block after the seal, once that has a successor."""


@dataclass(frozen=True)
class Drawing:
    """What sends the transactions that name a gate."""

    chain: Chain
    sender: Sender

    def drawn(self, request: str, view: RequestView) -> RequestView:
        """The request with a gate: drawn once the block that draws is there, redrawn if it stays silent.

        Raises:
            NotYetFinal: it was drawn just now. ContractRefusal as the market refuses.
        """
        if int(view.gate, 16) == 0:
            self._pass(view.draw_block)
            self.sender.send("ResearchMarket", "drawGate", id_of(request))
        elif self.chain.now() > view.gate_drawn_at + self.chain.policy().gate_window:
            self.sender.send("ResearchMarket", "redrawGate", id_of(request))
        else:
            return view
        view = self.chain.request(id_of(request))
        self.chain.require_final(self.chain.head().number)
        return view

    def _pass(self, block: int) -> None:
        """Waits for the block that draws; an embedded chain has to be asked for it."""
        for _ in range(DRAW_BLOCKS):
            if self.chain.head().number > block:
                return
            self.chain.nudge()
