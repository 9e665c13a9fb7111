"""What this server carries to the chain for an account without a node: its own plain calls, nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from hypothesis import given
from hypothesis import strategies as st

from marketplace.chain.funding import fund
from marketplace.chain.offered import BadTransaction, read_transaction
from marketplace.chain.sender import call_data
from marketplace.wire.http import to_hex
from tests.support.api_world import ApiWorld
from tests.support.chain_world import account
from tests.support.nodes import EMBEDDED_KEY
from tests.support.web_browser import Browser
from tests.support.web_world import WebWorld, web_world

ETHER = 10**18
OWNER: LocalAccount = account("web transactions")


@pytest.fixture(scope="module")
def world(shared_api: ApiWorld) -> Iterator[WebWorld]:
    with web_world(shared_api) as made:
        fund(shared_api.operator.chain.node, EMBEDDED_KEY, [OWNER.address], ETHER)
        yield made


@pytest.fixture(scope="module")
def browser(world: WebWorld) -> Browser:
    return Browser(world).sign_in(OWNER)


def approval(world: WebWorld) -> dict[str, str]:
    """Letting the market take tokens: a call that anybody may make."""
    manifest = world.api.operator.chain.manifest
    return {
        "to": manifest.token,
        "data": to_hex(call_data("TestEuro", "approve", manifest.market, 5)),
    }


def signed(world: WebWorld, browser: Browser, key: LocalAccount = OWNER, **changes: Any) -> bytes:
    """As the page signs it: what the server said that it needs, and the call."""
    call = approval(world)
    way = browser.post("/transactions/ways", call).get_json()
    return bytes(
        Account.sign_transaction({**way, **call, "value": 0, **changes}, key.key).raw_transaction
    )


def refused(browser: Browser, raw: bytes) -> str:
    answer = browser.post("/transactions", {"raw": to_hex(raw)})
    assert answer.status_code == 422, answer.get_data(as_text=True)
    code: str = answer.get_json()["code"]
    return code


def test_a_call_is_carried_and_its_end_told(world: WebWorld, browser: Browser) -> None:
    sent = browser.post("/transactions", {"raw": to_hex(signed(world, browser))}).get_json()
    chain = world.api.operator.chain
    chain.nudge()
    told = browser.get(f"/transactions/{sent['transaction']}").get_json()
    assert (told["state"], told["reason"]) == ("done", None)
    assert chain.call("TestEuro", "allowance", OWNER.address, chain.manifest.market) == 5


def test_a_call_that_fails_on_chain_is_told_with_its_reason(
    world: WebWorld, browser: Browser
) -> None:
    manifest = world.api.operator.chain.manifest
    data = call_data("TestEuro", "transferFrom", manifest.market, OWNER.address, 5)
    raw = signed(world, browser, data=to_hex(data), gas=200_000)
    sent = browser.post("/transactions", {"raw": to_hex(raw)}).get_json()
    world.api.operator.chain.nudge()
    told = browser.get(f"/transactions/{sent['transaction']}").get_json()
    assert told["state"] == "failed"
    assert told["reason"]["code"]
    assert told["reason"]["remedy"]


def test_what_would_fail_is_said_before_anything_is_signed(
    world: WebWorld, browser: Browser
) -> None:
    manifest = world.api.operator.chain.manifest
    data = call_data("TestEuro", "transferFrom", manifest.market, OWNER.address, 5)
    answer = browser.post("/transactions/ways", {"to": manifest.token, "data": to_hex(data)})
    assert answer.status_code == 422
    assert answer.get_json()["remedy"]


def test_only_the_account_that_is_signed_in_is_served(world: WebWorld, browser: Browser) -> None:
    other = account("web somebody else")
    assert refused(browser, signed(world, browser, other)) == "bad_transaction"


def test_only_the_contracts_of_this_market_are_called(world: WebWorld, browser: Browser) -> None:
    stranger = account("web elsewhere").address
    assert refused(browser, signed(world, browser, to=stranger)) == "wrong_contract"
    answer = browser.post("/transactions/ways", {"to": stranger, "data": "0x"})
    assert answer.get_json()["code"] == "wrong_contract"


@pytest.mark.parametrize(
    "changes",
    [{"value": 1}, {"chainId": 1}, {"gas": 16_777_217}],
    ids=lambda each: next(iter(each)),
)
def test_money_other_chains_and_too_much_gas_are_refused(
    world: WebWorld, browser: Browser, changes: dict[str, int]
) -> None:
    assert refused(browser, signed(world, browser, **changes)) == "bad_transaction"


def test_a_contract_is_not_created_and_no_other_type_is_taken(
    world: WebWorld, browser: Browser
) -> None:
    fees = browser.post("/transactions/ways", approval(world)).get_json()
    plain = {"nonce": fees["nonce"], "gas": 50_000, "chainId": fees["chainId"], "value": 0}
    priced = {k: v for k, v in fees.items() if k.startswith("max")}
    to = world.api.operator.chain.manifest.token
    listed = [{"address": to, "storageKeys": []}]
    for fields in (
        {**plain, **priced, "data": "0x6000", "to": b""},
        {**plain, "gasPrice": 10**10, "to": to, "data": "0x"},
        {**plain, **priced, "to": to, "data": "0x", "accessList": listed},
    ):
        raw = bytes(Account.sign_transaction(fields, OWNER.key).raw_transaction)
        assert refused(browser, raw) == "bad_transaction"


def test_an_account_that_cannot_pay_is_told_so_before_it_signs(world: WebWorld) -> None:
    poor = Browser(world, "192.0.2.77").sign_in(account("web poor"))
    answer = poor.post("/transactions/ways", approval(world)).get_json()
    assert answer["code"] == "insufficient_funds"


def test_a_transaction_that_the_node_does_not_have_is_unknown(browser: Browser) -> None:
    told = browser.get("/transactions/0x" + "ab" * 32).get_json()
    assert told["code"] == "unknown_transaction"


@given(raw=st.binary(max_size=300) | st.binary(max_size=300).map(lambda rest: b"\x02" + rest))
def test_any_bytes_are_refused_as_such(raw: bytes) -> None:
    with pytest.raises(BadTransaction):
        read_transaction(raw)
