"""Guardians, erasure, and moving to a new address."""

from typing import Any

import pytest

from tests.contracts.market_world import World
from tests.contracts.support import (
    NOBODY,
    Sent,
    address,
    refusing,
    word,
)

NONE, LIVE, RESTING, RESTED_BY_PATIENT, MOVED = range(5)


def appoint(world: World, *, may_grant: bool, seconds: int = 86_400) -> None:
    arguments = (world.dataset, address("guardian"), world.later(seconds), may_grant)
    world.consent("ada", "appointGuardian", *arguments)


def rotate(
    world: World, new: str = "new ada", old: str = "ada", lie: dict[str, Any] | None = None
) -> Sent:
    """Moves as both sign; a lie is told after they signed."""
    said: dict[str, Any] = {"dataset": world.dataset, "from": address(old), "to": address(new)}
    said |= {"deadline": world.later()}
    signatures = [world.sign(who, world.consents, "Rotation", said) for who in (old, new)]
    return world.consent("relayer", "rotate", said | (lie or {}), *signatures)


# ---- Guardians ----


def test_a_guardian_revokes_and_rests(crowd: World) -> None:
    appoint(crowd, may_grant=False)
    crowd.consent("guardian", "rest", address("ada"), crowd.dataset)
    assert crowd.view("ada")["state"] == RESTED_BY_PATIENT
    crowd.revoke("ada", "guardian")
    assert crowd.view("ada")["state"] == NONE


def test_a_guardian_grants_only_if_appointed_to(world: World) -> None:
    appoint(world, may_grant=False)
    for action, arguments in (
        ("grant", [world.grant_of("ada")]),
        ("wake", [address("ada"), world.dataset]),
    ):
        with refusing("NotAuthorised", address("guardian"), address("ada")):
            world.consent("guardian", action, *arguments)
    appoint(world, may_grant=True)
    world.consent("guardian", "grant", world.grant_of("ada"))
    world.consent("guardian", "rest", address("ada"), world.dataset)
    world.consent("guardian", "wake", address("ada"), world.dataset)
    assert world.view("ada")["state"] == LIVE


def test_a_guardian_signs_within_the_same_powers(world: World) -> None:
    with refusing("NotAuthorised", address("guardian"), address("ada")):
        world.grant_by_sig("ada", "guardian")
    appoint(world, may_grant=True)
    assert world.grant_by_sig("ada", "guardian").facts("Granted")["patient"] == address("ada")


def test_a_guardian_ends_what_is_but_no_grant_under_way(crowd: World) -> None:
    """Only the patient's own revocation reaches grants that are not on chain yet."""
    appoint(crowd, may_grant=False)
    said = {"patient": address("ada"), "dataset": crowd.dataset, "sequence": 2**32 - 1}
    signature = crowd.sign("guardian", crowd.consents, "Revocation", said)
    crowd.consent("relayer", "revokeBySig", said, address("guardian"), signature)
    assert crowd.view("ada")["state"] == NONE
    assert crowd.view("ada")["sequence"] == 2


def test_a_guardian_is_nobody_after_the_term(crowd: World) -> None:
    appoint(crowd, may_grant=True, seconds=50)
    crowd.chain.warp(51)
    for action, arguments in (
        ("revoke", [address("ada"), crowd.dataset]),
        ("grant", [crowd.grant_of("ada")]),
    ):
        with refusing("NotAuthorised", address("guardian"), address("ada")):
            crowd.consent("guardian", action, *arguments)


def test_a_patient_dismisses_a_guardian(crowd: World) -> None:
    appoint(crowd, may_grant=True)
    sent = crowd.consent("ada", "appointGuardian", crowd.dataset, NOBODY, 0, False)
    assert sent.facts("GuardianAppointed")["guardian"] == NOBODY
    with refusing("NotAuthorised", address("guardian"), address("ada")):
        crowd.revoke("ada", "guardian")


def test_a_guardian_is_for_one_patient_and_dataset_and_appoints_nobody(crowd: World) -> None:
    appoint(crowd, may_grant=True)
    with refusing("NotAuthorised", address("guardian"), address("ben")):
        crowd.revoke("ben", "guardian")
    with refusing("NotAuthorised", address("guardian"), address("ada")):
        crowd.consent("guardian", "revoke", address("ada"), word("another dataset"))
    crowd.consent("guardian", "appointGuardian", crowd.dataset, address("stranger"), 2**39, True)
    guardian, _, may_grant = crowd.read(crowd.consents, "guardianOf", crowd.dataset, address("ada"))
    assert (guardian, may_grant) == (address("guardian"), True)


def test_a_guardian_never_withdraws_or_erases(crowd: World) -> None:
    appoint(crowd, may_grant=True)
    crowd.settled()
    with refusing("NothingOwed", address("guardian")):
        crowd.trade("guardian", "withdrawEarnings", crowd.dataset, address("guardian"))
    said = {"patient": address("ada"), "dataset": crowd.dataset, "version": 1}
    signature = crowd.sign("guardian", crowd.consents, "Erasure", said)
    with refusing("BadSignature", address("ada")):
        crowd.consent("guardian", "eraseBySig", said, signature)


# ---- Erasure ----


def test_an_erasure_ends_the_consent_and_the_record_and_keeps_the_earnings(crowd: World) -> None:
    crowd.settled()
    sent = crowd.consent("ada", "erase", crowd.dataset)
    assert [name for name, _ in sent.events] == ["Revoked", "RecordErased"]
    assert crowd.view("ada")["state"] == NONE
    assert crowd.view("ada")["owed"] == 40
    assert crowd.read(crowd.parts.datasets, "isUsable", crowd.dataset, address("ada")) is False
    with refusing("RecordUnusable", crowd.dataset, address("ada")):
        crowd.grant("ada")


