"""Bonds, credits and earnings: owed to one account each, paid where that account says, and covered."""

from typing import Any

import pytest
from web3.contract import Contract

from tests.contracts import hostile_code
from tests.contracts.market_books import balance, books, credit
from tests.contracts.market_terms import POLICY, SIGNED
from tests.contracts.market_world import World
from tests.contracts.support import (
    NOBODY,
    Chain,
    Sent,
    address,
    refusing,
    role,
    word,
)

BOND = 10**12  # what the operator has posted
EARNED, RETURNED, FEE = 40, 46 * 40, 700


@pytest.fixture
def paid(crowd: World) -> World:
    """One settled request: four patients, the researcher and the operator are owed something."""
    crowd.settled()
    return crowd


def withdrawal(world: World, kind: str, who: str, to: str, nonce: int = 3) -> dict[str, Any]:
    said: dict[str, Any] = {"to": address(to), "nonce": nonce, "deadline": world.later()}
    if kind == "EarningsWithdrawal":
        return said | {"patient": address(who), "dataset": world.dataset}
    return said | {"account": address(who)}


SIGNED_WITHDRAWALS = {
    "EarningsWithdrawal": ("withdrawEarningsBySig", "ada", EARNED),
    "CreditWithdrawal": ("withdrawCreditBySig", "researcher", RETURNED),
}
EVERY_KIND = pytest.mark.parametrize("kind", sorted(SIGNED_WITHDRAWALS))
EVERY_FIELD = [
    (kind, *reversed(part.split(" ")))
    for kind in sorted(SIGNED_WITHDRAWALS)
    for part in SIGNED[kind].split(",")
]


def show(world: World, kind: str, said: dict[str, Any], signature: bytes) -> Sent:
    return world.trade("relayer", SIGNED_WITHDRAWALS[kind][0], said, signature)


# ---- Earnings ----


def test_a_patient_withdraws_all_earnings_to_an_address_of_choice(paid: World) -> None:
    sent = paid.trade("ada", "withdrawEarnings", paid.dataset, address("stranger"))
    assert sent.facts("EarningsWithdrawn") == {
        "patient": address("ada"),
        "dataset": paid.dataset,
        "to": address("stranger"),
        "amount": EARNED,
    }
    assert balance(paid, "stranger") == EARNED
    assert paid.view("ada")["owed"] == 0
    assert books(paid)["earnings"] == 3 * EARNED
    with refusing("NothingOwed", address("ada")):
        paid.trade("ada", "withdrawEarnings", paid.dataset, address("stranger"))


def test_earnings_are_paid_also_after_revocation_and_erasure(paid: World) -> None:
    paid.revoke("ada")
    paid.consent("ben", "erase", paid.dataset)
    for who in ("ada", "ben"):
        paid.trade(who, "withdrawEarnings", paid.dataset, address("stranger"))
    assert balance(paid, "stranger") == 2 * EARNED


def test_earnings_of_two_cohorts_are_paid_once_each(paid: World) -> None:
    paid.trade("ada", "withdrawEarnings", paid.dataset, address("stranger"))
    paid.thaw()
    paid.settled(salt=word("2"), price=70)
    assert paid.view("ada")["owed"] == 70
    assert paid.view("ben")["owed"] == 110
    paid.trade("ada", "withdrawEarnings", paid.dataset, address("stranger"))
    assert balance(paid, "stranger") == 110
    assert books(paid)["earnings"] == 3 * 110


def test_a_pause_stops_no_withdrawal_and_no_revocation(paid: World) -> None:
    for contract in (paid.market, paid.consents, paid.parts.datasets):
        paid.send("pauser", contract, "pause")
    paid.revoke("ada")
    for who in ("ada", "ben"):
        paid.trade(who, "withdrawEarnings", paid.dataset, address("stranger"))
    said = withdrawal(paid, "EarningsWithdrawal", "cleo", "stranger")
    signature = paid.sign("cleo", paid.market, "EarningsWithdrawal", said)
    show(paid, "EarningsWithdrawal", said, signature)
    paid.trade("researcher", "withdrawCredit", address("stranger"))
    paid.trade("operator", "withdrawCredit", address("stranger"))
    paid.trade("operator", "releaseBond", address("stranger"), BOND)
    assert balance(paid, "stranger") == 3 * EARNED + RETURNED + FEE + BOND
    assert paid.view("ada")["state"] == 0


# ---- Credits and bonds ----


