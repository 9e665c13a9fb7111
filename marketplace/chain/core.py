"""A chain that can be trusted as far as this process can check it: calls, blocks, events."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from eth_abi.exceptions import DecodingError

from marketplace.chain import artifacts, health
from marketplace.chain.faults import NodeFault
from marketplace.chain.finality import Finality, reorganised, require_final
from marketplace.chain.manifest import MARKET_CONTRACTS, TOKEN, Manifest
from marketplace.chain.reverts import ContractRefusal
from marketplace.chain.rpc import BlockName, Header, Log, Node, UnknownBlock
from marketplace.chain.views import Event
from marketplace.errors import Refusal
from marketplace.wire.amounts import Token, in_units, symbol
from marketplace.wire.eip712 import Domain
from marketplace.wire.terms import ClassTerms

Topics = Sequence[bytes | Sequence[bytes] | None]
"""Wanted values of the indexed arguments, in order: one, any of several, or None for whichever."""


class ForgedLogs(Refusal):
    """Logs that contradict the contracts' storage: the node lies, or its index is damaged."""

    CODE = "forged_logs"


class PartialLogs(Refusal):
    """Logs that storage proves to exist and the node did not give."""

    CODE = "partial_logs"


class ChainCore:
    """One deployment, seen through one node. Safe for threads.

    Args:
        url: of any Ethereum JSON-RPC node.
        max_head_age: seconds; an older head is stale, and nothing is decided on it.
        finality: when a block counts as final.
        timeout: seconds, of every single call.
        page_blocks: how many blocks one eth_getLogs covers at most.
    """

    def __init__(
        self,
        url: str,
        manifest: Manifest,
        *,
        max_head_age: int = 120,
        finality: Finality | None = None,
        timeout: float = 20.0,
        page_blocks: int = 5_000,
    ) -> None:
        self.node = Node(url, timeout=timeout)
        self.node.written = self._written
        self.manifest = manifest
        self.max_head_age = max_head_age
        self.finality = finality or Finality()
        self.page_blocks = page_blocks
        self._sound: bytes | None = None
        """Hash of the head at which the contracts' code was last held against the manifest."""
        self._terms: dict[bytes, ClassTerms] = {}
        """Terms of consent classes by definition hash, which proves them whatever happens to the chain."""

    @property
    def chain_id(self) -> int:
        """The manifest's, which `require_healthy` holds the node's against."""
        return self.manifest.chain_id

    @property
    def market(self) -> str:
        """Address of the manifest's ResearchMarket, which is part of every request's id."""
        return self.manifest.market

    def domain(self, name: str) -> Domain:
        """The EIP-712 domain of a contract of the deployment."""
        return self.manifest.domain(name)

    # --- amounts

    @cached_property
    def token(self) -> Token:
        """How amounts of the market's token are written; the market made sure of its decimals, at most 6.

        Raises:
            ContractRefusal, NodeUnreachable, NodeFault.
        """
        places = int(self.call(TOKEN, "decimals"))
        try:
            return Token(places, symbol(self.call(TOKEN, "symbol")))
        except (ContractRefusal, NodeFault):  # ERC-20 has it as optional
            return Token(places, symbol(None))

    def _written(self, units: int) -> str:
        """Within a refusal. What the token is asked here may be refused, too: such a refusal asks nothing."""
        if "token" not in self.__dict__:
            asking = copy.copy(self)
            asking.node = copy.copy(self.node)
            asking.node.written = in_units
            try:
                self.__dict__["token"] = asking.token
            except Refusal:
                return in_units(units)
        return self.token.amount(units)

    # --- health and finality

    def require_healthy(self) -> Header:
        """Chain, genesis, code and age of the head are as they must be. Returns the head.

        Code is asked for once a block, which has it in one way. What destroys for ever by a node's word asks
        for it each time (`Manifest.check`).

        Raises:
            WrongChain, WrongCode, StaleHead; NodeUnreachable, NodeFault.
        """
        self.manifest.check_chain(self.node)
        head = self.head()
        if head.hash != self._sound:
            self.manifest.check_code(self.node)
            self._sound = head.hash
        return health.fresh_head(self.node, head, self.max_head_age)

    def head(self) -> Header:
        """The newest block, which may still be replaced; `require_healthy` looks at its age too."""
        return self.node.header("latest")

    def now(self) -> int:
        """Chain time, unix seconds: what deadlines on chain are compared with."""
        return self.head().timestamp

    def nudge(self) -> Header:
        """Lets an embedded chain's time catch up with the wall; elsewhere only reads the head."""
        if self.node.is_embedded:
            self.node.mine()
        return self.head()

    def finalized(self) -> int:
        """Number of the newest final block."""
        head = self.head().number
        tagged = self.node.header("finalized").number if self.finality.use_tag else None
        return self.finality.final(head, tagged)

    def require_final(self, block: int) -> None:
        """Raises `NotYetFinal`."""
        require_final(block, self.finalized())

    def block_hash(self, number: int) -> bytes:
        """32 bytes: what the node now has at this height. Raises `UnknownBlock`."""
        return self.node.header(number).hash

    def require_same_block(self, number: int, known_hash: bytes) -> None:
        """Raises `Reorganised` unless the chain still has this block at this height."""
        try:
            found = self.block_hash(number)
        except UnknownBlock as fault:
            raise reorganised(number) from fault
        if found != known_hash:
            raise reorganised(number)

    @contextmanager
    def pinned(self, number: int) -> Iterator[Header]:
        """Reads inside are of one block: were it replaced meanwhile, they are refused.

        Raises:
            Reorganised, at the end.
        """
        header = self.node.header(number)
        try:
            yield header
        except Refusal:
            # A block that vanished explains whatever else did not fit.
            self.require_same_block(number, header.hash)
            raise
        self.require_same_block(number, header.hash)

    # --- calls

    def call(
        self, contract: str, function: str, *arguments: Any, block: BlockName = "latest"
    ) -> Any:
        """What a view returns: its one value, or a tuple of them; addresses are checksummed.

        Raises:
            ContractRefusal: the view reverted.
            NodeUnreachable, NodeFault, UnknownBlock.
        """
        entry = artifacts.load(contract).functions[function]
        output = self.node.call(
            self.manifest.address(contract),
            entry.encode_call(artifacts.abi_arguments(arguments)),
            block,
        )
        try:
            values = entry.decode_output(output)
        except DecodingError as fault:
            raise NodeFault(
                message=f"The node's answer to {function} is not of its type.",
                remedy="Check the node; if others say the same, check the manifest.",
                facts={"contract": contract, "function": function},
            ) from fault
        return values[0] if len(values) == 1 else values

    # --- events

    def events(
        self,
        first: int,
        last: int | None = None,
        *,
        contracts: Sequence[str] = MARKET_CONTRACTS,
        names: Sequence[str] | None = None,
        topics: Topics = (),
    ) -> Iterator[Event]:
        """Decoded events of blocks `first` to `last` (the head, if None), in chain order, paged.

        `names` keeps only these; see `Topics`.
        """
        if last is None:
            last = self.head().number
        for start in range(first, last + 1, self.page_blocks):
            end = min(last, start + self.page_blocks - 1)
            yield from self.page(start, end, contracts, names, topics)

    def page(
        self,
        first: int,
        last: int,
        contracts: Sequence[str],
        names: Sequence[str] | None,
        topics: Topics,
    ) -> list[Event]:
        """One eth_getLogs. What lies outside the asked range, contracts, names or topics is refused."""
        at = {str(self.manifest.address(name)): name for name in contracts}
        wanted = [None if names is None else _topics_of(contracts, names), *topics]
        logs = self.node.logs(list(at), wanted, first, last)
        inside = (log.address in at and first <= log.block <= last for log in logs)
        if not all(inside) or not all(_fits(log.topics, wanted) for log in logs):
            raise ForgedLogs(
                message="The node gave logs that were not asked for.",
                remedy="Use another node; nothing was decided on these.",
            )
        events = [decode_log(at[log.address], log) for log in logs]
        return [event for event in events if event is not None]

    def events_backwards(
        self, first: int, last: int, contract: str, name: str, topics: Topics
    ) -> Iterator[Event]:
        """Events of one kind, the newest page first, in chain order within a page."""
        for end in range(last, first - 1, -self.page_blocks):
            start = max(first, end - self.page_blocks + 1)
            yield from self.page(start, end, [contract], [name], topics)


