"""Rules of the slots that only a market's operator gets: by its signature, once, and by the chain's word."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import flask
import pytest
from eth_account import Account

from marketplace.chain.faults import NodeUnreachable
from marketplace.custodian import operators
from marketplace.custodian.operators import Operators
from marketplace.vocabulary import Address
from marketplace.wire.auth import HEADER, SignedBy, Voice, to_custodian
from marketplace.wire.eip712 import api_domain

DOMAIN = api_domain(1337, Address("0x" + "00" * 19 + "01"))
OPERATOR, STRANGER = (Account.from_key(bytes([number]) * 32) for number in (1, 2))
PLACE = 1
HERE = to_custodian(PLACE)
BODY = b'{"request":"0x00"}'


class Asked:
    """A chain that has one operator, and says how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0
        self.is_down = False
        chain: Any = SimpleNamespace(
            manifest=SimpleNamespace(api_domain=DOMAIN), is_operator=self._is_operator
        )
        self.operators = Operators(chain, PLACE)

    def _is_operator(self, account: str) -> bool:
        self.calls += 1
        if self.is_down:
            raise NodeUnreachable(message="It is down.", remedy="Start it.")
        return account == str(OPERATOR.address)

    def ask(self, header: dict[str, str], body: bytes = BODY, path: str = "/partials") -> bool:
        app = flask.Flask("asked")
        with app.test_request_context(path, method="POST", data=body, headers=header):
            return self.operators.ask(flask.request)


def signed(
    account: Any, path: str = "/partials", body: bytes = BODY, to: str = HERE
) -> dict[str, str]:
    voice = Voice(bytes(account.key), account.address, DOMAIN, to)
    return voice.header("POST", path, body)


def test_an_operator_is_known_by_its_signature_and_the_chain_is_asked_once() -> None:
    asked = Asked()
    assert asked.ask(signed(OPERATOR))
    assert asked.ask(signed(OPERATOR))
    assert asked.calls == 1


@pytest.mark.parametrize("to", ["", to_custodian(0), to_custodian(11)])
def test_what_was_signed_for_another_gets_nobody_in(to: str) -> None:
    asked = Asked()
    assert not asked.ask(signed(OPERATOR, to=to))
    assert asked.ask(signed(OPERATOR))


def test_the_same_signature_gets_in_once() -> None:
    asked, header = Asked(), signed(OPERATOR)
    assert asked.ask(header)
    assert not asked.ask(header)


@pytest.mark.parametrize("what", ["nobody", "stranger", "another's name", "body", "path"])
def test_who_is_no_operator_or_signed_something_else_gets_none(what: str) -> None:
    asked = Asked()
    mine, others = signed(OPERATOR), signed(STRANGER)
    forged = {HEADER: others[HEADER].replace(STRANGER.address, OPERATOR.address)}
    header = {"nobody": {}, "stranger": others, "another's name": forged}.get(what, mine)
    body = b"{}" if what == "body" else BODY
    assert not asked.ask(header, body, "/turns" if what == "path" else "/partials")


def test_a_role_that_was_withdrawn_is_noticed_and_a_node_that_is_down_lets_nobody_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Asked()
    asked.is_down = True
    assert not asked.ask(signed(OPERATOR))
    asked.is_down = False
    monkeypatch.setattr(operators, "KNOWN_SECONDS", 0.0)
    assert asked.ask(signed(OPERATOR))
    monkeypatch.setattr(asked.operators.chain, "is_operator", lambda _: False)
    assert not asked.ask(signed(OPERATOR))


def test_nonces_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked()
    monkeypatch.setattr(operators, "MOST_NONCES", 2)
    assert [asked.ask(signed(OPERATOR)) for _ in range(3)] == [True, True, False]
    monkeypatch.setattr(time, "time", lambda: 4_000_000_000)
    asked.operators._is_first(SignedBy(Address(OPERATOR.address), bytes(32), 4_000_000_100))
    assert len(asked.operators._used) == 1
