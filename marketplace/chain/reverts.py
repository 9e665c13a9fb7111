"""One table of every error that any of the contracts can raise, and how each becomes a refusal.

An error raised in a called contract is not in the caller's ABI, so the table merges them all.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak
from web3.exceptions import ContractLogicError, Web3RPCError

from marketplace.chain import artifacts
from marketplace.chain.artifacts import Entry
from marketplace.chain.decoding import decode
from marketplace.chain.error_fields import FIELDS
from marketplace.chain.sentences import DATA_USE_REASONS, PANICS, SENTENCES
from marketplace.chain.views import RequestStage
from marketplace.errors import Refusal
from marketplace.wire.amounts import in_units
from marketplace.wire.plain import counted

MONEY = "money"
"""What stands behind the colon in a sentence for an amount: `{price:money}`."""
Written = Callable[[int], str]
"""Writes an amount of the market's token."""
ERROR_STRING = bytes.fromhex("08c379a0")  # Error(string)
PANIC = bytes.fromhex("4e487b71")  # Panic(uint256)
MOST_TEXT = 200
"""Characters of a contract's own text that are shown."""
ROLES = {
    bytes(32): "DEFAULT_ADMIN",
    **{
        bytes(keccak(text=name)): name
        for name in ("OPERATOR", "PAUSER", "STEWARD", "AUTHORITY", "ADMIN", "MINTER")
    },
}
_BYTES_LITERAL = re.compile(r"""b(['"]).*\1""", re.DOTALL)
_HEX_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})+")


class ContractRefusal(Refusal):
    """A contract said no. `code` is its error's name in snake case, `facts` its arguments.

    `paid` says that it failed on chain, in a transaction that this account paid for.
    """

    CODE = "reverted_without_reason"
    paid: bool = False


@cache
def table() -> dict[bytes, Entry]:
    """Every custom error of every artifact, by selector."""
    return {
        error.selector: error
        for name in artifacts.CONTRACTS
        for error in artifacts.load(name).errors
    }


def refusal_of(data: bytes, written: Written = in_units) -> ContractRefusal:
    """What the revert data of a call means, amounts as `written` has them. Unknown data is a refusal too.

    A wallet that is asked for a signature reverts with whatever it likes, the errors of the market included.
    """
    entry = table().get(data[:4])
    try:
        if entry is not None:
            return _custom(entry, data[4:], written)
        if data[:4] == ERROR_STRING:
            return _text(decode(["string"], data[4:])[0])
        if data[:4] == PANIC:
            return _panic(decode(["uint256"], data[4:])[0])
    except (DecodingError, ValueError):  # ValueError: a number that no word stands for
        return _unknown(data)
    return _unknown(data)


def refusal_from(fault: BaseException, written: Written = in_units) -> ContractRefusal | None:
    """The refusal behind an exception of web3 or eth-tester; None if it is not about a revert."""
    data = revert_data(fault)
    return None if data is None else refusal_of(data, written)


def revert_data(fault: BaseException) -> bytes | None:
    """The bytes that a contract reverted with, as nodes carry them; None if none did."""
    if isinstance(fault, ContractLogicError):
        return _from_data(fault.data) or b""
    if isinstance(fault, Web3RPCError):
        return _from_response(fault)
    if type(fault).__name__ == "TransactionFailed":  # eth-tester's, which need not be installed
        return _from_tester(fault)
    return None


def _from_response(fault: Web3RPCError) -> bytes | None:
    """Code 3 is a revert (geth, anvil, our node); others say so in their message."""
    error = (fault.rpc_response or {}).get("error")
    if not isinstance(error, dict):
        return None
    if error.get("code") != 3 and "revert" not in str(error.get("message", "")).lower():
        return None
    return _from_data(error.get("data")) or b""


