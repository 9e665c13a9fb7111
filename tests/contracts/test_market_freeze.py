"""Freezing and tidying, and what is given back when it does not come to a seal."""

import pytest

from tests.contracts.market_books import (
    ESCROW,
    FROZEN,
    OPENED,
    RECLAIMED,
    SEALED,
    books,
    credit,
)
from tests.contracts.market_terms import CAP, HORIZON, MAX_COST, POLICY, THAW_GAP
from tests.contracts.market_world import World
from tests.contracts.support import DAY, address, refusing, role, word

NONE, LIVE, RESTING, RESTED_BY_PATIENT, MOVED = range(5)


def bond(world: World, who: str = "operator") -> int:
    return int(world.read(world.market, "bondOf", address(who)))


def tidy(world: World, request: bytes, *words: int, shard: int = 0) -> int:
    sent = world.trade("stranger", "tidy", request, shard, list(words))
    return int(sent.facts("RequestTidied")["left"])


# ---- Freezing ----


def test_a_freeze_pins_the_epoch_locks_the_bond_and_counts_the_living(crowd: World) -> None:
    before = bond(crowd)
    terms = crowd.terms()
    crowd.open(terms)
    sent = crowd.freeze(terms)
    request = crowd.request_id(terms)
    until = crowd.chain.now + POLICY["freezeWindow"]
    assert sent.facts("RequestFrozen") == {
        "request": request,
        "operator": address("operator"),
        "epoch": 1,
        "live": 4,
        "bond": POLICY["minimumBond"],
        "until": until,
    }
    assert before - bond(crowd) == POLICY["minimumBond"] == crowd.request(request)["bond"]
    assert crowd.shard()["frozenUntil"] == until
    assert crowd.shard()["frozenFor"] == request
    assert crowd.read(crowd.market, "shardsOf", request) == [(1, 0)]


def test_the_bond_covers_all_that_patients_could_be_paid(crowd: World) -> None:
    request = crowd.frozen(price=400)
    assert crowd.request(request)["bond"] == 4 * 400
    assert books(crowd)["lockedBonds"] == 1_600


def test_an_operator_without_enough_bond_freezes_nothing(crowd: World) -> None:
    crowd.send("admin", crowd.market, "grantRole", role("OPERATOR"), address("second operator"))
    terms = crowd.terms(price=400)
    crowd.open(terms)
    with refusing("BondTooSmall", 1_600, 0):
        crowd.freeze(terms, "second operator")
    assert crowd.shard()["frozenUntil"] == 0


@pytest.mark.parametrize("who", ["researcher", "admin", "stranger"])
def test_only_an_operator_freezes(crowd: World, who: str) -> None:
    terms = crowd.terms()
    crowd.open(terms)
    with refusing("AccessControlUnauthorizedAccount", address(who), role("OPERATOR")):
        crowd.freeze(terms, who)


def test_patients_have_the_whole_notice_to_rest(crowd: World) -> None:
    terms = crowd.terms()
    crowd.open(terms)
    with refusing("NoticeStillRunning", crowd.chain.now + POLICY["noticeWindow"]):
        crowd.freeze_now(terms)


def test_a_freeze_after_the_seal_deadline_is_refused(crowd: World) -> None:
    terms = crowd.terms()
    crowd.open(terms)
    crowd.chain.warp(2 * DAY)
    with refusing("SealDeadlinePassed", terms["sealDeadline"]):
        crowd.freeze_now(terms)


def test_a_freeze_ends_with_the_seal_deadline_at_the_latest(crowd: World) -> None:
    deadline = crowd.later(POLICY["noticeWindow"] + 200)
    request = crowd.frozen(sealDeadline=deadline)
    assert crowd.request(request)["frozenUntil"] == deadline


def test_terms_that_were_not_opened_cannot_be_frozen(crowd: World) -> None:
    terms = crowd.terms()
    crowd.open(terms)
    other = terms | {"price": 5}
    with refusing("WrongStage", crowd.request_id(other), OPENED, 0):
        crowd.freeze(other)


def test_a_credential_withdrawn_since_the_opening_stops_the_freeze(crowd: World) -> None:
    terms = crowd.terms()
    crowd.open(terms)
    crowd.send("authority", crowd.parts.researchers, "withdraw", address("researcher"))
    with refusing("CredentialIsWithdrawn", address("researcher")):
        crowd.freeze(terms)


