"""Where a request stands: what the chain shows, and what the stage log makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from marketplace.chain.adapter import Chain, NotYetFinal, Reorganised, RequestStage, RequestView
from marketplace.errors import Refusal
from marketplace.stages import Sealed, Stage, route
from marketplace.store import Database
from marketplace.wire.structs import HOMOMORPHIC

CHAIN_REACHED: Final = {
    RequestStage.NONE: Stage.SUBMITTED,
    RequestStage.OPENED: Stage.FUNDED,
    RequestStage.FROZEN: Stage.FROZEN,
}
"""The furthest that a request may stand here when this is what the chain shows."""

CHAIN_ENDS: Final = {
    RequestStage.CANCELLED: Stage.CANCELLED,
    RequestStage.RECLAIMED: Stage.RECLAIMED,
    RequestStage.DEFAULTED: Stage.DEFAULTED,
}


@dataclass(frozen=True)
class Standing:
    """Holds the stage log against the chain."""

    chain: Chain
    database: Database

    def went_on(self, request: str) -> bool:
        """Whether it may be past the freeze on chain: another worker's transaction came before ours."""
        try:
            found = self.chain.request(id_of(request)).stage
        except Refusal:
            return True  # nobody knows: it must not end what may be going on
        return found not in (RequestStage.NONE, RequestStage.OPENED)

    def is_sending(self, account: str) -> bool:
        """Whether a transaction of this account may be waiting for a block, whichever process sent it."""
        node = self.chain.node
        try:
            return node.transaction_count(account) > node.transaction_count(account, "latest")
        except Refusal:
            return True  # nobody knows

    def view(self, request: str) -> RequestView:
        """The request as the chain has it now; an early end there is taken over.

        Raises:
            Reorganised: the chain lost what the request's stage stood on. It has fallen back.
        """
        self.chain.require_healthy()
        view = self.chain.request(id_of(request))
        end = CHAIN_ENDS.get(view.stage)
        if end is not None:
            self._require_final_end(request, view)
            for stage in route(Stage(self.database.request(request).stage), end):
                self.database.move(request, stage, f"{end} on chain")
        elif self.database.fall_back(
            request, self._reached(request, view), f"{view.stage.name} on chain"
        ):
            raise Reorganised(
                message=f"On chain the request is {view.stage.name.lower()} again.",
                remedy="Nothing was released; what the chain lost is done again.",
            )
        return view

    def _reached(self, request: str, view: RequestView) -> Stage:
        """The furthest that a request may stand here."""
        if view.stage is RequestStage.SEALED and not self._is_prepared(request, view):
            return Stage.SEALED
        return CHAIN_REACHED.get(view.stage, Stage.CLEARED)

    def _is_prepared(self, request: str, view: RequestView) -> bool:
        """Whether the chain has the gate's key or, in the homomorphic lane, the custodians' noise."""
        if view.lane == HOMOMORPHIC:
            return any(self.chain.noise_set(id_of(request))[1])
        return any(view.gate_key)

    def _require_final_end(self, request: str, view: RequestView) -> None:
        """An end that a reorganisation could undo is waited for: nobody looks at an ended request again."""
        if self.chain.request(id_of(request), self.chain.finalized()).stage is not view.stage:
            raise NotYetFinal(
                message=f"That the request is {view.stage.name.lower()} is not in a final block yet.",
                remedy="Wait until the chain has finalised it; the step is tried again.",
            )


def id_of(request: str) -> bytes:
    """The request's id on chain, 32 bytes, from the 0x hex that it goes by in the database."""
    return bytes.fromhex(request[2:])


def sealed_of(request: str, view: RequestView) -> Sealed:
    """What the chain shows of a request that is sealed; nothing here checks that it is."""
    return Sealed(id_of(request), view.root, view.members, view.epoch, view.gate)
