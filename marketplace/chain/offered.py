"""Transactions that somebody else signed: read strictly, so that what is carried is what was judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from marketplace.chain.outcome import why_failed
from marketplace.chain.rpc import Node
from marketplace.chain.transactor import GAS_LIMIT
from marketplace.errors import Refusal
from marketplace.vocabulary import Address, address

DYNAMIC_FEE: Final = 2
"""EIP-1559's transaction type, the only one that is taken."""
LARGEST: Final = 128 * 1024
"""Bytes: what geth's pool takes."""


class BadTransaction(Refusal):
    """Bytes that are no signed transaction of the kind that is carried here."""

    CODE = "bad_transaction"


@dataclass(frozen=True)
class Offered:
    """One signed transaction of type 2. `raw` are the very bytes that its hash is of; amounts in wei."""

    raw: bytes
    hash: bytes
    sender: Address
    to: Address
    data: bytes
    value: int
    chain_id: int
    nonce: int
    gas: int


def read_transaction(raw: bytes) -> Offered:
    """Reads one.

    Raises:
        BadTransaction: not of type 2, malformed, creating a contract, with an access list, or of more gas
            than a transaction may use.
    """
    if not 0 < len(raw) <= LARGEST or raw[0] != DYNAMIC_FEE:
        _refuse(f"is not an EIP-1559 transaction (type 2) of at most {LARGEST} bytes")
    try:
        fields: dict[str, Any] = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        sender = address(Account.recover_transaction(raw), "sender")
    except Exception:  # whatever the library makes of hostile bytes
        _refuse("cannot be read")
    if not fields["to"] or fields["accessList"]:
        _refuse("creates a contract, or has an access list")
    if fields["gas"] > GAS_LIMIT:
        _refuse(f"asks for more than {GAS_LIMIT} gas (EIP-7825)")
    return Offered(
        raw,
        keccak(raw),
        sender,
        address("0x" + bytes(fields["to"]).hex(), "to"),
        bytes(fields["data"]),
        fields["value"],
        fields["chainId"],
        fields["nonce"],
        fields["gas"],
    )


@dataclass(frozen=True)
class Fate:
    """What became of a transaction: `block` is None while it is in none; `refusal` says why it failed."""

    block: int | None
    refusal: Refusal | None = None


def fate(node: Node, transaction: bytes) -> Fate:
    """Of a transaction that the node was handed.

    Raises:
        Refusal: `unknown_transaction`, the node does not have it; NodeUnreachable, NodeFault.
    """
    found = node.transaction(transaction)
    if found is None:
        raise Refusal(
            code="unknown_transaction",
            message="The node does not have this transaction (any more).",
            remedy="Sign it again: it was not carried out, and its number is free.",
        )
    receipt = node.receipt(transaction)
    if receipt is None:
        return Fate(None)
    return Fate(
        int(receipt["blockNumber"]), None if receipt["status"] == 1 else _why(node, found, receipt)
    )


def _why(node: Node, sent: Mapping[str, Any], receipt: Mapping[str, Any]) -> Refusal:
    data, gas = bytes(sent["input"]), int(sent["gas"])
    return why_failed(node, sent["from"], sent["to"], data, receipt, gas)


def _refuse(why: str) -> NoReturn:
    raise BadTransaction(
        message=f"The transaction {why}.",
        remedy="Sign one of type 2 to one of this market's contracts.",
        field="raw",
    )