def test_a_credit_is_withdrawn_once_to_an_address_of_choice(paid: World) -> None:
    sent = paid.trade("researcher", "withdrawCredit", address("stranger"))
    assert sent.facts("CreditWithdrawn")["amount"] == RETURNED == balance(paid, "stranger")
    assert credit(paid, "researcher") == 0
    assert books(paid)["credits"] == FEE
    with refusing("NothingOwed", address("researcher")):
        paid.trade("researcher", "withdrawCredit", address("stranger"))


@pytest.mark.parametrize("destination", ["nobody", "the market"])
def test_money_does_not_vanish_by_a_slip(paid: World, destination: str) -> None:
    to = NOBODY if destination == "nobody" else paid.market.address
    for who, action, arguments in (
        ("ada", "withdrawEarnings", [paid.dataset, to]),
        ("researcher", "withdrawCredit", [to]),
        ("operator", "releaseBond", [to, 1]),
    ):
        with refusing("InvalidDestination", to):
            paid.trade(who, action, *arguments)


def test_a_bond_is_posted_and_released_by_its_owner(world: World) -> None:
    world.send("researcher", world.parts.token, "approve", world.market.address, 500)
    sent = world.trade("researcher", "postBond", 500)
    assert sent.facts("BondPosted") == {"operator": address("researcher"), "amount": 500}
    sent = world.trade("researcher", "releaseBond", address("stranger"), 300)
    told = {"operator": address("researcher"), "to": address("stranger"), "amount": 300}
    assert sent.facts("BondReleased") == told
    assert balance(world, "stranger") == 300
    assert world.read(world.market, "bondOf", address("researcher")) == 200
    assert books(world)["freeBonds"] == BOND + 200
    with refusing("BondTooSmall", 201, 200):
        world.trade("researcher", "releaseBond", address("stranger"), 201)


def test_a_locked_bond_cannot_be_released(crowd: World) -> None:
    crowd.frozen()
    free = BOND - POLICY["minimumBond"]
    with refusing("BondTooSmall", BOND, free):
        crowd.trade("operator", "releaseBond", address("stranger"), BOND)
    crowd.trade("operator", "releaseBond", address("stranger"), free)


# ---- Signed withdrawals ----


@EVERY_KIND
def test_a_signed_withdrawal_is_carried_by_anyone_once(paid: World, kind: str) -> None:
    _, who, amount = SIGNED_WITHDRAWALS[kind]
    said = withdrawal(paid, kind, who, "stranger")
    signature = paid.sign(who, paid.market, kind, said)
    show(paid, kind, said, signature)
    assert balance(paid, "stranger") == amount
    assert paid.read(paid.market, "isNonceUsed", address(who), 3) is True
    with refusing("NonceUsed", address(who), 3):
        show(paid, kind, said, signature)


@pytest.mark.parametrize(("kind", "name", "type_"), EVERY_FIELD)
def test_a_withdrawal_signature_binds_every_field(
    paid: World, kind: str, name: str, type_: str
) -> None:
    who = SIGNED_WITHDRAWALS[kind][1]
    said = withdrawal(paid, kind, who, "operator")
    signature = paid.sign(who, paid.market, kind, said)
    other = {"address": address("stranger"), "bytes32": word("another dataset")}
    lie = said | {name: other.get(type_, said[name] + 1 if type_.startswith("uint") else None)}
    with refusing("BadSignature", lie.get("patient", lie.get("account"))):
        show(paid, kind, lie, signature)


@EVERY_KIND
def test_a_withdrawal_is_signed_by_its_owner_here_and_on_this_chain(paid: World, kind: str) -> None:
    who = SIGNED_WITHDRAWALS[kind][1]
    said = withdrawal(paid, kind, who, "stranger")
    foreign = [paid.sign(signer, paid.market, kind, said) for signer in ("stranger", "admin")]
    foreign.append(paid.sign(who, paid.consents, kind, said))
    paid.chain.id += 1
    try:
        foreign.append(paid.sign(who, paid.market, kind, said))
    finally:
        paid.chain.id -= 1
    for signature in foreign:
        with refusing("BadSignature", address(who)):
            show(paid, kind, said, signature)


@EVERY_KIND
def test_a_late_or_cancelled_withdrawal_pays_nothing(paid: World, kind: str) -> None:
    who = SIGNED_WITHDRAWALS[kind][1]
    said = withdrawal(paid, kind, who, "stranger")
    signature = paid.sign(who, paid.market, kind, said)
    paid.trade(who, "cancelNonce", 3)
    with refusing("NonceUsed", address(who), 3):
        show(paid, kind, said, signature)
    paid.chain.warp(100_000)
    with refusing("DeadlinePassed", said["deadline"]):
        show(paid, kind, said, signature)


