"""Rules of a deployment's windows against the chain that it is deployed to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from marketplace.chain.deploy import ROUNDS_SECONDS, DeploySettings, deploy, seconds_to_finality
from marketplace.chain.rpc import Node
from marketplace.chain.views import MarketPolicy
from marketplace.errors import Refusal
from marketplace.wire.keyfiles import Signer
from tests.support.nodes import RunningNode, anvil_node, embedded_node

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
