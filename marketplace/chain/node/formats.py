"""eth-tester's descriptions of blocks, transactions and receipts, as the JSON that clients read.

Field names and encodings: the execution API (https://ethereum.github.io/execution-apis/).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eth_utils.address import to_checksum_address

from marketplace.chain.node.storage import LogRow

_RENAMED = {"coinbase": "miner", "data": "input"}
_ADDRESSES = {"from", "to", "contract_address", "coinbase", "address"}
BLOOM_BYTES = 256


def hex_quantity(value: int) -> str:
    """``0x`` and no leading zeros."""
    return hex(value)


def hex_data(value: bytes) -> str:
    """``0x`` and two digits a byte."""
    return "0x" + value.hex()


def block_json(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A block; its transactions are hashes or descriptions."""
    kept = {name: value for name, value in fields.items() if name != "total_difficulty"}
    return {
        **_object({name: kept[name] for name in kept if name != "transactions"}),
        "logsBloom": hex_data(fields["logs_bloom"].to_bytes(BLOOM_BYTES, "big")),
        "transactions": [
            hex_data(item) if isinstance(item, bytes) else transaction_json(item)
            for item in fields["transactions"]
        ],
    }


def transaction_json(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A mined transaction."""
    described = _object({name: fields[name] for name in fields if name != "access_list"})
    if "access_list" in fields:
        described["accessList"] = [
            {
                "address": to_checksum_address(account),
                "storageKeys": [hex_data(slot.to_bytes(32, "big")) for slot in slots],
            }
            for account, slots in fields["access_list"]
        ]
    return described


def receipt_json(fields: Mapping[str, Any], logs: list[LogRow]) -> dict[str, Any]:
    """A receipt with its logs."""
    kept = {name: fields[name] for name in fields if name not in ("state_root", "logs")}
    return {
        **_object(kept),
        "logsBloom": hex_data(fields["logs_bloom"].to_bytes(BLOOM_BYTES, "big")),
        "logs": [log_json(log) for log in logs],
    }


def log_json(log: LogRow) -> dict[str, Any]:
    """An event, with its place on the chain."""
    return {
        "address": to_checksum_address(log.address),
        "topics": [hex_data(topic) for topic in log.topics],
        "data": hex_data(log.data),
        "blockNumber": hex_quantity(log.block),
        "blockHash": hex_data(log.block_hash),
        "transactionHash": hex_data(log.transaction_hash),
        "transactionIndex": hex_quantity(log.transaction_index),
        "logIndex": hex_quantity(log.position),
        "removed": False,
    }


def _object(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {_name(name): _value(name, value) for name, value in fields.items()}


def _name(name: str) -> str:
    head, *rest = _RENAMED.get(name, name).split("_")
    return head + "".join(part.capitalize() for part in rest)


def _value(name: str, value: Any) -> Any:
    if name in _ADDRESSES:
        return to_checksum_address(value) if value else None
    if isinstance(value, bytes):
        return hex_data(value)
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int):
        return hex_quantity(value)
    if isinstance(value, Mapping):
        return _object(value)
    return [_value(name.removesuffix("s"), item) for item in value]
