"""Deploys every contract, and appoints, funds and publishes what a market needs to work."""

from tests.contracts.market_terms import (
    CLASS_TERMS,
    CREDENTIAL,
    CUSTODIANS,
    HORIZON,
    POLICY,
    THAW_GAP,
)
from tests.contracts.market_world import Parts, World
from tests.contracts.support import ZERO, Chain, address, member, role, word


def make_world(chain: Chain, **policy: int) -> World:
    """Deploys, appoints and publishes; nobody has a record yet. `policy` changes the market's."""
    world = World(chain, _deploy(chain, POLICY | policy))
    _bind(world)
    _appoint(world)
    _fund(world)
    _publish(world)
    return world


def _deploy(chain: Chain, policy: dict[str, int]) -> Parts:
    admin = address("admin")
    token = chain.deploy("TestEuro", admin)
    committee = chain.deploy("CustodianCommittee", admin)
    datasets = chain.deploy("DatasetRegistry", committee.address, admin)
    researchers = chain.deploy("ResearcherRegistry", admin)
    consents = chain.deploy("ConsentRegistry", admin, datasets.address, HORIZON, THAW_GAP)
    noises = chain.deploy("NoiseRegistry", admin, committee.address)
    parts = (token, datasets, researchers, consents, committee, noises)
    rules = tuple(policy.values())  # web3 encodes no dict in a constructor
    market = chain.deploy("ResearchMarket", admin, *(part.address for part in parts), rules)
    return Parts(token, committee, datasets, researchers, consents, noises, market)


def _bind(world: World) -> None:
    parts = world.parts
    world.send("admin", parts.datasets, "bindConsents", parts.consents.address)
    world.send("admin", parts.consents, "bindMarket", parts.market.address)
    world.send("admin", parts.noises, "bindMarket", parts.market.address)


def _appoint(world: World) -> None:
    parts = world.parts
    for contract, name, holder in (
        (parts.token, "MINTER", "admin"),
        (parts.datasets, "STEWARD", "steward"),
        (parts.datasets, "PAUSER", "pauser"),
        (parts.researchers, "AUTHORITY", "authority"),
        (parts.consents, "PAUSER", "pauser"),
        (parts.market, "OPERATOR", "operator"),
        (parts.market, "PAUSER", "pauser"),
    ):
        world.send("admin", contract, "grantRole", role(name), address(holder))
    members = [member(name) for name in CUSTODIANS]
    world.send("admin", parts.committee, "openEpoch", members, 2, [address("gate")])
    world.send("authority", parts.researchers, "give", address("researcher"), CREDENTIAL)


def _fund(world: World) -> None:
    token, market = world.parts.token, world.market.address
    for name in ("researcher", "operator"):
        world.send("admin", token, "mint", address(name), 10**15)
        world.send(name, token, "approve", market, 2**256 - 1)
    world.trade("operator", "postBond", 10**12)


def _publish(world: World) -> None:
    datasets = world.parts.datasets
    sent = world.send("steward", datasets, "publishDataset", word("dictionary"), ZERO, "file:d")
    world.dataset = sent.facts("DatasetPublished")["dataset"]
    for index in (1, 2, 3):
        world.offers[index] = CLASS_TERMS | {"termsHash": word(f"terms {index}")}
        world.send("steward", datasets, "publishClass", world.dataset, world.offers[index])
    world.send("steward", datasets, "addIssuer", world.dataset, address("issuer"))
