"""Somebody else holds the operator's key: what they can do, and what they cannot.

They can do an operator's work badly. They can freeze requests that researchers opened and let the freeze
lapse, which delays grants by minutes and costs part of the bond; they can seal a frozen request and never
have it answered, which spends the cost that its patients agreed to and pays them for it, out of the
escrow, and out of the bond once custodians turned; they can take the operator's own money; and they can
do what any passer-by can. They can settle only what a quorum of custodians signs, for the fee that was
agreed. They grant nothing, open nothing, take nobody else's money and stop no revocation, no
withdrawal and no cancellation. Once the admin takes the role away they are a passer-by.

All contracts run for real (pyrevm); every function of each is called, by table, in every stage of a
request, and in random schedules.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.accounting_setting import (
    ADMIN,
    PEOPLE,
    POLICY,
    RESEARCHERS,
    Setting,
    make_setting,
    word_of,
)
from tests.contracts.pyrevm_chain import Artifacts, ChainRefused, Key
from tests.contracts.stolen_key_books import Books, Witness, require_harmless
from tests.contracts.stolen_key_shots import (
    CHOICES,
    CONTRACTS,
    SHOTS,
    VICTIMS,
    Call,
    every_call,
    send,
    shoot,
)
from tests.contracts.stolen_key_theft import FOUND, PASSER_BY, READY, Theft, found
from tests.model.market import Stage

Seen = TypeVar("Seen")
Schedule = list[tuple[tuple[str, str], int, int] | int]  # calls, and seconds to wait
SCHEDULES = 40
# What only an operator can do.
OPERATORS = {("market", name) for name in ("freeze", "seal", "sealAll", "settle")}
# Giving roles up, also those that one has not: only the key of the address can.
OWN_ROLE = {(on, "renounceRole") for on in CONTRACTS}
# What anybody can do, with what is theirs or where nobody's consent or money depends on who does it.
ANYBODYS = {
    ("consents", "appointGuardian"),
    ("consents", "erase"),
    ("consents", "expel"),
    ("consents", "wakeWords"),
    ("market", "tidy"),
    ("market", "dissolve"),
    ("market", "drawGate"),
    ("market", "redrawGate"),
    ("noises", "commitNoise"),
    ("noises", "fixNoise"),
    ("market", "defaultCertified"),
    ("market", "defaultUncertified"),
    ("market", "reclaim"),
    ("market", "postBond"),
    ("market", "releaseBond"),
    ("token", "approve"),
    ("token", "transfer"),
    *OWN_ROLE,
    *((on, "cancelNonce") for on in ("consents", "market")),
    *((on, "batch") for on in ("datasets", "consents", "market")),
}


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting(Artifacts())


@pytest.fixture
def clean(setting: Setting) -> Iterator[Setting]:
    before = setting.chain.evm.snapshot()
    yield setting
    setting.chain.evm.revert(before)


def attempt(t: Theft, call: Call, by: str, see: Callable[[], Seen]) -> Seen | None:
    """What is seen after this call, which is then undone; None if it was refused."""
    before = t.s.chain.evm.snapshot()
    try:
        send(t, call, by)
        return see()
    except ChainRefused:
        return None
    finally:
        t.s.chain.evm.revert(before)


def take_the_role_away(t: Theft) -> None:
    t.s.market.send(ADMIN.address, "revokeRole", word_of("OPERATOR"), t.me.address)


# --- the table


def test_every_function_that_changes_anything_is_tried(setting: Setting) -> None:
    artifacts = setting.chain.artifacts.by_name.values()
    for on in CONTRACTS:
        layout = getattr(setting, on).layout
        (abi,) = [each["abi"] for each in artifacts if each["storageLayout"] is layout]
        functions = [entry for entry in abi if entry["type"] == "function"]
        changing = {f["name"] for f in functions if f["stateMutability"] not in ("view", "pure")}
        assert changing == {name for where, name in SHOTS if where == on}


def test_what_the_key_can_do_is_an_operators_work_and_what_anybody_can(setting: Setting) -> None:
    mine: set[tuple[str, str]] = set()
    anybodys: set[tuple[str, str]] = set()
    for how in FOUND:
        before = setting.chain.evm.snapshot()
        t = found(setting, how, genuine=True)
        for call in every_call(t):
            for by, can in ((t.me, mine), (PASSER_BY, anybodys)):
                if attempt(t, call, by.address, lambda: True):
                    can.add(call.name)
        setting.chain.evm.revert(before)
    assert mine == OPERATORS | ANYBODYS
    assert anybodys == ANYBODYS - OWN_ROLE


# --- harm


ALONE, WITH_CUSTODIANS = False, True


@pytest.mark.parametrize(
    ("how", "genuine"),
    [*((how, ALONE) for how in FOUND), *((how, WITH_CUSTODIANS) for how in READY)],
)
def test_no_call_harms_anybody(clean: Setting, how: str, genuine: bool) -> None:
    t = found(clean, how, genuine=genuine)
    witness = Witness(t)
    before, untouched = witness.books(), witness.glance()

    def look() -> None:
        if witness.glance() != untouched:
            require_harmless(before, witness.books(), alone=not genuine)

    for call in every_call(t):
        attempt(t, call, t.me.address, look)


tries = st.tuples(
    st.sampled_from(sorted(SHOTS)), st.integers(0, VICTIMS - 1), st.integers(0, CHOICES - 1)
)
waits = st.integers(1, 60)
weighty = st.tuples(
    st.sampled_from([("market", n) for n in ("freeze", "seal", "sealAll", "tidy", "reclaim")]),
    st.integers(0, VICTIMS - 1),
    st.integers(0, CHOICES - 1),
)


@pytest.mark.timeout(1800)
def test_no_schedule_harms_anybody_and_everybody_leaves_with_what_is_theirs(
    setting: Setting,
) -> None:
    @settings(max_examples=SCHEDULES, deadline=None, database=None)
    @given(st.sampled_from(sorted(FOUND)), st.lists(tries | weighty | waits, max_size=20))
    def holds(how: str, schedule: Schedule) -> None:
        before = setting.chain.evm.snapshot()
        now, block = setting.chain.now, setting.chain.block
        try:
            run_and_leave(found(setting, how), schedule)
        finally:
            setting.chain.evm.revert(before)
            setting.chain.at(now, block)

    holds()


def run_and_leave(t: Theft, schedule: Schedule) -> None:
    witness = Witness(t)
    first = last = witness.books()
    for step in schedule:
        if isinstance(step, int):
            t.s.chain.at(t.s.chain.now + step, t.s.chain.block + 2)
            continue
        try:
            shoot(t, *step[0], *step[1:])
        except ChainRefused:
            continue
        now = witness.books()
        require_harmless(last, now)
        last = now
    everybody_leaves(t, witness, first)


def everybody_leaves(t: Theft, witness: Witness, first: Books) -> None:
    """Patients revoke and are paid; the role is taken away; researchers get their money back."""
    market, start = t.s.market, witness.books()
    for place, was in enumerate(start.patients):
        patient_leaves(t, place, was["owed"])
    take_the_role_away(t)
    for a in range(len(start.requests)):
        end_request(t, a)
    paid = {key.address.lower(): 0 for key in RESEARCHERS}
    for request in witness.books().requests:
        assert Stage(request["stage"]) > Stage.SEALED, "a request without an end"
        paid[request["researcher"]] += request["members"] * request["price"]
    for key, had in zip(RESEARCHERS, first.researchers, strict=True):
        if market.ask("creditOf", key.address) != (0,):
            market.send(key.address, "withdrawCredit", key.address)
        (purse,) = t.s.token.ask("balanceOf", key.address)
        # What was sealed before the theft had been paid before; at most so much was paid since.
        assert purse >= had - paid[key.address.lower()]


def patient_leaves(t: Theft, place: int, owed: int) -> None:
    """Half of them through whoever carries their signature."""
    key, fresh = PEOPLE[t.world.owner[place]], Key.number(1_000 + place).address
    if place % 2:
        said = (key.address, t.dataset, t.sequence(place) + 256)
        signature = t.sign("consents", "Revocation", said, key)
        t.s.consents.send(PASSER_BY.address, "revokeBySig", said, key.address, signature)
    else:
        t.s.consents.send(key.address, "revoke", key.address, t.dataset)
    assert t.s.consents.view("consentOf", t.dataset, key.address)["state"] == 0
    if owed:
        t.s.market.send(key.address, "withdrawEarnings", t.dataset, fresh)
    assert t.s.token.ask("balanceOf", fresh) == (owed,)


def end_request(t: Theft, a: int) -> None:
    """As its researcher or anybody can, whatever the operator does."""
    market, told = t.s.market, t.s.market.view("requestOf", t.id(a))
    for action in ("freeze", "seal", "sealAll"):
        with pytest.raises(ChainRefused, match="AccessControlUnauthorizedAccount"):
            shoot(t, "market", action, a, 0)
    stage = Stage(told["stage"])
    if stage is Stage.OPENED:
        market.send(t.world.researcher_of(t.request(a)), "cancel", t.id(a))
    elif stage is Stage.FROZEN:
        t.s.chain.at(max(t.s.chain.now, told["frozenUntil"] + 1), t.s.chain.block + 1)
        market.send(PASSER_BY.address, "reclaim", t.id(a))
    elif stage is Stage.SEALED:
        until = told["settleDeadline"] + POLICY.certificate_window + 1
        t.s.chain.at(max(t.s.chain.now, until), t.s.chain.block + 1)
        market.send(PASSER_BY.address, "defaultUncertified", t.id(a))


@pytest.mark.parametrize("how", sorted(FOUND))
def test_without_the_role_the_key_does_what_any_passer_by_can(clean: Setting, how: str) -> None:
    t = found(clean, how)
    take_the_role_away(t)
    witness = Witness(t)
    untouched = witness.glance()
    for call in every_call(t):
        mine, anybodys = (
            attempt(t, call, by.address, witness.glance) or untouched for by in (t.me, PASSER_BY)
        )
        assert mine == anybodys, call


# --- what it does cost others, and who pays


def test_a_wasted_freeze_delays_by_minutes_and_is_paid_from_the_bond(clean: Setting) -> None:
    t = found(clean, "opened")
    shoot(t, "market", "freeze", 1, 0)
    told = t.s.market.view("requestOf", t.id(1))
    assert told["frozenUntil"] - clean.chain.now <= POLICY.freeze_window
    witness = Witness(t)
    before = witness.books()
    clean.chain.at(told["frozenUntil"] + 1, clean.chain.block + 1)
    clean.market.send(PASSER_BY.address, "reclaim", t.id(1))
    penalty = told["bond"] * POLICY.unused_freeze_bps // 10_000
    assert penalty > 0
    after = witness.books()
    assert after.thief == before.thief - penalty
    assert after.researchers[0] == before.researchers[0] + penalty
    assert after.patients == before.patients


def test_without_a_bond_there_is_no_freeze(clean: Setting) -> None:
    t = found(clean, "opened")
    (posted,) = clean.market.ask("bondOf", t.me.address)
    clean.market.send(t.me.address, "releaseBond", t.me.address, posted)
    with pytest.raises(ChainRefused, match="BondTooSmall"):
        shoot(t, "market", "freeze", 1, 0)


@pytest.mark.parametrize("turned", [True, False])
def test_a_seal_without_an_answer_pays_patients_and_costs_at_most_the_bond(
    clean: Setting, turned: bool
) -> None:
    """The bond makes the researcher whole where keys were turned; else the patients' pay is lost to it."""
    t = found(clean, "opened", genuine=turned)
    shoot(t, "market", "freeze", 1, 0)
    witness = Witness(t)
    before = witness.books()
    shoot(t, "market", "sealAll", 1, 0)
    told = t.s.market.view("requestOf", t.id(1))
    paid = told["members"] * told["price"]
    assert 0 < paid <= told["bond"]
    until = told["settleDeadline"] + POLICY.certificate_window + 1
    clean.chain.at(until, clean.chain.block + 1)
    shoot(t, "market", "defaultCertified" if turned else "defaultUncertified", 1, 0)
    after = witness.books()
    earned = sum(
        is_["claim"] - was["claim"]
        for was, is_ in zip(before.patients, after.patients, strict=True)
    )
    assert earned == paid
    assert before.researchers[0] - after.researchers[0] == (0 if turned else paid)
    assert before.thief - after.thief == (paid if turned else 0)
