"""One below the minimum, exactly it, one above: at the freeze, and at the seal once somebody left.

What is refused depends on public counts only, and says only them.
"""

import pytest

from tests.contracts.market_books import FROZEN, SEALED, books
from tests.contracts.market_terms import POLICY
from tests.contracts.market_world import World
from tests.contracts.support import refusing

PEOPLE = ("ada", "ben", "cleo", "dan")
K = POLICY["minimumCohort"]
SIZES = [K - 1, K, K + 1]


@pytest.mark.parametrize("size", SIZES)
def test_a_cohort_is_frozen_and_sealed_from_the_minimum_on(world: World, size: int) -> None:
    world.grant_all(*PEOPLE[:size])
    terms = world.terms()
    world.open(terms)
    before = books(world)
    if size < K:
        with refusing("CohortTooSmall", size, K):
            world.freeze(terms)
        assert books(world) == before
        return
    world.freeze(terms)
    request = world.request_id(terms)
    world.seal(request)
    assert world.request(request)["members"] == size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("action", ["seal", "sealAll"])
def test_a_cohort_that_shrinks_while_frozen_is_sealed_down_to_the_minimum(
    world: World, size: int, action: str
) -> None:
    world.grant_all(*PEOPLE[: size + 1])
    request = world.frozen()
    world.revoke(PEOPLE[size])
    before = world.shard()
    if size < K:
        with refusing("CohortTooSmall", size, K):
            world.trade("operator", action, request)
        assert world.shard() == before
    else:
        world.trade("operator", action, request)
    assert world.request(request)["stage"] == (FROZEN if size < K else SEALED)
