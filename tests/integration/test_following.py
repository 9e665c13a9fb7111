"""An operator whose node lies for a while: afterwards it follows erasures, freezes and suspensions again."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from structlog.testing import capture_logs

from marketplace.chain.adapter import Chain, ConsentState
from marketplace.chain.following import Followed, Following
from marketplace.erasures import Erasures
from marketplace.records import RecordStore
from marketplace.store import open_database
from marketplace.upkeep import Upkeep
from tests.support.custody_world import CustodyWorld, custody_world, served_custodian
from tests.support.daily import daily
from tests.support.kept_records import keep_record
from tests.support.lies import no_logs, other_block, too_high, wrong_chain
from tests.support.nodes import Lie, LyingProxy, any_node, honest
from tests.support.refusals import refused

VALUES: dict[str, Any] = {"systolic": Decimal(120), "smoker": "no"}
NUMBERS = itertools.count()


@dataclass
class Market:
    """An operator's view of it through a node that can lie, and what it follows."""

    world: CustodyWorld
    urls: list[str]
    records: RecordStore
    proxy: LyingProxy
    chain: Chain

    def __post_init__(self) -> None:
        self.erasures = Erasures(self.chain, self.records)
        self.upkeep = Upkeep(self.chain, self.world.sender)

    def enrol(self) -> LocalAccount:
        (patient,) = self.world.enrol_sealed(self.urls, [f"patient {next(NUMBERS)}"], [VALUES])
        keep_record(self.world, self.records, patient.address)
        return patient

    def state_of(self, patient: LocalAccount) -> ConsentState:
        return self.world.chain.consent_of(self.world.dataset, patient.address).state

    def pass_until(self, moment: int) -> None:
        node = self.world.chain.node
        node.request("evm_setNextBlockTimestamp", [max(moment, self.world.chain.now()) + 1])
        node.mine()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("following")
    with any_node(folder) as node, ExitStack() as stack:
        world = custody_world(node, folder)
        urls = [stack.enter_context(served_custodian(world.custodian(i))) for i in range(3)]
        database = open_database(f"sqlite:///{folder / 'operator.sqlite'}")
        stack.callback(database.engine.dispose)
        records = RecordStore((folder / "records").as_uri(), database)
        proxy = LyingProxy(node.url)
        stack.callback(proxy.close)
        market = Market(world, urls, records, proxy, Chain(proxy.url, world.manifest))
        for _ in range(2):
            market.enrol()
        yield market


@pytest.fixture
def market(running: Market) -> Iterator[Market]:
    running.erasures.catch_up()
    running.upkeep.tend()
    yield running
    running.proxy.lie = honest


# --- what the node says


def only_a_height(final: int) -> Lie:
    """The node names a block that there is not, and shows none when asked for it."""

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        if method == "eth_getBlockByNumber" and parameters[0] in ("latest", "finalized"):
            return {**result, "number": hex(final + 100_000)}
        return result

    return lie


def another_chain(_: int) -> Lie:
    return wrong_chain


LIES: dict[str, tuple[Callable[[int], Lie], str | None]] = {
    "only a height": (only_a_height, "unknown_block"),
    "too high": (too_high, None),
    "another block": (other_block, None),
    "another chain": (another_chain, "wrong_chain"),
}
"""Made for the newest final block; and what it is refused by, if it is seen at once."""
Lied = Callable[[Callable[[], None]], None]


@pytest.fixture(params=daily(LIES, ["only a height", "another block"]))
def lied(request: pytest.FixtureRequest, market: Market) -> Lied:
    """Has something looked at while the node lies and keeps its logs to itself."""

    def look(act: Callable[[], None]) -> None:
        make, code = LIES[request.param]
        lie = make(market.world.chain.finalized())
        market.proxy.lie = lambda method, asked, said: no_logs(
            method, asked, lie(method, asked, said)
        )
        if code is None:
            act()
        else:
            refused(code, act)
        market.proxy.lie = honest

    return look


# --- and what is followed once it tells the truth again


def test_an_erasure_is_carried_out_whatever_the_node_said_before(
    market: Market, lied: Lied
) -> None:
    patient = market.enrol()
    gone = market.world.records[patient.address].commitment
    market.world.erase(patient)
    lied(market.erasures.catch_up)
    assert market.records.holds(gone)
    market.erasures.catch_up()
    assert not market.records.holds(gone)


