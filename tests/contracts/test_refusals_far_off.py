"""Refusals at limits that no honest dataset comes near: the states are set in storage."""

from tests.contracts.market_terms import POLICY, THAW_GAP
from tests.contracts.market_world import World
from tests.contracts.registry_storage import SHARD_SEATS, put_classes, put_shard, put_shards
from tests.contracts.support import refusing, word

MOST_SHARDS_OF_A_CLASS = 4_095
MOST_SHARDS_OF_A_REQUEST = 64
MOST_CLASSES = 2**16 - 1


def test_a_class_of_4095_full_shards_is_full(world: World) -> None:
    put_shards(world, MOST_SHARDS_OF_A_CLASS)
    last = MOST_SHARDS_OF_A_CLASS - 1
    put_shard(world, live=0, used=SHARD_SEATS - 1, number=last)
    world.grant("ada")
    assert (world.view("ada")["shard"], world.view("ada")["place"]) == (last, SHARD_SEATS - 1)
    with refusing("ClassFull", world.class_id()):
        world.grant("ben")


def test_a_request_freezes_at_most_64_shards(crowd: World) -> None:
    terms = crowd.terms()
    crowd.open(terms)
    put_shards(crowd, MOST_SHARDS_OF_A_REQUEST + 1)
    with refusing("TooManyShards", MOST_SHARDS_OF_A_REQUEST + 1, MOST_SHARDS_OF_A_REQUEST):
        crowd.freeze(terms)
    put_shards(crowd, MOST_SHARDS_OF_A_REQUEST)
    crowd.freeze_now(terms)


def test_a_dataset_has_at_most_65535_classes(world: World) -> None:
    put_classes(world, MOST_CLASSES - 1)
    publish = (world.parts.datasets, "publishClass", world.dataset, world.offers[1])
    world.send("steward", *publish)
    assert world.read(world.parts.datasets, "classesOf", world.dataset) == MOST_CLASSES
    with refusing("TooManyClasses", world.dataset):
        world.send("steward", *publish)


def test_a_lapsed_freeze_gives_no_hold_on_a_shard_that_another_request_froze(crowd: World) -> None:
    lapsed = crowd.frozen()
    crowd.chain.warp(POLICY["freezeWindow"] + THAW_GAP + 1)
    crowd.frozen(salt=word("another"))
    with refusing("ShardNotFrozenFor", lapsed, crowd.class_id(), 0):
        crowd.trade("stranger", "tidy", lapsed, 0, [0])
    with refusing("ShardNotFrozenFor", lapsed, crowd.class_id(), 0):
        crowd.seal(lapsed)
