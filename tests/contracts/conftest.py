"""One chain a test file, rolled back after every test."""

from collections.abc import Iterator

import pytest

from tests.contracts.market_deployment import make_world
from tests.contracts.market_terms import CUSTODIANS, STAFF
from tests.contracts.market_world import World
from tests.contracts.support import DAY, Chain

PEOPLE = ("ada", "ben", "cleo", "dan")
BYSTANDERS = ("gate", "second gate", "guardian", "stranger", "second operator", "new ada")
NAMES = ("admin", "steward", "issuer", "consents", "patient", "mover", "authority", "stranger")


@pytest.fixture(scope="module")
def shared_chain() -> Chain:
    return Chain(*NAMES)


@pytest.fixture
def chain(shared_chain: Chain) -> Iterator[Chain]:
    before = shared_chain.tester.take_snapshot()
    yield shared_chain
    shared_chain.tester.revert_to_snapshot(before)


@pytest.fixture(scope="session")
def deployed_world() -> World:
    """All contracts, and four people whose records are stored."""
    chain = Chain(*STAFF, *CUSTODIANS, *PEOPLE, *BYSTANDERS)
    # Ahead of the wall's clock, so that each block is a second after the last however slow the machine.
    chain.warp(DAY)
    world = make_world(chain)
    world.enrol(*PEOPLE)
    return world


@pytest.fixture
def world(deployed_world: World) -> Iterator[World]:
    """The same for every test: nobody has granted anything."""
    tester = deployed_world.chain.tester
    before = tester.take_snapshot()
    yield deployed_world
    tester.revert_to_snapshot(before)


@pytest.fixture
def crowd(world: World) -> World:
    """All four have granted class 1, in places 0 to 3."""
    world.grant_all(*PEOPLE)
    return world
