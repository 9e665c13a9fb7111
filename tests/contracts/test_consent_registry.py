"""Grants and revocations: what a patient agrees to is what is kept, until the patient ends it."""

import pytest

from tests.contracts.market_terms import CAP, HORIZON, MAX_COST
from tests.contracts.market_world import World
from tests.contracts.support import DAY, ZERO, address, class_id, refusing, role, word

NONE, LIVE, RESTING, RESTED_BY_PATIENT, MOVED = range(5)
LARGEST_CAP = 2**48 - 1


# ---- Grants ----


def test_a_grant_is_live_at_once_and_kept_as_signed(world: World) -> None:
    said = world.grant_of("ada")
    sent = world.consent("ada", "grant", said)
    assert sent.facts("Granted") == {
        "patient": address("ada"),
        "class": world.class_id(),
        "shard": 0,
        "place": 0,
        "sequence": 1,
        "cap": CAP,
        "expiry": said["expiry"],
        "live": True,
    }
    assert world.view("ada") == {
        "state": LIVE,
        "class": world.class_id(),
        "shard": 0,
        "place": 0,
        "sequence": 1,
        "expiry": said["expiry"],
        "cap": CAP,
        "spent": 0,
        "owed": 0,
    }


def test_a_word_holds_its_members_and_their_earliest_expiry_and_exhaustion(world: World) -> None:
    early, late = world.later(HORIZON + DAY), world.later(HORIZON + 9 * DAY)
    world.grant("ada", expiry=late, cap=3 * MAX_COST)
    world.grant("ben", expiry=early, cap=5 * MAX_COST)
    (kept,) = world.read(world.consents, "wordsOf", world.class_id(), 0, 0, 1)
    assert kept == (3 * MAX_COST << 200) | (early << 160) | 0b11
    assert world.shard() == {
        "spent": 0,
        "earned": 0,
        "live": 2,
        "used": 2,
        "frozenUntil": 0,
        "frozenFor": ZERO,
    }
    assert world.read(world.consents, "patientsAt", world.class_id(), 0, [1, 0, 2]) == [
        address("ben"),
        address("ada"),
        "0x" + "00" * 20,
    ]


@pytest.mark.parametrize("sequence", [0, 2, 2**32 - 1])
def test_a_first_grant_names_sequence_one(world: World, sequence: int) -> None:
    with refusing("WrongSequence", 1, sequence):
        world.grant("ada", sequence=sequence)


def test_a_grant_cannot_be_shown_twice(world: World) -> None:
    said = world.grant_of("ada")
    world.consent("ada", "grant", said)
    with refusing("WrongSequence", 2, 1):
        world.consent("ada", "grant", said)


@pytest.mark.parametrize("index", [0, 1])
def test_a_class_of_another_dataset_or_none_is_refused(world: World, index: int) -> None:
    foreign = class_id(word("another dataset") if index else world.dataset, index)
    with refusing("ClassOutsideDataset", foreign, world.dataset):
        world.consent("ada", "grant", world.grant_of("ada") | {"class": foreign})


def test_a_class_that_was_never_published_is_refused(world: World) -> None:
    with refusing("UnknownClass", world.class_id(9)):
        world.grant("ada", 9)


def test_terms_that_the_patient_did_not_read_are_refused(world: World) -> None:
    published = world.read(world.parts.datasets, "definitionOf", world.class_id())
    with refusing("WrongDefinition", published, word("other terms")):
        world.grant("ada", definition=word("other terms"))


def test_a_grant_lasts_at_least_the_minimum_horizon(world: World) -> None:
    with refusing("ExpiryTooSoon"):
        world.grant("ada", expiry=world.later(HORIZON - 1))
    world.grant("ada", expiry=world.later(HORIZON + 5))


def test_a_cap_has_an_upper_limit(world: World) -> None:
    with refusing("CapTooLarge", LARGEST_CAP + 1, LARGEST_CAP):
        world.grant("ada", cap=LARGEST_CAP + 1)
    world.grant("ada", cap=LARGEST_CAP)
    assert world.view("ada")["cap"] == LARGEST_CAP


def test_a_cap_affords_at_least_the_dearest_request_of_the_class(world: World) -> None:
    with refusing("BudgetTooSmall", MAX_COST - 1, MAX_COST):
        world.grant("ada", cap=MAX_COST - 1)
    world.grant("ada", cap=MAX_COST)


