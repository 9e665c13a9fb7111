"""Administration: every role is given by its admin, can be handed over whole, and is nobody else's."""

from collections.abc import Callable
from typing import Any

import pytest
from web3.contract import Contract

from tests.contracts.market_terms import CREDENTIAL, HORIZON, POLICY, THAW_GAP
from tests.contracts.market_world import World
from tests.contracts.support import DAY, address, member, refusing, role, word

ADMIN_ROLE = b"\0" * 32
# Contract -> its roles beside the admin's.
ROLES = {
    "token": ("MINTER",),
    "committee": ("ADMIN",),
    "datasets": ("STEWARD", "PAUSER"),
    "researchers": ("AUTHORITY", "PAUSER"),
    "consents": ("PAUSER",),
    "noises": (),
    "market": ("OPERATOR", "PAUSER"),
}
EVERY_CONTRACT = pytest.mark.parametrize("contract", sorted(ROLES))
EVERY_ROLE = [(contract, name) for contract, names in ROLES.items() for name in names]
DOMAINS = {
    "token": "Usufruct Test Euro",
    "committee": "Usufruct CustodianCommittee",
    "datasets": "Usufruct DatasetRegistry",
    "consents": "Usufruct ConsentRegistry",
    "noises": "Usufruct NoiseRegistry",
    "market": "Usufruct ResearchMarket",
}
ACCESS_CONTROL = bytes.fromhex("7965db0b")  # ERC-165 identifier of IAccessControl
NEW, OLD, HOLDER = "guardian", "admin", "stranger"


def freeze_anew(world: World, who: str) -> object:
    terms = world.terms(salt=word(f"at {world.chain.now}"))
    world.open(terms)
    return world.freeze(terms, who)


# An act that only a role's holder may do, in each contract; whom it names does not matter.
ACTS: dict[tuple[str, str], Callable[[World, str], object]] = {
    ("token", "MINTER"): lambda w, who: w.send(who, w.parts.token, "mint", address("ada"), 1),
    ("committee", "ADMIN"): lambda w, who: w.send(
        who, w.parts.committee, "openEpoch", [member("ada")], 1, [address("gate")]
    ),
    ("datasets", "STEWARD"): lambda w, who: w.send(
        who, w.parts.datasets, "publishDataset", word("dictionary"), word(who), "file:d"
    ),
    ("datasets", "PAUSER"): lambda w, who: w.send(who, w.parts.datasets, "pause"),
    ("researchers", "AUTHORITY"): lambda w, who: w.send(
        who, w.parts.researchers, "give", address("ada"), CREDENTIAL
    ),
    ("researchers", "PAUSER"): lambda w, who: w.send(who, w.parts.researchers, "pause"),
    ("consents", "PAUSER"): lambda w, who: w.send(who, w.parts.consents, "pause"),
    ("market", "OPERATOR"): lambda w, who: freeze_anew(w, who),
    ("market", "PAUSER"): lambda w, who: w.send(who, w.parts.market, "pause"),
}


def hand_over(world: World, contract: str) -> None:
    """The admin's role goes to the new one, who takes it and every other from the old one."""
    where = getattr(world.parts, contract)
    world.send(OLD, where, "grantRole", ADMIN_ROLE, address(NEW))
    for held in (ADMIN_ROLE, *map(role, ROLES[contract])):
        world.send(NEW, where, "revokeRole", held, address(OLD))


def holds(world: World, contract: str, held: bytes, who: str) -> bool:
    return bool(world.read(getattr(world.parts, contract), "hasRole", held, address(who)))


@EVERY_CONTRACT
def test_whoever_deploys_holds_no_role(world: World, contract: str) -> None:
    for held in (ADMIN_ROLE, *map(role, ROLES[contract])):
        assert not holds(world, contract, held, "deployer")


@EVERY_CONTRACT
def test_an_old_admin_is_refused_everywhere(world: World, contract: str) -> None:
    hand_over(world, contract)
    where = getattr(world.parts, contract)
    for action in ("grantRole", "revokeRole"):
        with refusing("AccessControlUnauthorizedAccount", address(OLD), ADMIN_ROLE):
            world.send(OLD, where, action, ADMIN_ROLE, address(OLD))
    for name in ROLES[contract]:
        with refusing("AccessControlUnauthorizedAccount", address(OLD), role(name)):
            ACTS[contract, name](world, OLD)


