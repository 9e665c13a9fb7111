"""Paying in tokens of other makers: by a permit under the token's own domain, else by an approval."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from marketplace.chain import token
from marketplace.chain.adapter import Chain, ContractRefusal, RequestStage
from marketplace.chain.deploy import DeploySettings, deploy
from marketplace.chain.funding import fund
from marketplace.chain.manifest import Deployed, Manifest
from marketplace.chain.rpc import Node
from marketplace.chain.sender import Sender
from marketplace.chain.transactor import Transactor
from marketplace.client import Ask, Marketplace, steward
from marketplace.wire import hpke
from marketplace.wire.amounts import UNNAMED, Token
from tests.support.chain_world import DAY, POLICY, World, account
from tests.support.foreign_tokens import creation_code
from tests.support.nodes import RunningNode, any_node

NOBODY = "http://127.0.0.1:1"
RICH = 10**9
ETHER = 10**18


@dataclass(frozen=True)
class Shop:
    """A market that is paid in a foreign token, and a researcher who has some of it."""

    world: World
    ask: Ask
    key: LocalAccount

    @property
    def chain(self) -> Chain:
        return self.world.chain

    def transactions(self) -> int:
        return self.chain.node.transaction_count(self.key.address)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with any_node(tmp_path_factory.mktemp("payment")) as running:
        yield running


def create(node: RunningNode, name: str) -> str:
    connection = Node(node.url)
    transactor = Transactor(connection, connection.chain_id(), node.funded_key)
    return str(transactor.transact(None, creation_code(name), None).created)


def shop(node: RunningNode, name: str | None) -> Shop:
    me = Account.from_key(node.funded_key).address
    roles = {role: [me] for role in ("operators", "stewards", "authorities", "admins", "minters")}
    paid_in = None if name is None else create(node, name)
    settings = DeploySettings(policy=POLICY, minimum_horizon=DAY, token=paid_in, **roles)
    manifest = deploy(node.url, node.funded_key, settings)
    chain = Chain(node.url, manifest)
    world, key = World(chain, Sender(chain, node.funded_key)), account(f"researcher {name}")
    world.set_up()
    fund(chain.node, node.funded_key, [key.address], ETHER)
    world.sender.send("TestEuro", "mint", key.address, RICH)
    world.sender.send("ResearcherRegistry", "give", key.address, world.credential())
    ask = Ask(Marketplace(NOBODY, node.url, manifest), key, hpke.generate())
    return Shop(world, ask, key)


def opened(shop: Shop, salt: str) -> tuple[int, list[str]]:
    """How many transactions it took, and what was said about them. The escrow is what was paid."""
    terms, before, said = shop.world.terms(salt), shop.transactions(), list[str]()
    had = shop.chain.balance_of(shop.key.address)
    request = shop.ask.open(terms, told=said.append)
    assert shop.chain.request(bytes.fromhex(request[2:])).stage is RequestStage.OPENED
    assert shop.chain.balance_of(shop.key.address) == had - terms.escrow
    assert shop.chain.allowance(shop.key.address, shop.chain.market) == 0
    return shop.transactions() - before, said


@pytest.mark.parametrize("name", ["Modern", "Older", None])
def test_a_token_with_a_permit_is_paid_in_one_transaction(
    node: RunningNode, name: str | None
) -> None:
    made = shop(node, name)
    assert opened(made, "first") == (1, [])
    assert opened(made, "second") == (1, [])


def test_a_token_without_a_permit_is_approved_for_exactly_the_escrow_and_it_is_said(
    node: RunningNode,
) -> None:
    made = shop(node, "Stubborn")
    number, said = opened(made, "first")
    assert number == 2
    (why,) = said
    assert "takes no permit" in why
    assert "Approve" in why
    steward.post_bond(made.chain, made.key, 5)
    Sender(made.chain, made.key).send("TestEuro", "approve", made.chain.market, 7)
    assert opened(made, "second")[0] == 3  # to nothing first: this token wants it so


def with_token(node: RunningNode, name: str) -> Chain:
    """A deployment of which only the token is there."""
    connection, at = Node(node.url), create(node, name)
    nothing = Deployed(account("nothing").address, bytes(32))
    names = ("TestEuro", "ResearcherRegistry", "CustodianCommittee", "DatasetRegistry")
    contracts = dict.fromkeys(
        (*names, "ConsentRegistry", "NoiseRegistry", "ResearchMarket"), nothing
    )
    contracts["TestEuro"] = replace(nothing, address=at)
    return Chain(node.url, Manifest(connection.chain_id(), bytes(32), 0, contracts, POLICY))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Stubborn", "DOMAIN_SEPARATOR"),
        ("Yes", "DOMAIN_SEPARATOR"),
        ("Mistaken", "does not tell"),
        ("Otherwise", "refused the permit"),
        ("Thief", "not that of this chain and contract"),
    ],
)
def test_a_permit_that_the_token_would_not_take_is_refused_with_the_reason(
    node: RunningNode, name: str, why: str
) -> None:
    chain, key = with_token(node, name), account("researcher")
    with pytest.raises(token.NoPermit) as refused:
        token.permit(chain, key, key.address, 1, 2**40)
    assert why in refused.value.message
    assert refused.value.field == "token"
    assert "Approve" in refused.value.remedy


def test_a_permit_is_signed_for_the_domain_that_the_token_tells(node: RunningNode) -> None:
    modern, older = with_token(node, "Modern"), with_token(node, "Older")
    for chain, name, version in ((modern, "Modern Coin", "1"), (older, "Older Coin", "2")):
        domain = token.permit_domain(chain)
        assert (domain.name, domain.version) == (name, version)
        assert (domain.chain_id, domain.verifying_contract) == (
            chain.chain_id,
            chain.manifest.token,
        )


@pytest.mark.parametrize(
    ("name", "written"), [("Modern", "MOD"), ("Stubborn", "STB"), ("Nameless", UNNAMED)]
)
def test_amounts_are_written_in_the_tokens_own_word_and_refusals_of_contracts_with_them(
    node: RunningNode, name: str, written: str
) -> None:
    """The last refuses to say one, as if it were asked for money that it lacks."""
    chain = with_token(node, name)
    with pytest.raises(ContractRefusal) as refused:
        chain.call("TestEuro", "transferFrom", *(account(each).address for each in "ab"), 1_500_000)
    assert f"may take 0.00 {written}; 1.50 {written} is needed." in refused.value.message
    assert chain.token == Token(6, written)


def test_a_node_that_does_not_answer_is_no_token_without_a_permit(
    node: RunningNode, tmp_path: Path
) -> None:
    reachable = with_token(node, "Modern")
    chain = Chain(NOBODY, reachable.manifest)
    with pytest.raises(Exception, match="Nothing answers at") as refused:
        token.permit(chain, account("researcher"), account("researcher").address, 1, 2**40)
    assert not isinstance(refused.value, token.NoPermit)
