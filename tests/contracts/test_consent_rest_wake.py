"""Rest and wake, and what a freeze does to whoever comes or goes meanwhile."""

import pytest

from tests.contracts.market_terms import HORIZON, MAX_COST
from tests.contracts.market_world import World
from tests.contracts.support import address, refusing, word

NONE, LIVE, RESTING, RESTED_BY_PATIENT, MOVED = range(5)


def rest(world: World, who: str, sender: str = "") -> None:
    world.consent(sender or who, "rest", address(who), world.dataset)


def wake(world: World, who: str, sender: str = "") -> None:
    world.consent(sender or who, "wake", address(who), world.dataset)


def waiting(world: World, index: int = 1) -> int:
    (bits,) = world.read(world.consents, "waitingOf", world.class_id(index), 0, 0, 1)
    return int(bits)


def wake_words(world: World, *words: int, index: int = 1) -> int:
    call = world.consents.functions.wakeWords(world.class_id(index), 0, list(words))
    woken = int(world.chain.read(call))
    world.chain.send(call, "stranger")
    return woken


def test_who_rests_is_in_no_cohort_pays_nothing_and_earns_nothing(crowd: World) -> None:
    rest(crowd, "ada")
    assert crowd.shard()["live"] == 3
    crowd.settled()
    view = crowd.view("ada")
    assert (view["state"], view["spent"], view["owed"]) == (RESTED_BY_PATIENT, 0, 0)
    assert crowd.view("ben")["owed"] == 40


def test_a_rest_is_told_as_the_patients_own(crowd: World) -> None:
    sent = crowd.consent("ada", "rest", address("ada"), crowd.dataset)
    assert sent.facts("Rested") == {
        "patient": address("ada"),
        "dataset": crowd.dataset,
        "byPatient": True,
    }


def test_who_wakes_is_charged_from_then_on_only(crowd: World) -> None:
    rest(crowd, "ada")
    crowd.settled()
    crowd.thaw()
    wake(crowd, "ada")
    crowd.settled(salt=word("2"), cost=300_000, price=50)
    assert crowd.view("ada")["spent"] == 300_000
    assert crowd.view("ada")["owed"] == 50


@pytest.mark.parametrize("before", ["nothing", "rest", "revoke"])
def test_only_a_consent_that_stands_can_rest(crowd: World, before: str) -> None:
    who = "stranger" if before == "nothing" else "ada"
    if before != "nothing":
        crowd.consent("ada", before, address("ada"), crowd.dataset)
    with refusing("NothingToRest", address(who)):
        rest(crowd, who)


@pytest.mark.parametrize("before", ["nothing", "live", "revoke"])
def test_only_a_resting_consent_wakes(crowd: World, before: str) -> None:
    if before == "revoke":
        crowd.revoke("ada")
    who = "stranger" if before == "nothing" else "ada"
    with refusing("NothingToWake", address(who)):
        wake(crowd, who)


@pytest.mark.parametrize("action", ["rest", "wake"])
def test_nobody_rests_or_wakes_another(crowd: World, action: str) -> None:
    with refusing("NotAuthorised", address("operator"), address("ada")):
        crowd.consent("operator", action, address("ada"), crowd.dataset)


def test_an_expired_consent_does_not_wake(crowd: World) -> None:
    rest(crowd, "ada")
    crowd.chain.warp(400 * 86_400)
    with refusing("ConsentIsExpired"):
        wake(crowd, "ada")


def test_a_consent_that_cannot_afford_the_class_does_not_wake(world: World) -> None:
    world.grant_all("ada", "ben", cap=MAX_COST)
    world.settled(cost=400_000)
    world.thaw()
    rest(world, "ada")
    with refusing("BudgetTooSmall", MAX_COST - 400_000, MAX_COST):
        wake(world, "ada")


def test_a_suspended_record_does_not_wake(crowd: World) -> None:
    rest(crowd, "ada")
    datasets = crowd.parts.datasets
    crowd.send("steward", datasets, "withdrawIssuer", crowd.dataset, address("issuer"))
    crowd.send("steward", datasets, "suspendRecord", crowd.dataset, address("ada"))
    with refusing("RecordUnusable", crowd.dataset, address("ada")):
        wake(crowd, "ada")


# ---- While a cohort is counted ----


