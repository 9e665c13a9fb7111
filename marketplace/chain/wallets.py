"""Contract wallets: whether one of them takes a signature for its own (ERC-1271), as the contracts ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from eth_abi.abi import encode

from marketplace.chain.patience import Patience, not_looked_at
from marketplace.chain.reverts import ContractRefusal
from marketplace.chain.rpc import BlockName, Node
from marketplace.errors import Refusal
from marketplace.wire.eip712 import (
    MOST_SIGNATURE,
    BadSignature,
    Domain,
    SignedStruct,
    require_signed,
)

IS_VALID_SIGNATURE = bytes.fromhex("1626ba7e")
"""Selector of `isValidSignature(bytes32,bytes)`, and what it answers for a yes (ERC-1271)."""
YES = (1).to_bytes(32, "big")
"""What the code of `_asking` returns for a yes; no word of the wallet's, which could look like odd code."""
ERC1271_GAS: Final = 400_000
"""What the contracts give a wallet to answer with."""
HEAD_SIZE: Final = 69
"""Bytes of the code of `_asking`."""


def accepts_signature(
    node: Node, wallet: str, digest: bytes, signature: bytes, block: BlockName = "latest"
) -> bool:
    """Whether the contract at this address says, in this block, that it signed the digest.

    False where there is no contract. An account's own key is to be tried first: it needs no node.

    However a wallet fails, it is asked as the contracts ask (`Signatures.sol`), and its fault is none of the
    node's: by code that caps its gas, and makes of whatever it does a yes or a no.

    Raises:
        NodeUnreachable, NodeFault, UnknownBlock: also where the node pruned the block's state.
    """
    if len(signature) > MOST_SIGNATURE:
        return False
    question = IS_VALID_SIGNATURE + encode(["bytes32", "bytes"], [digest, signature])
    try:
        return node.call(None, _asking(wallet, question), block) == YES
    except ContractRefusal:
        return False


def _asking(wallet: str, question: bytes) -> bytes:
    """EVM code, the question behind it, that returns whether the wallet said yes.

    Operations in hexadecimal; 60 to 63 push the one to four bytes that follow, 73 twenty.
    """
    size = f"61{len(question):04x}"
    head = f"{size} 60{HEAD_SIZE:02x} 6000 39"  # CODECOPY: the question into memory
    ask = f"6020 6000 {size} 6000 73{wallet[2:]} 62{ERC1271_GAS:06x} fa"  # STATICCALL
    good = "601f 3d 11 16"  # it succeeded AND RETURNDATASIZE GT 31
    word = f"6000 51 63{IS_VALID_SIGNATURE.hex()} 60e0 1b 14"  # it answered with EQ to the selector, SHL 224
    answer = "16 6000 52 6020 6000 f3"  # both (AND), RETURN
    return bytes.fromhex(f"{head} {ask} {good} {word} {answer}") + question


def signed_by_key(struct: SignedStruct, domain: Domain, signature: bytes, signer: str) -> bool:
    """Whether it is the signer's own key's: the contracts take that first, and ask no wallet then."""
    try:
        require_signed(struct, domain, signature, signer)
    except BadSignature:
        return False
    return True


@dataclass
class Signers:
    """Tells forged signatures from those that only the chain can judge, asking it once about an address."""

    node: Node
    patience: Patience = field(default_factory=Patience)
    _has_code: dict[str, bool] = field(default_factory=dict)

    def forged(
        self, struct: SignedStruct, domain: Domain, signature: bytes, signer: str
    ) -> Refusal | None:
        """Why this can be nobody's signature: not the key's own, and the signer is no contract.

        None does not say that it is good: a wallet's is for the chain to judge (ERC-1271). An account's
        own key is tried first, and needs no node.

        Raises:
            NodeUnreachable, NodeFault.
        """
        try:
            require_signed(struct, domain, signature, signer)
        except BadSignature as bad:
            return self._unless_contract(signer, bad)
        return None

    def _unless_contract(self, signer: str, bad: BadSignature) -> Refusal | None:
        if signer not in self._has_code:
            if self.patience.is_over:
                return not_looked_at()
            self._has_code[signer] = bool(self.node.code(signer))
            if not self._has_code[signer]:
                self.patience.lose()
        return None if self._has_code[signer] else bad
