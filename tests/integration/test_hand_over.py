"""The administration of a deployment goes to another account whole, or it stays: on real contracts."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from marketplace.chain import roles
from marketplace.chain.adapter import Chain, ContractRefusal
from marketplace.chain.deploy import ROLE_CONTRACTS, DeploySettings, deploy
from marketplace.chain.funding import fund
from marketplace.chain.manifest import MARKET_CONTRACTS, TOKEN
from marketplace.chain.sender import Sender
from marketplace.chain.transactor import Transactor
from marketplace.cli.main import main
from marketplace.errors import Refusal
from tests.support.chain_world import DAY, POLICY, account
from tests.support.foreign_tokens import creation_code
from tests.support.nodes import LyingProxy, RunningNode, any_node

ETHER = 10**18
ZERO = "0x" + "00" * 20
CONTRACTS = (*MARKET_CONTRACTS, TOKEN)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with any_node(tmp_path_factory.mktemp("handed over")) as running:
        yield running


def deployed(node: RunningNode, token: str | None = None) -> Chain:
    """A market whose deployer holds every role itself."""
    me = Account.from_key(node.funded_key).address
    kinds = ("operators", "pausers", "stewards", "authorities", "admins", "minters")
    settings = DeploySettings(
        policy=POLICY, minimum_horizon=DAY, token=token, **{kind: [me] for kind in kinds}
    )
    return Chain(node.url, deploy(node.url, node.funded_key, settings))


def seen(chain: Chain, node: RunningNode, name: str) -> LocalAccount:
    """An account that has sent a transaction, and can pay for more."""
    made = account(name)
    fund(chain.node, node.funded_key, [made.address], ETHER)
    Sender(chain, made).send(TOKEN, "approve", chain.market, 1)
    return made


@pytest.fixture(scope="module")
def chain(node: RunningNode) -> Chain:
    """One market of which nothing is ever handed over."""
    return deployed(node)


@pytest.fixture(scope="module")
def heir(chain: Chain, node: RunningNode) -> LocalAccount:
    return seen(chain, node, "heir")


def old(chain: Chain, node: RunningNode) -> Sender:
    return Sender(chain, node.funded_key)


def administrators(chain: Chain, *candidates: str) -> dict[str, set[str]]:
    """Who of them administers each contract."""
    return {
        contract: {each for each in candidates if chain.call(contract, "hasRole", bytes(32), each)}
        for contract in CONTRACTS
    }


def command(node: RunningNode, chain: Chain, folder: Path, to: str, *more: str) -> Result:
    manifest, key = folder / "manifest.json", folder / "deployer.key"
    chain.manifest.save(manifest)
    key.write_text("0x" + node.funded_key.hex())
    key.chmod(0o600)
    given = ("--node", node.url, "--manifest", str(manifest), "--key-file", str(key), "--to", to)
    return CliRunner().invoke(main, ["hand-over-roles", *given, *more])


def test_every_role_of_every_contract_goes_over_and_a_second_run_changes_nothing(
    node: RunningNode, heir: LocalAccount, tmp_path: Path
) -> None:
    chain = deployed(node)
    me, everything = old(chain, node), roles.roles_of(chain)
    assert {each.contract for each in everything} == set(CONTRACTS)
    assert roles.held_by(chain, me.address) == everything
    done = command(node, chain, tmp_path, heir.address)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert sorted(told["granted"]) == sorted(told["renounced"])
    assert len(told["granted"]) == len(everything)
    assert told["kept"] == []
    assert roles.held_by(chain, me.address) == []
    assert roles.held_by(chain, heir.address) == everything
    for contract in CONTRACTS:
        with pytest.raises(ContractRefusal) as refused:
            me.send(contract, "grantRole", bytes(32), me.address)
        assert refused.value.code == "access_control_unauthorized_account"
    Sender(chain, heir).send("ResearchMarket", "grantRole", keccak(text="OPERATOR"), me.address)
    before = chain.node.transaction_count(me.address)
    again = command(node, chain, tmp_path, heir.address, "--keep", "OPERATOR")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["granted"] == json.loads(again.stdout)["renounced"] == []
    assert chain.node.transaction_count(me.address) == before


class Interrupted(Exception):
    """What a crash would be."""


def test_after_any_transaction_every_contract_has_an_administrator_and_an_interruption_loses_nothing(
    node: RunningNode, heir: LocalAccount
) -> None:
    chain = deployed(node)
    me = old(chain, node)
    whole = roles.plan(chain, me.address, heir.address)
    grants, sent = len(whole.grants), [0]

    def step(_: int) -> None:
        sent[0] += 1
        found = administrators(chain, me.address, heir.address)
        assert all(found.values())
        if sent[0] <= grants:
            assert all(me.address in each for each in found.values())
        if sent[0] in (1, grants - 1, grants, grants + 1, whole.transactions - 1):
            raise Interrupted

    while (rest := roles.plan(chain, me.address, heir.address)).transactions:
        assert rest.transactions == whole.transactions - sent[0]
        with suppress(Interrupted):
            roles.hand_over(chain, me, rest, step)
    assert sent[0] == whole.transactions
    assert roles.held_by(chain, me.address) == []
    assert roles.held_by(chain, heir.address) == roles.roles_of(chain)


def test_an_interrupted_hand_over_goes_on_to_no_other_address(
    node: RunningNode, heir: LocalAccount
) -> None:
    chain = deployed(node)
    me, other = old(chain, node), seen(chain, node, "another heir")
    wanted = roles.plan(chain, me.address, heir.address)

    def crash(_: int) -> None:
        if any(me.address not in each for each in administrators(chain, me.address).values()):
            raise Interrupted

    with pytest.raises(Interrupted):
        roles.hand_over(chain, me, wanted, crash)
    with pytest.raises(Refusal) as refused:
        roles.plan(chain, me.address, other.address)
    assert refused.value.code == "not_administrator"
    roles.hand_over(chain, me, roles.plan(chain, me.address, heir.address))
    assert roles.held_by(chain, me.address) == []


def test_what_is_kept_stays_with_the_old_account(
    node: RunningNode, heir: LocalAccount, tmp_path: Path
) -> None:
    chain = deployed(node)
    done = command(node, chain, tmp_path, heir.address, "--keep", "OPERATOR", "--keep", "PAUSER")
    assert done.exit_code == 0, done.output
    kept = {f"{each}.PAUSER" for each in ROLE_CONTRACTS["PAUSER"]} | {"ResearchMarket.OPERATOR"}
    assert set(json.loads(done.stdout)["kept"]) == kept
    assert chain.is_operator(old(chain, node).address)
    assert not chain.is_operator(heir.address)
    assert administrators(chain, heir.address) == {each: {heir.address} for each in CONTRACTS}


@pytest.mark.parametrize(
    ("to", "code"),
    [
        (lambda _chain, _me: ZERO, "zero_address"),
        (lambda _chain, me: me, "handover_to_oneself"),
        (lambda chain, _me: chain.market, "handover_to_the_market"),
        (lambda _chain, _me: account("never seen").address, "holder_unproven"),
        (lambda _chain, _me: "0x12", "bad_parameter"),
    ],
    ids=["zero", "oneself", "a contract of the market", "nobody yet", "no address"],
)
def test_an_address_that_could_not_administer_is_refused_and_nothing_sent(
    chain: Chain, node: RunningNode, tmp_path: Path, to: Any, code: str
) -> None:
    me = old(chain, node)
    before = chain.node.transaction_count(me.address)
    done = command(node, chain, tmp_path, to(chain, me.address))
    assert done.exit_code == 1
    assert f"[{code}]" in done.output
    assert "(field to)" in done.output
    assert chain.node.transaction_count(me.address) == before
    assert roles.held_by(chain, me.address) == roles.roles_of(chain)


def test_who_administers_nothing_hands_nothing_over(
    chain: Chain, node: RunningNode, heir: LocalAccount
) -> None:
    third = seen(chain, node, "third")
    with pytest.raises(Refusal) as refused:
        roles.plan(chain, heir.address, third.address)
    assert refused.value.code == "not_administrator"
    assert refused.value.field == "key_file"


def test_nothing_is_renounced_where_the_chain_does_not_show_the_grants(
    node: RunningNode, heir: LocalAccount
) -> None:
    chain = deployed(node)
    me = old(chain, node)
    selector = "0x" + keccak(text="hasRole(bytes32,address)")[:4].hex()
    proxy = LyingProxy(node.url)

    def unseen(method: str, parameters: list[Any], result: Any) -> Any:
        data = str(parameters[0].get("data", "")) if method == "eth_call" else ""
        of_heir = data.startswith(selector) and heir.address[2:].lower() in data.lower()
        return "0x" + "00" * 32 if of_heir else result

    proxy.lie = unseen
    try:
        blind = Chain(proxy.url, chain.manifest)
        wanted = roles.plan(blind, me.address, heir.address)
        with pytest.raises(Refusal) as refused:
            roles.hand_over(blind, Sender(blind, node.funded_key), wanted)
    finally:
        proxy.close()
    assert refused.value.code == "handover_unverified"
    assert roles.held_by(chain, me.address) == roles.roles_of(chain)


@pytest.mark.long
def test_a_foreign_tokens_roles_are_its_own_business(node: RunningNode, heir: LocalAccount) -> None:
    connection = Chain(node.url, deployed(node).manifest).node
    maker = Transactor(connection, connection.chain_id(), node.funded_key)
    token = maker.transact(None, creation_code("Stubborn"), None).created
    chain = deployed(node, token)
    me = old(chain, node)
    assert TOKEN not in {each.contract for each in roles.roles_of(chain)}
    roles.hand_over(chain, me, roles.plan(chain, me.address, heir.address))
    assert roles.held_by(chain, me.address) == []
    assert roles.held_by(chain, heir.address) == roles.roles_of(chain)


@pytest.mark.long
def test_a_test_euro_of_another_market_stays_with_its_own_administrator(
    chain: Chain, node: RunningNode, heir: LocalAccount
) -> None:
    second = account("second deployer")
    fund(chain.node, node.funded_key, [second.address], ETHER)
    settings = DeploySettings(policy=POLICY, minimum_horizon=DAY, token=chain.manifest.token)
    market = Chain(node.url, deploy(node.url, second, settings))
    wanted = roles.plan(market, second.address, heir.address)
    roles.hand_over(market, Sender(market, second), wanted)
    assert administrators(market, heir.address)[TOKEN] == set()
    assert all(administrators(market, heir.address)[each] for each in MARKET_CONTRACTS)
    assert administrators(chain, old(chain, node).address)[TOKEN]
