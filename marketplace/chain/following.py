"""Following a deployment's events as far as blocks are final, however a node lied meanwhile.

What was taken in counts as long as the last block of it is on the chain that the node shows, by its hash. A
node that named a height which is not there, or served another chain for a while, would otherwise have
everything below that height passed over for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from marketplace.chain.core import ChainCore
from marketplace.chain.rpc import UnknownBlock
from marketplace.chain.views import Event

log = structlog.get_logger()


class Followed(NamedTuple):
    """The last final block whose events were taken in; without its hash it is not believed."""

    block: int
    block_hash: bytes | None


@dataclass(frozen=True)
class Page:
    """Events of the final blocks from `first` to `last`, in chain order.

    `anew`: these are the first since the deployment. What was taken in before may never have happened.
    """

    first: int
    last: int
    last_hash: bytes
    events: tuple[Event, ...]
    anew: bool

    @property
    def end(self) -> Followed:
        """Where to go on from, once this is taken in."""
        return Followed(self.last, self.last_hash)


@dataclass(frozen=True)
class Following:
    """Which events are followed. Keeps nothing: who takes a page in remembers its `end`."""

    chain: ChainCore
    contracts: Sequence[str]
    names: Sequence[str]

    def pages(self, followed: Followed | None) -> Iterator[Page]:
        """What there is since, up to the newest final block; each page whole, or not at all.

        From the deployment on where `followed` is None or not on the chain that the node shows now.

        Raises:
            WrongChain, WrongCode, ForgedLogs, Reorganised, UnknownBlock, NodeUnreachable, NodeFault: what
                was given until then holds; go on from there.
        """
        first = self._first(followed)
        # Asked anew for each page: a node that named a block too high is not followed up to there.
        while first <= (final := self.chain.finalized()):
            page = self._page(first, min(final, first + self.chain.page_blocks - 1))
            yield page
            first = page.last + 1
            if page.last == final:
                return  # or it would go on for as long as somebody sends

    def _first(self, followed: Followed | None) -> int:
        if followed is not None and self._is_on_chain(followed):
            return followed.block + 1
        if followed is not None:
            log.warning("chain_read_again", followed=followed.block)
        return self.chain.manifest.deployed_block

    def _is_on_chain(self, followed: Followed) -> bool:
        try:
            return self.chain.block_hash(followed.block) == followed.block_hash
        except UnknownBlock:
            return False

    def _page(self, first: int, last: int) -> Page:
        self.chain.manifest.check(self.chain.node)
        with self.chain.pinned(last) as end:
            events = self.chain.events(first, last, contracts=self.contracts, names=self.names)
            taken = tuple(events)
        anew = first == self.chain.manifest.deployed_block
        return Page(first, last, end.hash, taken, anew)
