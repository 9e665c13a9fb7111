"""Who tries to be in everybody's way: others still seal, settle, withdraw and revoke, and nothing is gained.

Ada, Ben and Cleo are honest; Dan and the stranger are not. Each test ends with a request over
everybody's class that runs from opening to settlement, a withdrawal and a revocation.
"""

from typing import Any

import pytest

from tests.contracts import hostile_code
from tests.contracts.market_books import balance, books, credit
from tests.contracts.market_terms import CREDENTIAL, HORIZON, MAX_COST, POLICY
from tests.contracts.market_world import World
from tests.contracts.support import address, refusing, word

PEOPLE = ("ada", "ben", "cleo", "dan")
NONE, LIVE, RESTING = 0, 1, 2
RICH = 10**12
PRICE = 40
FLOOR = 5  # units a record, of the least that costs anything


def others_go_on(world: World, members: int, *, tidied: bool = False) -> None:
    """A request from end to end, in which Ada and Ben count; Ada is paid and Ben leaves."""
    world.thaw()
    terms = world.terms(salt=word("others"))
    world.open(terms)
    world.freeze(terms)
    request = world.request_id(terms)
    if tidied:
        world.trade("relayer", "tidy", request, 0, [0])
    owed = {who: world.view(who)["owed"] for who in ("ada", "ben")}
    world.seal(request)
    world.draw(request)
    world.record_key(request)
    world.settle(request)
    assert world.request(request)["members"] == members
    assert {who: world.view(who)["owed"] for who in owed} == {w: o + PRICE for w, o in owed.items()}
    world.trade("ada", "withdrawEarnings", world.dataset, address("new ada"))
    assert balance(world, "new ada") == owed["ada"] + PRICE
    world.revoke("ben")
    assert world.view("ben")["state"] == NONE
    world.trade("researcher", "withdrawCredit", address("researcher"))
    assert sum(books(world).values()) == world.read(
        world.parts.token, "balanceOf", world.market.address
    )


def make_researcher(world: World, who: str = "stranger") -> None:
    """A credential and money, for somebody who means no good."""
    world.send("authority", world.parts.researchers, "give", address(who), CREDENTIAL)
    enrich(world, who)


def enrich(world: World, who: str) -> None:
    world.send("admin", world.parts.token, "mint", address(who), RICH)
    world.send(who, world.parts.token, "approve", world.market.address, 2**256 - 1)


def ask(world: World, who: str = "stranger", **changes: Any) -> tuple[dict[str, Any], bytes]:
    terms = world.terms(**changes)
    world.trade(who, "open", terms, world.offered(terms))
    return terms, world.request_id(terms, who)


def freeze_for(world: World, who: str, terms: dict[str, Any], operator: str = "operator") -> None:
    world.chain.warp(POLICY["noticeWindow"])
    world.trade(operator, "freeze", address(who), terms, world.offered(terms))


def wealth(world: World, *people: str) -> int:
    """All that these have, together, outside of requests."""
    posted = sum(int(world.read(world.market, "bondOf", address(who))) for who in people)
    return posted + sum(balance(world, who) + credit(world, who) for who in people)


def test_dust_requests_lock_only_their_senders_money(crowd: World) -> None:
    dust: dict[str, Any] = {
        "cost": 1,
        "price": FLOOR,
        "fee": 0,
        "maxPatients": POLICY["minimumCohort"],
    }
    with refusing("CredentialMissing"):
        ask(crowd, **dust)
    make_researcher(crowd)
    with refusing("PriceBelowFloor"):
        ask(crowd, **dust | {"price": FLOOR - 1})
    before = wealth(crowd, "stranger")
    asked = [ask(crowd, salt=word(f"dust {i}"), **dust)[1] for i in range(4)]
    assert before - wealth(crowd, "stranger") == 4 * FLOOR * POLICY["minimumCohort"]
    others_go_on(crowd, 4)
    for request in asked:
        crowd.trade("stranger", "cancel", request)
    assert wealth(crowd, "stranger") == before