def _fits(topics: Sequence[bytes], wanted: Topics) -> bool:
    """Whether a log has, in each place that something was asked for, one of the values asked for."""
    for place, values in enumerate(wanted):
        if values is None:
            continue
        allowed = [values] if isinstance(values, bytes) else values
        if place >= len(topics) or topics[place] not in allowed:
            return False
    return True


def _topics_of(contracts: Sequence[str], names: Sequence[str]) -> list[bytes]:
    known = [artifacts.load(contract).events for contract in contracts]
    found = [events[name].topic for events in known for name in names if name in events]
    for name in names:
        if not any(name in events for events in known):
            raise Refusal(
                code="unknown_event",
                message=f"No contract asked about has an event {name}.",
                remedy="Check its name in contracts/src/interfaces.",
            )
    return sorted(set(found))


def decode_log(contract: str, log: Log) -> Event | None:
    """The event, or None for one that the contract's ABI does not have."""
    entry = artifacts.load(contract).events_by_topic.get(log.topics[0] if log.topics else b"")
    if entry is None:
        return None
    try:
        args = entry.decode_log(log.topics, log.data)
    except DecodingError as fault:
        raise ForgedLogs(
            message=f"A log of {contract} does not decode as {entry.name}.",
            remedy="Use another node; nothing was decided on this one.",
        ) from fault
    return Event(contract, entry.name, args, log.block, log.block_hash, log.transaction, log.index)
