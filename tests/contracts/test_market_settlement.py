"""Settlement and default: a quorum's word for exactly what was sealed, or the money goes back."""

from typing import Any

import pytest

from tests.contracts.market_books import DEFAULTED, FROZEN, SEALED, SETTLED, books, credit
from tests.contracts.market_terms import CUSTODIANS, POLICY, SIGNED
from tests.contracts.market_world import World
from tests.contracts.support import NOBODY, ZERO, address, member, refusing, word

PAID = 4 * 40  # units, to the four members of a sealed request
RETURNED = 46 * 40  # units, for the places that nobody took
PAYLOAD = b"sealed result"


def bond(world: World) -> int:
    return int(world.read(world.market, "bondOf", address("operator")))


def after_settle_deadline(world: World, request: bytes, extra: int = 1) -> None:
    world.chain.warp(world.request(request)["settleDeadline"] - world.chain.now + extra)


def certificate(world: World, sealed: bytes, *places: int, **lies: Any) -> list[dict[str, Any]]:
    r = world.request(sealed)
    said = {"request": sealed, "root": r["root"], "epoch": r["epoch"]} | lies
    return world.quorum(world.market, "TurnCertificate", said, *places)


# ---- Settling ----


def test_a_settlement_pays_the_operator_frees_the_bond_and_delivers(crowd: World) -> None:
    whole = bond(crowd)
    request = crowd.keyed()
    said = crowd.settlement(request, PAYLOAD)
    sent = crowd.settle(request, PAYLOAD)
    told = sent.facts("RequestSettled")
    assert (told["request"], told["sealedResult"]) == (request, PAYLOAD)
    assert dict(told["settlement"]) == said
    r = crowd.request(request)
    assert (r["stage"], r["escrow"], r["bond"]) == (SETTLED, 0, 0)
    assert r["resultHash"] == word("result")
    assert credit(crowd, "operator") == 700
    assert credit(crowd, "researcher") == RETURNED
    assert bond(crowd) == whole
    assert books(crowd) == {
        "escrows": 0,
        "lockedBonds": 0,
        "freeBonds": whole,
        "credits": 700 + RETURNED,
        "earnings": PAID,
    }


def test_a_request_is_settled_once(crowd: World) -> None:
    request = crowd.settled()
    with refusing("WrongStage", request, SEALED, SETTLED):
        crowd.settle(request)
    after_settle_deadline(crowd, request, POLICY["certificateWindow"] + 1)
    with refusing("WrongStage", request, SEALED, SETTLED):
        crowd.trade("stranger", "defaultUncertified", request)
    with refusing("WrongStage", request, FROZEN, SETTLED):
        crowd.trade("stranger", "reclaim", request)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("root", word("another")),
        ("epoch", 2),
        ("lane", 2),
        ("schema", 2),
        ("gate", NOBODY),
        ("noise", word("noise")),
        ("resultHash", ZERO),
        ("deliveryHash", word("another")),
    ],
)
def test_a_settlement_is_of_what_was_sealed(crowd: World, field: str, value: Any) -> None:
    request = crowd.keyed()
    with refusing("SettlementMismatch", field):
        crowd.settle(request, **{field: value})


FIELDS = [tuple(reversed(part.split(" "))) for part in SIGNED["Settlement"].split(",")]


@pytest.mark.parametrize(("name", "type_"), FIELDS)
def test_custodians_sign_every_field_of_a_settlement(crowd: World, name: str, type_: str) -> None:
    request = crowd.keyed()
    said = crowd.settlement(request, PAYLOAD)
    other = {"bytes32": word("another"), "address": address("stranger")}
    lie = said | {name: other.get(type_, 9)}
    signatures = crowd.quorum(crowd.market, "Settlement", lie, 0, 1)
    with refusing("BadCustodianSignature", 0):
        crowd.trade("operator", "settle", said, PAYLOAD, signatures)


def test_a_settlement_signed_for_another_contract_or_chain_is_refused(crowd: World) -> None:
    request = crowd.keyed()
    said = crowd.settlement(request, PAYLOAD)
    there = crowd.quorum(crowd.consents, "Settlement", said, 0, 1)
    crowd.chain.id += 1
    try:
        elsewhere = crowd.quorum(crowd.market, "Settlement", said, 0, 1)
    finally:
        crowd.chain.id -= 1
    for signatures in (there, elsewhere):
        with refusing("BadCustodianSignature", 0):
            crowd.trade("operator", "settle", said, PAYLOAD, signatures)


def test_nobody_is_paid_for_a_hash(crowd: World) -> None:
    request = crowd.keyed()
    said = crowd.settlement(request, PAYLOAD)
    signatures = crowd.quorum(crowd.market, "Settlement", said, 0, 1)
    with refusing("SettlementMismatch", "deliveryHash"):
        crowd.trade("operator", "settle", said, b"", signatures)


@pytest.mark.parametrize(
    ("places", "refusal"),
    [
        ((), "QuorumMissing"),
        ((0,), "QuorumMissing"),
        ((1, 0), "SignaturesOutOfOrder"),
        ((1, 1), "SignaturesOutOfOrder"),
    ],
)
def test_k_minus_one_custodians_settle_nothing(
    crowd: World, places: tuple[int, ...], refusal: str
) -> None:
    request = crowd.keyed()
    with refusing(refusal):
        crowd.settle(request, places=places)


