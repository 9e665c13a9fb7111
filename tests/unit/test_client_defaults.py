"""What is said of custodians that were asked for certificates: their places, and no key."""

from dataclasses import replace
from typing import Any

import pytest

from marketplace.chain.adapter import Header, MarketPolicy, RequestView
from marketplace.chain.rpc import Node
from marketplace.client.defaults import default
from marketplace.errors import Refusal
from tests.support.chain_world import account
from tests.unit.test_release import REQUEST, VIEW, Committee

AT = "http://127.0.0.1:1"
KEYED = "http://user:hunter2@127.0.0.1:1/hunter2?key=hunter2"
UNSURE = "http://user:hunter2/@127.0.0.1:1"
"""An unescaped slash ends the host early: what follows could be anything."""


class Unanswered(Committee):
    """A sealed request just after its settle deadline."""

    def __init__(self) -> None:
        self.node = Node(AT)

    @property
    def chain_id(self) -> int:
        return 31_337

    def request(self, request: bytes, block: Any = "latest") -> RequestView:
        return VIEW

    def nudge(self) -> Header:
        return Header(1, bytes(32), VIEW.settle_deadline + 1, None)

    def policy(self) -> MarketPolicy:
        return replace(MarketPolicy(), certificate_window=3_600)


def test_a_missing_certificate_names_custodians_without_user_password_or_query() -> None:
    with pytest.raises(Refusal) as refused:
        default(Unanswered(), account("researcher").key, REQUEST, [KEYED, UNSURE])
    assert refused.value.code == "certificate_missing"
    assert f"({AT}: peer_unreachable, one that was named: peer_unreachable)" in str(refused.value)
    assert "hunter2" not in str(refused.value)
