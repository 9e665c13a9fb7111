"""How a dataset was published: by whom and with which salt, of which, with its dictionary, its id is a hash.

Whoever knows a request's id knows its terms, hence its dataset's id; with these two, the dictionary that an
operator shows is held against that id by arithmetic alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from marketplace.chain.artifacts import load
from marketplace.chain.core import ChainCore
from marketplace.vocabulary import Address
from marketplace.wire.terms import dataset_id

REGISTRY: Final = "DatasetRegistry"
WORD: Final = 32
MOST_CALLS: Final = 64
"""Of one transaction that are tried: a wallet's batch publishes a few datasets, a hostile one is no reason to
hash for long."""


@dataclass(frozen=True)
class Published:
    """`steward`: who published it, whoever is its steward now."""

    steward: Address
    salt: bytes


def published(chain: ChainCore, dataset: bytes) -> Published | None:
    """Proved by the dataset's id; None where the node does not give what the id follows from.

    The call may stand alone, or anywhere in what a wallet was told to do.

    Raises:
        ForgedLogs; NodeUnreachable, NodeFault.
    """
    first = chain.manifest.deployed_block
    events = chain.events(first, contracts=[REGISTRY], names=["DatasetPublished"], topics=[dataset])
    event = next(events, None)
    data = None if event is None else chain.node.transaction_input(event.transaction)
    if event is None or data is None:
        return None
    steward, registry = event.args["steward"], chain.manifest.address(REGISTRY)
    for dictionary, salt in islice(_calls(data), MOST_CALLS):
        if dataset_id(chain.chain_id, registry, steward, dictionary, salt) == dataset:
            return Published(Address(steward), salt)
    return None


def _calls(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Dictionary's hash and salt, wherever a call of `publishDataset` may begin."""
    selector = load(REGISTRY).functions["publishDataset"].selector
    at = data.find(selector)
    while at >= 0:
        words = data[at + len(selector) :][: 2 * WORD]
        if len(words) == 2 * WORD:
            yield words[:WORD], words[WORD:]
        at = data.find(selector, at + 1)
