"""Transactions whose fee the chain outgrows: pushed on under their own number, never sent twice."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from structlog.testing import capture_logs

from marketplace.chain import offers
from marketplace.chain.faults import NodeUnreachable
from marketplace.chain.fees import FeeAboveCeiling
from marketplace.chain.offers import raised
from marketplace.chain.outcome import OutcomeUnknown, Receipt, outcome_unknown
from marketplace.chain.rpc import CannotPay
from marketplace.chain.sender import NEVER_HELD_BACK, Sender
from marketplace.wire.messages import KINDS
from marketplace.wire.structs import Revocation, sign
from tests.support.chain_world import World, account, world_on
from tests.support.nodes import Lie, LyingProxy, anvil_node, honest

PATIENCE = 0.2
DEADLINE = 60.0
"""Seconds for anything to happen; generous, for slow machines."""
CHEAP, DEAR = 10**9, 40 * 10**9
"""Base fees, wei: a transaction that offers for the first is far below the second. Anvil's pool drops it."""
GAS = 200_000
ROOM = 30_000_000
"""Gas limit of an ordinary block."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with anvil_node() as node:
        yield world_on(node)


@pytest.fixture(autouse=True)
def by_hand(world: World) -> Iterator[None]:
    """Blocks come when a test asks for them; the pool is empty before and after."""
    base_fee(world, CHEAP)
    world.chain.node.mine()
    world.chain.node.request("evm_setAutomine", [False])
    yield
    world.chain.node.request("anvil_dropAllTransactions", [])
    world.chain.node.request("evm_setAutomine", [True])


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


@pytest.fixture
def like_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Senders of one account know nothing of each other: no lock in common, nothing left behind."""

    class Apart(defaultdict[Any, Any]):
        def __getitem__(self, key: Any) -> Any:
            return offers.Line()

    monkeypatch.setattr(offers, "lines", Apart())


def base_fee(world: World, wei: int) -> None:
    world.chain.node.request("anvil_setNextBlockBaseFeePerGas", [hex(wei)])


def mine_at(world: World, wei: int) -> None:
    base_fee(world, wei)
    world.chain.node.mine()


def sender(
    world: World,
    timeout: float = DEADLINE,
    url: str | None = None,
    max_fee: int | None = None,
) -> Sender:
    chain = world.chain if url is None else type(world.chain)(url, world.manifest)
    key = world.sender._transactor._account
    return Sender(chain, key, timeout=timeout, patience=PATIENCE, max_fee=max_fee)


def mint(each: Sender, to: str, amount: int = 1) -> Receipt:
    return each.send("TestEuro", "mint", to, amount, gas=GAS)


def waiting(world: World) -> dict[int, dict[str, Any]]:
    """The account's transactions in the pool, by number."""
    found = world.chain.node.request("txpool_content", [])
    mine = {who.lower(): each for who, each in found["pending"].items()}
    mine = mine.get(world.sender.address.lower(), {})
    return {int(number): dict(each) for number, each in mine.items()}


def until(what: Callable[[], Any], meanwhile: Callable[[], None] = lambda: None) -> Any:
    end = time.monotonic() + DEADLINE
    while not (found := what()):
        assert time.monotonic() < end
        meanwhile()
        time.sleep(0.05)
    return found


def in_the_pool(world: World, number: int) -> None:
    until(lambda: len(waiting(world)) == number)


