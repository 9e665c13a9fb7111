"""Signed messages to the consent registry: only the signer's own words, only here, only once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.contracts.market_terms import SIGNED
from tests.contracts.market_world import World
from tests.contracts.support import (
    Sent,
    address,
    refusing,
    word,
)

# secp256k1's group order (SEC 2, 2.4.1): (r, n - s) also verifies, and EIP-2 forbids it.
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
LIVE, RESTED_BY_PATIENT = 1, 3


@dataclass(frozen=True)
class Kind:
    """A signed message: the call that takes it, and a sound one by Ada in her present state."""

    action: str
    message: Callable[[World], dict[str, Any]]
    names_signer: bool = True

    def call(self, world: World, said: dict[str, Any], signature: bytes) -> Sent:
        signer = [address("ada")] if self.names_signer else []
        return world.consent("relayer", self.action, said, *signer, signature)


def pause(world: World) -> dict[str, Any]:
    said = {"patient": address("ada"), "dataset": world.dataset, "nonce": 7}
    return said | {"sequence": world.view("ada")["sequence"], "deadline": world.later()}


def resting(world: World) -> dict[str, Any]:
    world.consent("ada", "rest", address("ada"), world.dataset)
    return pause(world)


def guardianship(world: World) -> dict[str, Any]:
    said = {"patient": address("ada"), "dataset": world.dataset, "guardian": address("guardian")}
    times = {"expiry": world.later(), "deadline": world.later()}
    return said | times | {"mayGrant": True, "nonce": 7}


KINDS = {
    "Grant": Kind("grantBySig", lambda world: world.grant_of("ada")),
    "Revocation": Kind(
        "revokeBySig",
        lambda world: {"patient": address("ada"), "dataset": world.dataset, "sequence": 257},
    ),
    "Rest": Kind("restBySig", pause),
    "Wake": Kind("wakeBySig", resting),
    "Guardianship": Kind("appointGuardianBySig", guardianship, names_signer=False),
    "Erasure": Kind(
        "eraseBySig",
        lambda world: {"patient": address("ada"), "dataset": world.dataset, "version": 1},
        names_signer=False,
    ),
}
EVERY_KIND = pytest.mark.parametrize("kind", sorted(KINDS))
EVERY_FIELD = [
    (kind, *reversed(part.split(" "))) for kind in sorted(KINDS) for part in SIGNED[kind].split(",")
]


def changed(type_: str, value: Any) -> Any:
    """Another value of this type."""
    if type_ == "address":
        return address("stranger")
    if type_ == "bytes32":
        return word("another")
    return not value if type_ == "bool" else value + 1


@pytest.fixture
def ada(world: World) -> World:
    """Ada alone has granted."""
    world.grant("ada")
    return world


@EVERY_KIND
def test_anyone_may_carry_what_its_patient_signed(ada: World, kind: str) -> None:
    said = KINDS[kind].message(ada)
    sent = KINDS[kind].call(ada, said, ada.sign("ada", ada.consents, kind, said))
    assert len(sent.events) >= 1


@pytest.mark.parametrize(("kind", "name", "type_"), EVERY_FIELD)
def test_a_signature_binds_every_field(ada: World, kind: str, name: str, type_: str) -> None:
    said = KINDS[kind].message(ada)
    signature = ada.sign("ada", ada.consents, kind, said)
    lie = said | {name: changed(type_, said[name])}
    # Who signs for another's patient is refused as a stranger, before any signature is looked at.
    expected = "NotAuthorised" if name == "patient" and KINDS[kind].names_signer else "BadSignature"
    with refusing(expected):
        KINDS[kind].call(ada, lie, signature)


@EVERY_KIND
def test_another_persons_signature_is_refused(ada: World, kind: str) -> None:
    said = KINDS[kind].message(ada)
    with refusing("BadSignature", address("ada")):
        KINDS[kind].call(ada, said, ada.sign("stranger", ada.consents, kind, said))


@EVERY_KIND
def test_a_signature_for_another_chain_or_contract_is_refused(ada: World, kind: str) -> None:
    said = KINDS[kind].message(ada)
    there = ada.sign("ada", ada.market, kind, said)
    ada.chain.id += 1
    try:
        elsewhere = ada.sign("ada", ada.consents, kind, said)
    finally:
        ada.chain.id -= 1
    for signature in (there, elsewhere):
        with refusing("BadSignature", address("ada")):
            KINDS[kind].call(ada, said, signature)


@EVERY_KIND
def test_a_malleated_signature_is_refused(ada: World, kind: str) -> None:
    said = KINDS[kind].message(ada)
    signature = ada.sign("ada", ada.consents, kind, said)
    s = int.from_bytes(signature[32:64], "big")
    twin = signature[:32] + (ORDER - s).to_bytes(32, "big") + bytes([27 + (28 - signature[64])])
    for forged in (twin, b"", signature[:64], signature + b"\0", bytes(65)):
        with refusing("BadSignature", address("ada")):
            KINDS[kind].call(ada, said, forged)


@pytest.mark.parametrize(("signed", "shown"), [("Rest", "Wake"), ("Wake", "Rest")])
def test_a_rest_is_no_wake_and_a_wake_no_rest(ada: World, signed: str, shown: str) -> None:
    said = KINDS[shown].message(ada)
    with refusing("BadSignature", address("ada")):
        KINDS[shown].call(ada, said, ada.sign("ada", ada.consents, signed, said))


@pytest.mark.parametrize("kind", ["Grant", "Rest", "Wake", "Guardianship"])
def test_a_message_is_worthless_after_its_deadline(ada: World, kind: str) -> None:
    said = KINDS[kind].message(ada) | {"deadline": ada.later(20)}
    signature = ada.sign("ada", ada.consents, kind, said)
    ada.chain.warp(21)
    with refusing("DeadlinePassed", said["deadline"]):
        KINDS[kind].call(ada, said, signature)


@pytest.mark.parametrize(
    ("kind", "refusal"),
    [
        ("Grant", "WrongSequence"),
        ("Revocation", "SupersededRevocation"),
        ("Rest", "NonceUsed"),
        ("Wake", "NonceUsed"),
        ("Guardianship", "NonceUsed"),
    ],
)
def test_a_message_cannot_be_shown_twice(ada: World, kind: str, refusal: str) -> None:
    said = KINDS[kind].message(ada)
    signature = ada.sign("ada", ada.consents, kind, said)
    KINDS[kind].call(ada, said, signature)
    with refusing(refusal):
        KINDS[kind].call(ada, said, signature)


@pytest.mark.parametrize("kind", ["Rest", "Wake", "Guardianship"])
def test_a_signer_may_cancel_a_message_that_somebody_holds_back(ada: World, kind: str) -> None:
    said = KINDS[kind].message(ada)
    signature = ada.sign("ada", ada.consents, kind, said)
    sent = ada.consent("ada", "cancelNonce", 7)
    assert sent.facts("NonceCancelled") == {"signer": address("ada"), "nonce": 7}
    assert ada.read(ada.consents, "isNonceUsed", address("ada"), 7) is True
    with refusing("NonceUsed", address("ada"), 7):
        KINDS[kind].call(ada, said, signature)


@pytest.mark.parametrize("kind", ["Rest", "Wake"])
def test_a_rest_or_wake_is_for_one_grant(ada: World, kind: str) -> None:
    said = KINDS[kind].message(ada)
    signature = ada.sign("ada", ada.consents, kind, said)
    ada.grant("ada")
    with refusing("WrongSequence", 2, 1):
        KINDS[kind].call(ada, said, signature)


def test_a_revocation_ends_also_the_grants_that_are_held_back(ada: World) -> None:
    held_back = ada.grant_of("ada", sequence=2)
    signature = ada.sign("ada", ada.consents, "Grant", held_back)
    said = KINDS["Revocation"].message(ada)
    revocation = ada.sign("ada", ada.consents, "Revocation", said)
    KINDS["Grant"].call(ada, held_back, signature)
    KINDS["Revocation"].call(ada, said, revocation)
    assert ada.view("ada")["sequence"] == 258
    assert ada.view("ada")["state"] == 0


def test_a_revocation_of_an_earlier_grant_does_not_end_a_later_one(ada: World) -> None:
    said = {"patient": address("ada"), "dataset": ada.dataset, "sequence": 1}
    signature = ada.sign("ada", ada.consents, "Revocation", said)
    ada.grant("ada")
    with refusing("SupersededRevocation", 2, 1):
        ada.consent("stranger", "revokeBySig", said, address("ada"), signature)


def test_the_last_sequence_still_revokes(ada: World) -> None:
    last = 2**32 - 1
    for _ in range(2):
        said = {"patient": address("ada"), "dataset": ada.dataset, "sequence": last}
        signature = ada.sign("ada", ada.consents, "Revocation", said)
        ada.consent("relayer", "revokeBySig", said, address("ada"), signature)
        assert ada.view("ada")["sequence"] == last
