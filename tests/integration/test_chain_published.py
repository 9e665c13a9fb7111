"""What a dataset's id is a hash of, found again on chain: by whom it was published, and with which salt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from eth_utils.crypto import keccak

from marketplace.chain.adapter import Chain
from marketplace.chain.deploy import grant_role
from marketplace.chain.published import Published, published
from marketplace.chain.sender import call_data
from marketplace.vocabulary import Address
from marketplace.wire.terms import dataset_id
from tests.integration.test_receipt_wallets import FORWARDER, deployed, word
from tests.support.chain_world import World, account, world_on
from tests.support.daily import daily
from tests.support.nodes import LyingProxy, RunningNode, anvil_node, embedded_node

DICTIONARY, SALT = keccak(text="dictionary"), keccak(text="salt")


@pytest.fixture(scope="module", params=daily(["embedded", "anvil"], ["anvil"]))
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningNode]:
    folder = tmp_path_factory.mktemp("chain")
    with embedded_node(folder) if request.param == "embedded" else anvil_node() as running:
        yield running


@pytest.fixture(scope="module")
def world(node: RunningNode) -> World:
    return world_on(node)


def id_of(world: World, steward: str, salt: bytes) -> bytes:
    registry = world.manifest.address("DatasetRegistry")
    return dataset_id(world.chain.chain_id, registry, steward, DICTIONARY, salt)


def test_a_datasets_publication_is_found_whoever_its_steward_is_now(world: World) -> None:
    me = world.sender.address
    world.sender.send("DatasetRegistry", "publishDataset", DICTIONARY, SALT, "file:///p")
    dataset = id_of(world, me, SALT)
    assert published(world.chain, dataset) == Published(Address(me), SALT)
    world.sender.send("DatasetRegistry", "handOver", dataset, account("heir").address)
    assert world.chain.dataset(dataset).steward == account("heir").address
    assert published(world.chain, dataset) == Published(Address(me), SALT)
    first = published(world.chain, world.dataset)
    assert first == Published(Address(me), bytes(32))


def test_it_is_found_inside_what_a_wallet_was_told_to_do(world: World) -> None:
    registry, salt = world.manifest.address("DatasetRegistry"), keccak(text="of a wallet")
    wallet = deployed(world, FORWARDER)
    grant_role(world.sender, "DatasetRegistry", "STEWARD", wallet)
    call = call_data("DatasetRegistry", "publishDataset", DICTIONARY, salt, "file:///w")
    world.sender._transactor.transact(wallet, word(registry) + call, None)
    dataset = id_of(world, wallet, salt)
    assert world.chain.dataset(dataset).steward == wallet
    assert published(world.chain, dataset) == Published(Address(wallet), salt)


def test_nobody_published_what_is_no_dataset(world: World) -> None:
    assert published(world.chain, keccak(text="none")[:30] + bytes(2)) is None


def without(method: str) -> Any:
    return lambda asked, _, result: None if asked == method else result


def another_salt(method: str, _: Any, result: Any) -> Any:
    if method != "eth_getTransactionByHash":
        return result
    return result | {"input": result["input"].replace(bytes(32).hex(), "11" * 32, 1)}


@pytest.mark.parametrize("lie", [without("eth_getTransactionByHash"), another_salt])
def test_a_node_that_does_not_show_it_is_not_believed(
    world: World, node: RunningNode, lie: Any
) -> None:
    proxy = LyingProxy(node.url)
    try:
        chain = Chain(proxy.url, world.manifest)
        assert published(chain, world.dataset) is not None
        proxy.lie = lie
        assert published(chain, world.dataset) is None
    finally:
        proxy.close()