def test_a_grant_after_its_deadline_is_refused(world: World) -> None:
    said = world.grant_of("ada", deadline=world.later(10))
    world.chain.warp(11)
    with refusing("DeadlinePassed", said["deadline"]):
        world.consent("ada", "grant", said)


def test_without_a_stored_record_there_is_no_consent(world: World) -> None:
    with refusing("RecordNotStored", world.dataset, address("stranger")):
        world.grant("stranger")
    world.attest("stranger")
    with refusing("RecordNotStored", world.dataset, address("stranger")):
        world.grant("stranger")
    world.store("stranger")
    world.grant("stranger")


def test_a_suspended_record_cannot_be_granted(world: World) -> None:
    datasets = world.parts.datasets
    world.send("steward", datasets, "withdrawIssuer", world.dataset, address("issuer"))
    world.send("steward", datasets, "suspendRecord", world.dataset, address("ada"))
    with refusing("RecordUnusable", world.dataset, address("ada")):
        world.grant("ada")


def test_a_retired_dataset_takes_no_grant_but_every_revocation(world: World) -> None:
    world.grant("ada")
    world.send("steward", world.parts.datasets, "retire", world.dataset)
    with refusing("DatasetIsRetired", world.dataset):
        world.grant("ben")
    assert world.revoke("ada").facts("Revoked")["sequence"] == 2


@pytest.mark.parametrize("who", ["stranger", "operator", "steward", "admin"])
def test_nobody_grants_for_another(world: World, who: str) -> None:
    with refusing("NotAuthorised", address(who), address("ada")):
        world.consent(who, "grant", world.grant_of("ada"))


# ---- Revocations ----


def test_a_revocation_ends_the_consent_and_uses_its_sequence_up(world: World) -> None:
    world.grant("ada")
    held_back = world.grant_of("ada", sequence=2)
    sent = world.revoke("ada")
    assert sent.facts("Revoked") == {
        "patient": address("ada"),
        "dataset": world.dataset,
        "sequence": 2,
    }
    assert world.view("ada")["state"] == NONE
    assert world.shard()["live"] == 0
    assert world.read(world.consents, "wordsOf", world.class_id(), 0, 0, 1) == [0]
    with refusing("WrongSequence", 3, 2):
        world.consent("ada", "grant", held_back)


def test_a_revocation_before_any_grant_still_uses_the_sequence_up(world: World) -> None:
    held_back = world.grant_of("ada")
    assert (
        world.chain.read(world.consents.functions.revoke(address("ada"), world.dataset), "ada")
        is False
    )
    world.revoke("ada")
    with refusing("WrongSequence", 2, 1):
        world.consent("ada", "grant", held_back)


@pytest.mark.parametrize("who", ["stranger", "operator", "steward", "admin", "pauser"])
def test_nobody_revokes_for_another(world: World, who: str) -> None:
    world.grant("ada")
    with refusing("NotAuthorised", address(who), address("ada")):
        world.revoke("ada", who)


def test_a_pause_stops_grants_and_wakes_until_it_ends(crowd: World) -> None:
    """Nothing else: see `test_paused`."""
    crowd.consent("ben", "rest", address("ben"), crowd.dataset)
    crowd.consent("pauser", "pause")
    for action, call in (
        ("grant", [crowd.grant_of("cleo")]),
        ("wake", [address("cleo"), crowd.dataset]),
        ("wakeWords", [crowd.class_id(), 0, [0]]),
    ):
        with refusing("EnforcedPause"):
            crowd.consent("cleo", action, *call)
    assert crowd.view("ben")["state"] == RESTED_BY_PATIENT
    crowd.consent("pauser", "unpause")
    crowd.grant("ada")
    crowd.consent("ben", "wake", address("ben"), crowd.dataset)
    assert [crowd.view(who)["state"] for who in ("ada", "ben")] == [LIVE, LIVE]


@pytest.mark.parametrize("action", ["pause", "unpause"])
def test_only_the_pauser_pauses(world: World, action: str) -> None:
    with refusing("AccessControlUnauthorizedAccount", address("admin"), role("PAUSER")):
        world.consent("admin", action)