def test_a_grant_during_a_freeze_rests_and_waits(world: World) -> None:
    world.grant_all("ada", "ben")
    request = world.frozen()
    assert world.grant("cleo").facts("Granted")["live"] is False
    assert world.view("cleo")["state"] == RESTING
    assert waiting(world) == 0b100
    assert world.shard()["live"] == 2
    world.seal(request)
    assert world.request(request)["members"] == 2
    assert world.view("cleo")["owed"] == 0


def test_a_wake_during_a_freeze_rests_and_waits(crowd: World) -> None:
    rest(crowd, "ada")
    crowd.frozen()
    sent = crowd.consent("ada", "wake", address("ada"), crowd.dataset)
    assert sent.facts("Rested")["byPatient"] is False
    assert crowd.view("ada")["state"] == RESTING
    assert waiting(crowd) == 0b1


def test_a_new_grant_of_a_member_during_a_freeze_leaves_the_cohort(crowd: World) -> None:
    request = crowd.frozen()
    crowd.grant("ada")
    crowd.seal(request)
    assert crowd.request(request)["members"] == 3
    assert crowd.view("ada")["owed"] == 0


def test_anyone_wakes_whole_words_once_the_freeze_is_over(world: World) -> None:
    world.grant_all("ada", "ben")
    request = world.frozen()
    world.grant_all("cleo", "dan")
    with refusing("ShardIsFrozen"):
        wake_words(world, 0)
    world.seal(request)
    world.thaw()
    assert wake_words(world, 0) == 2
    assert waiting(world) == 0
    assert [world.view(who)["state"] for who in ("ada", "cleo", "dan")] == [LIVE] * 3
    assert world.shard()["live"] == 4


def test_a_second_wake_of_a_word_wakes_nobody_twice(world: World) -> None:
    world.grant_all("ada", "ben")
    world.frozen()
    world.grant("cleo")
    world.chain.warp(1_000)
    assert wake_words(world, 0, 0) == 1
    assert wake_words(world, 0, 9) == 0
    assert world.shard()["live"] == 3


def test_who_left_meanwhile_is_not_woken(world: World) -> None:
    world.grant_all("ada", "ben")
    world.frozen()
    world.grant_all("cleo", "dan")
    rest(world, "cleo")
    world.revoke("dan")
    assert waiting(world) == 0
    world.chain.warp(1_000)
    assert wake_words(world, 0) == 0
    assert [world.view(who)["state"] for who in ("cleo", "dan")] == [RESTED_BY_PATIENT, NONE]


def test_whoever_waits_may_wake_alone(world: World) -> None:
    world.grant_all("ada", "ben")
    world.frozen()
    world.grant("cleo")
    world.chain.warp(1_000)
    wake(world, "cleo")
    assert world.view("cleo")["state"] == LIVE
    assert waiting(world) == 0
    assert wake_words(world, 0) == 0


def test_an_expired_consent_stays_resting_when_its_word_wakes(world: World) -> None:
    world.grant_all("ada", "ben")
    world.frozen()
    world.grant("cleo", expiry=world.later(HORIZON + 10))
    world.chain.warp(HORIZON + 11)
    assert wake_words(world, 0) == 0
    assert world.view("cleo")["state"] == RESTING


def test_words_of_a_class_that_does_not_exist_are_refused(world: World) -> None:
    with refusing("UnknownClass", world.class_id(9)):
        wake_words(world, 0, index=9)


# ---- Expelling ----


def test_anyone_may_expel_a_consent_whose_record_cannot_be_used(crowd: World) -> None:
    crowd.settled()
    datasets = crowd.parts.datasets
    crowd.send("steward", datasets, "withdrawIssuer", crowd.dataset, address("issuer"))
    crowd.send("steward", datasets, "suspendRecord", crowd.dataset, address("ada"))
    sent = crowd.consent("stranger", "expel", crowd.dataset, address("ada"))
    assert sent.facts("Expelled") == {"patient": address("ada"), "dataset": crowd.dataset}
    view = crowd.view("ada")
    assert (view["state"], view["owed"], view["spent"]) == (NONE, 40, 500_000)
    assert crowd.consent("stranger", "expel", crowd.dataset, address("ada")).events == []


def test_a_usable_record_keeps_its_consent(crowd: World) -> None:
    with refusing("StillUsable", crowd.dataset, address("ada")):
        crowd.consent("steward", "expel", crowd.dataset, address("ada"))


def test_who_never_had_a_record_is_not_expelled_from_anything(crowd: World) -> None:
    assert crowd.consent("stranger", "expel", crowd.dataset, address("stranger")).events == []
