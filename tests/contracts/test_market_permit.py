"""Paying for a request by permit (ERC-2612), and cancelling it."""

from typing import Any

import pytest
from eth_account.messages import encode_typed_data

from tests.contracts.market_books import (
    CANCELLED,
    ESCROW,
    FROZEN,
    OPENED,
    books,
    credit,
)
from tests.contracts.market_world import World
from tests.contracts.support import account, address, refusing

# ---- Permit ----


def permit(
    world: World, value: int, signer: str = "researcher", number: int | None = None
) -> dict[str, Any]:
    """`number`: the token's own; the next, where none is named."""
    token = world.parts.token
    domain = {"name": "Usufruct Test Euro", "version": "1", "chainId": world.chain.id}
    fields = "address owner,address spender,uint256 value,uint256 nonce,uint256 deadline"
    types = [dict(zip(("type", "name"), each.split(), strict=True)) for each in fields.split(",")]
    said = {"owner": address("researcher"), "spender": world.market.address, "value": value}
    told = world.read(token, "nonces", address("researcher"))
    said["nonce"] = told if number is None else number
    said["deadline"] = world.later()
    signable = encode_typed_data(
        domain | {"verifyingContract": token.address}, {"Permit": types}, said
    )
    signed = account(signer).sign_message(signable)
    r, s = (part.to_bytes(32, "big") for part in (signed.r, signed.s))
    return {"value": value, "deadline": said["deadline"], "v": signed.v, "r": r, "s": s}


def open_with(world: World, shown: dict[str, Any], **changes: Any) -> None:
    terms = world.terms(**changes)
    world.trade("researcher", "openWithPermit", terms, world.offered(terms), shown)


@pytest.fixture
def unapproved(world: World) -> World:
    world.send("researcher", world.parts.token, "approve", world.market.address, 0)
    return world


def test_a_permit_pays_without_an_approval(unapproved: World) -> None:
    open_with(unapproved, permit(unapproved, ESCROW))
    assert books(unapproved)["escrows"] == ESCROW


def test_a_permit_that_somebody_showed_first_still_pays(unapproved: World) -> None:
    shown = permit(unapproved, ESCROW)
    call = (address("researcher"), unapproved.market.address, *shown.values())
    unapproved.send("stranger", unapproved.parts.token, "permit", *call)
    open_with(unapproved, shown)
    assert books(unapproved)["escrows"] == ESCROW


def test_a_permit_of_somebody_else_pays_nothing(unapproved: World) -> None:
    with refusing("ERC20InsufficientAllowance"):
        open_with(unapproved, permit(unapproved, ESCROW, "stranger"))


def test_a_broken_permit_does_not_matter_where_there_is_an_allowance(world: World) -> None:
    open_with(world, permit(world, 1, "stranger"))
    assert books(world)["escrows"] == ESCROW


# ---- Several permits of one number: what a browser signs in the place of what it signed before ----

LOW = {"fee": 0, "price": 40}  # 2,000 of 50 patients


def show(world: World, shown: dict[str, Any]) -> None:
    call = (address("researcher"), world.market.address, *shown.values())
    world.send("stranger", world.parts.token, "permit", *call)


def salted(place: int) -> bytes:
    return place.to_bytes(32, "big")


@pytest.mark.parametrize("before", [0, 100 * ESCROW])
def test_of_openings_that_cost_the_same_with_permits_of_one_number_one_is_paid(
    world: World, before: int
) -> None:
    world.send("researcher", world.parts.token, "approve", world.market.address, before)
    first, second = permit(world, ESCROW), permit(world, ESCROW)
    open_with(world, first, salt=salted(1))
    with refusing("ERC20InsufficientAllowance"):
        open_with(world, second, salt=salted(2))
    assert books(world)["escrows"] == ESCROW


def test_a_permit_that_is_large_enough_pays_two_smaller_openings_of_its_number(
    unapproved: World,
) -> None:
    """Why a browser refuses what two smaller questions cost together, while a larger permit is out."""
    number = unapproved.read(unapproved.parts.token, "nonces", address("researcher"))
    show(unapproved, permit(unapproved, 2 * 50 * 40))
    for place in (1, 2):
        late = permit(unapproved, 50 * 40, number=number)
        open_with(unapproved, late, **LOW, salt=salted(place))
    assert books(unapproved)["escrows"] == 2 * 50 * 40


# ---- Cancelling ----


def test_the_researcher_cancels_before_the_freeze_and_is_owed_everything(world: World) -> None:
    terms = world.terms()
    world.open(terms)
    request = world.request_id(terms)
    world.trade("researcher", "cancel", request)
    assert world.request(request)["stage"] == CANCELLED
    assert credit(world, "researcher") == ESCROW
    assert books(world) | {"freeBonds": 0} == dict.fromkeys(books(world), 0) | {"credits": ESCROW}
    for action in ("cancel", "reclaim"):
        with refusing("WrongStage"):
            world.trade("researcher", action, request)
    with refusing("RequestExists", request):
        world.open(terms)


@pytest.mark.parametrize("who", ["operator", "admin", "stranger"])
def test_nobody_else_cancels(world: World, who: str) -> None:
    terms = world.terms()
    world.open(terms)
    with refusing("NotResearcher", address(who)):
        world.trade(who, "cancel", world.request_id(terms))


def test_a_frozen_request_cannot_be_cancelled(crowd: World) -> None:
    request = crowd.frozen()
    with refusing("WrongStage", request, OPENED, FROZEN):
        crowd.trade("researcher", "cancel", request)