def test_too_few_living_consents_are_no_cohort(world: World) -> None:
    world.grant("ada")
    terms = world.terms()
    world.open(terms)
    with refusing("CohortTooSmall", 1, 2):
        world.freeze(terms)


def test_more_living_consents_than_were_paid_for_are_refused(crowd: World) -> None:
    terms = crowd.terms(maxPatients=3)
    crowd.open(terms)
    with refusing("CohortTooLarge", 4, 3):
        crowd.freeze(terms)


def test_a_shard_is_frozen_for_one_request_at_a_time(crowd: World) -> None:
    crowd.frozen()
    second = crowd.terms(salt=word("2"))
    crowd.open(second)
    with refusing("ShardIsFrozen"):
        crowd.freeze(second)


def test_between_two_freezes_there_is_a_gap(crowd: World) -> None:
    second = crowd.terms(salt=word("2"))
    crowd.open(second)
    crowd.sealed()
    sealed_at = crowd.shard()["frozenUntil"]
    with refusing("ShardIsFrozen", crowd.class_id(), 0, sealed_at + THAW_GAP):
        crowd.freeze_now(second)
    crowd.thaw()
    crowd.freeze_now(second)


# ---- Tidying ----


def test_tidy_removes_what_expires_before_the_seal(world: World) -> None:
    world.grant_all("ada", "ben", "cleo")
    world.grant("dan", expiry=world.later(HORIZON + 10))
    world.chain.warp(HORIZON - 700)
    request = world.frozen()
    world.chain.warp(200)
    with refusing("WordStale", 0, world.view("dan")["expiry"], CAP):
        world.seal(request)
    assert tidy(world, request, 0) == 1
    assert world.view("dan")["state"] == NONE
    world.seal(request)
    assert world.request(request)["members"] == 3


def test_tidy_looks_ahead_to_the_end_of_the_freeze(world: World) -> None:
    world.grant_all("ada", "ben")
    world.grant("dan", expiry=world.later(HORIZON + 10))
    world.chain.warp(HORIZON - 700)
    request = world.frozen()
    assert world.view("dan")["expiry"] > world.chain.now
    assert tidy(world, request, 0) == 1
    assert world.view("dan")["state"] == NONE


def test_tidy_rests_and_credits_who_cannot_pay(world: World) -> None:
    world.grant_all("ada", "ben", "cleo")
    world.grant("dan", cap=MAX_COST)
    world.settled(cost=400_000)
    world.thaw()
    request = world.frozen(cost=MAX_COST, salt=word("2"))
    with refusing("WordStale", 0, world.view("ada")["expiry"], MAX_COST):
        world.seal(request)
    assert tidy(world, request, 0) == 1
    view = world.view("dan")
    assert (view["state"], view["spent"], view["owed"]) == (RESTING, 400_000, 40)
    assert world.shard()["live"] == 3
    world.seal(request)
    assert world.request(request)["members"] == 3
    assert world.view("dan")["owed"] == 40


def test_tidy_leaves_who_can_pay_and_makes_the_word_exact(world: World) -> None:
    world.grant("ada")
    world.grant("ben", cap=2 * CAP)
    world.grant("cleo", cap=2 * CAP)
    request = world.frozen()
    world.revoke("ada")
    (stale,) = world.read(world.consents, "wordsOf", world.class_id(), 0, 0, 1)
    assert stale >> 200 == CAP
    assert tidy(world, request, 0) == 0
    (exact,) = world.read(world.consents, "wordsOf", world.class_id(), 0, 0, 1)
    assert exact >> 200 == 2 * CAP
    assert exact & (2**160 - 1) == 0b110


def test_tidy_empties_a_word_to_zero(world: World) -> None:
    world.grant_all("ada", "ben", cap=MAX_COST)
    world.settled(cost=400_000)
    world.thaw()
    request = world.frozen(cost=MAX_COST, salt=word("2"))
    assert tidy(world, request, 0, 3) == 2
    assert world.read(world.consents, "wordsOf", world.class_id(), 0, 0, 1) == [0]


