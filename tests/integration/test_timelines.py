"""A patient's timeline is everything that happened, nothing else, and what a lying node cannot change."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from marketplace.chain import artifacts, ledger
from marketplace.chain.adapter import (
    Chain,
    ContractRefusal,
    Finality,
    ForgedLogs,
    PartialLogs,
    Reorganised,
)
from marketplace.errors import Refusal
from marketplace.stages import Stage
from marketplace.timelines import Entry, Kind, Study
from marketplace.timelines import service as timelines
from marketplace.wire.http import to_hex
from tests.support.chain_world import MAX_COST, account
from tests.support.nodes import LyingProxy, anvil_node
from tests.support.page_world import PageWorld, page_world, page_world_on

ELSEWHERE = account("elsewhere").address
PRICE = 5
CAP = 1_000 * MAX_COST
STEPS = 20
PEOPLE = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageWorld]:
    with page_world(tmp_path_factory.mktemp("timelines")) as world:
        world.world.cap = CAP  # for more requests than this file has
        world.world.enrol(["always 1", "always 2"], 0)
        world.world.enrol(["always 3", "always 4"], 1)
        yield world


@pytest.fixture
def liar(made: PageWorld) -> Iterator[LyingProxy]:
    proxy = LyingProxy(made.chain.node.url)
    made.read_through(Chain(proxy.url, made.world.manifest))
    yield proxy
    made.read_through(made.chain)
    proxy.close()


def newcomer(made: PageWorld, name: str, class_: int = 0) -> LocalAccount:
    (patient,) = made.world.enrol([name], class_)
    return patient


def kinds(entries: list[Entry]) -> list[str]:
    """The oldest first, without what becomes of others' requests."""
    return [entry.kind.value for entry in entries[::-1]]


def counted(entries: list[Entry]) -> list[bytes | None]:
    return [entry.request for entry in entries[::-1] if entry.kind is Kind.COUNTED]


# --- what is told


def test_a_life_in_the_market_is_told_in_order_with_amounts(made: PageWorld) -> None:
    patient = newcomer(made, "a life")
    first = made.world.sealed("a life, first")
    made.rest(patient)
    made.wake(patient)
    made.withdraw(patient, ELSEWHERE)
    made.appoint(patient, ELSEWHERE)
    made.revoke(patient)
    without = made.world.sealed("a life, without")
    found = made.timeline_of(patient)
    assert kinds(found) == [
        *("attested", "stored", "granted", "announced", "counted"),
        *("rested", "woken", "withdrawn", "guardian", "revoked"),
    ]
    by_kind = {entry.kind: entry for entry in found}
    use, grant = by_kind[Kind.COUNTED], by_kind[Kind.GRANTED]
    assert (use.request, use.class_index, use.cost, use.amount) == (first, 1, MAX_COST, PRICE)
    assert use.members == made.chain.request(first).members
    assert (grant.cap, grant.live, grant.class_index) == (CAP, True, 1)
    assert by_kind[Kind.RESTED].by_patient is True
    paid = by_kind[Kind.WITHDRAWN]
    assert (paid.amount, paid.address) == (PRICE, ELSEWHERE)
    assert by_kind[Kind.GUARDIAN].address == ELSEWHERE
    assert without not in [entry.request for entry in found]
    for entry in found:
        header = made.chain.node.header(entry.block)
        assert entry.at == header.timestamp
        assert made.chain.node.receipt(entry.transaction) is not None


def test_an_entry_is_exported_with_what_it_has_and_no_more(made: PageWorld) -> None:
    patient = newcomer(made, "exported")
    request = made.world.sealed("exported")
    shown = {entry.kind: entry.to_json() for entry in made.timeline_of(patient)}
    assert shown[Kind.COUNTED]["request"] == to_hex(request)
    assert shown[Kind.COUNTED]["amount"] == str(PRICE)
    assert set(shown[Kind.STORED]) == {"kind", "at", "block", "log_index", "transaction", "version"}


def test_what_became_of_a_request_is_told_to_whom_it_was_announced(made: PageWorld) -> None:
    patient, other = newcomer(made, "announced"), newcomer(made, "of another class", 1)
    terms = made.world.terms("announced", (1,))
    request = made.world.open(terms)
    name = made.submit(terms)
    made.database.move(name, Stage.REFUSED, "Only 1 patient can be counted.", {"code": "x"})
    made.world.sender.send("ResearchMarket", "cancel", request)
    later = newcomer(made, "who came later")
    found = {entry.kind: entry for entry in made.timeline_of(patient) if entry.request == request}
    assert set(found) == {Kind.ANNOUNCED, Kind.REFUSED, Kind.CANCELLED}
    assert found[Kind.REFUSED].because == "Only 1 patient can be counted."
    assert found[Kind.REFUSED].block is None
    assert (found[Kind.ANNOUNCED].cost, found[Kind.ANNOUNCED].amount) == (MAX_COST, PRICE)
    for stranger in (other, later):
        assert request not in [entry.request for entry in made.timeline_of(stranger)]