def test_who_rested_during_a_freeze_is_woken_whatever_the_node_said_before(
    market: Market, lied: Lied
) -> None:
    world = market.world
    terms = world.mean_terms(f"freeze {next(NUMBERS)}")
    request = world.open(terms)
    world.freeze(terms)
    patient = market.enrol()
    assert market.state_of(patient) is ConsentState.RESTING
    market.pass_until(world.chain.request(request).frozen_until)
    lied(market.upkeep.tend)
    assert market.state_of(patient) is ConsentState.RESTING
    market.upkeep.tend()
    assert market.state_of(patient) is ConsentState.LIVE


def test_a_suspended_record_leaves_the_cohorts_whatever_the_node_said_before(
    market: Market, lied: Lied
) -> None:
    world, patient = market.world, market.enrol()
    world.sender.send("DatasetRegistry", "withdrawIssuer", world.dataset, world.issuer.address)
    world.sender.send("DatasetRegistry", "suspendRecord", world.dataset, patient.address)
    world.sender.send("DatasetRegistry", "addIssuer", world.dataset, world.issuer.address)
    lied(market.upkeep.tend)
    assert market.state_of(patient) is ConsentState.LIVE
    market.upkeep.tend()
    assert market.state_of(patient) is ConsentState.NONE


def test_what_is_not_final_yet_is_read_no_further_than_a_page_however_high_a_node_says_its_head_is(
    market: Market,
) -> None:
    asked: list[tuple[int, int]] = []
    final = market.world.chain.head().number - 3

    def height(method: str, parameters: list[Any], result: Any) -> Any:
        if method == "eth_getLogs":
            assert len(asked) < 10, "on and on"
            asked.append((int(parameters[0]["fromBlock"], 16), int(parameters[0]["toBlock"], 16)))
        if method == "eth_getBlockByNumber" and parameters[0] == "latest":
            return {**result, "number": hex(10**12)}
        if method == "eth_getBlockByNumber" and parameters[0] == "finalized":
            return {**result, "number": hex(final)}
        return result

    market.proxy.lie = height
    Upkeep(market.chain, market.world.sender).tend()
    first, last = next(each for each in asked if each[0] > final)
    assert first == final + 1
    assert last - first < market.chain.page_blocks


# --- page by page


def test_pages_go_on_where_they_ended_and_begin_anew_where_that_is_not_on_the_chain(
    market: Market,
) -> None:
    chain = Chain(market.proxy.url, market.world.manifest, page_blocks=7)
    following = Following(chain, ("DatasetRegistry",), ("RecordAttested",))
    pages = list(following.pages(None))
    deployed, final = chain.manifest.deployed_block, chain.finalized()
    assert [page.first for page in pages] == list(range(deployed, final + 1, 7))
    assert [page.anew for page in pages] == [True] + [False] * (len(pages) - 1)
    assert pages[-1].end == Followed(final, chain.block_hash(final))
    events = [event for page in pages for event in page.events]
    known = chain.events(deployed, contracts=["DatasetRegistry"], names=["RecordAttested"])
    assert events == list(known)
    assert list(following.pages(pages[-1].end)) == []
    market.world.chain.node.mine()
    (more,) = following.pages(pages[-1].end)
    assert (more.first, more.last, more.anew) == (final + 1, final + 1, False)
    with capture_logs() as logs:
        again = next(iter(following.pages(Followed(final, bytes(32)))))
    assert (again.first, again.anew) == (deployed, True)
    assert [each["event"] for each in logs] == ["chain_read_again"]


def test_a_height_that_a_node_takes_back_between_two_pages_is_not_followed(market: Market) -> None:
    chain = Chain(market.proxy.url, market.world.manifest, page_blocks=7)
    final = chain.finalized()
    market.proxy.lie = too_high(final)
    given = []
    for page in Following(chain, ("DatasetRegistry",), ("RecordAttested",)).pages(None):
        given.append(page.last)
        market.proxy.lie = honest
    assert max(given) == final


def test_no_page_is_given_of_another_deployment(market: Market) -> None:
    market.proxy.lie = wrong_chain
    following = Following(market.chain, ("DatasetRegistry",), ("RecordAttested",))
    refused("wrong_chain", lambda: next(iter(following.pages(None))))
