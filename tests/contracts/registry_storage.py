"""States of the registries that would take millions of grants, set in storage by the layout.

Works on any `Chain` that can store, and reads back what it set through the contract's own views.
"""

from eth_utils.crypto import keccak

from tests.contracts.market_world import World
from tests.contracts.support import artifact

WORD = 160
SHARD_WORDS = 4_096
SHARD_SEATS = WORD * SHARD_WORDS


def fill_shard(world: World, cap: int, expiry: int) -> None:
    """Every place of class 1's first shard taken by a live consent, as far as a seal can see.

    `cap` is what each has left on the shard's meter (nano-rho), `expiry` unix seconds.
    """
    where = shard_slot(world, 0)
    full = (cap << 200) | (expiry << WORD) | (2**WORD - 1)
    first = where + _member("words")[0]
    world.chain.store(world.consents.address, {first + n: full for n in range(SHARD_WORDS)})
    put_shards(world, 1)
    put_shard(world, live=SHARD_SEATS, used=SHARD_SEATS)


def put_shards(world: World, number: int) -> None:
    """Class 1 has so many shards."""
    slot = mapped(world.class_id(), _variable("ConsentRegistry", "_shardCount"))
    world.chain.store(world.consents.address, {slot: number})
    assert world.read(world.consents, "shardsOf", world.class_id()) == number


def put_shard(world: World, *, live: int, used: int, number: int = 0) -> None:
    """A shard of class 1 with so many consents and places, and both meters at zero."""
    packed = (live << 8 * _member("live")[1]) | (used << 8 * _member("used")[1])
    world.chain.store(world.consents.address, {shard_slot(world, number): packed})
    shard = world.shard(number=number)
    assert (shard["live"], shard["used"]) == (live, used)


def put_classes(world: World, number: int) -> None:
    """The dataset has so many classes: a count beside its steward, in one slot."""
    slot = mapped(world.dataset, _variable("DatasetRegistry", "_datasets"))
    steward = int(world.read(world.parts.datasets, "stewardOf", world.dataset), 16)
    world.chain.store(world.parts.datasets.address, {slot: steward | number << WORD})
    assert world.read(world.parts.datasets, "classesOf", world.dataset) == number


def shard_slot(world: World, number: int) -> int:
    shards = mapped(world.class_id(), _variable("ConsentRegistry", "_shards"))
    return mapped(number.to_bytes(32, "big"), shards)


def _variable(contract: str, label: str) -> int:
    storage = artifact(contract)["storageLayout"]["storage"]
    return next(int(entry["slot"]) for entry in storage if entry["label"] == label)


def _member(label: str) -> tuple[int, int]:
    """Slot and byte offset in the struct Shard."""
    members = artifact("ConsentRegistry")["storageLayout"]["types"]["t_struct(Shard)_storage"]
    found = next(each for each in members["members"] if each["label"] == label)
    return int(found["slot"]), int(found["offset"])


def mapped(key: bytes, slot: int) -> int:
    """Where a mapping keeps a value (Solidity: layout of state variables in storage)."""
    return int.from_bytes(keccak(key + slot.to_bytes(32, "big")), "big")