def test_an_erasure_resets_no_lifetime_spend(crowd: World) -> None:
    crowd.settled()
    crowd.consent("ada", "erase", crowd.dataset)
    crowd.attest("ada", version=2)
    crowd.store("ada", version=2)
    crowd.thaw()
    crowd.grant("ada")
    assert crowd.view("ada")["spent"] == 500_000


@pytest.mark.parametrize("version", [0, 2])
def test_a_signed_erasure_names_the_latest_version(crowd: World, version: int) -> None:
    said = {"patient": address("ada"), "dataset": crowd.dataset, "version": version}
    signature = crowd.sign("ada", crowd.consents, "Erasure", said)
    with refusing("WrongRecordVersion", 1, version):
        crowd.consent("relayer", "eraseBySig", said, signature)


def test_a_signed_erasure_cannot_erase_a_record_attested_later(crowd: World) -> None:
    said = {"patient": address("ada"), "dataset": crowd.dataset, "version": 1}
    signature = crowd.sign("ada", crowd.consents, "Erasure", said)
    crowd.consent("relayer", "eraseBySig", said, signature)
    crowd.attest("ada", version=2)
    with refusing("WrongRecordVersion", 2, 1):
        crowd.consent("relayer", "eraseBySig", said, signature)


# ---- Moving ----


def test_a_rotation_moves_record_consent_earnings_and_spend(crowd: World) -> None:
    crowd.settled()
    crowd.thaw()
    before = crowd.view("ada")
    sent = rotate(crowd)
    assert sent.facts("Rotated") == {
        "dataset": crowd.dataset,
        "from": address("ada"),
        "to": address("new ada"),
    }
    assert crowd.view("new ada") == before
    left = crowd.view("ada")
    assert (left["state"], left["owed"], left["spent"]) == (MOVED, 0, 0)
    assert crowd.read(crowd.consents, "patientsAt", crowd.class_id(), 0, [0]) == [
        address("new ada")
    ]
    crowd.trade("new ada", "withdrawEarnings", crowd.dataset, address("stranger"))
    assert crowd.read(crowd.parts.token, "balanceOf", address("stranger")) == 40


def test_a_rotation_moves_what_was_earned_before_a_revocation(crowd: World) -> None:
    crowd.settled()
    crowd.thaw()
    crowd.revoke("ada")
    rotate(crowd)
    assert crowd.view("new ada")["owed"] == 40
    assert crowd.view("new ada")["spent"] == 500_000
    assert crowd.view("ada")["owed"] == 0


def test_an_address_that_was_left_can_never_grant_again_and_revokes_nothing(crowd: World) -> None:
    rotate(crowd)
    with refusing("AddressMoved", address("ada")):
        crowd.grant("ada")
    with refusing("AddressMoved", address("ada")):
        rotate(crowd, "stranger")
    assert crowd.revoke("ada").events == []
    assert crowd.view("new ada")["state"] == LIVE


def test_a_rotation_leaves_the_guardian_behind(crowd: World) -> None:
    appoint(crowd, may_grant=True)
    rotate(crowd)
    for who in ("ada", "new ada"):
        guardian, _, _ = crowd.read(crowd.consents, "guardianOf", crowd.dataset, address(who))
        assert guardian == NOBODY


@pytest.mark.parametrize("taken", ["ada", "ben"])
def test_a_rotation_goes_to_an_unused_address_only(crowd: World, taken: str) -> None:
    with refusing("AddressInUse", address(taken)):
        rotate(crowd, taken)


def test_a_rotation_does_not_go_to_an_address_that_ever_revoked(crowd: World) -> None:
    crowd.revoke("stranger")
    with refusing("AddressInUse", address("stranger")):
        rotate(crowd, "stranger")


def test_nobody_moves_while_a_cohort_is_counted(crowd: World) -> None:
    crowd.frozen()
    with refusing("ShardIsFrozen"):
        rotate(crowd)


def test_who_has_a_record_and_no_consent_moves_also_while_a_cohort_is_counted(crowd: World) -> None:
    crowd.enrol("stranger")
    crowd.frozen()
    rotate(crowd, "second gate", "stranger")
    assert crowd.read(crowd.parts.datasets, "isUsable", crowd.dataset, address("second gate"))


def test_a_rotation_after_its_deadline_is_refused(crowd: World) -> None:
    deadline = crowd.chain.now - 1
    with refusing("DeadlinePassed", deadline):
        rotate(crowd, lie={"deadline": deadline})


@pytest.mark.parametrize("name", ["dataset", "from", "to", "deadline"])
def test_a_rotation_is_what_both_signed(crowd: World, name: str) -> None:
    lies: dict[str, Any] = {
        "dataset": word("other"),
        "from": address("ben"),
        "to": address("stranger"),
    }
    lies["deadline"] = crowd.later(90_000)
    with refusing("BadSignature"):
        rotate(crowd, lie={name: lies[name]})


@pytest.mark.parametrize("missing", [0, 1])
def test_a_rotation_needs_both_signatures(crowd: World, missing: int) -> None:
    people = ["ada", "new ada"]
    said: dict[str, Any] = {
        "dataset": crowd.dataset,
        "from": address("ada"),
        "to": address("new ada"),
    }
    said |= {"deadline": crowd.later()}
    signers = people.copy()
    signers[missing] = people[1 - missing]
    signatures = [crowd.sign(who, crowd.consents, "Rotation", said) for who in signers]
    with refusing("BadSignature", address(people[missing])):
        crowd.consent("relayer", "rotate", said, *signatures)
