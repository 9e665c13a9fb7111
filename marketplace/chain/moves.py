"""Records that went from one address to another: a patient's addresses, in the order they were used in."""

from __future__ import annotations

from collections.abc import Mapping

from marketplace.chain.core import ChainCore, ForgedLogs


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