def test_who_was_tidied_to_rest_does_not_wake_by_itself(world: World) -> None:
    world.grant_all("ada", "ben")
    world.grant("dan", cap=MAX_COST)
    world.settled(cost=400_000)
    world.thaw()
    request = world.frozen(cost=MAX_COST, salt=word("2"))
    tidy(world, request, 0)
    world.seal(request)
    world.thaw()
    call = world.consents.functions.wakeWords(world.class_id(), 0, [0])
    assert world.chain.read(call) == 0


def test_tidy_works_only_for_the_frozen_request_and_its_shards(crowd: World) -> None:
    terms = crowd.terms()
    crowd.open(terms)
    request = crowd.request_id(terms)
    with refusing("WrongStage", request, FROZEN, OPENED):
        tidy(crowd, request, 0)
    crowd.freeze(terms)
    with refusing("UnknownShard", 1):
        tidy(crowd, request, 0, shard=1)
    crowd.chain.warp(POLICY["freezeWindow"] + 1)
    with refusing("FreezeLapsed"):
        tidy(crowd, request, 0)


# ---- Dissolving and reclaiming ----


def test_anyone_dissolves_a_cohort_that_became_too_small_at_nobodys_cost(crowd: World) -> None:
    request, before = crowd.frozen(), bond(crowd) + POLICY["minimumBond"]
    with refusing("CohortStillLarge", 4, 2):
        crowd.trade("stranger", "dissolve", request)
    for who in ("ada", "ben", "cleo"):
        crowd.revoke(who)
    sent = crowd.trade("stranger", "dissolve", request)
    assert sent.facts("RequestReclaimed") == {"request": request, "from": FROZEN}
    assert crowd.request(request)["stage"] == RECLAIMED
    assert credit(crowd, "researcher") == ESCROW
    assert bond(crowd) == before
    crowd.thaw()
    assert crowd.grant("ada").facts("Granted")["live"] is True


def test_a_cohort_of_which_a_shard_was_sealed_is_not_dissolved(crowd: World) -> None:
    crowd.grant("cleo", 2)
    request = crowd.frozen(classes=[1, 2])
    crowd.trade("operator", "seal", request)
    with refusing("WrongStage", request, FROZEN, SEALED):
        crowd.trade("stranger", "dissolve", request)


def test_a_request_that_nobody_froze_comes_back_whole(world: World) -> None:
    terms = world.terms()
    world.open(terms)
    request = world.request_id(terms)
    with refusing("DeadlineRunning", terms["sealDeadline"]):
        world.trade("stranger", "reclaim", request)
    world.chain.warp(DAY + 1)
    world.trade("stranger", "reclaim", request)
    assert credit(world, "researcher") == ESCROW
    with refusing("WrongStage", request, FROZEN, RECLAIMED):
        world.trade("stranger", "reclaim", request)


def test_an_unused_freeze_costs_part_of_the_bond(crowd: World) -> None:
    before = bond(crowd)
    request = crowd.frozen(price=1_000)
    with refusing("DeadlineRunning", crowd.request(request)["frozenUntil"]):
        crowd.trade("stranger", "reclaim", request)
    crowd.chain.warp(POLICY["freezeWindow"] + 1)
    crowd.trade("stranger", "reclaim", request)
    penalty = 4_000 * POLICY["unusedFreezeBps"] // 10_000
    assert credit(crowd, "researcher") == 50 * 1_000 + 700 + penalty
    assert before - bond(crowd) == penalty
    assert books(crowd)["lockedBonds"] == 0


def test_a_half_used_freeze_repays_what_the_sealed_shards_were_paid(crowd: World) -> None:
    before = bond(crowd)
    crowd.grant("dan", 2)
    request = crowd.frozen(price=1_000, classes=[1, 2])
    crowd.trade("operator", "seal", request)
    crowd.chain.warp(POLICY["freezeWindow"] + 1)
    crowd.trade("stranger", "reclaim", request)
    assert credit(crowd, "researcher") == 50 * 1_000 + 700
    assert before - bond(crowd) == 3_000
    assert books(crowd) == {
        "escrows": 0,
        "lockedBonds": 0,
        "freeBonds": before - 3_000,
        "credits": 50_700,
        "earnings": 3_000,
    }
    assert (crowd.view("ada")["owed"], crowd.view("dan")["owed"]) == (1_000, 0)
