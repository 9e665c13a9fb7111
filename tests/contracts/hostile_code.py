"""Contracts as bare code: wallets that misbehave when asked for a signature, tokens that misbehave.

Assembled here, so that no compiler is needed and every byte can be read.
"""

from eth_utils.crypto import keccak

# Operations by name (Ethereum yellow paper, appendix H).
_OPERATIONS = {
    "ADD": 0x01, "SUB": 0x03, "EQ": 0x14, "SHR": 0x1C, "CALLER": 0x33, "CALLDATALOAD": 0x35,
    "ISZERO": 0x15, "CALLDATASIZE": 0x36, "GASPRICE": 0x3A,
    "RETURNDATASIZE": 0x3D, "RETURNDATACOPY": 0x3E, "MLOAD": 0x51, "MSTORE": 0x52, "SLOAD": 0x54,
    "SSTORE": 0x55, "JUMPI": 0x57, "JUMPDEST": 0x5B, "DUP1": 0x80, "DUP2": 0x81, "CALL": 0xF1,
    "RETURN": 0xF3, "REVERT": 0xFD, "GAS": 0x5A, "POP": 0x50, "DUP3": 0x82, "SWAP1": 0x90,
}  # fmt: skip
MAGIC = 0x1626BA7E  # of ERC-1271


def selector(signature: str) -> int:
    return int.from_bytes(keccak(text=signature)[:4], "big")


def assemble(source: str) -> bytes:
    """Operations, numbers (pushed), `:label` (a place) and `@label` (its address, pushed)."""
    places: dict[str, int] = {}
    for _ in range(2):  # the second time, every label is known
        code = b""
        for token in source.split():
            if token.startswith(":"):
                places[token[1:]] = len(code)
                code += b"\x5b"
            elif token.startswith("@"):
                code += b"\x61" + places.get(token[1:], 0).to_bytes(2, "big")
            elif token in _OPERATIONS:
                code += bytes([_OPERATIONS[token]])
            else:
                code += _push(int(token, 0))
    return code


def _push(value: int) -> bytes:
    data = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    return bytes([0x5F + len(data)]) + data


# Says yes, and returns 200,000 bytes of it.
WALLET_BOMB = assemble(f"{MAGIC << 224} 0 MSTORE 200000 0 RETURN")
# Says yes in four bytes, where ERC-1271 asks for a word.
WALLET_SHORT = assemble(f"{MAGIC << 224} 0 MSTORE 4 0 RETURN")
# Says something that only begins like yes.
WALLET_DIRTY = assemble(f"{(MAGIC << 224) + 1} 0 MSTORE 32 0 RETURN")
# Says what its storage says at 0, so that a wallet can change its mind.
WALLET_SWAYED = assemble("0 SLOAD 0 MSTORE 32 0 RETURN")
YES = MAGIC << 224
# Refuses, with 200,000 bytes of reason.
WALLET_SHOUTS = assemble("200000 0 REVERT")


def token_code(transfer_from: str) -> bytes:
    """A token that is all balance: balances lie at their owner's address. `transfer_from` is its own."""
    cases = {
        "decimals()": "6 0 MSTORE 32 0 RETURN",
        "balanceOf(address)": "4 CALLDATALOAD SLOAD 0 MSTORE 32 0 RETURN",
        "transferFrom(address,address,uint256)": transfer_from,
    }
    head, body = "0 CALLDATALOAD 224 SHR", ""
    for number, (signature, code) in enumerate(cases.items()):
        head += f" DUP1 {selector(signature)} EQ @case{number} JUMPI"
        body += f" :case{number} {code}"
    return assemble(f"{head} 0 0 REVERT {body}")


_CREDIT = "36 CALLDATALOAD SLOAD ADD 36 CALLDATALOAD SSTORE 1 0 MSTORE 32 0 RETURN"
HONEST_TOKEN = token_code(f"68 CALLDATALOAD {_CREDIT}")
# Keeps one unit of every transfer.
FEE_TOKEN = token_code(f"1 68 CALLDATALOAD SUB {_CREDIT}")
# Says that it did not.
FALSE_TOKEN = token_code("0 0 MSTORE 32 0 RETURN")
# Calls back, and passes the refusal on.
REENTERING_TOKEN = token_code(
    f"{selector('postBond(uint256)') << 224} 0 MSTORE "
    "0 0 36 0 0 CALLER GAS CALL POP RETURNDATASIZE 0 0 RETURNDATACOPY RETURNDATASIZE 0 REVERT"
)