@pytest.mark.parametrize("places", [(0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_any_quorum_settles(crowd: World, places: tuple[int, ...]) -> None:
    crowd.settle(crowd.keyed(), places=places)


def test_a_request_is_settled_by_the_committee_of_its_freeze(crowd: World) -> None:
    request = crowd.frozen()
    strangers = [member(name) for name in ("relayer", "stranger", "guardian")]
    crowd.send("admin", crowd.parts.committee, "openEpoch", strangers, 2, [address("second gate")])
    crowd.seal(request)
    crowd.draw(request)
    crowd.record_key(request)
    assert crowd.request(request)["epoch"] == 1
    crowd.settle(request)


def test_only_the_requests_operator_settles(crowd: World) -> None:
    request = crowd.keyed()
    said = crowd.settlement(request, PAYLOAD)
    signatures = crowd.quorum(crowd.market, "Settlement", said, 0, 1)
    for who in ("researcher", "stranger", *CUSTODIANS[:1]):
        with refusing("NotRequestOperator", address(who)):
            crowd.trade(who, "settle", said, PAYLOAD, signatures)


def test_without_a_gate_key_nothing_is_settled(crowd: World) -> None:
    request = crowd.sealed()
    with refusing("NoGateKey", request):
        crowd.settle(request)
    crowd.draw(request)
    with refusing("NoGateKey", request):
        crowd.settle(request)


def test_a_frozen_request_is_not_settled(crowd: World) -> None:
    request = crowd.frozen()
    with refusing("WrongStage", request, SEALED, FROZEN):
        crowd.settle(request)


def test_a_settlement_after_its_deadline_is_refused(crowd: World) -> None:
    request = crowd.keyed()
    deadline = crowd.request(request)["settleDeadline"]
    after_settle_deadline(crowd, request)
    with refusing("SettleDeadlinePassed", deadline):
        crowd.settle(request)


# ---- Defaults ----


def test_a_certified_default_repays_the_researcher_from_the_bond(crowd: World) -> None:
    whole = bond(crowd)
    request = crowd.keyed()
    after_settle_deadline(crowd, request)
    shown = certificate(crowd, request, 1, 2)
    sent = crowd.trade("stranger", "defaultCertified", request, shown)
    assert sent.facts("RequestDefaulted") == {"request": request, "certified": True}
    assert crowd.request(request)["stage"] == DEFAULTED
    assert credit(crowd, "researcher") == RETURNED + 700 + PAID
    assert whole - bond(crowd) == PAID
    assert credit(crowd, "operator") == 0
    assert books(crowd)["earnings"] == PAID
    assert crowd.view("ada")["owed"] == 40


def test_without_a_certificate_fee_and_bond_go_back_to_their_owners(crowd: World) -> None:
    whole = bond(crowd)
    request = crowd.keyed()
    until = crowd.request(request)["settleDeadline"] + POLICY["certificateWindow"]
    after_settle_deadline(crowd, request)
    with refusing("DeadlineRunning", until):
        crowd.trade("stranger", "defaultUncertified", request)
    crowd.chain.warp(POLICY["certificateWindow"])
    sent = crowd.trade("stranger", "defaultUncertified", request)
    assert sent.facts("RequestDefaulted") == {"request": request, "certified": False}
    assert credit(crowd, "researcher") == RETURNED + 700
    assert bond(crowd) == whole
    assert books(crowd)["earnings"] == PAID


def test_no_default_before_the_settle_deadline(crowd: World) -> None:
    request = crowd.keyed()
    deadline = crowd.request(request)["settleDeadline"]
    with refusing("DeadlineRunning", deadline):
        crowd.trade("stranger", "defaultCertified", request, certificate(crowd, request, 0, 1))


@pytest.mark.parametrize("lie", [{"request": word("x")}, {"root": word("x")}, {"epoch": 2}])
def test_a_certificate_is_for_one_request_and_cohort(crowd: World, lie: dict[str, Any]) -> None:
    request = crowd.keyed()
    after_settle_deadline(crowd, request)
    shown = certificate(crowd, request, 0, 1, **lie)
    with refusing("BadCustodianSignature", 0):
        crowd.trade("stranger", "defaultCertified", request, shown)


def test_a_certificate_needs_a_quorum(crowd: World) -> None:
    request = crowd.keyed()
    after_settle_deadline(crowd, request)
    with refusing("QuorumMissing", 2, 1):
        crowd.trade("stranger", "defaultCertified", request, certificate(crowd, request, 0))


@pytest.mark.parametrize("first", ["defaultCertified", "defaultUncertified"])
def test_a_request_defaults_once(crowd: World, first: str) -> None:
    request = crowd.keyed()
    after_settle_deadline(crowd, request, POLICY["certificateWindow"] + 1)
    shown = certificate(crowd, request, 0, 1)
    calls: dict[str, tuple[Any, ...]] = {
        "defaultCertified": (request, shown),
        "defaultUncertified": (request,),
    }
    crowd.trade("stranger", first, *calls[first])
    for action, arguments in calls.items():
        with refusing("WrongStage", request, SEALED, DEFAULTED):
            crowd.trade("stranger", action, *arguments)


def test_a_frozen_request_does_not_default(crowd: World) -> None:
    request = crowd.frozen()
    after_settle_deadline(crowd, request, POLICY["certificateWindow"] + 1)
    with refusing("WrongStage", request, SEALED, FROZEN):
        crowd.trade("stranger", "defaultUncertified", request)


def test_a_sealed_request_is_not_reclaimed(crowd: World) -> None:
    request = crowd.sealed()
    after_settle_deadline(crowd, request)
    with refusing("WrongStage", request, FROZEN, SEALED):
        crowd.trade("stranger", "reclaim", request)
