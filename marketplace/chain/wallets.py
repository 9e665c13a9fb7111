"""Contract wallets: whether one of them takes a signature for its own (ERC-1271), as the contracts ask."""

from __future__ import annotations

from eth_abi.abi import encode

from marketplace.chain.reverts import ContractRefusal
from marketplace.chain.rpc import BlockName, Node

IS_VALID_SIGNATURE = bytes.fromhex("1626ba7e")
"""Selector of `isValidSignature(bytes32,bytes)`, and what it answers for a yes (ERC-1271)."""
YES = IS_VALID_SIGNATURE.ljust(32, b"\0")


def accepts_signature(
    node: Node, wallet: str, digest: bytes, signature: bytes, block: BlockName = "latest"
) -> bool:
    """Whether the contract at this address says, in this block, that it signed the digest.

    False where there is no contract. An account's own key is to be tried first: it needs no node.

    Raises:
        NodeUnreachable, NodeFault, UnknownBlock: also where the node pruned the block's state.
    """
    question = IS_VALID_SIGNATURE + encode(["bytes32", "bytes"], [digest, signature])
    try:
        return node.call(wallet, question, block)[:32] == YES
    except ContractRefusal:
        return False
