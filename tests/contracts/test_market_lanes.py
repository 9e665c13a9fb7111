"""Requests on ciphertext: no gate but the custodians' noise; the money is the same."""

from typing import Any

import pytest

from tests.contracts.market_books import DEFAULTED, FROZEN, OPENED, SEALED, SETTLED, books, credit
from tests.contracts.market_terms import POLICY
from tests.contracts.market_world import World
from tests.contracts.noise_acts import (
    ALL,
    TWO,
    commit_noise,
    fix_noise,
    noise_hash,
    noised,
    record_joint_key,
    sealed_ciphertext,
)
from tests.contracts.support import NOBODY, ZERO, address, member, refusing, word

PAID, RETURNED, FEE = 4 * 40, 46 * 40, 700  # units
BOND = 10**12


def after_settle_deadline(world: World, request: bytes, extra: int = 1) -> None:
    world.chain.warp(world.request(request)["settleDeadline"] - world.chain.now + extra)


def certificate(world: World, request: bytes) -> list[dict[str, Any]]:
    r = world.request(request)
    said = {"request": request, "root": r["root"], "epoch": r["epoch"]}
    return world.quorum(world.market, "TurnCertificate", said, 0, 1)


# ---- Open and freeze ----


def test_a_request_on_ciphertext_is_another_than_the_same_in_the_vault(world: World) -> None:
    vault, ciphertext = world.terms(), world.terms(lane=2)
    assert world.request_id(vault) != world.request_id(ciphertext)
    for terms in (vault, ciphertext):
        world.open(terms)
        r = world.request(world.request_id(terms))
        assert (r["stage"], r["lane"]) == (OPENED, terms["lane"])


def test_without_a_joint_key_nothing_is_frozen_on_ciphertext(crowd: World) -> None:
    terms = crowd.terms(lane=2)
    crowd.open(terms)
    with refusing("NoJointKey", 1):
        crowd.freeze(terms)
    record_joint_key(crowd)
    crowd.freeze_now(terms)
    assert crowd.request(crowd.request_id(terms))["stage"] == FROZEN


def test_a_joint_key_of_an_earlier_epoch_does_not_do(crowd: World) -> None:
    record_joint_key(crowd)
    members = [member(name) for name in ("relayer", "stranger", "guardian")]
    crowd.send("admin", crowd.parts.committee, "openEpoch", members, 2, [address("gate")])
    terms = crowd.terms(lane=2)
    crowd.open(terms)
    with refusing("NoJointKey", 2):
        crowd.freeze(terms)


def test_the_vault_needs_no_joint_key(crowd: World) -> None:
    assert crowd.request(crowd.settled())["stage"] == SETTLED


# ---- No gate ----


def test_a_seal_on_ciphertext_names_no_block_and_keeps_its_time(crowd: World) -> None:
    request = sealed_ciphertext(crowd)
    r = crowd.request(request)
    assert (r["stage"], r["drawBlock"], r["gate"], r["gateKey"]) == (SEALED, 0, NOBODY, ZERO)
    assert r["gateDrawnAt"] == crowd.chain.now
    assert r["sealBlock"] == crowd.chain.w3.eth.block_number


def test_a_seal_in_the_vault_names_a_block_and_keeps_no_time(crowd: World) -> None:
    r = crowd.request(crowd.sealed())
    assert (r["drawBlock"], r["gateDrawnAt"]) == (r["sealBlock"] + 1, 0)


@pytest.mark.parametrize(
    ("action", "arguments"),
    [("drawGate", []), ("recordGateKey", [word("key"), b""]), ("redrawGate", [])],
)
def test_a_request_on_ciphertext_has_no_gate(
    crowd: World, action: str, arguments: list[Any]
) -> None:
    request = sealed_ciphertext(crowd)
    crowd.chain.warp(POLICY["gateWindow"] + 1)
    with refusing("WrongLane", request, 2):
        crowd.trade("relayer", action, request, *arguments)


# ---- Settle ----


