"""Is the head recent? A node that stopped following the chain would show consents long revoked."""

from __future__ import annotations

import time

from marketplace.chain.rpc import Header, Node
from marketplace.errors import Refusal


class StaleHead(Refusal):
    """The newest block that the node has is too old to decide anything on."""

    CODE = "stale_head"


def fresh_head(node: Node, head: Header, max_age: int) -> Header:
    """The head, if it is at most `max_age` seconds old by the wall clock, or a newer one that is.

    The embedded chain mines only when there is something to mine, so an old head of it is no sign
    of a fault: it is asked to mine, and then judged like any other.

    Raises:
        StaleHead; NodeUnreachable, NodeFault.
    """
    if _age(head) > max_age and node.is_embedded:
        node.mine()
        head = node.header("latest")
    if _age(head) > max_age:
        raise StaleHead(
            message=f"The node's newest block is {_age(head)} seconds old; {max_age} are allowed.",
            remedy="Wait until the node has caught up, or use another; check this machine's clock.",
            facts={"block": head.number, "age": _age(head), "allowed": max_age},
        )
    return head


def _age(head: Header) -> int:
    """Seconds. Negative where chain time runs ahead, which makes nothing stale."""
    return int(time.time()) - head.timestamp