def pass_by(world: World) -> None:
    """A block that has no room for ours, which stays in the pool."""
    world.chain.node.request("evm_setBlockGasLimit", [hex(GAS // 2)])
    mine_at(world, CHEAP)
    world.chain.node.request("evm_setBlockGasLimit", [hex(ROOM)])


def outbid(world: World, sent: Future[Receipt]) -> Receipt:
    """Blocks that are too dear for what waits, until it has been pushed into one of them."""
    until(sent.done, lambda: mine_at(world, DEAR))
    return sent.result()


def test_a_transaction_that_the_base_fee_outgrew_is_mined_under_its_own_number_once(
    world: World, pool: ThreadPoolExecutor
) -> None:
    to, number = account("outgrown").address, next_number(world)
    sent = pool.submit(mint, sender(world), to)
    in_the_pool(world, 1)
    first = waiting(world)[number]["hash"]
    receipt = outbid(world, sent)
    assert "0x" + receipt.transaction.hex() != first
    assert next_number(world) == number + 1
    assert waiting(world) == {}
    assert world.chain.balance_of(to) == 1


def next_number(world: World) -> int:
    return world.chain.node.transaction_count(world.sender.address, "latest")


def test_the_call_stays_the_same_and_only_the_fee_rises(
    world: World, pool: ThreadPoolExecutor
) -> None:
    sent = pool.submit(mint, sender(world), account("the same").address)
    in_the_pool(world, 1)
    ((number, before),) = waiting(world).items()
    after = until(lambda: other_than(before, world, number), lambda: pass_by(world))
    for name in ("from", "to", "input", "nonce", "value", "gas", "chainId"):
        assert after[name] == before[name], name
    for name in ("maxFeePerGas", "maxPriorityFeePerGas"):
        assert int(after[name], 16) * 10 >= int(before[name], 16) * 11, name
    mine_at(world, CHEAP)
    assert "0x" + sent.result(DEADLINE).transaction.hex() == after["hash"]


def other_than(first: dict[str, Any], world: World, number: int) -> dict[str, Any] | None:
    """What waits under the number now, if it is another transaction."""
    found = waiting(world).get(number)
    return found if found is not None and found["hash"] != first["hash"] else None


def test_the_outcome_is_found_where_the_first_offer_is_mined_after_all(
    world: World, pool: ThreadPoolExecutor
) -> None:
    to, node = account("first after all").address, world.chain.node
    sent = pool.submit(mint, sender(world), to)
    in_the_pool(world, 1)
    ((number, first),) = waiting(world).items()
    raw = node.request("eth_getRawTransactionByHash", [first["hash"]])
    second = until(lambda: other_than(first, world, number), lambda: pass_by(world))
    node.request("anvil_dropTransaction", [second["hash"]])
    node.request("eth_sendRawTransaction", [raw])
    mine_at(world, CHEAP)
    assert "0x" + sent.result(DEADLINE).transaction.hex() == first["hash"]
    assert world.chain.balance_of(to) == 1


def test_what_fell_out_of_the_pool_is_offered_for_what_a_new_one_would_offer(
    world: World, pool: ThreadPoolExecutor
) -> None:
    mine_at(world, DEAR)
    to, node = account("fell out").address, world.chain.node
    sent = pool.submit(mint, sender(world), to)
    in_the_pool(world, 1)
    ((number, first),) = waiting(world).items()
    node.request("anvil_dropTransaction", [first["hash"]])
    until(sent.done, lambda: mine_at(world, CHEAP))
    again = node.request("eth_getTransactionByHash", ["0x" + sent.result().transaction.hex()])
    asked = int(again["maxFeePerGas"], 16)
    assert asked < int(first["maxFeePerGas"], 16)
    assert asked & (asked - 1) == 0
    assert int(again["nonce"], 16) == number
    assert world.chain.balance_of(to) == 1


def test_a_transaction_that_fell_out_of_the_pool_never_replaces_another_senders(
    world: World, pool: ThreadPoolExecutor, like_processes: None
) -> None:
    lost, kept = account("lost").address, account("kept").address
    first = pool.submit(mint, sender(world, timeout=6.0), lost)
    in_the_pool(world, 1)
    ((number, mine),) = waiting(world).items()
    world.chain.node.request("anvil_dropTransaction", [mine["hash"]])
    in_the_pool(world, 0)
    second = pool.submit(mint, sender(world), kept)
    in_the_pool(world, 1)
    ((its_number, its),) = waiting(world).items()
    assert its_number == number
    until(lambda: other_than(its, world, number), lambda: pass_by(world))
    with pytest.raises(OutcomeUnknown):  # until then it looks, again and again
        first.result(DEADLINE)
    mine_at(world, CHEAP)
    second.result(DEADLINE)
    assert (world.chain.balance_of(lost), world.chain.balance_of(kept)) == (0, 1)


def test_two_senders_of_one_account_are_both_pushed_on_each_under_its_own_number(
    world: World, pool: ThreadPoolExecutor, like_processes: None
) -> None:
    to, number = account("both").address, next_number(world)
    sent = [pool.submit(mint, sender(world), to, amount) for amount in (1, 10)]
    in_the_pool(world, 2)
    receipts = {outbid(world, each).transaction for each in sent}
    assert len(receipts) == 2
    assert next_number(world) == number + 2
    assert world.chain.balance_of(to) == 11


def test_a_call_that_was_given_up_is_waited_for_again_and_not_sent_beside(
    world: World, pool: ThreadPoolExecutor
) -> None:
    to, number = account("given up").address, next_number(world)
    with pytest.raises(OutcomeUnknown):
        mint(sender(world, timeout=0.1), to)
    again = pool.submit(mint, sender(world), to)
    outbid(world, again)
    assert next_number(world) == number + 1
    assert waiting(world) == {}
    assert world.chain.balance_of(to) == 1


def test_what_was_given_up_is_pushed_on_by_whoever_waits_behind_it(
    world: World, pool: ThreadPoolExecutor
) -> None:
    to, behind, number = account("ahead").address, account("behind").address, next_number(world)
    with pytest.raises(OutcomeUnknown):
        mint(sender(world, timeout=0.1), to)
    sent = pool.submit(mint, sender(world), behind)
    in_the_pool(world, 2)
    outbid(world, sent)
    assert next_number(world) == number + 2
    assert (world.chain.balance_of(to), world.chain.balance_of(behind)) == (1, 1)


def test_a_call_that_was_given_up_and_then_mined_is_no_answer_to_the_same_call_later(
    world: World, pool: ThreadPoolExecutor
) -> None:
    to = account("twice on purpose").address
    with pytest.raises(OutcomeUnknown):
        mint(sender(world, timeout=0.1), to)
    mine_at(world, CHEAP)
    assert world.chain.balance_of(to) == 1
    sent = pool.submit(mint, sender(world), to)
    in_the_pool(world, 1)
    outbid(world, sent)
    assert world.chain.balance_of(to) == 2


def test_a_call_that_may_have_arrived_at_a_silent_node_is_not_sent_beside(
    world: World, pool: ThreadPoolExecutor
) -> None:
    to, number = account("silent").address, next_number(world)
    proxy = LyingProxy(world.chain.node.url)

    def cut(method: str, _: list[Any], result: Any) -> Any:
        if method == "eth_sendRawTransaction":
            raise ConnectionError
        return result

    proxy.lie = cut
    with pytest.raises((OutcomeUnknown, NodeUnreachable)):
        mint(sender(world, url=proxy.url), to)
    proxy.close()
    in_the_pool(world, 1)
    outbid(world, pool.submit(mint, sender(world), to))
    assert next_number(world) == number + 1
    assert world.chain.balance_of(to) == 1


class Poorly(LyingProxy):
    """Says of each transaction that its account cannot pay for it, passed on or not."""

    def __init__(self, target: str, *, passes_on: bool) -> None:
        super().__init__(target)
        self.passes_on = passes_on

    def answer(self, body: bytes) -> bytes:
        call = json.loads(body)
        if call["method"] != "eth_sendRawTransaction":
            return super().answer(body)
        if self.passes_on:
            super().answer(body)
        error = {"code": -32_000, "message": "insufficient funds for gas * price + value"}
        return json.dumps({"jsonrpc": "2.0", "id": call["id"], "error": error}).encode()


def left(world: World) -> list[int]:
    """The numbers that this process keeps for what it sent and waits for no more."""
    line = offers.lines[world.chain.chain_id, world.sender.address]
    return [each.nonce for each in line.left]


def test_what_a_node_did_not_take_for_want_of_funds_is_not_kept_to_be_sent_later(
    world: World,
) -> None:
    """It was refused: sent all the same behind something else, it would be a surprise."""
    before, proxy = left(world), Poorly(world.chain.node.url, passes_on=False)
    with pytest.raises(CannotPay):
        mint(sender(world, url=proxy.url), account("poor").address)
    proxy.close()
    assert left(world) == before


def test_what_a_node_says_it_did_not_take_and_has_is_waited_for(
    world: World, pool: ThreadPoolExecutor
) -> None:
    """Behind a balancer, the one that took it need not be the one that answers."""
    to, number = account("not so poor").address, next_number(world)
    proxy = Poorly(world.chain.node.url, passes_on=True)
    sent = pool.submit(mint, sender(world, url=proxy.url), to)
    in_the_pool(world, 1)
    until(sent.done, lambda: mine_at(world, CHEAP))
    sent.result()
    proxy.close()
    assert next_number(world) == number + 1
    assert world.chain.balance_of(to) == 1


def lags(method: str, parameters: list[Any], result: Any) -> Any:
    """Behind a balancer: the receipt is of one node, the block's header of another that lacks it yet."""
    by_number = method == "eth_getBlockByNumber" and parameters[0].startswith("0x")
    return None if by_number else result


def is_at_its_limit(method: str, _: list[Any], result: Any) -> Any:
    return "too many questions" if method == "eth_getTransactionReceipt" else result


@pytest.mark.parametrize("fault", [lags, is_at_its_limit])
def test_a_node_that_fails_while_a_transaction_is_looked_for_loses_no_track_of_it(
    world: World, pool: ThreadPoolExecutor, fault: Lie
) -> None:
    to, number = account(f"looked for {fault.__name__}").address, next_number(world)
    proxy = LyingProxy(world.chain.node.url)
    sent = pool.submit(mint, sender(world, url=proxy.url), to)
    in_the_pool(world, 1)
    proxy.lie = fault
    mine_at(world, CHEAP)
    seen = len(proxy.methods)
    until(lambda: sent.done() or proxy.methods[seen:].count("eth_getTransactionReceipt") > 2)
    proxy.lie = honest
    assert sent.result(DEADLINE).block == world.chain.head().number
    proxy.close()
    assert next_number(world) == number + 1
    assert world.chain.balance_of(to) == 1


def test_a_call_that_is_waited_for_no_more_whatever_the_reason_is_not_sent_beside(
    world: World, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    to, number, each = account("no more").address, next_number(world), sender(world)

    def interrupted(_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(each._transactor, "_found", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mint(each, to)
    in_the_pool(world, 1)
    again = pool.submit(mint, each, to)
    outbid(world, again)
    assert next_number(world) == number + 1
    assert world.chain.balance_of(to) == 1


def test_a_raised_fee_is_more_than_a_tenth_higher_and_at_least_what_is_asked_now() -> None:
    before = {"maxFeePerGas": 100, "maxPriorityFeePerGas": 3}
    assert raised(before, {"maxFeePerGas": 50, "maxPriorityFeePerGas": 1}) == {
        "maxFeePerGas": 113,
        "maxPriorityFeePerGas": 4,
    }
    assert raised(before, {"maxFeePerGas": 512, "maxPriorityFeePerGas": 9}) == {
        "maxFeePerGas": 512,
        "maxPriorityFeePerGas": 9,
    }
    assert raised({"gasPrice": 8}, {"maxFeePerGas": 512, "maxPriorityFeePerGas": 9}) == {
        "gasPrice": 9
    }


# --- a ceiling

CEILING = 10 * 10**9
"""Wei: between CHEAP and DEAR."""


def fee_of(found: dict[str, Any]) -> int:
    return int(found["maxFeePerGas"], 16)


def test_nothing_is_sent_while_the_chain_asks_for_more_than_the_ceiling(
    world: World, pool: ThreadPoolExecutor
) -> None:
    mine_at(world, DEAR)
    to, number = account("too dear").address, next_number(world)
    held = sender(world, max_fee=CEILING)
    with pytest.raises(FeeAboveCeiling) as refused:
        mint(held, to)
    assert refused.value.code == "fee_above_ceiling"
    assert "at most 10" in refused.value.message
    assert "max_fee_gwei" in refused.value.remedy
    assert waiting(world) == {}
    mine_at(world, CHEAP)
    until(lambda: base_now(world) < CEILING, world.chain.node.mine)
    sent = pool.submit(mint, held, to)
    in_the_pool(world, 1)
    mine_at(world, CHEAP)
    sent.result(DEADLINE)
    assert next_number(world) == number + 1


def base_now(world: World) -> int:
    return world.chain.node.header("latest").base_fee or 0


def test_a_new_transaction_offers_no_more_than_the_ceiling(
    world: World, pool: ThreadPoolExecutor
) -> None:
    low = base_now(world) * 11 // 10  # less than a new transaction would offer, enough for a block
    sent = pool.submit(mint, sender(world, max_fee=low), account("at the ceiling").address)
    in_the_pool(world, 1)
    ((_, found),) = waiting(world).items()
    assert fee_of(found) == low
    assert int(found["maxPriorityFeePerGas"], 16) <= low
    world.chain.node.mine()
    sent.result(DEADLINE)


def test_a_stuck_transaction_is_raised_to_the_ceiling_and_then_waits_and_says_why(
    world: World, pool: ThreadPoolExecutor
) -> None:
    number, ceiling = next_number(world), 6 * base_now(world)  # a first offer is less than 5 times
    offered: set[int] = set()
    with capture_logs() as logs:
        sent = pool.submit(mint, sender(world, max_fee=ceiling), account("held").address)
        in_the_pool(world, 1)

        def passed_by() -> None:
            offered.add(fee_of(waiting(world)[number]))
            pass_by(world)

        until(lambda: "fee_ceiling_holds" in {each["event"] for each in logs}, passed_by)
        for _ in range(3 * offers.RAISE_BLOCKS):
            passed_by()
    assert len(offered) > 1
    assert ceiling * 10 // 11 < max(offered) <= ceiling
    told = [each for each in logs if each["event"] == "fee_ceiling_holds"]
    assert [(each["nonce"], each["ceiling_wei"]) for each in told] == [(number, ceiling)]
    mine_at(world, CHEAP)
    sent.result(DEADLINE)
    assert next_number(world) == number + 1


def test_who_gives_up_waiting_for_what_is_held_at_the_ceiling_is_told_so() -> None:
    offer = offers.Offer({"nonce": 7}, {"maxFeePerGas": CEILING}, [bytes(32)])
    assert "max_fee_gwei" not in outcome_unknown(offer).message
    offer.held_at = CEILING
    assert "the ceiling of 10 gwei a gas (max_fee_gwei)" in outcome_unknown(offer).message


def revoke(world: World, each: Sender, name: str) -> Receipt:
    patient = account(name)
    revocation = Revocation(patient.address, world.dataset, 1)
    signature = sign(revocation, world.chain.domain("ConsentRegistry"), patient)
    arguments = (revocation, patient.address, signature)
    return each.send("ConsentRegistry", "revokeBySig", *arguments, gas=GAS)


def test_a_revocation_goes_at_any_fee_alone_and_in_a_batch(
    world: World, pool: ThreadPoolExecutor
) -> None:
    mine_at(world, DEAR)
    held = sender(world, max_fee=CEILING)
    sent = pool.submit(revoke, world, held, "revokes at any fee")
    in_the_pool(world, 1)
    with pytest.raises(FeeAboveCeiling):  # nothing new slips through beside it
        mint(held, account("beside a revocation").address)
    assert outbid(world, sent).events
    patient = account("revokes in a batch")
    revocation = Revocation(patient.address, world.dataset, 1)
    signature = sign(revocation, world.chain.domain("ConsentRegistry"), patient)
    calls = [("revokeBySig", (revocation, patient.address, signature))]
    batch = pool.submit(held.batch, "ConsentRegistry", calls)
    until(batch.done, lambda: mine_at(world, DEAR))
    assert batch.result().refused == {}


def test_a_revocation_pushes_what_is_held_before_it_in_the_line(
    world: World, pool: ThreadPoolExecutor
) -> None:
    to, number = account("held before a revocation").address, next_number(world)
    held = sender(world, max_fee=CEILING)
    first = pool.submit(mint, held, to)
    in_the_pool(world, 1)
    until(lambda: fee_of(waiting(world)[number]) >= CEILING * 10 // 11, lambda: pass_by(world))
    second = pool.submit(revoke, world, held, "revokes behind")
    in_the_pool(world, 2)
    until(lambda: fee_of(waiting(world)[number]) > CEILING, lambda: pass_by(world))
    outbid(world, second)
    first.result(DEADLINE)
    assert next_number(world) == number + 2
    assert world.chain.balance_of(to) == 1


def test_whatever_ends_a_consent_or_pays_out_knows_no_ceiling() -> None:
    kinds = ("revocation", "rest", "erasure", "earnings_withdrawal", "credit_withdrawal")
    assert {KINDS[kind].function for kind in kinds} <= NEVER_HELD_BACK
    by_oneself = {KINDS[kind].function.removesuffix("BySig") for kind in kinds}
    assert {*by_oneself, *(KINDS[kind].function for kind in kinds)} == NEVER_HELD_BACK
