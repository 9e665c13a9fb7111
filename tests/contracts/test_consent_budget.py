"""Lifetime budgets, seats, and the calls that only the market may make: nothing resets what was spent."""

from typing import Any

from tests.contracts.market_terms import MAX_COST
from tests.contracts.market_world import World
from tests.contracts.support import ZERO, address, refusing, word


def spend(world: World, **changes: Any) -> None:
    """One sealed and settled request, and the gap until the shard may be frozen again."""
    world.settled(**changes)
    world.thaw()


# ---- The lifetime budget ----


def test_what_was_spent_is_kept_through_revocation_and_a_new_grant(crowd: World) -> None:
    spend(crowd, cost=400_000)
    assert crowd.view("ada")["spent"] == 400_000
    crowd.revoke("ada")
    assert crowd.view("ada")["spent"] == 400_000
    crowd.grant("ada")
    assert crowd.view("ada")["spent"] == 400_000


def test_what_was_spent_is_kept_when_the_class_changes(crowd: World) -> None:
    spend(crowd, cost=400_000)
    crowd.grant("ada", 2)
    assert crowd.view("ada")["spent"] == 400_000
    assert crowd.view("ada")["class"] == crowd.class_id(2)


def test_a_cap_that_is_used_up_is_not_opened_by_granting_it_again(crowd: World) -> None:
    crowd.grant("ada", cap=MAX_COST)
    spend(crowd, cost=MAX_COST)
    crowd.revoke("ada")
    with refusing("BudgetTooSmall", 0, MAX_COST):
        crowd.grant("ada", cap=MAX_COST)
    with refusing("BudgetTooSmall", MAX_COST - 1, MAX_COST):
        crowd.grant("ada", cap=2 * MAX_COST - 1)
    crowd.grant("ada", cap=2 * MAX_COST)


def test_a_cap_below_what_was_spent_leaves_nothing(crowd: World) -> None:
    spend(crowd, cost=MAX_COST)
    spend(crowd, cost=MAX_COST, salt=word("2"))
    with refusing("BudgetTooSmall", 0, MAX_COST):
        crowd.grant("ada", cap=MAX_COST)


def test_earnings_survive_revocation_and_a_new_grant(crowd: World) -> None:
    spend(crowd, price=40)
    crowd.revoke("ada")
    assert crowd.view("ada")["owed"] == 40
    crowd.grant("ada")
    spend(crowd, price=45, salt=word("2"))
    assert crowd.view("ada")["owed"] == 85
    assert crowd.view("ben")["owed"] == 85


# ---- Seats ----


def test_who_comes_back_to_a_class_finds_the_old_place(crowd: World) -> None:
    crowd.revoke("ben")
    crowd.grant("ben")
    assert crowd.view("ben")["place"] == 1
    assert crowd.shard()["used"] == 4


def test_a_place_left_for_another_class_is_given_to_the_next_one(crowd: World) -> None:
    crowd.grant("ben", 2)
    crowd.join("stranger")
    assert crowd.view("stranger")["place"] == 1
    assert crowd.read(crowd.consents, "patientsAt", crowd.class_id(), 0, [1]) == [
        address("stranger")
    ]


def test_a_free_place_waits_while_a_cohort_is_counted(crowd: World) -> None:
    request = crowd.frozen()
    crowd.grant("ben", 2)
    crowd.join("stranger")
    assert crowd.view("stranger")["place"] == 4
    crowd.seal(request)
    crowd.thaw()
    crowd.join("second gate")
    assert crowd.view("second gate")["place"] == 1


# ---- The market's own calls, and the binding ----


def test_only_the_market_freezes_tidies_seals_thaws_and_collects(crowd: World) -> None:
    shard = [word("request"), crowd.class_id(), 0]
    for who in ("operator", "admin", "stranger"):
        for action, arguments in (
            ("freezeShard", [*shard, crowd.later()]),
            ("thawShard", shard),
            ("tidyShard", [*shard, [0], 1]),
            ("sealShard", [*shard, 1, 1]),
            ("collect", [crowd.dataset, address("ada")]),
        ):
            with refusing("OnlyMarket", address(who)):
                crowd.consent(who, action, *arguments)


def test_the_market_is_named_once_by_the_admin(world: World) -> None:
    with refusing("AlreadyBound", world.market.address):
        world.consent("admin", "bindMarket", address("stranger"))
    with refusing("AccessControlUnauthorizedAccount", address("stranger"), ZERO):
        world.consent("stranger", "bindMarket", address("stranger"))
    assert world.read(world.consents, "market") == world.market.address
