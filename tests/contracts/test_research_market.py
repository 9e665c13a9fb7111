"""Opening and cancelling requests: who may ask for what, at which price, with which money."""

from typing import Any

import pytest

from tests.contracts.market_books import ESCROW, OPENED, balance, books
from tests.contracts.market_terms import CREDENTIAL, MAX_COST, POLICY, PURPOSE
from tests.contracts.market_world import World
from tests.contracts.support import (
    DAY,
    NOBODY,
    ZERO,
    address,
    class_id,
    refusing,
    role,
    word,
)

LONGEST_WAIT = 30 * DAY


# ---- Opening ----


def test_a_request_is_named_by_everything_it_asks_for_and_by_who_asks(world: World) -> None:
    terms = world.terms()
    named = world.request_id(terms)
    assert named != world.request_id(terms | {"salt": word("other")})
    assert named != world.request_id(terms, "stranger")
    sent = world.open(terms)
    assert sent.facts("RequestOpened")["request"] == named
    assert sent.facts("RequestOpened")["researcher"] == address("researcher")


def test_an_open_request_holds_the_most_it_could_cost(world: World) -> None:
    before = balance(world, "researcher")
    terms = world.terms()
    world.open(terms)
    r = world.request(world.request_id(terms))
    assert (r["stage"], r["escrow"], r["researcher"]) == (OPENED, ESCROW, address("researcher"))
    assert (r["cost"], r["price"], r["fee"]) == (500_000, 40, 700)
    assert before - balance(world, "researcher") == ESCROW
    assert books(world)["escrows"] == ESCROW
    assert world.read(world.parts.token, "balanceOf", world.market.address) == ESCROW + 10**12


def test_a_request_is_opened_once(world: World) -> None:
    terms = world.terms()
    world.open(terms)
    with refusing("RequestExists", world.request_id(terms)):
        world.open(terms)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lane", 0),
        ("lane", 3),
        ("lane", 255),
        ("classes", []),
        ("cost", 0),
        ("analysis", ZERO),
        ("parameters", ZERO),
        ("deliveryKey", ZERO),
        ("maxPatients", 1),
        ("releaseKind", 2),
        ("releaseKind", 32),
        ("releaseKind", 255),
    ],
)
def test_terms_that_make_no_sense_are_refused_by_name(world: World, field: str, value: Any) -> None:
    with refusing("TermsInvalid", field):
        world.open(world.terms(**{field: value}))


@pytest.mark.parametrize("classes", [[2, 1], [1, 1], [0]])
def test_classes_are_named_once_in_rising_order(world: World, classes: list[int]) -> None:
    terms = world.terms(classes=classes)
    offered = [world.offers[max(1, index)] for index in classes]
    with refusing("TermsInvalid", "classes"):
        world.trade("researcher", "open", terms, offered)


@pytest.mark.parametrize("after", [0, 1, LONGEST_WAIT + 100])
def test_the_seal_deadline_leaves_the_notice_and_is_not_far_off(world: World, after: int) -> None:
    notice = 0 if after > 1 else POLICY["noticeWindow"]
    with refusing("TermsInvalid", "sealDeadline"):
        world.open(world.terms(sealDeadline=world.chain.now + notice + after))


@pytest.mark.parametrize("after", [-1, LONGEST_WAIT + 1])
def test_the_settle_deadline_leaves_time_to_turn_and_is_not_far_off(
    world: World, after: int
) -> None:
    seal = world.later(DAY)
    late = seal + POLICY["turnWindow"] + after
    with refusing("TermsInvalid", "settleDeadline"):
        world.open(world.terms(sealDeadline=seal, settleDeadline=late))


@pytest.mark.parametrize("after", [0, LONGEST_WAIT])
def test_the_settle_deadline_may_lie_on_either_border(world: World, after: int) -> None:
    seal = world.later(DAY)
    world.open(world.terms(sealDeadline=seal, settleDeadline=seal + POLICY["turnWindow"] + after))


def test_every_class_is_shown_with_its_terms(world: World) -> None:
    terms = world.terms(classes=[1, 2])
    with refusing("ClassesMismatch", 2, 1):
        world.trade("researcher", "open", terms, [world.offers[1]])


def test_terms_other_than_the_published_ones_are_refused(world: World) -> None:
    softer = world.offers[1] | {"floorPerRecord": 0}
    with refusing("DefinitionMismatch"):
        world.trade("researcher", "open", world.terms(), [softer])


def test_a_class_that_does_not_exist_is_refused(world: World) -> None:
    with refusing("UnknownClass", class_id(world.dataset, 9)):
        world.trade("researcher", "open", world.terms(classes=[9]), [world.offers[1]])


def test_a_request_costs_no_more_privacy_than_the_class_allows(world: World) -> None:
    with refusing("CostAboveClass", world.class_id(), MAX_COST, MAX_COST + 1):
        world.open(world.terms(cost=MAX_COST + 1))
    world.open(world.terms(cost=MAX_COST))


