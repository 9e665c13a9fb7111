"""Tokens of other makers: with a permit of today's form, of an older one, of another one, or with none."""

from functools import cache
from pathlib import Path

import solcx

from contracts.tools.compile import CONTRACTS, find_compiler, standard_input

SOURCE = (Path(__file__).parent / "ForeignTokens.sol").read_text(encoding="utf-8")
NAME = "tests/ForeignTokens.sol"


@cache
def creation_code(token: str) -> bytes:
    """The bytes that create one of the contracts in ForeignTokens.sol. No token takes arguments."""
    return _compiled()[token]


@cache
def _compiled() -> dict[str, bytes]:
    request = standard_input(CONTRACTS)
    libraries = {name: text for name, text in request["sources"].items() if name.startswith("@")}
    request["sources"] = {**libraries, NAME: {"content": SOURCE}}
    request["settings"] |= {"viaIR": False}
    request["settings"]["outputSelection"] = {NAME: {"*": ["evm.bytecode.object"]}}
    found = solcx.compile_standard(request, solc_binary=find_compiler())["contracts"][NAME]
    return {name: bytes.fromhex(each["evm"]["bytecode"]["object"]) for name, each in found.items()}