# Signs as a wallet, and reverts whatever else it is asked.
REVERTS = hostile_code.assemble(
    f"0 CALLDATALOAD 224 SHR {hostile_code.MAGIC} EQ @asked JUMPI 0 0 REVERT "
    f":asked {hostile_code.MAGIC << 224} 0 MSTORE 32 0 RETURN"
)


def test_a_receiver_that_refuses_every_call_is_never_called(crowd: World) -> None:
    crowd.wallets["wallet"] = where = crowd.chain.deploy_code(REVERTS)
    crowd.enrol("wallet")
    said = crowd.grant_of("wallet")
    crowd.consent("relayer", "grantBySig", said, where, b"")
    crowd.settled()
    others_go_on(crowd, 5)
    withdrawal: dict[str, Any] = {"patient": where, "dataset": crowd.dataset, "to": where}
    withdrawal |= {"nonce": 1, "deadline": crowd.later()}
    crowd.trade("relayer", "withdrawEarningsBySig", withdrawal, b"")
    assert crowd.read(crowd.parts.token, "balanceOf", where) == 2 * PRICE


def test_the_smallest_grant_blocks_no_seal(world: World) -> None:
    with refusing("BudgetTooSmall"):
        world.grant("dan", cap=MAX_COST - 1)
    with refusing("ExpiryTooSoon"):
        world.grant("dan", expiry=world.later(HORIZON - 10))
    world.grant_all("ada", "ben", "cleo")
    world.grant("dan", cap=MAX_COST)
    world.settled(cost=MAX_COST)
    others_go_on(world, 3, tidied=True)
    assert (world.view("dan")["state"], world.view("dan")["owed"]) == (RESTING, PRICE)


def test_tidying_empties_no_class(crowd: World) -> None:
    """The dearest request there can be takes out who cannot pay for it, and nobody else."""
    crowd.grant("dan", cap=MAX_COST)
    crowd.settled(cost=400_000)
    crowd.thaw()
    make_researcher(crowd)
    with refusing("CostAboveClass"):
        ask(crowd, cost=MAX_COST + 1)
    terms, request = ask(crowd, cost=MAX_COST, salt=word("dear"))
    with refusing("WrongStage"):
        crowd.trade("stranger", "tidy", request, 0, [0])
    with refusing("OnlyMarket"):
        crowd.consent("stranger", "tidyShard", request, crowd.class_id(), 0, [0], 2**55)
    freeze_for(crowd, "stranger", terms)
    for _ in range(3):
        crowd.trade("stranger", "tidy", request, 0, [0])
    states = [crowd.view(who)["state"] for who in PEOPLE]
    assert states == [LIVE, LIVE, LIVE, RESTING]
    crowd.seal(request)  # and is paid for
    others_go_on(crowd, 3)


def test_revoking_and_granting_again_and_again_gains_no_place_and_no_budget(crowd: World) -> None:
    crowd.settled()
    before = (crowd.shard()["used"], crowd.view("dan")["spent"], crowd.view("dan")["owed"])
    for _ in range(4):
        crowd.revoke("dan")
        crowd.grant("dan")
    assert (crowd.shard()["used"], *(crowd.view("dan")[n] for n in ("spent", "owed"))) == before
    for index in (2, 1) * 2:
        crowd.grant("dan", index)
    assert crowd.shard()["used"] == before[0]
    assert crowd.shard(2)["used"] == 1
    crowd.thaw()
    terms = crowd.terms(salt=word("restless"))
    crowd.open(terms)
    crowd.freeze(terms)
    for _ in range(3):
        crowd.revoke("dan")
        crowd.grant("dan")
    assert crowd.shard()["used"] == before[0]
    request = crowd.request_id(terms)
    crowd.seal(request)
    assert crowd.request(request)["members"] == 3
    assert crowd.view("dan")["owed"] == before[2]
    others_go_on(crowd, 3)


