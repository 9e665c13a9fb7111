"""Where a message's gas cannot be paid, its signer is told by whom, and who else can carry it."""

import json
from collections.abc import Callable
from typing import Any

import flask
import pytest

from marketplace.chain.adapter import Chain, Manifest, MarketPolicy
from marketplace.chain.artifacts import CONTRACTS
from marketplace.chain.fees import GWEI, cannot_pay
from marketplace.chain.manifest import Deployed
from marketplace.client import Marketplace, Route, ThroughCustodian, ThroughOperator
from marketplace.errors import Refusal
from marketplace.vocabulary import address
from marketplace.wire.http import problem_document
from tests.support.chain_world import account
from tests.support.custody_world import served
from tests.support.slow_answers import server_that_sends, sized

POOR = "0x" + "22" * 20
MANIFEST = Manifest(
    chain_id=1,
    genesis_hash=bytes(32),
    deployed_block=0,
    contracts=dict.fromkeys(CONTRACTS, Deployed(address("0x" + "11" * 20), bytes(32))),
    policy=MarketPolicy(),
)
NOWHERE = "http://127.0.0.1:1"
FEES = {"maxFeePerGas": 3 * GWEI, "maxPriorityFeePerGas": GWEI}
MADE = Marketplace(NOWHERE, None, MANIFEST)
KEY = account("patient of routes")


def answering(refusal: Refusal) -> list[bytes]:
    """As a server says it, status line and all."""
    body = json.dumps(problem_document(refusal)).encode()
    head = b"HTTP/1.1 422 No\r\nContent-Type: application/problem+json\r\n"
    return [head + b"Content-Length: %d\r\n\r\n" % len(body) + body]


def by_operator(url: str) -> Route:
    return ThroughOperator(Marketplace(url, None, MANIFEST))


def by_custodian(url: str) -> Route:
    return ThroughCustodian(Chain(NOWHERE, MANIFEST), url)


def carried(
    way: Callable[[str], Route], refusal: Refusal, message: dict[str, Any] | None = None
) -> Refusal:
    message = message or MADE.revocation_message(KEY, bytes(32), 1)
    with server_that_sends(answering(refusal)) as url, pytest.raises(Refusal) as refused:
        way(url).carry(message)
    return refused.value


def test_the_refusal_names_the_account_and_the_most_that_it_may_take() -> None:
    found = cannot_pay(POOR, 210_000, FEES)
    assert found.code == "insufficient_funds"
    assert POOR in found.message
    assert "0.000630 of the chain's own currency" in found.message
    assert found.facts == {"account": POOR, "wei": 630_000 * GWEI}


@pytest.mark.parametrize("wei", [1, 10**12 - 1])
def test_an_amount_is_never_shown_as_nothing(wei: int) -> None:
    assert "0.000001 of" in cannot_pay(POOR, 1, {"gasPrice": wei}).message


def test_where_the_operator_cannot_pay_a_patient_hears_of_own_gas_and_of_custodians() -> None:
    found = carried(by_operator, cannot_pay(POOR, 210_000, FEES))
    assert found.code == "insufficient_funds"
    assert POOR in found.message
    for option in ("--node", "--manifest", "--gas-key-file", "--custodian"):
        assert option in found.remedy


def test_custodians_are_named_only_for_what_they_carry() -> None:
    rest = MADE.rest_message(KEY, bytes(32), 1)
    found = carried(by_operator, cannot_pay(POOR, 210_000, FEES), rest)
    assert "--gas-key-file" in found.remedy
    assert "--custodian" not in found.remedy


def test_where_a_custodian_cannot_pay_a_patient_hears_of_another_and_of_own_gas() -> None:
    found = carried(by_custodian, cannot_pay(POOR, 210_000, FEES))
    assert POOR in found.message
    for words in ("another custodian (--custodian)", "--gas-key-file", "the operator"):
        assert words in found.remedy


@pytest.mark.parametrize("way", [by_operator, by_custodian])
def test_any_other_refusal_keeps_its_own_remedy(way: Callable[[str], Route]) -> None:
    given = Refusal(code="nothing_to_revoke", message="Nothing stands.", remedy="Do nothing.")
    assert carried(way, given).remedy == "Do nothing."


@pytest.mark.parametrize(
    "outcomes",
    [
        b"[]",
        b'["x"]',
        b"[null]",
        b"[{}]",
        b'{"a":1}',
        b"1",
        b'"relayed"',
        b'[{"outcome":"relayed"},{"outcome":"relayed"}]',
    ],
)
def test_an_operators_answer_of_another_shape_is_refused_and_no_traceback(outcomes: bytes) -> None:
    message, body = MADE.revocation_message(KEY, bytes(32), 1), b'{"outcomes":%s}' % outcomes
    with server_that_sends([sized(len(body)) + body]) as url, pytest.raises(Refusal) as refused:
        by_operator(url).carry(message)
    assert refused.value.code == "malformed_answer"


def always(document: dict[str, Any]) -> flask.Flask:
    """An operator that answers every question with this."""
    app = flask.Flask("operator")
    app.add_url_rule("/<path:_>", "tell", lambda _: document)
    return app


@pytest.mark.parametrize("classes", [1, None, ["x"], [[]], [None], [{}], {"a": 1}], ids=str)
def test_classes_of_another_shape_are_refused_and_no_traceback(classes: Any) -> None:
    with served(always({"classes": classes})) as url, pytest.raises(Refusal) as refused:
        by_operator(url).class_of(bytes(32), 1)
    assert refused.value.code == "malformed_answer"


@pytest.mark.parametrize("balance", ["much", None, []], ids=str)
def test_a_balance_that_is_no_number_is_refused_and_no_traceback(balance: Any) -> None:
    said = {"balance": balance, "credit": "0", "bond": "0"}
    with served(always(said)) as url, pytest.raises(Refusal) as refused:
        by_operator(url).balance(POOR)
    assert (refused.value.code, refused.value.field) == ("malformed_answer", "balance")