def test_a_settlement_on_ciphertext_pays_the_operator_and_frees_the_bond(crowd: World) -> None:
    request = noised(crowd)
    said = crowd.settlement(request, b"sealed result")
    assert (said["lane"], said["gate"]) == (2, NOBODY)
    assert said["noise"] == noise_hash(crowd, request, ALL)
    assert dict(crowd.settle(request).facts("RequestSettled")["settlement"]) == said
    r = crowd.request(request)
    assert (r["stage"], r["escrow"], r["bond"]) == (SETTLED, 0, 0)
    assert books(crowd) == {
        "escrows": 0,
        "lockedBonds": 0,
        "freeBonds": BOND,
        "credits": FEE + RETURNED,
        "earnings": PAID,
    }


def test_nothing_settles_before_the_noise_is_fixed(crowd: World) -> None:
    request = sealed_ciphertext(crowd)
    with refusing("NoNoise", request):
        crowd.settle(request)
    commit_noise(crowd, request)
    with refusing("NoNoise", request):
        crowd.settle(request, noise=noise_hash(crowd, request, ALL))
    fix_noise(crowd, request)
    crowd.settle(request)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("root", word("another")),
        ("epoch", 2),
        ("lane", 1),
        ("schema", 2),
        ("gate", address("gate")),
        ("noise", ZERO),
        ("noise", word("another")),
        ("resultHash", ZERO),
        ("deliveryHash", word("another")),
    ],
)
def test_a_settlement_on_ciphertext_is_of_what_was_sealed_and_fixed(
    crowd: World, field: str, value: Any
) -> None:
    request = noised(crowd)
    with refusing("SettlementMismatch", field):
        crowd.settle(request, **{field: value})


def test_the_noise_of_a_settlement_is_that_of_the_set_that_was_fixed(crowd: World) -> None:
    request = sealed_ciphertext(crowd)
    commit_noise(crowd, request)
    fix_noise(crowd, request, TWO)
    with refusing("SettlementMismatch", "noise"):
        crowd.settle(request, noise=noise_hash(crowd, request, ALL))
    crowd.settle(request)


def test_the_noise_of_another_request_settles_nothing(crowd: World) -> None:
    first = noised(crowd)
    crowd.thaw()
    second = sealed_ciphertext(crowd, salt=word("another"))
    commit_noise(crowd, second)
    fix_noise(crowd, second)
    with refusing("SettlementMismatch", "noise"):
        crowd.settle(second, noise=noise_hash(crowd, first, ALL))


# ---- Default, reclaim ----


def test_a_certified_default_on_ciphertext_repays_the_researcher_from_the_bond(
    crowd: World,
) -> None:
    request = noised(crowd)
    shown = certificate(crowd, request)
    after_settle_deadline(crowd, request)
    crowd.trade("stranger", "defaultCertified", request, shown)
    assert crowd.request(request)["stage"] == DEFAULTED
    assert credit(crowd, "researcher") == RETURNED + FEE + PAID
    assert books(crowd) == {
        "escrows": 0,
        "lockedBonds": 0,
        "freeBonds": BOND - PAID,
        "credits": RETURNED + FEE + PAID,
        "earnings": PAID,
    }


def test_an_uncertified_default_on_ciphertext_gives_fee_and_bond_back(crowd: World) -> None:
    request = sealed_ciphertext(crowd)
    after_settle_deadline(crowd, request, POLICY["certificateWindow"] + 1)
    crowd.trade("stranger", "defaultUncertified", request)
    assert credit(crowd, "researcher") == RETURNED + FEE
    assert books(crowd)["freeBonds"] == BOND


def test_an_unused_freeze_on_ciphertext_is_reclaimed_as_any_other(crowd: World) -> None:
    record_joint_key(crowd)
    request = crowd.frozen(lane=2)
    bond = crowd.request(request)["bond"]
    crowd.chain.warp(POLICY["freezeWindow"] + 1)
    crowd.trade("stranger", "reclaim", request)
    penalty = bond * POLICY["unusedFreezeBps"] // 10_000
    assert credit(crowd, "researcher") == 50 * 40 + FEE + penalty
    assert books(crowd)["freeBonds"] == BOND - penalty
