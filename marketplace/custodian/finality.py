"""What was final when this custodian turned must stay: where it does not, nothing more is turned or signed.

Blocks name their parents by hash, so while the newest block that was turned for is on the node's chain, every
older one is, too: one comparison covers them all.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, select, update
from sqlalchemy.orm import Session

from marketplace.chain.adapter import Chain
from marketplace.custodian.journal import Journal
from marketplace.custodian.models import TurnRow, ViolationRow
from marketplace.errors import Refusal
from marketplace.wire.http import to_hex

RESOLVE = "usufruct custodian resolve-finality"


class FinalityViolated(Refusal):
    """A block that was final when this custodian turned for it is not on its node's chain any more."""

    CODE = "finality_violated"


@dataclass(frozen=True)
class Seal:
    """The block that sealed a request which this custodian turned for."""

    request: bytes
    block: int
    hash: bytes


class FinalityWatch:
    """Holds the seals of a journal's turns against the custodian's own node."""

    def __init__(self, chain: Chain, journal: Journal) -> None:
        self._chain = chain
        self._journal = journal

    def require_resolved(self) -> None:
        """That no violation was found which the owner has not resolved; the journal alone knows.

        Raises:
            FinalityViolated.
        """
        with self._journal.reading() as session:
            unresolved = select(ViolationRow.block).where(ViolationRow.resolved.is_(False)).limit(1)
            block = session.scalar(unresolved)
        if block is not None:
            raise _violated(block)

    def require_kept(self) -> None:
        """Found violated once, it refuses until `resolve`, also if the node then shows the old chain again.

        Raises:
            FinalityViolated. NodeUnreachable, NodeFault, UnknownBlock.
        """
        self.require_resolved()
        with self._journal.reading() as session:
            newest = next(map(_seal, session.execute(_seals().limit(1))), None)
        if newest is not None and not self._is_there(newest):
            self._note(newest)
            raise _violated(newest.block)

    def resolve(self) -> list[bytes]:
        """The owner has looked into it and takes the chain that the node shows now.

        Turns whose seals it lacks are compared no longer. They stay turned: asked again for the same root
        and gate key the answer is the same, and for any other it is refused.

        Returns the requests of those turns. Raises as `require_kept`, but for FinalityViolated.
        """
        self._chain.require_healthy()
        with self._journal.reading() as session:
            seals = [_seal(row) for row in session.execute(_seals())]
        gone = itertools.takewhile(lambda seal: not self._is_there(seal), seals)  # the newest first
        requests = [seal.request for seal in gone]
        with self._journal.writing() as session:
            self._forget(session, requests)
        return requests

    def _is_there(self, seal: Seal) -> bool:
        return self._chain.block_hash(seal.block) == seal.hash

    def _note(self, seal: Seal) -> None:
        body = {"request": to_hex(seal.request), "block": seal.block, "hash": to_hex(seal.hash)}
        with self._journal.writing() as session:
            height = self._journal.append(session, "finality-violated", body).height
            session.add(ViolationRow(height=height, block=seal.block, resolved=False))

    def _forget(self, session: Session, requests: list[bytes]) -> None:
        """With its entry. Turns one at a time: a statement takes only so many parameters."""
        for request in requests:
            mine = TurnRow.request == request
            session.execute(update(TurnRow).where(mine).values(seal_block_hash=None))
        session.execute(update(ViolationRow).values(resolved=True))
        body = {"requests": [to_hex(each) for each in requests]}
        self._journal.append(session, "finality-resolved", body)


def _seals() -> Select[*tuple[Any, ...]]:
    """The seals that are held against the node's chain, the newest block first."""
    columns = (TurnRow.request, TurnRow.seal_block, TurnRow.seal_block_hash)
    known = TurnRow.seal_block_hash.is_not(None)
    return select(*columns).where(known).order_by(TurnRow.seal_block.desc())


def _seal(row: Row[*tuple[Any, ...]]) -> Seal:
    return Seal(*row)


def _violated(block: int) -> FinalityViolated:
    return FinalityViolated(
        message=f"Block {block} was final when this custodian turned for it; its node's chain lacks it now.",
        remedy="Nothing is turned or signed until this custodian's owner has found out why. Give it a node "
        f"that follows the true chain, then run `{RESOLVE}`.",
        facts={"block": block},
    )