def test_withdrawals_travel_in_batches_of_which_a_bad_one_sinks_nothing(paid: World) -> None:
    entries = []
    for who in ("ada", "ben", "stranger", "cleo"):
        said = withdrawal(paid, "EarningsWithdrawal", who, "stranger")
        signature = paid.sign(who, paid.market, "EarningsWithdrawal", said)
        entries.append(("withdrawEarningsBySig", [said, signature]))
    sent = paid.batch(paid.market, entries)
    refused = [facts["entry"] for name, facts in sent.events if name == "EntryRefused"]
    assert refused == [2]
    assert balance(paid, "stranger") == 3 * EARNED


# ---- The token ----


def market_on(world: World, code: bytes) -> Contract:
    """A second market, whose money is a contract of this code."""
    where = world.chain.deploy_code(code)
    parts = world.parts
    others = (parts.datasets, parts.researchers, parts.consents, parts.committee, parts.noises)
    addresses = (where, *(each.address for each in others))
    rules = tuple(POLICY.values())
    return world.chain.deploy("ResearchMarket", address("admin"), *addresses, rules)


def test_a_plain_token_is_taken_as_it_comes(world: World) -> None:
    market = market_on(world, hostile_code.HONEST_TOKEN)
    world.send("operator", market, "postBond", 100)
    assert world.read(market, "bondOf", address("operator")) == 100


def test_a_token_that_takes_a_fee_is_refused(world: World) -> None:
    market = market_on(world, hostile_code.FEE_TOKEN)
    with refusing("TransferShort", 100, 99):
        world.send("operator", market, "postBond", 100)
    terms = world.terms()
    with refusing("TransferShort", 50 * 40 + 700, 50 * 40 + 699):
        world.send("researcher", market, "open", terms, world.offered(terms))
    assert world.read(market, "liabilities") == [0, 0, 0, 0, 0]


def test_a_token_that_says_no_is_refused(world: World) -> None:
    market = market_on(world, hostile_code.FALSE_TOKEN)
    with refusing("SafeERC20FailedOperation"):
        world.send("operator", market, "postBond", 100)


def test_a_token_that_calls_back_is_refused(world: World) -> None:
    market = market_on(world, hostile_code.REENTERING_TOKEN)
    with refusing("ReentrancyGuardReentrantCall"):
        world.send("operator", market, "postBond", 100)


def test_a_token_with_too_many_decimals_is_refused(chain: Chain) -> None:
    fine = hostile_code.assemble("18 0 MSTORE 32 0 RETURN")
    token = chain.deploy_code(fine)
    others = [address("admin")] * 5
    with refusing("TokenHasTooManyDecimals", 18):
        chain.deploy("ResearchMarket", address("admin"), token, *others, tuple(POLICY.values()))


def test_a_donation_is_owed_to_nobody_and_breaks_nothing(paid: World) -> None:
    before = books(paid)
    paid.send("researcher", paid.parts.token, "transfer", paid.market.address, 12_345)
    assert books(paid) == before
    held = paid.read(paid.parts.token, "balanceOf", paid.market.address)
    assert held == sum(before.values()) + 12_345
    paid.trade("ada", "withdrawEarnings", paid.dataset, address("stranger"))
    assert balance(paid, "stranger") == EARNED


def test_everything_that_is_owed_can_be_paid_to_the_last_unit(paid: World) -> None:
    for who in ("ada", "ben", "cleo", "dan"):
        paid.trade(who, "withdrawEarnings", paid.dataset, address("stranger"))
    for who in ("researcher", "operator"):
        paid.trade(who, "withdrawCredit", address("stranger"))
    paid.trade("operator", "releaseBond", address("stranger"), BOND)
    assert books(paid) == dict.fromkeys(books(paid), 0)
    assert paid.read(paid.parts.token, "balanceOf", paid.market.address) == 0


def test_roles_are_given_by_the_admin_only(world: World) -> None:
    given = ("grantRole", role("OPERATOR"), address("stranger"))
    for who in ("operator", "pauser", "stranger", "deployer"):
        with refusing("AccessControlUnauthorizedAccount", address(who), bytes(32)):
            world.trade(who, *given)
    assert world.read(world.market, "hasRole", *given[1:]) is False
    world.trade("admin", *given)
    assert world.read(world.market, "hasRole", *given[1:]) is True