def _from_data(data: Any) -> bytes | None:
    """Hex, hex behind a word ("Reverted 0x.."), or the nested objects of some nodes."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, dict):
        return _from_data(data.get("data"))
    if isinstance(data, str) and (found := _HEX_DATA.search(data)):
        return bytes.fromhex(found.group()[2:])
    return None


def _from_tester(fault: BaseException) -> bytes | None:
    """eth-tester passes the bytes themselves, or their Python literal inside a sentence."""
    for argument in fault.args:
        if isinstance(argument, bytes):
            return argument
        if isinstance(argument, str) and (found := _BYTES_LITERAL.search(argument)):
            value = ast.literal_eval(found.group())
            return value if isinstance(value, bytes) else b""
        if isinstance(argument, str) and argument.startswith("0x"):
            return _from_data(argument)
    return b""


def _custom(entry: Entry, data: bytes, written: Written) -> ContractRefusal:
    facts = {
        name: _word(entry.name, name)(value) for name, value in entry.decode_arguments(data).items()
    }
    sentence, remedy = sentence_of(entry)
    return ContractRefusal(
        code=snake_case(entry.name),
        message=_fill(sentence, facts, written),
        remedy=_fill(remedy, facts, written),
        field=field_of(entry, facts),
        facts=facts,
    )


def sentence_of(entry: Entry) -> tuple[str, str]:
    """Sentence and remedy, by signature or by name. Raises KeyError for an error that has none."""
    return SENTENCES.get(entry.signature) or SENTENCES[entry.name]


def field_of(entry: Entry, facts: Mapping[str, Any]) -> str | None:
    """The input at fault: the one that the error names itself, or the one that it is always about."""
    if "field" in facts:
        return str(facts["field"])
    return FIELDS.get(entry.signature) or FIELDS.get(entry.name)


@dataclass(frozen=True)
class _Counted:
    """A number that a sentence may write with its noun (`{members:patient}`), or as an amount."""

    number: int
    written: Written

    def __format__(self, noun: str) -> str:
        if noun == MONEY:
            return self.written(self.number)
        return counted(self.number, noun) if noun else str(self.number)


def _fill(template: str, facts: dict[str, Any], written: Written) -> str:
    return template.format_map({name: _shown(value, written) for name, value in facts.items()})


def _shown(value: Any, written: Written) -> Any:
    if isinstance(value, tuple):
        return ", ".join(value)
    return _Counted(value, written) if isinstance(value, int) else value


def snake_case(name: str) -> str:
    """`BudgetTooSmall` -> `budget_too_small`, `ERC20InvalidSender` -> `erc20_invalid_sender`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return parted.lower()


def _word(error: str, fact: str) -> Callable[[Any], Any]:
    """How one argument is shown: some numbers stand for words."""
    if error == "WrongStage" and fact in ("expected", "actual"):
        return lambda number: RequestStage(number).name.lower()
    if error == "PurposeNotPermitted" and fact == "reasons":
        return reasons_of
    if fact == "neededRole":
        return lambda role: ROLES.get(role, "0x" + role.hex())
    return _plain


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return value[:MOST_TEXT] if isinstance(value, str) else value


def reasons_of(mask: int) -> tuple[str, ...]:
    """The words of a DataUse reason mask, one for each bit."""
    return tuple(
        DATA_USE_REASONS.get(bit, f"unknown reason {bit}")
        for bit in range(mask.bit_length())
        if mask >> bit & 1
    )


def _text(reason: str) -> ContractRefusal:
    return ContractRefusal(
        code="reverted",
        message=f"A contract refused: {reason[:MOST_TEXT]}.",
        remedy="Check the token and the call: the market's own contracts do not refuse like this.",
        facts={"reason": reason[:MOST_TEXT]},
    )


def _panic(code: int) -> ContractRefusal:
    return ContractRefusal(
        code="panic",
        message=f"A contract stopped at a fault: {PANICS.get(code, hex(code))}.",
        remedy="Check the arguments; if they are right, report this as a fault of the contract.",
        facts={"panic": code},
    )


def _unknown(data: bytes) -> ContractRefusal:
    return ContractRefusal(
        code="reverted_without_reason" if not data else "unknown_contract_error",
        message="A contract refused and gave no reason that is known here.",
        remedy="Check that manifest and artifacts belong to the deployed contracts, and the gas.",
        facts={"selector": "0x" + data[:4].hex()} if data else {},
    )