def test_who_moved_has_the_uses_of_every_address_and_an_address_those_up_to_its_move(
    made: PageWorld,
) -> None:
    patient = newcomer(made, "who moves")
    before = made.world.sealed("before the move")
    made.withdraw(patient, ELSEWHERE)
    made.world.tick()
    new = made.move(patient, "who moved")
    after = made.world.sealed("after the move")
    newer = made.move(new, "who moved again")
    assert counted(made.timeline_of(newer)) == [before, after]
    assert counted(made.timeline_of(new)) == [before, after]
    assert counted(made.timeline_of(patient)) == [before]
    assert kinds(made.timeline_of(newer)).count("moved") == 2
    assert kinds(made.timeline_of(patient))[-1] == "moved"


def test_an_address_that_never_came_here_has_an_empty_timeline(made: PageWorld) -> None:
    assert made.timeline_of(account("nobody")) == []


def test_a_timeline_is_bounded_to_the_newest(
    made: PageWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = newcomer(made, "bounded")
    made.revoke(patient)
    made.grant(patient)
    monkeypatch.setattr(timelines, "MOST_ENTRIES", 2)
    assert kinds(made.timeline_of(patient)) == ["revoked", "granted"]


def test_whatever_patients_do_their_uses_are_the_cohorts_that_had_them(made: PageWorld) -> None:
    """Random acts of four people; the uses are held against each cohort as it is re-derived from its root."""
    dice = random.Random(2026)  # the same acts each time
    people = [newcomer(made, f"random {number}", number % 2) for number in range(PEOPLE)]
    own = [{person.address} for person in people]  # every address that was ever theirs
    seals: list[bytes] = []
    for step in range(STEPS):
        person = dice.randrange(PEOPLE)
        acts: list[Callable[[LocalAccount], object]] = [
            made.rest,
            made.wake,
            made.revoke,
            partial(made.grant, class_=dice.randrange(2)),
            partial(made.withdraw, to=ELSEWHERE),
        ]
        try:
            if dice.random() < 0.35:
                classes = dice.choice([(1,), (2,), (1, 2)])
                seals.append(made.world.sealed(f"random {step}", classes))
            elif dice.random() < 0.15:
                made.world.tick()
                people[person] = made.move(people[person], f"random {person} at {step}")
                own[person].add(people[person].address)
            else:
                dice.choice(acts)(people[person])
        except ContractRefusal:
            continue  # nothing to rest, nothing owed: no news either
    cohorts = {request: set(made.chain.sealed_cohort(request).patients) for request in seals}
    assert len(seals) >= STEPS // 10
    for number, patient in enumerate(people):
        expected = [request for request in seals if cohorts[request] & own[number]]
        assert counted(made.timeline_of(patient)) == expected, number
        view = made.chain.consent_of(made.world.dataset, patient.address)
        assert view.spent == MAX_COST * len(expected)


# --- announced studies


def studies(made: PageWorld, class_: bytes) -> dict[bytes, Study]:
    """By request, in the order in which they are given."""
    found = made.timelines.studies(made.world.dataset, class_)
    return {study.request: study for study in found}


def test_a_study_is_announced_until_it_is_frozen(made: PageWorld) -> None:
    world, (first, second) = made.world, made.world.classes
    terms = world.terms("a study", (1,))
    name = made.submit(terms)
    request = world.open(terms)
    study = studies(made, first)[request]
    assert (study.request, study.analysis, study.cost, study.price) == (
        *(request, "mean.v1", MAX_COST, PRICE),
    )
    assert study.purpose == terms.purpose
    assert study.credential.kind == 1
    assert study.seal_deadline == terms.seal_deadline
    view = made.chain.request(request)
    assert (study.opened_at, study.notice_ends) == (view.opened_at, view.opened_at)
    assert request not in studies(made, second)
    world.freeze(terms)
    assert request not in studies(made, first)
    assert name == to_hex(request)
    world.sender.send("ResearchMarket", "sealAll", request)


def test_a_study_that_was_cancelled_or_is_too_late_is_none(made: PageWorld) -> None:
    world = made.world
    cancelled = world.open(world.terms("cancelled study"))
    world.sender.send("ResearchMarket", "cancel", cancelled)
    late = replace(world.terms("late study"), seal_deadline=world.later(60))
    request = world.open(late)
    found = studies(made, world.classes[0])
    assert cancelled not in found
    assert next(iter(found)) == request  # the next to be sealed
    made.pass_time(late.seal_deadline)
    assert request not in studies(made, world.classes[0])


# --- nodes that lie


@pytest.fixture(scope="module")
def paid(made: PageWorld) -> LocalAccount:
    """A patient who was counted, and withdrew what that earned."""
    patient = newcomer(made, "paid")
    made.world.sealed("paid")
    made.withdraw(patient, ELSEWHERE)
    return patient


def without(event: str) -> Callable[[str, list[Any], Any], Any]:
    """Withholds the events of one kind."""
    topics = {
        "0x" + artifacts.load(contract).events[event].topic.hex()
        for contract in artifacts.CONTRACTS
        if event in artifacts.load(contract).events
    }

    def lie(method: str, _: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        return [log for log in result if log["topics"][0] not in topics]

    return lie


@pytest.mark.parametrize("event", ["ShardSealed", "EarningsWithdrawn", "Granted", "RequestOpened"])
def test_a_node_that_withholds_a_use_or_a_payment_is_refused(
    made: PageWorld, paid: LocalAccount, liar: LyingProxy, event: str
) -> None:
    assert made.timeline_of(paid)
    made.read_through(Chain(liar.url, made.world.manifest))
    liar.lie = without(event)
    with pytest.raises((PartialLogs, ForgedLogs)):
        made.timeline_of(paid)


@pytest.mark.parametrize(
    ("spent", "owed", "of"), [(MAX_COST + 1, PRICE, "uses"), (MAX_COST, PRICE + 1, "payments")]
)
def test_privacy_cost_and_pay_are_each_held_against_what_the_contracts_store(
    made: PageWorld, spent: int, owed: int, of: str
) -> None:
    request = made.world.open(made.world.terms(f"held against {of}"))
    use = made.ledger.requests().by_id[request]
    stored = made.chain.consent_of(made.world.dataset, ELSEWHERE)
    timelines._require_sums(replace(stored, spent=MAX_COST, owed=PRICE), [], [use])
    with pytest.raises(PartialLogs) as refused:
        timelines._require_sums(replace(stored, spent=spent, owed=owed), [], [use])
    assert refused.value.facts == {"of": of}


def test_a_node_that_makes_up_a_use_is_refused(made: PageWorld, liar: LyingProxy) -> None:
    patient = newcomer(made, "never counted")
    made.rest(patient)
    made.world.sealed("without who rests")
    sealed = "0x" + artifacts.load("ConsentRegistry").events["ShardSealed"].topic.hex()

    def all_bits(method: str, _: list[Any], result: Any) -> Any:
        for log in result if method == "eth_getLogs" else []:
            if log["topics"][0] == sealed:
                log["data"] = log["data"][:-64] + "ff" * 20 + "00" * 12  # its one word
        return result

    liar.lie = all_bits
    with pytest.raises(PartialLogs):
        made.timeline_of(patient)


def test_who_waits_too_long_for_anothers_reading_is_told_to_ask_again(
    made: PageWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PATIENCE_SECONDS", 0.05)
    with made.ledger._lock, pytest.raises(Refusal) as refused:
        made.public.page()
    assert refused.value.code == "busy"
    assert made.public.page(limit=1)


# --- reorganisations


def test_what_was_reorganised_away_is_told_no_more(tmp_path: Path) -> None:
    options = ("--hardfork", "prague", "--slots-in-an-epoch", "1", "--prune-history", "600")
    with (
        anvil_node(*options) as node,
        page_world_on(node, tmp_path, finality=Finality(use_tag=True)) as made,
    ):
        (patient, _) = made.world.enrol(["reorganised", "another"])
        made.chain.node.request("anvil_mine", [hex(8)])
        kept = made.world.open(made.world.terms("kept"))
        made.chain.node.request("anvil_mine", [hex(8)])
        lost = made.world.open(made.world.terms("lost"))
        assert [each.request for each in made.public.page()] == [lost, kept]
        assert [entry.request for entry in made.timeline_of(patient)][:2] == [lost, kept]
        made.chain.node.request("anvil_reorg", [1, []])
        assert [each.request for each in made.public.page()] == [kept]
        assert [entry.request for entry in made.timeline_of(patient)][:1] == [kept]
        assert made.ledger._followed is not None  # what is final was not read again
        with pytest.raises(Refusal) as refused:
            made.public.one(lost)
        assert refused.value.code == "unknown_request"


def test_a_block_that_is_replaced_while_it_is_read_is_refused(
    made: PageWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = newcomer(made, "replaced")
    real = made.chain.node.header

    def other(block: Any = "latest") -> Any:
        header = real(block)
        return header if block in ("latest", "finalized", 0) else replace(header, hash=bytes(32))

    monkeypatch.setattr(made.chain.node, "header", other)
    with pytest.raises(Reorganised):
        made.timeline_of(patient)