@pytest.mark.parametrize(
    "bound", [("datasets", "bindConsents"), ("consents", "bindMarket"), ("noises", "bindMarket")]
)
def test_an_old_admin_binds_nothing(world: World, bound: tuple[str, str]) -> None:
    contract, action = bound
    hand_over(world, contract)
    with refusing("AccessControlUnauthorizedAccount", address(OLD), ADMIN_ROLE):
        world.send(OLD, getattr(world.parts, contract), action, address("ada"))
    with refusing("AlreadyBound"):
        world.send(NEW, getattr(world.parts, contract), action, address("ada"))


@pytest.mark.parametrize(("contract", "name"), EVERY_ROLE)
def test_a_role_is_handed_over_by_the_new_admin(crowd: World, contract: str, name: str) -> None:
    hand_over(crowd, contract)
    where, held = getattr(crowd.parts, contract), role(name)
    assert crowd.read(where, "getRoleAdmin", held) == ADMIN_ROLE
    act = ACTS[contract, name]
    if name == "OPERATOR":
        crowd.trade("operator", "releaseBond", address(HOLDER), POLICY["minimumBond"])
        crowd.send(HOLDER, crowd.parts.token, "approve", crowd.market.address, 2**256 - 1)
        crowd.trade(HOLDER, "postBond", POLICY["minimumBond"])
    with refusing("AccessControlUnauthorizedAccount", address(HOLDER), held):
        act(crowd, HOLDER)
    crowd.send(NEW, where, "grantRole", held, address(HOLDER))
    act(crowd, HOLDER)


@pytest.mark.parametrize("contract", [c for c, name in EVERY_ROLE if name == "PAUSER"])
def test_only_what_is_paused_is_unpaused(world: World, contract: str) -> None:
    where = getattr(world.parts, contract)
    world.send("admin", where, "grantRole", role("PAUSER"), address("admin"))
    with refusing("ExpectedPause"):
        world.send("admin", where, "unpause")
    for action, paused in (("pause", True), ("unpause", False)):
        world.send("admin", where, action)
        assert world.read(where, "paused") is paused


@pytest.mark.parametrize(("contract", "name"), EVERY_ROLE)
def test_who_gives_a_role_up_can_act_no_longer(world: World, contract: str, name: str) -> None:
    where, held = getattr(world.parts, contract), role(name)
    world.send("admin", where, "grantRole", held, address(HOLDER))
    with refusing("AccessControlBadConfirmation"):
        world.send("admin", where, "renounceRole", held, address(HOLDER))
    world.send(HOLDER, where, "renounceRole", held, address(HOLDER))
    assert not holds(world, contract, held, HOLDER)


def test_what_a_deployment_is_made_of_can_be_read(world: World) -> None:
    parts = world.parts
    expected: dict[Contract, dict[str, Any]] = {
        parts.consents: {
            "DATASETS": parts.datasets.address,
            "MINIMUM_HORIZON": HORIZON,
            "THAW_GAP": THAW_GAP,
            "SHARD_WORDS": 4_096,
            "SHARD_SEATS": 655_360,
            "CHUNK_WORDS": 256,
            "LARGEST_CAP": 2**48 - 1,
        },
        parts.market: {
            "TOKEN": parts.token.address,
            "DATASETS": parts.datasets.address,
            "RESEARCHERS": parts.researchers.address,
            "CONSENTS": parts.consents.address,
            "COMMITTEE": parts.committee.address,
            "NOISES": parts.noises.address,
            "VAULT": 1,
            "HOMOMORPHIC": 2,
            "SCHEMA": 1,
            "MOST_SHARDS": 64,
            "MOST_DECIMALS": 6,
            "LONGEST_WAIT": 30 * DAY,
        },
        parts.noises: {"COMMITTEE": parts.committee.address, "market": parts.market.address},
    }
    for contract, views in expected.items():
        assert {view: world.read(contract, view) for view in views} == views


@EVERY_CONTRACT
def test_roles_are_what_the_standard_says(world: World, contract: str) -> None:
    """ERC-165 and OpenZeppelin's access control, so that a multisig's tools know what to do."""
    where = getattr(world.parts, contract)
    assert world.read(where, "DEFAULT_ADMIN_ROLE") == ADMIN_ROLE
    assert {name: world.read(where, name) for name in ROLES[contract]} == {
        name: role(name) for name in ROLES[contract]
    }
    assert world.read(where, "supportsInterface", ACCESS_CONTROL)


@pytest.mark.parametrize(("contract", "name"), sorted(DOMAINS.items()))
def test_wallets_are_told_what_they_sign_for(world: World, contract: str, name: str) -> None:
    """EIP-5267."""
    where = getattr(world.parts, contract)
    _, told, version, chain, verifier, *_ = world.read(where, "eip712Domain")
    assert (told, version, chain, verifier) == (name, "1", world.chain.id, where.address)
