"""Rules of a deployment's windows against the chain that it is deployed to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marketplace.chain.deploy import (
    LONGEST_WAIT,
    DeploySettings,
    deploy,
    seconds_to_finality,
)
from marketplace.chain.faults import NodeFault
from marketplace.chain.rpc import Node
from marketplace.chain.views import ROUNDS_SECONDS, MarketPolicy
from marketplace.errors import Refusal
from marketplace.wire.keyfiles import Signer
from tests.support.nodes import LyingProxy, RunningNode, anvil_node, embedded_node

BLOCK_SECONDS = 12
BEHIND = 64
"""Blocks that a chain of 32 slots an epoch is final after."""


@pytest.fixture(scope="module")
def slow() -> Iterator[RunningNode]:
    """A chain whose blocks come every 12 seconds, final after two epochs of 32."""
    with anvil_node("--slots-in-an-epoch", "32") as node:
        Node(node.url).request("anvil_mine", [hex(200), hex(BLOCK_SECONDS)])
        yield node


def test_a_gate_window_too_short_for_two_final_blocks_is_refused_before_anything_is_sent(
    slow: RunningNode,
) -> None:
    node = Node(slow.url)
    final = node.header("latest").number - node.header("finalized").number
    assert seconds_to_finality(node) == final * BLOCK_SECONDS >= BEHIND * BLOCK_SECONDS
    needed = 2 * final * BLOCK_SECONDS + ROUNDS_SECONDS
    sent = [Signer.of(slow.funded_key).address, "latest"]
    before = node.request("eth_getTransactionCount", sent)
    settings = DeploySettings(policy=MarketPolicy(gate_window=needed - 1))
    with pytest.raises(Refusal) as refused:
        deploy(slow.url, slow.funded_key, settings)
    assert (refused.value.code, refused.value.field) == ("window_out_of_bounds", "gate_window")
    assert f"from {needed} to" in refused.value.remedy
    assert node.request("eth_getTransactionCount", sent) == before


def test_one_that_is_long_enough_is_deployed(slow: RunningNode) -> None:
    needed = 2 * seconds_to_finality(Node(slow.url)) + ROUNDS_SECONDS
    policy = MarketPolicy(gate_window=needed)
    manifest = deploy(slow.url, slow.funded_key, DeploySettings(policy=policy))
    assert manifest.policy.gate_window == needed


def test_a_pause_of_a_chain_is_no_time_between_blocks(slow: RunningNode) -> None:
    node = Node(slow.url)
    node.request("anvil_mine", [hex(BEHIND), hex(1)])
    node.request("evm_increaseTime", [90_000])
    node.request("anvil_mine", [hex(3), hex(1)])
    assert seconds_to_finality(node) <= 2 * (BEHIND + 8)


def test_the_embedded_chain_is_final_at_once(tmp_path: Path) -> None:
    with embedded_node(tmp_path) as node:
        assert seconds_to_finality(Node(node.url)) == 0


class NoFinalBlock(LyingProxy):
    """Passes on what it is asked, but for the final block: of that it says this."""

    def __init__(self, target: str, said: dict[str, Any]) -> None:
        self.said = said
        super().__init__(target)

    def answer(self, body: bytes) -> bytes:
        call = json.loads(body)
        if call.get("params", [None])[0] != "finalized":
            return super().answer(body)
        return json.dumps({"jsonrpc": "2.0", "id": call["id"], **self.said}).encode()


def error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


@pytest.mark.parametrize(
    "said",
    [
        {"result": None},
        error(-39001, "Unknown block"),
        error(-32602, "unsupported block tag"),
        error(-32000, "finalized block not found"),
        error(-32000, "'finalized' tag not supported on pre-merge network"),
        error(-32603, 'strconv.ParseUint: parsing "finalized": invalid syntax'),
    ],
)
def test_a_chain_that_knows_no_final_block_is_final_at_once(
    slow: RunningNode, said: dict[str, Any]
) -> None:
    proxy = NoFinalBlock(slow.url, said)
    try:
        assert seconds_to_finality(Node(proxy.url)) == 0
    finally:
        proxy.close()


@pytest.mark.parametrize(
    "said",
    [
        error(-32005, "limit exceeded"),
        error(-32000, "rate limit reached"),
        error(-32000, "header not available: node is syncing"),
        error(-32603, "internal error"),
        error(429, "too many requests for finalized blocks"),
        {"result": {"number": "no block"}},
    ],
)
def test_a_node_that_does_not_say_now_what_is_final_has_nothing_deployed_to_it(
    slow: RunningNode, said: dict[str, Any]
) -> None:
    proxy = NoFinalBlock(slow.url, said)
    sent = [Signer.of(slow.funded_key).address, "latest"]
    before = Node(slow.url).request("eth_getTransactionCount", sent)
    try:
        with pytest.raises(NodeFault):
            deploy(proxy.url, slow.funded_key, DeploySettings())
    finally:
        proxy.close()
    assert Node(slow.url).request("eth_getTransactionCount", sent) == before


def test_where_no_window_is_long_enough_the_remedy_says_what_would_do() -> None:
    latest = (LONGEST_WAIT - ROUNDS_SECONDS) // 2
    longest = DeploySettings(policy=MarketPolicy(gate_window=LONGEST_WAIT))
    longest.require_rounds_in_time(latest)
    for settings in (DeploySettings(), longest):
        with pytest.raises(Refusal) as refused:
            settings.require_rounds_in_time(latest + 1)
        assert (refused.value.code, refused.value.field) == ("too_late_final", "gate_window")
        assert f"after 0 to {latest} seconds" in refused.value.remedy
        assert "--gate-window" not in refused.value.remedy