@pytest.mark.parametrize(
    ("cost", "floor"), [(1, 5), (500_000, 5), (500_001, 6), (600_000, 6), (1_000_000, 10)]
)
def test_the_price_floor_is_the_higher_of_two_and_rounded_up(
    world: World, cost: int, floor: int
) -> None:
    """Five units a record, ten units per 1,000,000 nano-rho."""
    with refusing("PriceBelowFloor", world.class_id(), floor, floor - 1):
        world.open(world.terms(cost=cost, price=floor - 1))
    world.open(world.terms(cost=cost, price=floor))


def test_a_purpose_that_the_class_does_not_permit_is_refused(world: World) -> None:
    terms = CLASS_OF_NON_COMMERCIAL_USE
    datasets = world.parts.datasets
    sent = world.send("steward", datasets, "publishClass", world.dataset, terms)
    world.offers[4] = terms
    assert sent.facts("ClassPublished")["class"] == world.class_id(4)
    world.open(world.terms(classes=[4]))
    with refusing("PurposeNotPermitted"):
        world.open(world.terms(classes=[4], purpose=PURPOSE | {"commercial": True}))


# The modifier NCU, DUO:0000046.
CLASS_OF_NON_COMMERCIAL_USE: dict[str, Any] = {
    "permission": 2,
    "disease": 0,
    "modifiers": 1 << 5,
    "researchTypes": 0,
    "countries": [],
    "months": 0,
    "users": [],
    "projects": [],
    "institutions": [],
    "releaseKinds": 1,
    "maxCost": MAX_COST,
    "floorPerRecord": 0,
    "floorPerMilliRho": 0,
    "termsHash": word("no commerce"),
}


def test_without_a_credential_nothing_is_opened(world: World) -> None:
    terms = world.terms()
    with refusing("CredentialMissing", address("stranger")):
        world.trade("stranger", "open", terms, world.offered(terms))


def test_a_withdrawn_credential_opens_nothing(world: World) -> None:
    world.send("authority", world.parts.researchers, "withdraw", address("researcher"))
    with refusing("CredentialIsWithdrawn", address("researcher")):
        world.open(world.terms())


def test_an_expired_credential_opens_nothing(world: World) -> None:
    expiry = world.later(100)
    brief = CREDENTIAL | {"expiry": expiry}
    world.send("authority", world.parts.researchers, "give", address("researcher"), brief)
    world.chain.warp(101)
    with refusing("CredentialExpired", address("researcher"), expiry):
        world.open(world.terms())


def test_a_retired_dataset_takes_no_request(world: World) -> None:
    world.send("steward", world.parts.datasets, "retire", world.dataset)
    with refusing("DatasetIsRetired", world.dataset):
        world.open(world.terms())


def test_an_escrow_that_is_not_covered_changes_nothing(world: World) -> None:
    world.send("researcher", world.parts.token, "approve", world.market.address, ESCROW - 1)
    with refusing("ERC20InsufficientAllowance", world.market.address, ESCROW - 1, ESCROW):
        world.open(world.terms())
    assert books(world)["escrows"] == 0


def test_a_pause_stops_new_requests_and_freezes(crowd: World) -> None:
    terms = crowd.terms()
    crowd.open(terms)
    crowd.trade("pauser", "pause")
    with refusing("EnforcedPause"):
        crowd.open(crowd.terms(salt=word("2")))
    with refusing("EnforcedPause"):
        crowd.freeze(terms)
    crowd.trade("pauser", "unpause")
    crowd.freeze_now(terms)


@pytest.mark.parametrize("action", ["pause", "unpause"])
def test_only_the_pauser_pauses(world: World, action: str) -> None:
    with refusing("AccessControlUnauthorizedAccount", address("operator"), role("PAUSER")):
        world.trade("operator", action)


# ---- Deployment ----


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("minimumCohort", 1),
        ("freezeWindow", 0),
        ("gateWindow", 0),
        ("turnWindow", 0),
        ("certificateWindow", 0),
        ("unusedFreezeBps", 10_001),
        ("minimumBond", 0),
    ],
)
def test_a_policy_that_protects_nobody_is_not_deployed(
    world: World, field: str, value: int
) -> None:
    parts = world.parts
    registries = (parts.datasets, parts.researchers, parts.consents)
    others = (parts.token, *registries, parts.committee, parts.noises)
    rules = tuple((POLICY | {field: value}).values())
    with refusing("PolicyInvalid", field):
        world.chain.deploy(
            "ResearchMarket", address("admin"), *(each.address for each in others), rules
        )


def test_the_policy_can_be_read(world: World) -> None:
    assert tuple(world.read(world.market, "policy")) == tuple(POLICY.values())


def test_a_question_about_no_request_is_answered_with_nothing(world: World) -> None:
    assert world.request(word("none"))["researcher"] == NOBODY
    assert world.read(world.market, "shardsOf", word("none")) == []
