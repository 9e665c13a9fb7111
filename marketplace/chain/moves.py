"""Records that went from one address to another: a patient's addresses, in the order they were used in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from marketplace.chain.core import ChainCore, ForgedLogs, PartialLogs
from marketplace.chain.reads import DatasetReads
from marketplace.chain.rpc import BlockName
from marketplace.chain.views import Record


def moves_of(
    chain: ChainCore, dataset: bytes, first: int, last: int | None = None
) -> dict[str, str]:
    """Each address that a record of the dataset left in these blocks (up to the head, if None), and where to.

    Raises:
        ForgedLogs; NodeUnreachable, NodeFault.
    """
    moves = chain.events(
        first, last, contracts=["DatasetRegistry"], names=["RecordMoved"], topics=[dataset]
    )
    return {each.args["from"]: each.args["to"] for each in moves}


def way(went: Mapping[str, str], start: str) -> list[str]:
    """`start`, and every address that its record went to from there, one after the other.

    Raises:
        ForgedLogs: an address that was left never has a record again, so nobody can come back to one.
    """
    passed = {start: None}  # in order
    at = start
    while at in went:
        at = went[at]
        if at in passed:
            raise ForgedLogs(
                message="The node's logs have a record move in a circle, which the contract does not allow.",
                remedy="Use another node; nothing was decided on these.",
            )
        passed[at] = None
    return list(passed)


def require_left(chain: DatasetReads, dataset: bytes, addresses: Iterable[str]) -> None:
    """No address that was left has a record again: what the logs say of a move is held against the registry.

    Raises:
        ForgedLogs: a move that never was. It would hide a record from its own erasure, or have it go with
            somebody else's.
    """
    for address in addresses:
        if chain.record_of(dataset, address).is_there:
            raise ForgedLogs(
                message="The node's logs have a record move away from where the registry still has it.",
                remedy="Use another node; nothing was decided on these.",
            )


def arrived(
    chain: DatasetReads, dataset: bytes, addresses: Sequence[str], block: BlockName = "latest"
) -> Record:
    """The record at the last of a patient's addresses, which the registry must have there and at no other.

    Raises:
        ForgedLogs: as `require_left`. PartialLogs: it is not there, so it went on, or was never on the way.
    """
    require_left(chain, dataset, addresses[:-1])
    record = chain.record_of(dataset, addresses[-1], block)
    if not record.is_there:
        raise PartialLogs(
            message="The node's logs do not lead to where the registry has a record.",
            remedy="Use a node that keeps the logs since the deployment.",
            facts={"event": "RecordMoved"},
        )
    return record