def test_a_record_that_was_copied_or_never_stored_is_in_nobodys_way(crowd: World) -> None:
    copied = crowd.attestation("ada") | {"patient": address("stranger"), "person": word("me")}
    theirs = crowd.sign("stranger", crowd.parts.datasets, "RecordAttestation", copied)
    with refusing("BadIssuerSignature"):
        crowd.send("stranger", crowd.parts.datasets, "registerRecord", copied, theirs)
    signed = crowd.sign(
        "issuer", crowd.parts.datasets, "RecordAttestation", crowd.attestation("ada")
    )
    with refusing("BadIssuerSignature"):
        crowd.send("stranger", crowd.parts.datasets, "registerRecord", copied, signed)
    crowd.attest("stranger")  # by a true issuer, and never uploaded
    with refusing("RecordNotStored"):
        crowd.grant("stranger")
    others_go_on(crowd, 4)
    assert crowd.view("stranger")["owed"] == 0


def test_freezes_that_are_never_used_enrich_nobody_and_keep_nobody_out(crowd: World) -> None:
    """The operator and a friendly researcher: what the one forfeits, the other gets, and no more."""
    make_researcher(crowd)
    before = wealth(crowd, "operator", "stranger")
    asked = [ask(crowd, salt=word(f"unused {i}")) for i in range(2)]
    for number, (terms, request) in enumerate(asked):
        freeze_for(crowd, "stranger", terms)
        crowd.revoke("dan")
        assert crowd.grant("dan").facts("Granted")["live"] is False
        crowd.chain.warp(POLICY["freezeWindow"] + 1)
        crowd.trade("relayer", "reclaim", request)
        if number == 0:
            following, _ = asked[1]
            with refusing("ShardIsFrozen"):  # until who waits had time to come in
                crowd.trade(
                    "operator", "freeze", address("stranger"), following, crowd.offered(following)
                )
        crowd.chain.warp(1)
        crowd.consent("relayer", "wakeWords", crowd.class_id(), 0, [0])
        assert crowd.view("dan")["state"] == LIVE
    assert wealth(crowd, "operator", "stranger") == before
    assert credit(crowd, "stranger") > 2 * (50 * PRICE + 700)
    others_go_on(crowd, 4)


def test_a_cohort_that_its_patient_shrinks_costs_the_operator_nothing(crowd: World) -> None:
    """Dan leaves a request of a friend's while it is frozen, so that it can never be sealed."""
    make_researcher(crowd)
    crowd.revoke("cleo")
    crowd.grant("cleo", 2)
    crowd.grant("dan", 2)
    before = wealth(crowd, "operator"), wealth(crowd, "stranger")
    terms, request = ask(crowd, classes=[2], price=10**6)
    freeze_for(crowd, "stranger", terms)
    crowd.revoke("dan")
    with refusing("CohortTooSmall"):
        crowd.seal(request)
    crowd.trade("relayer", "dissolve", request)
    assert (wealth(crowd, "operator"), wealth(crowd, "stranger")) == before
    assert crowd.view("dan")["owed"] == 0
    others_go_on(crowd, 2)


@pytest.mark.parametrize("colluding", [(0,), (0, 1)], ids=["one", "a quorum"])
def test_custodians_who_collude_for_a_bond_gain_nothing(
    crowd: World, colluding: tuple[int, ...]
) -> None:
    """One cannot stop a settlement; a quorum only brings a researcher's own money back."""
    make_researcher(crowd)
    before = wealth(crowd, "stranger")
    terms, request = ask(crowd)
    freeze_for(crowd, "stranger", terms)
    crowd.seal(request)
    r = crowd.request(request)
    said = {"request": request, "root": r["root"], "epoch": r["epoch"]}
    certificate = crowd.quorum(crowd.market, "TurnCertificate", said, *colluding)
    with refusing("DeadlineRunning"):
        crowd.trade("stranger", "defaultCertified", request, certificate)
    if len(colluding) < 2:
        crowd.draw(request)
        crowd.record_key(request)
        crowd.settle(request, places=(1, 2))
    crowd.chain.warp(r["settleDeadline"] - crowd.chain.now + 1)
    if len(colluding) < 2:
        with refusing("WrongStage"):
            crowd.trade("stranger", "defaultCertified", request, certificate)
        assert wealth(crowd, "stranger") == before - 4 * PRICE - terms["fee"]
    else:
        crowd.trade("stranger", "defaultCertified", request, certificate)
        assert wealth(crowd, "stranger") == before
    others_go_on(crowd, 4)
